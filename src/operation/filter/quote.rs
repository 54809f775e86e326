//! Texts as values within a filter: the inverse of what `lex` reads.

/// The text in quotes, as a literal: no character in it has a special meaning.
pub fn quoted(text: &str) -> String {
    escaped(text, &['"', '\\', '*'])
}

/// The text in quotes, as a pattern: a star at its beginning or end stands for any text.
pub fn quoted_pattern(text: &str) -> String {
    escaped(text, &['"', '\\'])
}

fn escaped(text: &str, special: &[char]) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if special.contains(&c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
