//! Paths of a dialect: literal segments, and segments in braces that stand for any one. Pure functions of text.

use std::fmt;

/// A path with places in it, e.g. `/bgrs/{id}/details`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Place(String),
}

/// The rule that paths keep; reads after "must be".
pub const RULE: &str =
    "a path such as /jobs/{id}: of letters, digits, '-', '.', '_', '~', and names in braces";

impl Pattern {
    /// Takes a path from its slash on; the empty one is the place where a mount stands itself.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self { text: String::new(), segments: Vec::new() });
        }
        let segments = text.strip_prefix('/')?.split('/').map(Segment::parse);
        let segments = segments.collect::<Option<Vec<_>>>()?;
        let places: Vec<_> = segments.iter().filter_map(Segment::place).collect();
        let is_twice = |(at, name): (usize, &&str)| places.iter().take(at).any(|it| it == name);
        if places.iter().enumerate().any(is_twice) {
            return None;
        }
        Some(Self { text: text.to_owned(), segments })
    }

    /// The same path under another one, which has been taken before.
    pub fn under(&self, prefix: &str) -> Option<Self> {
        Self::parse(&format!("{prefix}{}", self.text))
    }

    /// What stands in the places, if `path` is such a path. Escapes are not read: no place needs one.
    pub fn places_of<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let mut given = path.strip_prefix('/').map(|rest| rest.split('/'));
        let mut places = Vec::new();
        for segment in &self.segments {
            let part = given.as_mut()?.next()?;
            match segment {
                Segment::Literal(text) if text == part => {}
                Segment::Place(name) if !part.is_empty() => places.push((name.as_str(), part)),
                _ => return None,
            }
        }
        match given.and_then(|mut rest| rest.next()) {
            Some(_) if !(self.segments.is_empty() && path == "/") => None,
            _ => Some(places),
        }
    }

    /// Whether there is a place of that name.
    pub fn has(&self, name: &str) -> bool {
        self.segments.iter().any(|segment| segment.place() == Some(name))
    }

    /// How many places there are.
    pub fn places(&self) -> usize {
        self.segments.iter().filter(|segment| segment.place().is_some()).count()
    }

    /// The path with `id` in the place of that name.
    pub fn with_id(&self, id: &str) -> String {
        self.text.replace("{id}", id)
    }

    /// Whether some path is such a path and one of the other's.
    pub fn meets(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len() && self.can_begin(other)
    }

    /// Whether some such path is at, or lies under, one of the other's.
    pub fn lies_under(&self, other: &Self) -> bool {
        self.segments.len() >= other.segments.len() && self.can_begin(other)
    }

    fn can_begin(&self, other: &Self) -> bool {
        self.segments.iter().zip(&other.segments).all(|pair| match pair {
            (Segment::Literal(a), Segment::Literal(b)) => a == b,
            _ => true,
        })
    }

    /// The first segment, where it is a literal one.
    pub fn first(&self) -> Option<&str> {
        match self.segments.first() {
            Some(Segment::Literal(text)) => Some(text),
            _ => None,
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix('{') {
            let name = name.strip_suffix('}')?;
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            let is_name = !name.is_empty() && name.bytes().all(plain);
            return is_name.then(|| Self::Place(name.to_owned()));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_literal = !text.is_empty() && !matches!(text, "." | "..") && text.bytes().all(plain);
        is_literal.then(|| Self::Literal(text.to_owned()))
    }

    fn place(&self) -> Option<&str> {
        match self {
            Self::Place(name) => Some(name),
            Self::Literal(_) => None,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "/" } else { &self.text })
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_path_is_segments_and_places() {
        for bad in ["jobs", "/", "/a//b", "/a/", "/..", "/a b", "/%61", "/{}", "/{Id}", "/{a}/{a}"]
        {
            assert!(Pattern::parse(bad).is_none(), "{bad}");
        }
        let jobs = pattern("/sites/{site}/jobs/{id}");
        assert_eq!(jobs.places_of("/sites/9/jobs/x"), Some(vec![("site", "9"), ("id", "x")]));
        for other in ["/sites/9/jobs", "/sites/9/jobs/x/", "/sites//jobs/x", "/sites/9/jobs/x/y"] {
            assert_eq!(jobs.places_of(other), None, "{other}");
        }
        assert_eq!(jobs.with_id("7"), "/sites/{site}/jobs/7");
        assert_eq!(pattern("").places_of("/"), Some(vec![]));
        assert_eq!(pattern("").places_of("/a"), None);
    }

    #[test]
    fn paths_that_could_be_one_meet() {
        for (a, b, meet) in [
            ("/a/{id}", "/a/b", true),
            ("/a/{id}", "/{x}/b", true),
            ("/a/{id}", "/b/{id}", false),
            ("/a/{id}", "/a", false),
        ] {
            assert_eq!(pattern(a).meets(&pattern(b)), meet, "{a} {b}");
        }
        assert!(pattern("/a/{id}").lies_under(&pattern("/a")));
        assert!(pattern("/{x}/b").lies_under(&pattern("/a")));
        assert!(!pattern("/ab/c").lies_under(&pattern("/a")));
        assert!(pattern("/ab").lies_under(&pattern("")));
    }
}
