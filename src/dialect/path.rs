//! Paths of a dialect: literal segments, and segments with a placeholder. Pure functions of text.

use std::fmt;

/// A path with placeholders, e.g. `/accounts/{account}/tasks/{id}:cancel`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    /// Whether it is the path of a mount itself, with or without a trailing slash.
    is_root: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// A placeholder, with the text around it in the segment.
    Place {
        before: String,
        name: String,
        after: String,
    },
}

/// The rule for paths; continues "must be".
pub const RULE: &str = "a path such as /jobs/{id} or /tasks/{id}:cancel: segments of letters, digits and any of \
                        -._~:$@!*+,;=()', with at most one name in braces in each, and each name once";

/// The characters of a literal other than letters and digits: all of a path's, without `&` and escapes.
const LITERALS: &[u8] = b"-._~:$@!*+,;=()'";

impl Pattern {
    /// The path of a mount itself.
    pub const fn root() -> Self {
        Self { text: String::new(), segments: Vec::new(), is_root: true }
    }

    /// Parses a path with its first slash; `/` and the empty path are the mount's own.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text == "/" {
            return Some(Self { text: text.to_owned(), segments: Vec::new(), is_root: true });
        }
        let segments = text.strip_prefix('/')?.split('/').map(Segment::parse);
        let segments = segments.collect::<Option<Vec<_>>>()?;
        let places: Vec<_> = segments.iter().filter_map(Segment::place).collect();
        let is_twice = |(at, name): (usize, &&str)| places.iter().take(at).any(|it| it == name);
        if places.iter().enumerate().any(is_twice) {
            return None;
        }
        Some(Self { text: text.to_owned(), segments, is_root: false })
    }

    /// This path under `prefix`; `None` if both have a placeholder with the same name.
    pub fn under(&self, prefix: &Self) -> Option<Self> {
        if self.places().any(|name| prefix.has(name)) {
            return None;
        }
        let before = prefix.text.strip_suffix('/').unwrap_or(&prefix.text);
        Some(Self {
            text: format!("{before}{}", self.text),
            segments: prefix.segments.iter().chain(&self.segments).cloned().collect(),
            is_root: self.is_root,
        })
    }

    /// The values of the placeholders, if `path` matches. Escapes are not decoded.
    pub fn places_of<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let path = if self.is_root { path.strip_suffix('/').unwrap_or(path) } else { path };
        let (places, rest) = self.begin(path)?;
        rest.is_empty().then_some(places)
    }

    /// The values of the placeholders, if `path` matches or is under a match.
    pub fn places_above<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        self.begin(path).map(|(places, _)| places)
    }

    /// The values of the placeholders, and the rest of the path including its slash.
    fn begin<'p>(&self, path: &'p str) -> Option<(Vec<(&str, &'p str)>, &'p str)> {
        let (mut places, mut rest) = (Vec::new(), path);
        for segment in &self.segments {
            let behind = rest.strip_prefix('/')?;
            let (part, left) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
            places.extend(segment.place().zip(Some(segment.value(part)?)));
            rest = left;
        }
        Some((places, rest))
    }

    /// Whether there is a placeholder with that name.
    pub fn has(&self, name: &str) -> bool {
        self.places().any(|known| known == name)
    }

    /// The names of the placeholders, in order.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::place)
    }

    /// The path with encoded values in its placeholders; `None` if one has no value.
    pub fn fill<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let mut text = self.text.clone();
        for name in self.places() {
            text = text.replace(&format!("{{{name}}}"), &encoded(value(name)?));
        }
        Some(text)
    }

    /// Whether some path matches both patterns.
    pub fn meets(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len() && self.can_begin(other)
    }

    /// Whether some match of this pattern matches the other one, or is under a match.
    pub fn lies_under(&self, other: &Self) -> bool {
        self.segments.len() >= other.segments.len() && self.can_begin(other)
    }

    fn can_begin(&self, other: &Self) -> bool {
        self.segments.iter().zip(&other.segments).all(|(a, b)| a.meets(b))
    }

    /// The number of segments.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether there are no segments: the pattern is above every path.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The first segment, if it is a literal.
    pub fn first(&self) -> Option<&str> {
        match self.segments.first() {
            Some(Segment::Literal(text)) => Some(text),
            _ => None,
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || LITERALS.contains(&byte);
        let Some((before, rest)) = text.split_once('{') else {
            let is_literal =
                !text.is_empty() && !matches!(text, "." | "..") && text.bytes().all(plain);
            return is_literal.then(|| Self::Literal(text.to_owned()));
        };
        let (name, after) = rest.split_once('}')?;
        let of_names = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let is_name = (1..=40).contains(&name.len()) && name.bytes().all(of_names);
        let is_fit = is_name && before.bytes().chain(after.bytes()).all(plain);
        let [before, name, after] = [before, name, after].map(str::to_owned);
        is_fit.then_some(Self::Place { before, name, after })
    }

    fn place(&self) -> Option<&str> {
        match self {
            Self::Place { name, .. } => Some(name),
            Self::Literal(_) => None,
        }
    }

    /// The placeholder's value, if `part` matches; empty for a literal segment.
    fn value<'p>(&self, part: &'p str) -> Option<&'p str> {
        match self {
            Self::Literal(text) => (text == part).then_some(""),
            Self::Place { before, after, .. } => {
                let value = part.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                (!value.is_empty()).then_some(value)
            }
        }
    }

    /// Whether some text matches both segments.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(text), other) | (other, Self::Literal(text)) => {
                other.value(text).is_some()
            }
            (Self::Place { before, after, .. }, Self::Place { before: start, after: end, .. }) => {
                let starts =
                    before.starts_with(start.as_str()) || start.starts_with(before.as_str());
                starts && (after.ends_with(end.as_str()) || end.ends_with(after.as_str()))
            }
        }
    }
}

/// The text as a path segment: everything except unreserved characters is percent-encoded.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
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
        for bad in [
            "jobs", "/a//b", "/a/", "/..", "/a b", "/%61", "/{}", "/{Id}", "/{a}/{a}", "/{a}{b}",
            "/a&b", "/{a", "/a}", "/a?b",
        ] {
            assert!(Pattern::parse(bad).is_none(), "{bad}");
        }
        let jobs = pattern("/sites/{site}/jobs/{id}");
        assert_eq!(jobs.places_of("/sites/9/jobs/x"), Some(vec![("site", "9"), ("id", "x")]));
        for other in ["/sites/9/jobs", "/sites/9/jobs/x/", "/sites//jobs/x", "/sites/9/jobs/x/y"] {
            assert_eq!(jobs.places_of(other), None, "{other}");
        }
        let site = pattern("/sites/{site}");
        assert_eq!(site.places_above("/sites/9/jobs/x"), Some(vec![("site", "9")]));
        let filled = jobs.fill(|name| Some(if name == "id" { "7" } else { "a/b \u{e9}" }));
        assert_eq!(filled.as_deref(), Some("/sites/a%2Fb%20%C3%A9/jobs/7"));
        assert_eq!(jobs.fill(|name| (name == "id").then_some("7")), None);
        assert_eq!(pattern("").places_of("/"), Some(vec![]));
        assert_eq!(pattern("").places_of("/a"), None);
    }

    #[test]
    fn a_segment_may_have_text_around_its_place() {
        let cancel = pattern("/tasks/{id}:cancel");
        assert_eq!(cancel.places_of("/tasks/7:cancel"), Some(vec![("id", "7")]));
        assert_eq!(cancel.places_of("/tasks/:cancel"), None);
        assert_eq!(cancel.places_of("/tasks/7"), None);
        assert_eq!(pattern("/$export").places_of("/$export"), Some(vec![]));
        let root = pattern("/").under(&pattern("/ogc/{a}")).unwrap();
        for path in ["/ogc/1", "/ogc/1/"] {
            assert_eq!(root.places_of(path), Some(vec![("a", "1")]));
        }
        assert_eq!(root.fill(|_| Some("1")).as_deref(), Some("/ogc/1/"));
        assert!(pattern("/{a}").under(&pattern("/ogc/{a}")).is_none());
    }

    #[test]
    fn paths_that_could_be_one_meet() {
        for (a, b, meet) in [
            ("/a/{id}", "/a/b", true),
            ("/a/{id}", "/{x}/b", true),
            ("/a/{id}", "/b/{id}", false),
            ("/a/{id}", "/a", false),
            ("/a/{id}:b", "/a/{id}:c", false),
            ("/a/{id}:b", "/a/{id}", true),
            ("/a/{id}:b", "/a/c:b", true),
        ] {
            assert_eq!(pattern(a).meets(&pattern(b)), meet, "{a} {b}");
        }
        assert!(pattern("/a/{id}").lies_under(&pattern("/a")));
        assert!(pattern("/{x}/b").lies_under(&pattern("/a")));
        assert!(!pattern("/ab/c").lies_under(&pattern("/a")));
        assert!(pattern("/ab").lies_under(&pattern("")));
    }
}
