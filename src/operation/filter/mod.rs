//! Filters of operations for lists and watches (AIP-160).
//!
//! A filter is parsed once and then asked of operations in memory ([`Filter::matches`]) or turned
//! into a store's own language; both must say the same. Pure: no I/O and no clock.
//!
//! What an operation does not have matches no comparison: `labels.team != "a"` is about operations
//! with a label `team`, `NOT labels.team = "a"` about those without one as well.
//!
//! Read next: `parse` for the grammar.

use super::{Operation, OperationId, Owner, StateName, Timestamp, batch, mark};

mod lex;
mod parse;

/// A parsed filter. The default matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    root: Option<Expr>,
}

/// Why a filter cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {}: {rule}", position + 1)]
pub struct FilterError {
    /// The character where it went wrong, counted from 0; the text of the error counts from 1.
    pub position: usize,
    /// The error, and what is allowed.
    pub rule: String,
}

/// A node of a filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// All of them hold.
    All(Vec<Self>),
    /// At least one of them holds.
    Any(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// It holds of the operation's fields.
    Test(Test),
}

/// A statement about one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The state is, or is not, this one.
    State {
        /// Whether it is to be equal.
        is: bool,
        /// The value to compare with.
        state: StateName,
    },
    /// The kind fits, or does not fit, this pattern.
    Kind {
        /// Whether it is to fit.
        is: bool,
        /// The pattern.
        pattern: Pattern,
    },
    /// There is a label, and what is said of its value holds.
    Label {
        /// Its key.
        key: String,
        /// The required value.
        value: LabelTest,
    },
    /// The time is there, and compares so if that is asked.
    Time {
        /// The field.
        field: TimeField,
        /// The comparison with a time; `None` asks for presence only.
        compare: Option<(Comparison, Timestamp)>,
    },
    /// The number compares so.
    Number {
        /// The field.
        field: NumberField,
        /// The comparison.
        compare: Comparison,
        /// With what.
        value: i64,
    },
    /// The operation is, or is not, done.
    Done(bool),
    /// It is a child of a batch, and what is said of that holds.
    Parent(ParentTest),
}

/// A condition on the batch that an operation is a child of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentTest {
    /// There is one.
    Present,
    /// It is this one.
    Is(OperationId),
    /// It is another one.
    IsNot(OperationId),
}

/// A condition on a label's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelTest {
    /// Nothing: the label is there.
    Present,
    /// It fits, or does not fit, a pattern.
    Fits {
        /// Whether it is to fit.
        is: bool,
        /// The pattern.
        pattern: Pattern,
    },
}

/// A text, or a text with something before or behind it (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this.
    Exact(String),
    /// Begins with this.
    Prefix(String),
    /// Ends with this.
    Suffix(String),
    /// Has this in it.
    Infix(String),
}

/// A field that is a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeField {
    /// When it was submitted.
    Create,
    /// When the latest transition was made.
    Update,
    /// When the first attempt started.
    Start,
    /// When it ended.
    End,
}

/// A field that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberField {
    /// The priority.
    Priority,
    /// The current or last attempt.
    Attempt,
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Filter {
    /// Longest filter, in characters.
    pub const MAX_CHARS: usize = 4_096;
    /// Deepest nesting of parentheses.
    pub const MAX_DEPTH: usize = 32;
    /// Most tests of labels.
    pub const MAX_LABEL_TESTS: usize = 16;

    /// Reads a filter. A blank text matches everything.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(|root| Self { root })
    }

    /// The same, about operations only that have no owner or this one.
    pub fn of(self, owner: Option<&Owner>) -> Self {
        if owner.is_some_and(Owner::sees_all) {
            return self;
        }
        let label = |value| Expr::Test(Test::Label { key: mark::OWNER.to_owned(), value });
        let nobodys = Expr::Not(Box::new(label(LabelTest::Present)));
        let whose = match owner {
            None => nobodys,
            Some(owner) => {
                let pattern = Pattern::Exact(owner.as_str().to_owned());
                Expr::Any(vec![nobodys, label(LabelTest::Fits { is: true, pattern })])
            }
        };
        Self { root: Some(Expr::All(self.root.into_iter().chain([whose]).collect())) }
    }

    /// The same, about operations only that have these labels with these values.
    pub fn within(self, labels: &[(String, String)]) -> Self {
        let has = |(key, value): &(String, String)| {
            let value = LabelTest::Fits { is: true, pattern: Pattern::Exact(value.clone()) };
            Expr::Test(Test::Label { key: key.clone(), value })
        };
        let parts: Vec<Expr> = self.root.into_iter().chain(labels.iter().map(has)).collect();
        Self { root: (!parts.is_empty()).then_some(Expr::All(parts)) }
    }

    /// The children of any batch that are done.
    pub fn ended_children() -> Self {
        let tests = [Test::Parent(ParentTest::Present), Test::Done(true)];
        Self { root: Some(Expr::All(tests.map(Expr::Test).into())) }
    }

    /// The batches that are done.
    pub fn ended_batches() -> Self {
        let kind = Test::Kind { is: true, pattern: Pattern::Exact(batch::KIND.to_owned()) };
        Self { root: Some(Expr::All([kind, Test::Done(true)].map(Expr::Test).into())) }
    }

    /// The children of a batch that are in one of these states.
    pub fn children(parent: OperationId, states: &[StateName]) -> Self {
        let state = |state: &StateName| Expr::Test(Test::State { is: true, state: *state });
        let of = Expr::Test(Test::Parent(ParentTest::Is(parent)));
        let root = match states {
            [] => of,
            states => Expr::All(vec![of, Expr::Any(states.iter().map(state).collect())]),
        };
        Self { root: Some(root) }
    }

    /// Whether the filter is about this operation.
    pub fn matches(&self, operation: &Operation) -> bool {
        self.root.as_ref().is_none_or(|root| root.matches(operation))
    }

    /// The filter as a tree, for a store to translate; `None` matches everything.
    pub fn root(&self) -> Option<&Expr> {
        self.root.as_ref()
    }
}

impl Expr {
    // Recursion is bounded by Filter::MAX_DEPTH: only parentheses nest.
    fn matches(&self, operation: &Operation) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(operation)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(operation)),
            Self::Not(inner) => !inner.matches(operation),
            Self::Test(test) => test.matches(operation),
        }
    }
}

impl Test {
    fn matches(&self, operation: &Operation) -> bool {
        let submission = &operation.submission;
        match self {
            Self::State { is, state } => (operation.state_name() == *state) == *is,
            Self::Kind { is, pattern } => pattern.fits(submission.kind.as_str()) == *is,
            Self::Label { key, value } => {
                submission.labels.get(key).is_some_and(|label| match value {
                    LabelTest::Present => true,
                    LabelTest::Fits { is, pattern } => pattern.fits(label) == *is,
                })
            }
            Self::Time { field, compare } => {
                field.of(operation).is_some_and(|time| match compare {
                    None => true,
                    Some((compare, value)) => compare.holds(time, *value),
                })
            }
            Self::Number { field, compare, value } => compare.holds(field.of(operation), *value),
            Self::Done(done) => operation.is_done() == *done,
            Self::Parent(test) => submission.parent.is_some_and(|parent| match test {
                ParentTest::Present => true,
                ParentTest::Is(id) => parent == *id,
                ParentTest::IsNot(id) => parent != *id,
            }),
        }
    }
}

impl TimeField {
    fn of(self, operation: &Operation) -> Option<Timestamp> {
        match self {
            Self::Create => Some(operation.submission.created_at),
            Self::Update => Some(operation.life.updated_at),
            Self::Start => operation.life.started_at,
            Self::End => operation.ended_at(),
        }
    }
}

impl NumberField {
    fn of(self, operation: &Operation) -> i64 {
        match self {
            Self::Priority => i64::from(operation.submission.settings.priority),
            Self::Attempt => i64::from(operation.life.attempt.0),
        }
    }
}

impl Pattern {
    /// Whether `text` fits.
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(all) => text == all,
            Self::Prefix(start) => text.starts_with(start.as_str()),
            Self::Suffix(end) => text.ends_with(end.as_str()),
            Self::Infix(part) => text.contains(part.as_str()),
        }
    }
}

impl Comparison {
    /// Whether `left` compares so with `right`.
    pub fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

#[cfg(test)]
mod tests;
