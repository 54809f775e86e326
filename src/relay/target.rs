//! The destination of a request: its mount, and the rest of the path for the upstream.
//!
//! Pure functions of text. A path that could leave the mount is refused: see `devious`.

use super::devious::Devious;
pub use super::devious::check;
use crate::operation::query;

/// The part of `path` after `prefix`, including its slash; `None` if `path` is not under it.
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
    /// Path and query without the trigger, after the prefix.
    pub target: String,
    /// The parameter that requests an operation, if it was given.
    pub trigger: Option<Trigger>,
}

/// A parameter that requests an operation, as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Name and value as written.
    pub text: String,
    /// The number of parameters before it.
    pub position: usize,
}

impl Onward {
    /// Parses path and query: the parameter `name` with one of `values` requests an operation, and then neither it nor
    /// the parameter `own` goes to the upstream. They are compared after decoding. Everything else stays unchanged,
    /// byte for byte.
    pub fn of(
        rest: &str,
        query: Option<&str>,
        name: Option<&str>,
        values: &[String],
        own: Option<&str>,
    ) -> Result<Self, Devious> {
        check(rest)?;
        let is_named = |piece: &str, name: Option<&str>, is_meant: &dyn Fn(&str) -> bool| {
            let pair = query::pairs(piece).next().filter(|_| name.is_some());
            pair.is_some_and(|pair| {
                pair.name.as_deref() == name && is_meant(&pair.value.unwrap_or_default())
            })
        };
        let is_trigger = |piece: &&str| {
            is_named(piece, name, &|value| values.iter().any(|known| known == value))
        };
        let is_own = |piece: &&str| is_named(piece, own, &|_| true);
        let pieces = query.into_iter().flat_map(|query| query.split('&'));
        let Some(text) = pieces.clone().find(is_trigger) else {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            return Ok(Self { target: format!("{rest}{query}"), trigger: None });
        };
        let before = pieces.clone().take_while(|piece| !is_trigger(piece));
        let position = before.filter(|piece| !is_own(piece)).count();
        let kept: Vec<&str> = pieces.filter(|piece| !is_trigger(piece) && !is_own(piece)).collect();
        let target = match kept.as_slice() {
            [] | [""] => rest.to_owned(),
            kept => format!("{rest}?{}", kept.join("&")),
        };
        Ok(Self { target, trigger: Some(Trigger { text: text.to_owned(), position }) })
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
            (onward.target, onward.trigger.map(|it| (it.text, it.position)))
        };
        for (query, own, target, trigger) in [
            ("a=%20&async=true&b", None, "/x?a=%20&b", Some(("async=true", 1))),
            ("async=1&async=true", None, "/x", Some(("async=1", 0))),
            ("async=1&s=1&t=2", Some("s"), "/x?t=2", Some(("async=1", 0))),
            ("t=2&%73=1&u&async=1", Some("s"), "/x?t=2&u", Some(("async=1", 2))),
            // Other encodings of the same value.
            ("a&async=%31", None, "/x?a", Some(("async=%31", 1))),
            ("%61sync=tr%75e&a", None, "/x?a", Some(("%61sync=tr%75e", 0))),
            // Different values.
            ("async=%2531&async=t+rue", None, "/x?async=%2531&async=t+rue", None),
            ("async=false&asyncx=1&s", Some("s"), "/x?async=false&asyncx=1&s", None),
            ("async=%ff&%ff=1", None, "/x?async=%ff&%ff=1", None),
            ("", None, "/x?", None),
        ] {
            let trigger = trigger.map(|(text, at): (&str, usize)| (text.to_owned(), at));
            assert_eq!(cut(query, own), (target.to_owned(), trigger), "{query}");
        }
    }
}
