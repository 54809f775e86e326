//! The names in a template that the library does not report in advance: filters, tests, tags, other templates, and
//! imports from them.
//!
//! Recognizes only strings, words and signs. The library parses the template; this only reports errors early that the
//! library reports late.

/// A name in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) role: Role,
    /// From 0.
    pub(super) line: usize,
}

/// The use of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// After a `|`.
    Filter,
    /// After `is` or `is not`.
    Test,
    /// After `{%`.
    Tag,
    /// Another template, in quotes; empty if none is named there.
    Template,
    /// A name imported from another template.
    Import,
}

/// A piece of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// The text between quotes, as written.
    Text(&'a str),
    Sign(u8),
}

/// The code between `{{` and `}}`, or between `{%` and `%}`: tokens, each with its line.
#[derive(Debug, Default)]
struct Code<'a> {
    is_block: bool,
    tokens: Vec<(Token<'a>, usize)>,
}

/// Every name in `source` that has a role.
pub(super) fn words(source: &str) -> Vec<Word<'_>> {
    let codes = codes(source);
    let mut found = Vec::new();
    for code in &codes {
        code.words(&mut found);
    }
    let modules: Vec<&str> = codes.iter().filter_map(Code::module).collect();
    for code in &codes {
        let taken = modules.iter().flat_map(|module| code.members(module));
        found.extend(taken.map(|(text, line)| Word { text, role: Role::Import, line }));
    }
    found
}

/// The names that other templates can import from `source`: its macros, and what it sets outside of them.
pub(super) fn exports(source: &str) -> Vec<&str> {
    let (mut found, mut depth) = (Vec::new(), 0_usize);
    for code in codes(source).into_iter().filter(|code| code.is_block) {
        let mut words = code.tokens.iter().map(|(token, _)| *token);
        match words.next() {
            Some(Token::Word("macro")) => {
                if let (Some(Token::Word(name)), 0) = (words.next(), depth) {
                    found.push(name);
                }
                depth += 1;
            }
            Some(Token::Word("endmacro")) => depth = depth.saturating_sub(1),
            Some(Token::Word("set")) if depth == 0 => {
                let names = words.take_while(|token| *token != Token::Sign(b'='));
                found.extend(names.filter_map(|token| match token {
                    Token::Word(name) => Some(name),
                    Token::Text(_) | Token::Sign(_) => None,
                }));
            }
            _ => {}
        }
    }
    found
}

/// The members of `variable` that `source` uses, wherever the variable comes from.
pub(super) fn members<'a>(source: &'a str, variable: &str) -> Vec<&'a str> {
    let codes = codes(source);
    let found = codes.iter().flat_map(|code| code.members(variable));
    found.map(|(name, _)| name).collect()
}

impl<'a> Code<'a> {
    fn words(&self, found: &mut Vec<Word<'a>>) {
        let mut add = |text, role, line| found.push(Word { text, role, line });
        let mut expected = self.is_block.then_some(Role::Tag);
        for (token, line) in &self.tokens {
            expected = match (*token, expected) {
                (Token::Sign(b'|'), _) => Some(Role::Filter),
                (Token::Word("not"), Some(Role::Test)) | (Token::Word("is"), None) => {
                    Some(Role::Test)
                }
                (Token::Word(text), Some(role)) => {
                    add(text, role, *line);
                    None
                }
                _ => None,
            };
        }
        let (Some((Token::Word(tag), line)), true) = (self.tokens.first(), self.is_block) else {
            return;
        };
        if !matches!(*tag, "from" | "import" | "include" | "extends") {
            return;
        }
        match self.tokens.get(1) {
            Some((Token::Text(name), line)) => add(name, Role::Template, *line),
            _ => add("", Role::Template, *line),
        }
        if *tag == "from" {
            let mut names = self.tokens.iter().skip_while(|it| it.0 != Token::Word("import"));
            let mut before = names.next().map(|_| Token::Sign(b','));
            for (token, line) in names {
                if let (Some(Token::Sign(b',')), Token::Word(name)) = (before, token) {
                    add(name, Role::Import, *line);
                }
                before = Some(*token);
            }
        }
    }

    /// The name by which the code imports a template as a whole.
    fn module(&self) -> Option<&'a str> {
        match self.tokens.as_slice() {
            [
                (Token::Word("import"), _),
                (Token::Text(_), _),
                (Token::Word("as"), _),
                (Token::Word(name), _),
                ..,
            ] if self.is_block => Some(name),
            _ => None,
        }
    }

    /// The names after `variable` and a dot, or in brackets and quotes, with their lines.
    fn members(&self, variable: &str) -> impl Iterator<Item = (&'a str, usize)> {
        self.tokens.windows(3).filter_map(move |tokens| match tokens {
            [(Token::Word(name), _), (Token::Sign(b'.'), _), (Token::Word(member), line)]
            | [(Token::Word(name), _), (Token::Sign(b'['), _), (Token::Text(member), line)]
                if *name == variable =>
            {
                Some((*member, *line))
            }
            _ => None,
        })
    }
}

fn codes(source: &str) -> Vec<Code<'_>> {
    let mut found = Vec::new();
    let mut lines = Lines { bytes: source.as_bytes(), at: 0, line: 0 };
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
        let mut code = Code { is_block, tokens: Vec::new() };
        at = read(source, start + 2, closing, &mut lines, &mut code);
        found.push(code);
    }
    found
}

/// Reads code up to `closing`; returns where it ends.
fn read<'a>(
    source: &'a str,
    from: usize,
    closing: &str,
    lines: &mut Lines<'_>,
    code: &mut Code<'a>,
) -> usize {
    let bytes = source.as_bytes();
    let mut at = from;
    while let Some(&byte) = bytes.get(at) {
        if bytes.get(at..).is_some_and(|rest| rest.starts_with(closing.as_bytes())) {
            return at + closing.len();
        }
        let start = at;
        let token = match byte {
            b'"' | b'\'' => {
                at += 1;
                while bytes.get(at).is_some_and(|next| *next != byte) {
                    at += if bytes.get(at) == Some(&b'\\') { 2 } else { 1 };
                }
                at += 1;
                Token::Text(source.get(start + 1..at - 1).unwrap_or_default())
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                at += bytes.iter().skip(at).take_while(|byte| is_part(byte)).count();
                Token::Word(source.get(start..at).unwrap_or_default())
            }
            _ => {
                at += 1;
                let says_nothing =
                    byte.is_ascii_whitespace() || matches!(byte, b'-' | b'+') && start == from;
                if says_nothing {
                    continue;
                }
                Token::Sign(byte)
            }
        };
        code.tokens.push((token, lines.of(start)));
    }
    at
}

/// Counts lines, forwards only.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line of the byte `at`, from 0.
    fn of(&mut self, at: usize) -> usize {
        let passed = self.bytes.get(self.at..at).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at = at;
        self.line
    }
}

/// Whether a line contains the variable's first part.
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

    #[test]
    fn templates_and_what_is_taken_of_them_are_found() {
        let source = "{% from \"macros\" import a, b as c %}\n{% import 'x' as m %}{{ m.d(m['e']) }}\
                      {% include it %}";
        let found = words(source).into_iter().filter(|it| it.role != Role::Tag);
        let found: Vec<_> = found.map(|it| (it.text, it.role, it.line)).collect();
        let expected = [
            ("macros", Role::Template, 0),
            ("a", Role::Import, 0),
            ("b", Role::Import, 0),
            ("x", Role::Template, 1),
            ("", Role::Template, 1),
            ("d", Role::Import, 1),
            ("e", Role::Import, 1),
        ];
        assert_eq!(found, expected);
        assert_eq!(members(source, "m"), ["d", "e"]);
        let source = "{% macro a(x) %}{% set y = 1 %}{% endmacro %}{%- set b, c = d -%}";
        assert_eq!(exports(source), ["a", "b", "c"]);
    }
}
