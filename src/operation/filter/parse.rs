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

use super::lex::{Lexer, Literal, Operator, error, unescape};
use super::{
    Comparison, Expr, Filter, FilterError, LabelTest, NumberField, ParentTest, Test, TimeField,
};
use crate::operation::id::valid_label_key;
use crate::operation::{OperationId, StateName};

const FIELDS: &str = "state, kind, labels.KEY, create_time, update_time, start_time, end_time, \
                      priority, attempt, done or parent";

pub(super) fn parse(text: &str) -> Result<Option<Expr>, FilterError> {
    let chars: Vec<char> = text.chars().take(Filter::MAX_CHARS + 1).collect();
    if chars.len() > Filter::MAX_CHARS {
        let rule = format!("a filter has at most {} characters", Filter::MAX_CHARS);
        return Err(FilterError { position: Filter::MAX_CHARS, rule });
    }
    let mut parser = Parser { lexer: Lexer::new(chars), label_tests: 0 };
    parser.lexer.skip_blanks();
    if parser.lexer.peek().is_none() {
        return Ok(None);
    }
    let root = parser.all(0)?;
    match parser.lexer.peek() {
        None => Ok(Some(root)),
        Some(_) => Err(parser.lexer.error("there is no open parenthesis for this one")),
    }
}

struct Parser {
    lexer: Lexer,
    /// The number of label tests so far.
    label_tests: usize,
}

impl Parser {
    fn all(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.any(depth)?];
        loop {
            self.lexer.skip_blanks();
            match self.lexer.peek() {
                None | Some(')') => return Ok(one_or(parts, Expr::All)),
                Some(_) if self.lexer.at_keyword("OR") => {
                    return Err(self.lexer.error("OR must be between two conditions"));
                }
                Some(_) => {
                    self.lexer.keyword("AND");
                    parts.push(self.any(depth)?);
                }
            }
        }
    }

    fn any(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.term(depth)?];
        loop {
            self.lexer.skip_blanks();
            if !self.lexer.keyword("OR") {
                return Ok(one_or(parts, Expr::Any));
            }
            parts.push(self.term(depth)?);
        }
    }

    fn term(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut negated = false;
        loop {
            self.lexer.skip_blanks();
            if self.lexer.keyword("NOT") || self.lexer.accept('-') {
                negated = !negated;
            } else {
                break;
            }
        }
        let expr = if self.lexer.peek() == Some('(') {
            if depth >= Filter::MAX_DEPTH {
                let limit = Filter::MAX_DEPTH;
                return Err(self.lexer.error(&format!("parentheses nest at most {limit} deep")));
            }
            self.lexer.accept('(');
            let inner = self.all(depth + 1)?;
            if !self.lexer.accept(')') {
                return Err(self.lexer.error("a closing parenthesis is missing"));
            }
            inner
        } else {
            Expr::Test(self.restriction()?)
        };
        Ok(if negated { Expr::Not(Box::new(expr)) } else { expr })
    }

    fn restriction(&mut self) -> Result<Test, FilterError> {
        let position = self.lexer.position();
        let field = self.lexer.word(false);
        if field.is_empty() || matches!(field.as_str(), "AND" | "OR") {
            return Err(error(position, format!("a condition is expected: {FIELDS}")));
        }
        if let Some(key) = field.strip_prefix("labels.") {
            let key = match (key, self.lexer.peek()) {
                ("", Some('"' | '\'')) => unescape(&self.lexer.literal()?.raw),
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
            "parent" => self.parent(),
            _ => {
                let shown: String = field.chars().take(64).collect();
                Err(error(position, format!("there is no field {shown:?}, only {FIELDS}")))
            }
        }
    }

    /// Counts a label test. Each one reads another table for every operation that a list passes.
    fn count_label(&mut self, position: usize) -> Result<(), FilterError> {
        self.label_tests += 1;
        if self.label_tests > Filter::MAX_LABEL_TESTS {
            let rule = format!("a filter tests labels at most {} times", Filter::MAX_LABEL_TESTS);
            return Err(error(position, rule));
        }
        Ok(())
    }

    fn label(&mut self, position: usize, key: String) -> Result<Test, FilterError> {
        self.count_label(position)?;
        valid_label_key(&key)
            .map_err(|rule| error(position, format!("the key of a label {rule}")))?;
        let (operator, at) = self.lexer.operator()?;
        let literal = self.lexer.value()?;
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
        self.count_label(position)?;
        let (operator, _) = self.lexer.operator()?;
        if operator != Operator::Has {
            return Err(error(position, "a label is written labels.KEY, its presence labels:KEY"));
        }
        let literal = self.lexer.value()?;
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
        let (operator, at) = self.lexer.operator()?;
        let literal = self.lexer.value()?;
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
        let (operator, at) = self.lexer.operator()?;
        let literal = self.lexer.value()?;
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

    fn parent(&mut self) -> Result<Test, FilterError> {
        let (operator, at) = self.lexer.operator()?;
        let literal = self.lexer.value()?;
        if operator == Operator::Has && literal.is_star() {
            return Ok(Test::Parent(ParentTest::Present));
        }
        let text = unescape(&literal.raw);
        let id = OperationId::parse(text.strip_prefix("operations/").unwrap_or(&text));
        let rule =
            "the name of a batch is expected, operations/{id}, or :* for the children of any";
        let id = id.map_err(|_| error(literal.position, rule))?;
        Ok(Test::Parent(match operator {
            Operator::Has | Operator::Compare(Comparison::Equal) => ParentTest::Is(id),
            Operator::Compare(Comparison::NotEqual) => ParentTest::IsNot(id),
            Operator::Compare(_) => return Err(error(at, "parent takes =, != or :")),
        }))
    }

    /// An operator for equality or inequality, and the value after it.
    fn equality(&mut self, field: &str) -> Result<(bool, Literal), FilterError> {
        let (operator, at) = self.lexer.operator()?;
        let is = match operator {
            Operator::Compare(Comparison::Equal) => true,
            Operator::Compare(Comparison::NotEqual) => false,
            Operator::Has if field == "kind" => true,
            _ if field == "kind" => return Err(error(at, "kind takes =, != or :")),
            _ => return Err(error(at, format!("{field} takes = or !="))),
        };
        Ok((is, self.lexer.value()?))
    }
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
