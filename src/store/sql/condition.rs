//! Filters as SQL conditions on `operations AS o`.
//!
//! A condition matches exactly what [`Filter::matches`] matches; it is never NULL, so that NOT has the same meaning.
//! Values are bound, never written into the text.

use super::params::{Dialect, Params};
use crate::operation::OperationId;
use crate::operation::filter::{
    Comparison, Expr, Filter, LabelTest, NumberField, ParentTest, Pattern, Test, TimeField,
};

/// The condition for the filter.
pub(in crate::store) fn condition(filter: &Filter, params: &mut Params) -> String {
    filter.root().map_or_else(|| "TRUE".to_owned(), |root| expr(root, params))
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
            format!("o.state {} {}", if *is { "=" } else { "<>" }, state.number())
        }
        Test::Done(done) => format!("o.state {} 4", if *done { ">=" } else { "<" }),
        Test::Parent(test) => {
            let mut compared = |sign: &str, id: &OperationId| {
                format!("o.parent IS NOT NULL AND o.parent {sign} {}", params.add(*id.as_bytes()))
            };
            match test {
                ParentTest::Present => "o.parent IS NOT NULL".to_owned(),
                ParentTest::Is(id) => compared("=", id),
                ParentTest::IsNot(id) => compared("<>", id),
            }
        }
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
                TimeField::Create => ("o.created_at", "TRUE"),
                TimeField::Update => ("o.updated_at", "TRUE"),
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
            let end = params.dialect().keep_apart();
            match value {
                LabelTest::Present => format!("EXISTS ({label}{end})"),
                LabelTest::Fits { is, pattern } => {
                    let fits = pattern_condition("l.value", *is, pattern, params);
                    format!("EXISTS ({label} AND {fits}{end})")
                }
            }
        }
    }
}

fn pattern_condition(column: &str, is: bool, pattern: &Pattern, params: &mut Params) -> String {
    let compare = if is { "=" } else { "<>" };
    let not = if is { "" } else { "NOT " };
    let dialect = params.dialect();
    match pattern {
        Pattern::Exact(text) => format!("{column} {compare} {}", params.add(text.clone())),
        // Bound, because SQLite uses no index for a condition that it knows to be false.
        Pattern::Suffix(text) if text.is_empty() => {
            let yes = params.add(1);
            format!("{yes} {compare} 1")
        }
        Pattern::Prefix(text) | Pattern::Suffix(text) => {
            let length = params.add(text.chars().count() as i64);
            let is_prefix = matches!(pattern, Pattern::Prefix(_));
            let part = match (dialect, is_prefix) {
                (Dialect::Sqlite, true) => format!("substr({column}, 1, {length})"),
                (Dialect::Sqlite, false) => format!("substr({column}, -{length})"),
                (Dialect::Postgres, true) => format!("left({column}, {length}::int)"),
                (Dialect::Postgres, false) => format!("right({column}, {length}::int)"),
            };
            format!("{part} {compare} {}", params.add(text.clone()))
        }
        Pattern::Infix(text) => {
            let place = match dialect {
                Dialect::Sqlite => "instr",
                Dialect::Postgres => "strpos",
            };
            format!("{not}({place}({column}, {}) > 0)", params.add(text.clone()))
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
