//! The words of filters: operators, values, and the characters between.

use super::{Comparison, FilterError, Pattern};
use crate::operation::Timestamp;
use crate::time_text::{NotATime, parse_time};

/// A place in the text of a filter.
pub(super) struct Lexer {
    chars: Vec<char>,
    at: usize,
}

/// A value as written: its place, with escapes if it was quoted.
pub(super) struct Literal {
    pub(super) position: usize,
    pub(super) raw: String,
    pub(super) quoted: bool,
}

/// The operator between a field and a value; `Has` is the colon.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Operator {
    Compare(Comparison),
    Has,
}

impl Lexer {
    pub(super) fn new(chars: Vec<char>) -> Self {
        Self { chars, at: 0 }
    }

    /// The number of characters before it.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn operator(&mut self) -> Result<(Operator, usize), FilterError> {
        self.skip_blanks();
        let position = self.at;
        let first = self.peek();
        let then_equals = self.chars.get(position + 1) == Some(&'=');
        let (operator, length) = match first {
            Some('=') => (Operator::Compare(Comparison::Equal), 1),
            Some('!') if then_equals => (Operator::Compare(Comparison::NotEqual), 2),
            Some('<') if then_equals => (Operator::Compare(Comparison::LessOrEqual), 2),
            Some('<') => (Operator::Compare(Comparison::Less), 1),
            Some('>') if then_equals => (Operator::Compare(Comparison::GreaterOrEqual), 2),
            Some('>') => (Operator::Compare(Comparison::Greater), 1),
            Some(':') => (Operator::Has, 1),
            _ => {
                let rule = "an operator is expected behind the field: =, !=, <, <=, >, >= or :";
                return Err(self.error(rule));
            }
        };
        self.at += length;
        Ok((operator, position))
    }

    pub(super) fn value(&mut self) -> Result<Literal, FilterError> {
        self.skip_blanks();
        let literal = self.literal()?;
        if literal.raw.is_empty() && !literal.quoted {
            return Err(error(literal.position, "a value is expected behind the operator"));
        }
        Ok(literal)
    }

    pub(super) fn literal(&mut self) -> Result<Literal, FilterError> {
        let position = self.at;
        let Some(quote @ ('"' | '\'')) = self.peek() else {
            return Ok(Literal { position, raw: self.word(true), quoted: false });
        };
        self.at += 1;
        let mut raw = String::new();
        while let Some(next) = self.peek() {
            self.at += 1;
            if next == quote {
                return Ok(Literal { position, raw, quoted: true });
            }
            raw.push(next);
            if next == '\\' {
                raw.extend(self.peek());
                self.at += 1;
            }
        }
        Err(error(position, "the closing quote of this text is missing"))
    }

    /// The characters up to a blank, parenthesis, quote or operator. A value may have colons.
    pub(super) fn word(&mut self, is_value: bool) -> String {
        let mut word = String::new();
        while let Some(next) = self.peek() {
            let ends = next.is_whitespace()
                || matches!(next, '(' | ')' | '=' | '!' | '<' | '>' | '"' | '\'' | ',')
                || (next == ':' && !is_value);
            if ends {
                break;
            }
            word.push(next);
            self.at += 1;
        }
        word
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(super) fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let found = self.at_keyword(keyword);
        if found {
            self.at += keyword.len();
        }
        found
    }

    pub(super) fn at_keyword(&self, keyword: &str) -> bool {
        let mut rest = self.chars.iter().skip(self.at);
        keyword.chars().all(|c| rest.next() == Some(&c))
            && rest.next().is_none_or(|c| c.is_whitespace() || *c == '(')
    }

    pub(super) fn error(&self, rule: &str) -> FilterError {
        error(self.at, rule)
    }
}

impl Literal {
    pub(super) fn is_star(&self) -> bool {
        !self.quoted && self.raw == "*"
    }

    /// A text in which a star at either end stands for any text.
    pub(super) fn pattern(&self) -> Result<Pattern, FilterError> {
        let open_start = self.raw.starts_with('*');
        let rest = self.raw.strip_prefix('*').unwrap_or(&self.raw);
        let stem = rest.strip_suffix('*');
        // After an odd number of backslashes the star is an ordinary character.
        let open_end = stem.is_some_and(|stem| {
            let backslashes = stem.chars().rev().take_while(|c| *c == '\\').count();
            !self.quoted || backslashes % 2 == 0
        });
        let rest = stem.filter(|_| open_end).unwrap_or(rest);
        let (text, has_star) = if self.quoted { unescape_stars(rest) } else { plain_stars(rest) };
        if has_star {
            let rule = "* stands at the beginning or end of a text; as a character it is \\* in \
                        quotes";
            return Err(error(self.position, rule));
        }
        Ok(match (open_start, open_end) {
            (false, false) => Pattern::Exact(text),
            (false, true) => Pattern::Prefix(text),
            (true, false) => Pattern::Suffix(text),
            (true, true) => Pattern::Infix(text),
        })
    }

    pub(super) fn time(&self) -> Result<Timestamp, FilterError> {
        let text = if self.quoted { unescape(&self.raw) } else { self.raw.clone() };
        let time = parse_time(&text).ok();
        let time = time.and_then(|(seconds, nanos)| Timestamp::from_unix(seconds, nanos));
        time.ok_or_else(|| error(self.position, format!("a time {NotATime}")))
    }
}

pub(super) fn error(position: usize, rule: impl Into<String>) -> FilterError {
    FilterError { position, rule: rule.into() }
}

pub(super) fn unescape(raw: &str) -> String {
    unescape_stars(raw).0
}

/// The text without its escapes, and whether it had an unescaped star.
fn unescape_stars(raw: &str) -> (String, bool) {
    let (mut text, mut star) = (String::with_capacity(raw.len()), false);
    let mut chars = raw.chars();
    while let Some(next) = chars.next() {
        match next {
            '\\' => text.extend(chars.next()),
            '*' => {
                star = true;
                text.push(next);
            }
            _ => text.push(next),
        }
    }
    (text, star)
}

fn plain_stars(raw: &str) -> (String, bool) {
    (raw.to_owned(), raw.contains('*'))
}
