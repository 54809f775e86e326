//! Where a request goes: the mount that it is under, and the path that is left for the upstream.
//!
//! Pure functions of text. A path that could be read as leaving the mount, however it is encoded, goes nowhere.

/// A path that some reader might take for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must not have dot segments, however encoded, nor begin with two slashes behind the prefix, nor be encoded many \
     times over"
)]
pub struct Devious;

/// How often a path may be encoded over again. Nobody does so in earnest, and each time costs a pass.
const MAX_ENCODINGS: usize = 8;

/// What follows `prefix` in `path`, from its slash on; `None` where `path` is not under it.
pub fn below<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    match rest.as_bytes().first() {
        None => Some("/"),
        Some(b'/') => Some(rest),
        Some(_) => None,
    }
}

/// Refuses a path with segments that lead upwards in the eyes of anybody on its way.
pub fn check(rest: &str) -> Result<(), Devious> {
    let mut text = rest.as_bytes().to_vec();
    // Decoded again and again: what one reader leaves encoded the next one may decode.
    for _ in 0..MAX_ENCODINGS {
        let dotted = |segment: &[u8]| {
            // Some servers cut parameters off a segment before they look at it.
            let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
            matches!(name, b"." | b"..")
        };
        let escapes = text.split(|byte| matches!(byte, b'/' | b'\\')).any(dotted);
        let doubled = matches!(text.as_slice(), [b'/' | b'\\', b'/' | b'\\', ..]);
        let cut = text.iter().any(|byte| *byte == 0 || *byte == b'\n' || *byte == b'\r');
        if escapes || doubled || cut {
            return Err(Devious);
        }
        let decoded = decoded(&text);
        if decoded == text {
            return Ok(());
        }
        text = decoded;
    }
    Err(Devious)
}

/// Every percent-encoded byte as itself, once.
fn decoded(text: &[u8]) -> Vec<u8> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut plain = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((first, rest)) = left.split_first() {
        let escaped = match (first, rest) {
            (b'%', [high, low, ..]) => hex(high).zip(hex(low)),
            _ => None,
        };
        plain.push(escaped.map_or(*first, |(high, low)| high * 16 + low));
        left = if escaped.is_some() { rest.get(2..).unwrap_or_default() } else { rest };
    }
    plain
}

/// A request's path and query on their way to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onward {
    /// Path and query without the trigger, as they follow the prefix.
    pub target: String,
    /// The parameter that asks for an operation, as it was given, if it was.
    pub trigger: Option<String>,
}

impl Onward {
    /// Reads path and query: the parameter `name` with one of `values` asks for an operation, and then neither it
    /// nor the parameter `own` is for the upstream. All else stays as it is, byte for byte.
    pub fn of(
        rest: &str,
        query: Option<&str>,
        name: Option<&str>,
        values: &[String],
        own: Option<&str>,
    ) -> Result<Self, Devious> {
        check(rest)?;
        let is_trigger = |pair: &&str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            name == Some(key) && values.iter().any(|known| known == value)
        };
        let is_own = |pair: &&str| own.is_some() && pair.split('=').next() == own;
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        let trigger = pairs.clone().find(is_trigger).map(str::to_owned);
        let query = match trigger {
            None => query.map(str::to_owned),
            Some(_) => {
                let kept: Vec<&str> =
                    pairs.filter(|pair| !is_trigger(pair) && !is_own(pair)).collect();
                Some(kept.join("&")).filter(|kept| !kept.is_empty())
            }
        };
        let target = match query {
            Some(query) => format!("{rest}?{query}"),
            None => rest.to_owned(),
        };
        Ok(Self { target, trigger })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_slash() {
        assert_eq!(below("/a", "/a"), Some("/"));
        assert_eq!(below("/a", "/a/b"), Some("/b"));
        assert_eq!(below("/a", "/ab"), None);
        assert_eq!(below("", "/x"), Some("/x"));
    }

    #[test]
    fn what_might_lead_elsewhere_is_refused() {
        for good in ["/", "/a/b.c", "/a//b", "/...", "/a%20b", "/%zz", "/a;b=..c"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "/..",
            "/a/../b",
            "/./a",
            "/%2e%2e/a",
            "/%2E./a",
            "//evil",
            "/%2f/evil",
            "/..;x/a",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a%5c..",
            "/%252e%252e/a",
            "/%25252e%25252e",
            "/a%00b",
            "/a%0d%0a",
        ] {
            assert_eq!(check(bad), Err(Devious), "{bad}");
        }
        assert_eq!(check(&format!("/%{}41", "25".repeat(20_000))), Err(Devious));
    }

    #[test]
    fn only_the_trigger_is_taken_out_of_a_query() {
        let values = ["true".to_owned(), "1".to_owned()];
        let cut = |query, own| {
            let onward = Onward::of("/x", Some(query), Some("async"), &values, own).unwrap();
            (onward.target, onward.trigger.unwrap_or_default())
        };
        let of = |target: &str, trigger: &str| (target.to_owned(), trigger.to_owned());
        assert_eq!(cut("a=%20&async=true&b", None), of("/x?a=%20&b", "async=true"));
        assert_eq!(cut("async=1&async=true", None), of("/x", "async=1"));
        assert_eq!(cut("async=1&s=1&t=2", Some("s")), of("/x?t=2", "async=1"));
        assert_eq!(cut("async=false&asyncx=1&s", Some("s")), of("/x?async=false&asyncx=1&s", ""));
        assert_eq!(cut("", None), of("/x?", ""));
    }
}
