//! Filters as SQL conditions on `operations AS o`, and what of them can be looked up in an index.
//!
//! A condition says exactly what [`Filter::matches`] says; it is never NULL, so that NOT means what
//! it means there. Values are bound, never written into the text.

use rusqlite::types::Value;

use crate::operation::filter::{
    Comparison, Expr, Filter, LabelTest, NumberField, Pattern, Test, TimeField,
};
use crate::operation::{StateName, Timestamp};

/// Values to be bound, by number.
#[derive(Default)]
pub(super) struct Params(pub(super) Vec<Value>);

impl Params {
    /// Adds a value and answers how a statement refers to it.
    pub(super) fn add(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("?{}", self.0.len())
    }
}

/// The condition that holds where the filter matches.
pub(super) fn condition(filter: &Filter, params: &mut Params) -> String {
    filter.root().map_or_else(|| "1".to_owned(), |root| expr(root, params))
}

fn expr(node: &Expr, params: &mut Params) -> String {
    let mut join = |parts: &[Expr], word: &str| {
        let parts: Vec<String> = parts.iter().map(|part| expr(part, params)).collect();
        format!("({})", parts.join(word))
    };
    match node {
        Expr::All(parts) => join(parts, " AND "),
        Expr::Any(parts) => join(parts, " OR "),
        Expr::Not(inner) => format!("NOT {}", expr(inner, params)),
        Expr::Test(test) => format!("({})", test_condition(test, params)),
    }
}

fn test_condition(test: &Test, params: &mut Params) -> String {
    match test {
        Test::State { is, state } => {
            format!("o.state {} {}", if *is { "=" } else { "<>" }, *state as u8)
        }
        Test::Done(done) => format!("o.state {} 4", if *done { ">=" } else { "<" }),
        Test::Kind { is, pattern } => pattern_condition("o.kind", *is, pattern, params),
        Test::Number { field, compare, value } => {
            let column = match field {
                NumberField::Priority => "o.priority",
                NumberField::Attempt => "o.attempt",
            };
            format!("{column} {} {}", operator(*compare), params.add(*value))
        }
        Test::Time { field, compare } => {
            let (column, presence) = match field {
                TimeField::Create => ("o.created_at", "1"),
                TimeField::Update => ("o.updated_at", "1"),
                TimeField::Start => ("o.started_at", "o.started_at IS NOT NULL"),
                TimeField::End => ("o.ended_at", "o.state >= 4"),
            };
            match compare {
                None => presence.to_owned(),
                Some((compare, time)) => {
                    let value = params.add(time.micros());
                    format!("{presence} AND {column} {} {value}", operator(*compare))
                }
            }
        }
        Test::Label { key, value } => {
            let key = params.add(key.clone());
            let label = format!("SELECT 1 FROM labels AS l WHERE l.id = o.id AND l.key = {key}");
            match value {
                LabelTest::Present => format!("EXISTS ({label})"),
                LabelTest::Fits { is, pattern } => {
                    let fits = pattern_condition("l.value", *is, pattern, params);
                    format!("EXISTS ({label} AND {fits})")
                }
            }
        }
    }
}

fn pattern_condition(column: &str, is: bool, pattern: &Pattern, params: &mut Params) -> String {
    let (yes, no) = ("=", "<>");
    let compare = if is { yes } else { no };
    match pattern {
        Pattern::Exact(text) => format!("{column} {compare} {}", params.add(text.clone())),
        Pattern::Prefix(text) => {
            let length = params.add(text.chars().count() as i64);
            let text = params.add(text.clone());
            format!("substr({column}, 1, {length}) {compare} {text}")
        }
        // Bound, because SQLite finds no way through an index for what it sees to be false.
        Pattern::Suffix(text) if text.is_empty() => params.add(is),
        Pattern::Suffix(text) => {
            let length = params.add(text.chars().count() as i64);
            let text = params.add(text.clone());
            format!("substr({column}, -{length}) {compare} {text}")
        }
        Pattern::Infix(text) => {
            format!("(instr({column}, {}) > 0) = {}", params.add(text.clone()), i32::from(is))
        }
    }
}

fn operator(compare: Comparison) -> &'static str {
    match compare {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

/// What every match of a filter has, as far as an index can find it. The filter may ask for more.
#[derive(Debug, PartialEq)]
pub(super) struct Bounds<'a> {
    /// States that a match may have.
    pub(super) states: Vec<StateName>,
    /// The kind that it must have.
    pub(super) kind: Option<&'a str>,
    /// Labels that it must have, with the value if that is certain too.
    pub(super) labels: Vec<(&'a str, Option<&'a str>)>,
    /// The earliest time at which it can have been submitted.
    pub(super) created_from: Option<Timestamp>,
    /// The latest such time.
    pub(super) created_to: Option<Timestamp>,
}

impl<'a> Bounds<'a> {
    pub(super) fn of(filter: &'a Filter) -> Self {
        let mut bounds = Self {
            states: StateName::ALL.to_vec(),
            kind: None,
            labels: Vec::new(),
            created_from: None,
            created_to: None,
        };
        if let Some(root) = filter.root() {
            bounds.narrow(root);
        }
        bounds
    }

    fn narrow(&mut self, node: &'a Expr) {
        self.states.retain(|state| holds_in(node, *state) != Some(false));
        match node {
            Expr::All(parts) => parts.iter().for_each(|part| self.narrow(part)),
            Expr::Test(Test::Kind { is: true, pattern: Pattern::Exact(kind) }) => {
                self.kind = Some(kind);
            }
            Expr::Test(Test::Label { key, value }) => {
                let value = match value {
                    LabelTest::Fits { is: true, pattern: Pattern::Exact(value) } => Some(&**value),
                    _ => None,
                };
                self.labels.push((key, value));
            }
            Expr::Test(Test::Time { field: TimeField::Create, compare: Some((how, time)) }) => {
                self.narrow_create_time(*how, *time);
            }
            _ => {}
        }
    }

    fn narrow_create_time(&mut self, how: Comparison, time: Timestamp) {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        if matches!(how, Equal | Greater | GreaterOrEqual) {
            self.created_from = self.created_from.max(Some(time));
        }
        if matches!(how, Equal | Less | LessOrEqual) {
            self.created_to = Some(self.created_to.map_or(time, |other| other.min(time)));
        }
    }
}

/// Whether `node` holds of operations in `state`, if that can be said from the state alone.
fn holds_in(node: &Expr, state: StateName) -> Option<bool> {
    match node {
        Expr::All(parts) => {
            let mut holds = Some(true);
            for part in parts {
                match holds_in(part, state) {
                    Some(true) => {}
                    Some(false) => return Some(false),
                    None => holds = None,
                }
            }
            holds
        }
        Expr::Any(parts) => {
            let mut holds = Some(false);
            for part in parts {
                match holds_in(part, state) {
                    Some(true) => return Some(true),
                    Some(false) => {}
                    None => holds = None,
                }
            }
            holds
        }
        Expr::Not(inner) => holds_in(inner, state).map(|holds| !holds),
        Expr::Test(Test::State { is, state: wanted }) => Some((*wanted == state) == *is),
        Expr::Test(Test::Done(done)) => Some(state.is_done() == *done),
        Expr::Test(Test::Time { field: TimeField::End, .. }) if !state.is_done() => Some(false),
        Expr::Test(_) => None,
    }
}
