//! The grammar of filters, by recursive descent over the characters.
//!
//! ```text
//! filter      = [all]
//! all         = any { ["AND"] any }             juxtaposition is AND
//! any         = term { "OR" term }              OR binds tighter than AND
//! term        = { "NOT" | "-" } ( "(" all ")" | restriction )
//! restriction = field operator value
//! field       = NAME | "labels." KEY | "labels." STRING | "labels" ":" KEY
//! operator    = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
//! value       = WORD | STRING                   ":*" asks for presence
//! ```
//!
//! `*` at the beginning or end of a kind or a label's value stands for any text; `\*` in a string
//! is the character.

use std::str::FromStr;

use super::{Comparison, Expr, Filter, FilterError, LabelTest, NumberField, Pattern};
use super::{Test, TimeField};
use crate::operation::id::valid_label_key;
use crate::operation::{StateName, Timestamp};

const FIELDS: &str = "state, kind, labels.KEY, create_time, update_time, start_time, end_time, \
                      priority, attempt or done";

/// Longest text that is tried as a time; no RFC 3339 time is longer.
const MAX_TIME_CHARS: usize = 64;

pub(super) fn parse(text: &str) -> Result<Option<Expr>, FilterError> {
    let chars: Vec<char> = text.chars().take(Filter::MAX_CHARS + 1).collect();
    if chars.len() > Filter::MAX_CHARS {
        let rule = format!("a filter has at most {} characters", Filter::MAX_CHARS);
        return Err(FilterError { position: Filter::MAX_CHARS, rule });
    }
    let mut parser = Parser { chars, at: 0 };
    parser.skip_blanks();
    if parser.peek().is_none() {
        return Ok(None);
    }
    let root = parser.all(0)?;
    match parser.peek() {
        None => Ok(Some(root)),
        Some(_) => Err(parser.error("there is no open parenthesis for this one")),
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

/// A value as written: where, and with which escapes still in it if it was quoted.
struct Literal {
    position: usize,
    raw: String,
    quoted: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Operator {
    Compare(Comparison),
    Has,
}

impl Parser {
    fn all(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.any(depth)?];
        loop {
            self.skip_blanks();
            match self.peek() {
                None | Some(')') => return Ok(one_or(parts, Expr::All)),
                Some(_) if self.at_keyword("OR") => {
                    return Err(self.error("OR stands between two conditions"));
                }
                Some(_) => {
                    self.keyword("AND");
                    parts.push(self.any(depth)?);
                }
            }
        }
    }

    fn any(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.term(depth)?];
        loop {
            self.skip_blanks();
            if !self.keyword("OR") {
                return Ok(one_or(parts, Expr::Any));
            }
            parts.push(self.term(depth)?);
        }
    }

    fn term(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut negated = false;
        loop {
            self.skip_blanks();
            if self.keyword("NOT") || self.accept('-') {
                negated = !negated;
            } else {
                break;
            }
        }
        let expr = if self.peek() == Some('(') {
            if depth >= Filter::MAX_DEPTH {
                let limit = Filter::MAX_DEPTH;
                return Err(self.error(&format!("parentheses nest at most {limit} deep")));
            }
            self.at += 1;
            let inner = self.all(depth + 1)?;
            if !self.accept(')') {
                return Err(self.error("a closing parenthesis is missing"));
            }
            inner
        } else {
            Expr::Test(self.restriction()?)
        };
        Ok(if negated { Expr::Not(Box::new(expr)) } else { expr })
    }

    fn restriction(&mut self) -> Result<Test, FilterError> {
        let position = self.at;
        let field = self.word(false);
        if field.is_empty() || matches!(field.as_str(), "AND" | "OR") {
            return Err(error(position, format!("a condition is expected: {FIELDS}")));
        }
        if let Some(key) = field.strip_prefix("labels.") {
            let key = match (key, self.peek()) {
                ("", Some('"' | '\'')) => unescape(&self.literal()?.raw),
                (key, _) => key.to_owned(),
            };
            return self.label(position, key);
        }
        match field.as_str() {
            "labels" => self.label_presence(position),
            "state" => self.state(),
            "kind" => {
                let (is, literal) = self.equality("kind")?;
                Ok(Test::Kind { is, pattern: literal.pattern()? })
            }
            "create_time" => self.time(TimeField::Create),
            "update_time" => self.time(TimeField::Update),
            "start_time" => self.time(TimeField::Start),
            "end_time" => self.time(TimeField::End),
            "priority" => self.number(NumberField::Priority),
            "attempt" => self.number(NumberField::Attempt),
            "done" => self.done(),
            _ => Err(error(position, format!("there is no field {field:?}, only {FIELDS}"))),
        }
    }

    fn label(&mut self, position: usize, key: String) -> Result<Test, FilterError> {
        valid_label_key(&key)
            .map_err(|rule| error(position, format!("the key of a label {rule}")))?;
        let (operator, at) = self.operator()?;
        let literal = self.value()?;
        let value = match operator {
            Operator::Has if literal.is_star() => LabelTest::Present,
            Operator::Has | Operator::Compare(Comparison::Equal) => {
                LabelTest::Fits { is: true, pattern: literal.pattern()? }
            }
            Operator::Compare(Comparison::NotEqual) => {
                LabelTest::Fits { is: false, pattern: literal.pattern()? }
            }
            Operator::Compare(_) => return Err(error(at, "a label takes =, != or :")),
        };
        Ok(Test::Label { key, value })
    }

    fn label_presence(&mut self, position: usize) -> Result<Test, FilterError> {
        let (operator, _) = self.operator()?;
        if operator != Operator::Has {
            return Err(error(position, "a label is written labels.KEY, its presence labels:KEY"));
        }
        let literal = self.value()?;
        let key = unescape(&literal.raw);
        valid_label_key(&key)
            .map_err(|rule| error(literal.position, format!("the key of a label {rule}")))?;
        Ok(Test::Label { key, value: LabelTest::Present })
    }

    fn state(&mut self) -> Result<Test, FilterError> {
        let (is, literal) = self.equality("state")?;
        let text = unescape(&literal.raw);
        let name = text.strip_prefix("STATE_").unwrap_or(&text);
        match StateName::parse(name) {
            Some(state) => Ok(Test::State { is, state }),
            None => {
                let names = StateName::ALL.map(StateName::as_str).join(", ");
                Err(error(literal.position, format!("a state is one of {names}")))
            }
        }
    }

    fn time(&mut self, field: TimeField) -> Result<Test, FilterError> {
        let (operator, at) = self.operator()?;
        let literal = self.value()?;
        let compare = match operator {
            Operator::Has if literal.is_star() => None,
            Operator::Has => {
                return Err(error(at, "a time takes =, !=, <, <=, >, >= or, for presence, :*"));
            }
            Operator::Compare(compare) => Some((compare, literal.time()?)),
        };
        Ok(Test::Time { field, compare })
    }

    fn number(&mut self, field: NumberField) -> Result<Test, FilterError> {
        let (operator, at) = self.operator()?;
        let literal = self.value()?;
        let Operator::Compare(compare) = operator else {
            return Err(error(at, "a number takes =, !=, <, <=, > or >="));
        };
        match literal.raw.parse() {
            Ok(value) if !literal.quoted => Ok(Test::Number { field, compare, value }),
            _ => Err(error(literal.position, "a whole number is expected, without quotes")),
        }
    }

    fn done(&mut self) -> Result<Test, FilterError> {
        let (is, literal) = self.equality("done")?;
        match literal.raw.as_str() {
            "true" if !literal.quoted => Ok(Test::Done(is)),
            "false" if !literal.quoted => Ok(Test::Done(!is)),
            _ => Err(error(literal.position, "true or false is expected, without quotes")),
        }
    }

    /// An operator that says equal or not, and the value behind it.
    fn equality(&mut self, field: &str) -> Result<(bool, Literal), FilterError> {
        let (operator, at) = self.operator()?;
        let is = match operator {
            Operator::Compare(Comparison::Equal) => true,
            Operator::Compare(Comparison::NotEqual) => false,
            Operator::Has if field == "kind" => true,
            _ if field == "kind" => return Err(error(at, "kind takes =, != or :")),
            _ => return Err(error(at, format!("{field} takes = or !="))),
        };
        Ok((is, self.value()?))
    }

    fn operator(&mut self) -> Result<(Operator, usize), FilterError> {
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

    fn value(&mut self) -> Result<Literal, FilterError> {
        self.skip_blanks();
        let literal = self.literal()?;
        if literal.raw.is_empty() && !literal.quoted {
            return Err(error(literal.position, "a value is expected behind the operator"));
        }
        Ok(literal)
    }

    fn literal(&mut self) -> Result<Literal, FilterError> {
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
    fn word(&mut self, is_value: bool) -> String {
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

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found = self.at_keyword(keyword);
        if found {
            self.at += keyword.len();
        }
        found
    }

    fn at_keyword(&self, keyword: &str) -> bool {
        let mut rest = self.chars.iter().skip(self.at);
        keyword.chars().all(|c| rest.next() == Some(&c))
            && rest.next().is_none_or(|c| c.is_whitespace() || *c == '(')
    }

    fn error(&self, rule: &str) -> FilterError {
        error(self.at, rule)
    }
}

impl Literal {
    fn is_star(&self) -> bool {
        !self.quoted && self.raw == "*"
    }

    /// A text in which a star at either end stands for any text.
    fn pattern(&self) -> Result<Pattern, FilterError> {
        let open_start = self.raw.starts_with('*');
        let rest = self.raw.strip_prefix('*').unwrap_or(&self.raw);
        let stem = rest.strip_suffix('*');
        // Behind an odd number of backslashes the star is a character.
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

    fn time(&self) -> Result<Timestamp, FilterError> {
        let text = if self.quoted { unescape(&self.raw) } else { self.raw.clone() };
        let parsed = (text.len() <= MAX_TIME_CHARS && text.contains(['T', 't']))
            .then(|| prost_types::Timestamp::from_str(&text).ok())
            .flatten();
        let micros = parsed.and_then(|time| {
            time.seconds.checked_mul(1_000_000)?.checked_add(i64::from(time.nanos) / 1_000)
        });
        micros.map(Timestamp::from_micros).ok_or_else(|| {
            error(self.position, "a time is written as in \"2026-01-31T12:00:00Z\" (RFC 3339)")
        })
    }
}

fn error(position: usize, rule: impl Into<String>) -> FilterError {
    FilterError { position, rule: rule.into() }
}

fn one_or(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn unescape(raw: &str) -> String {
    unescape_stars(raw).0
}

/// The text without its escapes, and whether a star was in it that was not escaped.
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
