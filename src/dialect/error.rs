//! Why a dialect cannot be used: the place in its file, and the error.

use std::fmt;

use serde::de::DeserializeOwned;

use super::near;

/// An error at a place in a dialect's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, if known.
    pub column: Option<usize>,
    /// The error, with the key and the rule.
    pub reason: String,
}

impl FileError {
    /// The error at byte `at` of `text`.
    pub fn at(text: &str, at: usize, reason: impl Into<String>) -> Self {
        let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Self { line, column: Some(column), reason: reason.into() }
    }

    /// Parses a file with the tables of `T`.
    pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Self> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            Self::at(
                text,
                at,
                reason(error.message(), text.split_at_checked(at).unwrap_or_default()),
            )
        })
    }
}

/// The error in plain words. `before` and `rest` are the file's text around the place.
fn reason(message: &str, (before, rest): (&str, &str)) -> String {
    let line = rest.lines().next().unwrap_or_default().trim();
    let key = || Some(before.lines().next_back()?.split_once('=')?.0.trim());
    if let Some((what, expected)) = message.split_once(", expected ") {
        let names = || expected.split('`').skip(1).step_by(2);
        let list = || names().collect::<Vec<_>>().join(", ");
        let word = what.split('`').nth(1).unwrap_or_default();
        let others = || match near::nearest(word, names()) {
            Some(name) => format!("; did you mean {name}?"),
            None => format!("; there are {}", list()),
        };
        if what.starts_with("unknown field ") {
            return format!("there is no key {word} here{}", others());
        }
        if what.starts_with("unknown variant ") {
            return format!("{word} must be one of {}{}", list(), near::question(word, names()));
        }
        if what.starts_with("invalid type: ") || what.starts_with("invalid value: ") {
            let table = line.trim_matches(['[', ']']);
            return match kind(expected) {
                "a list" if line.starts_with('[') && !line.starts_with("[[") => {
                    format!("[{table}] must be [[{table}]]: there may be several")
                }
                _ if line.starts_with("[[") => {
                    format!("[[{table}]] must be [{table}]: there is one")
                }
                kind => format!("{} must be {kind}", key().unwrap_or("this")),
            };
        }
    }
    match message.strip_prefix("missing field ") {
        Some(name) => format!("there must be a key {}", name.trim_matches('`')),
        // A rule for a value that does not name its key.
        None if message.starts_with("must ") => {
            key().map_or_else(|| message.to_owned(), |key| format!("{key} {message}"))
        }
        None => message.to_owned(),
    }
}

/// The expected type in the terms of the file's format.
fn kind(expected: &str) -> &str {
    match expected {
        "a string" => "a text between quotes",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "a map" => "a table",
        "u16" => "a whole number, from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i64" => "a whole number",
        // Only numbers are valid in the file, and too large for a value.
        "any valid TOML value" => "a whole number of at most 9223372036854775807",
        "f64" => "a number",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for FileError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its form is looked at")]
    struct File {
        #[serde(default)]
        relay: Vec<toml::Spanned<Relay>>,
        states: Option<BTreeMap<String, String>>,
        wait: Option<Relay>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its form is looked at")]
    struct Relay {
        name: String,
        answer: Option<toml::Spanned<u16>>,
        kind: Option<Kind>,
        preserve_host: Option<bool>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Slow,
        Fast,
    }

    #[test]
    fn what_is_wrong_is_said_in_words_of_the_format() {
        let relay = |text: &str| format!("[[relay]]\nname = \"a\"\n{text}\n");
        for (text, expected) in [
            (
                "[relay]\nname = \"a\"\n".to_owned(),
                "line 1, column 1: [relay] must be [[relay]]: there may be several",
            ),
            (
                "[[wait]]\nname = \"a\"\n".to_owned(),
                "line 1, column 1: [[wait]] must be [wait]: there is one",
            ),
            (
                "[[relays]]\nname = \"a\"\n".to_owned(),
                "line 1, column 3: there is no key relays here; did you mean relay?",
            ),
            (
                "[x]\n".to_owned(),
                "line 1, column 2: there is no key x here; there are relay, states, wait",
            ),
            (
                relay("anwser = 303"),
                "line 3, column 1: there is no key anwser here; did you mean answer?",
            ),
            (
                relay("answer = \"303\""),
                "line 3, column 10: answer must be a whole number, from 0 to 65535",
            ),
            (
                relay("answer = 70000"),
                "line 3, column 10: answer must be a whole number, from 0 to 65535",
            ),
            (relay("preserve_host = 1"), "line 3, column 17: preserve_host must be true or false"),
            (
                relay("kind = \"slwo\""),
                "line 3, column 8: slwo must be one of slow, fast; did you mean slow?",
            ),
            ("[[relay]]\nanswer = 303\n".to_owned(), "line 1, column 1: there must be a key name"),
            ("relay = 7\n".to_owned(), "line 1, column 9: relay must be a list"),
            ("[states]\na = 1\n".to_owned(), "line 2, column 5: a must be a text between quotes"),
        ] {
            assert_eq!(FileError::read::<File>(&text).unwrap_err().to_string(), expected, "{text}");
        }
        FileError::read::<File>(&relay("answer = 303")).unwrap();
    }
}
