//! Where a request goes: the mount that it is under, and the path that is left for the upstream.
//!
//! Pure functions of text. A path that could be read as leaving the mount goes nowhere: see `devious`.

use super::devious::Devious;
pub use super::devious::check;

/// What follows `prefix` in `path`, from its slash on; `None` where `path` is not under it.
pub fn below<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    match rest.as_bytes().first() {
        None => Some("/"),
        Some(b'/') => Some(rest),
        Some(_) => None,
    }
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
