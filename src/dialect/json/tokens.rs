//! The tokens of a JSON text.

use serde::de::IgnoredAny;

/// A token of a JSON text.
#[derive(Clone, Copy)]
pub(super) enum Token<'a> {
    /// One of `{}[]:,`.
    Sign(u8),
    /// A string with its quotes.
    Text(&'a str),
    /// A number, or `true`, `false`, `null`.
    Word(&'a str),
}

/// The tokens of a valid JSON text.
pub(super) struct Tokens<'a> {
    text: &'a str,
    /// The offset of the next one.
    pub(super) at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        let from = self.at;
        let first = *bytes.get(from)?;
        self.at += 1;
        if b"{}[]:,".contains(&first) {
            return Some(Token::Sign(first));
        }
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"{}[]:,\"".contains(byte);
        while let Some(byte) = bytes.get(self.at) {
            match (first, byte) {
                (b'"', b'\\') => self.at += 2,
                (b'"', b'"') => {
                    self.at += 1;
                    break;
                }
                (b'"', _) => self.at += 1,
                (_, byte) if is_end(byte) => break,
                _ => self.at += 1,
            }
        }
        let piece = self.text.get(from..self.at).unwrap_or_default();
        Some(if first == b'"' { Token::Text(piece) } else { Token::Word(piece) })
    }
}

/// A JSON text without spaces, its strings as this program writes them and its numbers unchanged. An error if it is not
/// JSON.
pub(in crate::dialect) fn compact(text: &str) -> Result<String, serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(text)?;
    let mut made = String::with_capacity(text.len());
    for token in Tokens::of(text) {
        match token {
            Token::Sign(sign) => made.push(char::from(sign)),
            Token::Text(string) if string.contains('\\') => {
                let string: String = serde_json::from_str(string)?;
                made.push_str(&serde_json::to_string(&string)?);
            }
            Token::Text(piece) | Token::Word(piece) => made.push_str(piece),
        }
    }
    Ok(made)
}
