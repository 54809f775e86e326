//! The names that a template uses and the library does not tell of beforehand: filters, tests, tags.
//!
//! Reads no more of the language than what is a string and what is code. The library parses the template; this only
//! makes its late errors early.

/// The filters and the tests that there are most use for: for near misses, because the library does not list its own.
pub(super) const FILTERS: &[&str] = &[
    "abs",
    "batch",
    "bool",
    "default",
    "dictsort",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "quoted",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "time",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "urlencode",
];
pub(super) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "even",
    "false",
    "in",
    "iterable",
    "mapping",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];

/// A name in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) role: Role,
    /// From 0.
    pub(super) line: usize,
}

/// What a name is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Behind a `|`.
    Filter,
    /// Behind `is` or `is not`.
    Test,
    /// Behind `{%`.
    Tag,
}

/// Every filter, test and tag of `source`.
pub(super) fn words(source: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = source.get(at..).and_then(|rest| rest.find('{')).map(|i| at + i) {
        let (closing, is_block) = match source.as_bytes().get(start + 1) {
            Some(b'{') => ("}}", false),
            Some(b'%') => ("%}", true),
            Some(b'#') => {
                let end = source.get(start..).and_then(|rest| rest.find("#}"));
                at = end.map_or(source.len(), |end| start + end + 2);
                continue;
            }
            _ => {
                at = start + 1;
                continue;
            }
        };
        at = code(source, start + 2, closing, is_block, &mut found);
    }
    found
}

/// Reads code up to `closing`; answers where it ends.
fn code<'a>(
    source: &'a str,
    from: usize,
    closing: &str,
    is_block: bool,
    found: &mut Vec<Word<'a>>,
) -> usize {
    let bytes = source.as_bytes();
    let mut at = from;
    let mut expected = is_block.then_some(Role::Tag);
    while let Some(&byte) = bytes.get(at) {
        if bytes.get(at..).is_some_and(|rest| rest.starts_with(closing.as_bytes())) {
            return at + closing.len();
        }
        match byte {
            b'"' | b'\'' => {
                at += 1;
                while bytes.get(at).is_some_and(|next| *next != byte) {
                    at += if bytes.get(at) == Some(&b'\\') { 2 } else { 1 };
                }
                expected = None;
                at += 1;
            }
            b'|' => {
                expected = Some(Role::Filter);
                at += 1;
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                let length = bytes.iter().skip(at).take_while(|byte| is_part(byte)).count();
                let text = source.get(at..at + length).unwrap_or_default();
                match (expected.take(), text) {
                    (Some(Role::Test), "not") => expected = Some(Role::Test),
                    (Some(role), _) => {
                        let before = bytes.iter().take(at);
                        let line = before.filter(|byte| **byte == b'\n').count();
                        found.push(Word { text, role, line });
                    }
                    (None, "is") => expected = Some(Role::Test),
                    (None, _) => {}
                }
                at += length;
            }
            b'-' | b'+' if at == from => at += 1,
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => {
                expected = None;
                at += 1;
            }
        }
    }
    at
}

/// Whether a line has the variable in it, by its first part.
pub(super) fn mentions(line: &str, variable: &str) -> bool {
    let name = variable.split('.').next_back().unwrap_or_default();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.split(|c| !is_part(c)).any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_tests_and_tags_are_found_outside_strings_only() {
        let source = "a | b {{ x|upper | trim('| no') }}\n{%- if y is not none %}{# {{ z|no }} #}\
                      {\"k\": {{ \"is no\\\" | no\" }} }{% endif %}";
        let found: Vec<_> = words(source).iter().map(|it| (it.text, it.role, it.line)).collect();
        let expected = [
            ("upper", Role::Filter, 0),
            ("trim", Role::Filter, 0),
            ("if", Role::Tag, 1),
            ("none", Role::Test, 1),
            ("endif", Role::Tag, 1),
        ];
        assert_eq!(found, expected);
    }
}
