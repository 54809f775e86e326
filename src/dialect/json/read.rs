//! Converts documents to values of templates.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};

use super::tokens::{Token, Tokens};
use super::{MAX_DEPTH, Texts};

/// An object or a list of a document.
#[derive(Debug)]
pub(super) struct Container {
    /// The whole document.
    document: Arc<str>,
    /// Its place in the document.
    range: Range<usize>,
    members: DynObject,
}

impl Object for Container {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        self.members.repr()
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.members.get_value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.members.enumerate()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Container {
    pub(super) fn text(&self) -> &str {
        self.document.get(self.range.clone()).unwrap_or_default()
    }
}

/// A number that neither a float nor an integer represents.
#[derive(Debug)]
pub(super) struct Number(pub(super) Box<str>);

impl Object for Number {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a JSON text; `None` if it is nested too deeply. Adds the texts of its floats to `texts`.
pub(super) fn read(text: &str, texts: &mut Texts) -> Option<Value> {
    let mut reader = Reader { document: text.into(), tokens: Tokens::of(text), texts };
    let first = reader.tokens.next()?;
    reader.value(first, MAX_DEPTH)
}

/// Reads a document.
struct Reader<'a> {
    document: Arc<str>,
    tokens: Tokens<'a>,
    texts: &'a mut Texts,
}

impl Reader<'_> {
    fn value(&mut self, token: Token<'_>, depth: usize) -> Option<Value> {
        let from = self.tokens.at.saturating_sub(1);
        let members = match token {
            Token::Text(string) => return text_of(string).map(Value::from),
            Token::Word("null") => return Some(Value::from(())),
            Token::Word("true") => return Some(Value::from(true)),
            Token::Word("false") => return Some(Value::from(false)),
            Token::Word(number) => return Some(self.number(number)),
            Token::Sign(b'[') => self.list(depth.checked_sub(1)?)?,
            Token::Sign(_) => self.object(depth.checked_sub(1)?)?,
        };
        let members = members.as_object()?.clone();
        let range = from..self.tokens.at;
        Some(Value::from_object(Container { document: self.document.clone(), range, members }))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        loop {
            match self.tokens.next()? {
                Token::Sign(b']') => return Some(Value::from(items)),
                Token::Sign(b',') => {}
                token => items.push(self.value(token, depth)?),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut members = Vec::new();
        loop {
            match self.tokens.next()? {
                Token::Sign(b'}') => return Some(Value::from_pairs(members)),
                Token::Text(key) => {
                    let _colon = self.tokens.next()?;
                    let value = self.tokens.next()?;
                    members.push((text_of(key)?, self.value(value, depth)?));
                }
                _ => {}
            }
        }
    }

    fn number(&mut self, text: &str) -> Value {
        // Only a float can be -0.
        let is_integer = text != "-0" && text.bytes().all(|it| it.is_ascii_digit() || it == b'-');
        if is_integer {
            let small = text.parse::<i64>().map(Value::from);
            let small = small.or_else(|_| text.parse::<u64>().map(Value::from));
            let large = small.or_else(|_| text.parse::<i128>().map(Value::from));
            let large = large.or_else(|_| text.parse::<u128>().map(Value::from));
            return large.unwrap_or_else(|_| Value::from_object(Number(text.into())));
        }
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let is_zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() && (float == 0.0) == is_zero => {
                let known = self.texts.entry(float.to_bits());
                let known = known.or_insert_with(|| Some(text.into()));
                if known.as_deref() != Some(text) {
                    *known = None;
                }
                Value::from(float)
            }
            _ => Value::from_object(Number(text.into())),
        }
    }
}

fn text_of(string: &str) -> Option<String> {
    serde_json::from_str(string).ok()
}
