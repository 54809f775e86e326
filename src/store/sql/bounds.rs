//! The parts of a filter that an index can serve.

use crate::operation::filter::{
    Comparison, Expr, Filter, LabelTest, ParentTest, Pattern, Test, TimeField,
};
use crate::operation::{OperationId, StateName, Timestamp};

/// Properties that every match of a filter has and an index can find. The filter may require more.
#[derive(Debug, PartialEq)]
pub(in crate::store) struct Bounds<'a> {
    /// The states that a match may have.
    pub(in crate::store) states: Vec<StateName>,
    /// The kind that a match must have.
    pub(in crate::store) kind: Option<&'a str>,
    /// The batch that a match must be a child of.
    pub(in crate::store) parent: Option<OperationId>,
    /// The labels that a match must have, with the value if that is certain too.
    pub(in crate::store) labels: Vec<(&'a str, Option<&'a str>)>,
    /// The earliest time at which a match can have been submitted.
    pub(in crate::store) created_from: Option<Timestamp>,
    /// The latest such time.
    pub(in crate::store) created_to: Option<Timestamp>,
}

impl<'a> Bounds<'a> {
    pub(in crate::store) fn of(filter: &'a Filter) -> Self {
        let mut bounds = Self {
            states: StateName::ALL.to_vec(),
            kind: None,
            parent: None,
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
            Expr::Test(Test::Parent(ParentTest::Is(parent))) => self.parent = Some(*parent),
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

/// Whether `node` holds for operations in `state`, if the state alone decides.
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
