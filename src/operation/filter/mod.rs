//! Filters of operations for lists and watches (AIP-160).
//!
//! A filter is parsed once and then evaluated on operations in memory ([`Filter::matches`]) or translated into a
//! store's own language; both must agree. Pure: no I/O and no clock.
//!
//! A property that an operation lacks matches no comparison: `labels.team != "a"` matches operations with a label
//! `team`, `NOT labels.team = "a"` also those without one.
//!
//! Read next: `parse` for the grammar.

use super::{Operation, OperationId, Owner, StateName, Timestamp, batch, mark};

mod lex;
mod parse;
mod quote;

pub use self::quote::{quoted, quoted_pattern};

/// A parsed filter. The default matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    root: Option<Expr>,
}

/// Why a filter cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {}: {rule}", position + 1)]
pub struct FilterError {
    /// The character of the error, counted from 0; the error's text counts from 1.
    pub position: usize,
    /// The error, and what is allowed.
    pub rule: String,
}

/// A node of a filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// All of these hold.
    All(Vec<Self>),
    /// At least one of these holds.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// The test holds for the operation.
    Test(Test),
}

/// A statement about one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The state is, or is not, this one.
    State {
        /// Whether it must be equal.
        is: bool,
        /// The value to compare with.
        state: StateName,
    },
    /// The kind fits, or does not fit, this pattern.
    Kind {
        /// Whether it must fit.
        is: bool,
        /// The pattern.
        pattern: Pattern,
    },
    /// The label exists, and its value passes the test.
    Label {
        /// Its key.
        key: String,
        /// The required value.
        value: LabelTest,
    },
    /// The time exists, and passes the comparison, if there is one.
    Time {
        /// The field.
        field: TimeField,
        /// The comparison with a time; `None` asks for presence only.
        compare: Option<(Comparison, Timestamp)>,
    },
    /// The number passes the comparison.
    Number {
        /// The field.
        field: NumberField,
        /// The comparison.
        compare: Comparison,
        /// The value to compare with.
        value: i64,
    },
    /// The operation is, or is not, done.
    Done(bool),
    /// The operation is a child of a batch, and passes the test.
    Parent(ParentTest),
}

/// A condition on the batch that an operation is a child of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentTest {
    /// The operation has a parent.
    Present,
    /// The parent is this batch.
    Is(OperationId),
    /// The parent is another batch.
    IsNot(OperationId),
}

/// A condition on a label's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelTest {
    /// The label exists.
    Present,
    /// It fits, or does not fit, a pattern.
    Fits {
        /// Whether it must fit.
        is: bool,
        /// The pattern.
        pattern: Pattern,
    },
}

/// A text, or a text with any text before or after it (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this.
    Exact(String),
    /// Begins with this.
    Prefix(String),
    /// Ends with this.
    Suffix(String),
    /// Contains this.
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
    /// The maximum length of a filter, in characters.
    pub const MAX_CHARS: usize = 4_096;
    /// The maximum nesting of parentheses.
    pub const MAX_DEPTH: usize = 32;
    /// The maximum number of label tests.
    pub const MAX_LABEL_TESTS: usize = 16;

    /// Parses a filter. A blank text matches everything.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(|root| Self { root })
    }

    /// The filter, restricted to operations without an owner or with this owner.
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

    /// The filter, restricted to operations with these labels and values.
    pub fn within(self, labels: &[(String, String)]) -> Self {
        let has = |(key, value): &(String, String)| {
            let value = LabelTest::Fits { is: true, pattern: Pattern::Exact(value.clone()) };
            Expr::Test(Test::Label { key: key.clone(), value })
        };
        let parts: Vec<Expr> = self.root.into_iter().chain(labels.iter().map(has)).collect();
        Self { root: (!parts.is_empty()).then_some(Expr::All(parts)) }
    }

    /// Matches done children of any batch.
    pub fn ended_children() -> Self {
        let tests = [Test::Parent(ParentTest::Present), Test::Done(true)];
        Self { root: Some(Expr::All(tests.map(Expr::Test).into())) }
    }

    /// The batches that are done.
    pub fn ended_batches() -> Self {
        let kind = Test::Kind { is: true, pattern: Pattern::Exact(batch::KIND.to_owned()) };
        Self { root: Some(Expr::All([kind, Test::Done(true)].map(Expr::Test).into())) }
    }

    /// Matches children of a batch in one of these states.
    pub fn children(parent: OperationId, states: &[StateName]) -> Self {
        let state = |state: &StateName| Expr::Test(Test::State { is: true, state: *state });
        let of = Expr::Test(Test::Parent(ParentTest::Is(parent)));
        let root = match states {
            [] => of,
            states => Expr::All(vec![of, Expr::Any(states.iter().map(state).collect())]),
        };
        Self { root: Some(root) }
    }

    /// Whether the filter matches the operation.
    pub fn matches(&self, operation: &Operation) -> bool {
        self.root.as_ref().is_none_or(|root| root.matches(operation))
    }

    /// The filter as a tree, for a store to translate; `None` matches everything.
    pub fn root(&self) -> Option<&Expr> {
        self.root.as_ref()
    }
}

impl Expr {
    // Filter::MAX_DEPTH bounds the recursion: only parentheses nest.
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
    /// Whether `text` fits the pattern.
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
    /// Whether the comparison of `left` with `right` holds.
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
