//! The filter language: any text is a filter or an error, and a filter that is written out is the same filter.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longrun::operation::Timestamp;
use longrun::operation::filter::{
    Comparison, Expr, Filter, LabelTest, NumberField, Pattern, Test, TimeField,
};

fuzz_target!(|text: &str| {
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.position <= text.chars().count(), "{error}");
            return;
        }
    };
    let written = filter.root().map(|root| expr(root, Place::Top)).unwrap_or_default();
    // Written out it may be longer than filters may be.
    if written.chars().count() <= Filter::MAX_CHARS {
        assert_eq!(Filter::parse(&written), Ok(filter), "{written}");
    }
});

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    InAll,
    InAny,
    InNot,
}

fn expr(node: &Expr, place: Place) -> String {
    let joined = |parts: &[Expr], with: &str, place| {
        parts.iter().map(|part| expr(part, place)).collect::<Vec<_>>().join(with)
    };
    let (text, is_bare) = match node {
        Expr::All(parts) => (joined(parts, " AND ", Place::InAll), place == Place::Top),
        // OR binds tighter than AND.
        Expr::Any(parts) => {
            (joined(parts, " OR ", Place::InAny), matches!(place, Place::Top | Place::InAll))
        }
        Expr::Not(inner) => (format!("NOT {}", expr(inner, Place::InNot)), true),
        Expr::Test(said) => (test(said), true),
    };
    if is_bare { text } else { format!("({text})") }
}

fn test(said: &Test) -> String {
    let equals = |is: bool| if is { "=" } else { "!=" };
    match said {
        Test::State { is, state } => format!("state {} {}", equals(*is), state.as_str()),
        Test::Kind { is, pattern } => format!("kind {} {}", equals(*is), quoted(pattern)),
        Test::Label { key, value: LabelTest::Present } => format!("labels.\"{key}\":*"),
        Test::Label { key, value: LabelTest::Fits { is, pattern } } => {
            format!("labels.\"{key}\" {} {}", equals(*is), quoted(pattern))
        }
        Test::Time { field, compare } => {
            let field = match field {
                TimeField::Create => "create_time",
                TimeField::Update => "update_time",
                TimeField::Start => "start_time",
                TimeField::End => "end_time",
            };
            match compare {
                None => format!("{field}:*"),
                Some((compare, at)) => format!("{field} {} \"{}\"", sign(*compare), rfc3339(*at)),
            }
        }
        Test::Number { field, compare, value } => {
            let field = match field {
                NumberField::Priority => "priority",
                NumberField::Attempt => "attempt",
            };
            format!("{field} {} {value}", sign(*compare))
        }
        Test::Done(done) => format!("done = {done}"),
    }
}

fn sign(compare: Comparison) -> &'static str {
    match compare {
        Comparison::Equal => "=",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn quoted(pattern: &Pattern) -> String {
    let (before, text, behind) = match pattern {
        Pattern::Exact(text) => ("", text, ""),
        Pattern::Prefix(text) => ("", text, "*"),
        Pattern::Suffix(text) => ("*", text, ""),
        Pattern::Infix(text) => ("*", text, "*"),
    };
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('*', "\\*");
    format!("\"{before}{text}{behind}\"")
}

fn rfc3339(at: Timestamp) -> String {
    let seconds = at.micros().div_euclid(1_000_000);
    let nanos = at.micros().rem_euclid(1_000_000) * 1_000;
    let nanos = i32::try_from(nanos).expect("less than a second");
    prost_types::Timestamp { seconds, nanos }.to_string()
}
