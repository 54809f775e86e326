//! Batches: operations that have others as their children, and end by a rule about how these end.
//!
//! Pure functions of counts. A batch is an ordinary operation of a kind of its own, which the server executes: its
//! worker acts by the rule, which is the batch's input, and by the number of children in each state.

use serde_json::{Map, Value, json};

use super::closed_set::closed_set;
use super::{Kind, NewOperation, Operation, OperationId, Settings, State, StateName};

/// The kind of batches. Clients cannot submit or execute operations of this kind directly.
pub const KIND: &str = "longrun.batch";
/// The maximum number of expected children, and of failures that a rule can allow.
pub const MOST: u64 = 10_000_000;
/// The maximum length of a batch's idempotency key, in bytes; its children's keys are made of it.
pub const MAX_KEY: usize = 240;

closed_set! {
    /// When a batch ends. The names are those of its input.
    pub enum RuleName {
        /// Every child must succeed.
        All = 1 "ALL",
        /// One child must succeed.
        Any = 2 "ANY",
        /// At most this many children may fail or be cancelled.
        MaxFailures = 3 "MAX_FAILURES",
    }
}

/// The rule by which a batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRule {
    /// The rule's name.
    pub name: RuleName,
    /// How many children may fail or be cancelled, for [`RuleName::MaxFailures`]; otherwise 0.
    pub max_failures: u64,
    /// The batch does not end because all children have ended before it has had this many.
    pub expected_children: u64,
}

/// The number of a batch's children in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildCounts {
    stored: [u64; StateName::ALL.len()],
    removed: [u64; StateName::ALL.len()],
}

/// How a batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As its rule requires.
    Succeeded,
    /// Some children failed, but no more than the rule allows.
    PartiallySucceeded,
    /// Not as its rule requires.
    Failed,
}

/// Why an operation takes no children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpen {
    /// It is not a batch.
    #[error("is not a batch: SubmitBatch with `batch` makes one")]
    NoBatch,
    /// It has been cancelled.
    #[error("is being cancelled, and takes no more children")]
    Cancelling,
    /// It has ended.
    #[error("is done, and takes no more children")]
    Done,
}

impl Kind {
    /// The kind of batches.
    pub fn of_batches() -> Result<Self, super::id::InvalidName> {
        Self::parse(KIND)
    }

    /// Whether it is the kind of batches.
    pub fn is_of_batches(&self) -> bool {
        self.as_str() == KIND
    }
}

impl Operation {
    /// Whether the operation is a batch.
    pub fn is_batch(&self) -> bool {
        self.submission.kind.is_of_batches()
    }

    /// Whether the operation accepts children now; the error says why not.
    pub fn takes_children(&self) -> Result<(), NotOpen> {
        match self.life.state {
            _ if !self.is_batch() => Err(NotOpen::NoBatch),
            State::Queued { .. } | State::Running { .. } => Ok(()),
            State::Cancelling { .. } => Err(NotOpen::Cancelling),
            State::Done { .. } => Err(NotOpen::Done),
        }
    }
}

impl NewOperation {
    /// The settings of a batch with this rule. After a cancel it waits as long as possible for its children to end.
    pub fn of_batch(kind: Kind, rule: BatchRule) -> Self {
        let settings = Settings { cancel_grace: Settings::MAX_CANCEL_GRACE, ..Settings::default() };
        Self { settings, input: Some(rule.payload()), ..Self::of(kind) }
    }
}

impl BatchRule {
    /// All must succeed.
    pub const ALL: Self = Self { name: RuleName::All, max_failures: 0, expected_children: 0 };

    /// The rule as the batch's input.
    pub fn payload(self) -> super::Payload {
        let mut fields = Map::new();
        fields.insert("rule".to_owned(), self.name.as_str().into());
        if self.name == RuleName::MaxFailures {
            fields.insert("maxFailures".to_owned(), self.max_failures.into());
        }
        if self.expected_children > 0 {
            fields.insert("expectedChildren".to_owned(), self.expected_children.into());
        }
        let text = Value::Object(fields).to_string();
        super::Payload::new(super::PayloadForm::Json, "", text.into())
    }

    /// Reads the rule from such an input.
    pub fn read(input: &[u8]) -> Option<Self> {
        let fields: Value = serde_json::from_slice(input).ok()?;
        let number = |name: &str| fields.get(name).map_or(Some(0), Value::as_u64);
        Some(Self {
            name: RuleName::parse(fields.get("rule")?.as_str()?)?,
            max_failures: number("maxFailures")?,
            expected_children: number("expectedChildren")?,
        })
    }

    /// How a batch with these children ends now, if it does. The ending is final, whatever the other children do.
    pub fn ending(&self, counts: &ChildCounts) -> Option<Ending> {
        let (failed, partly) = (counts.unsuccessful(), counts.of(StateName::PartiallySucceeded));
        let is_complete = counts.live() == 0 && counts.total() >= self.expected_children;
        let whole = if partly == 0 { Ending::Succeeded } else { Ending::PartiallySucceeded };
        match self.name {
            RuleName::All if failed > 0 => Some(Ending::Failed),
            RuleName::All => is_complete.then_some(whole),
            RuleName::Any if counts.of(StateName::Succeeded) > 0 => Some(Ending::Succeeded),
            RuleName::Any if partly > 0 => Some(Ending::PartiallySucceeded),
            RuleName::Any => is_complete.then_some(Ending::Failed),
            RuleName::MaxFailures if failed > self.max_failures => Some(Ending::Failed),
            RuleName::MaxFailures if failed > 0 => {
                is_complete.then_some(Ending::PartiallySucceeded)
            }
            RuleName::MaxFailures => is_complete.then_some(whole),
        }
    }

    /// The rule's requirement as text that continues "the rule".
    pub fn in_words(&self) -> String {
        match self.name {
            RuleName::All => "ALL (every child must succeed)".to_owned(),
            RuleName::Any => "ANY (one child must succeed)".to_owned(),
            RuleName::MaxFailures => {
                format!("MAX_FAILURES (at most {} may fail)", self.max_failures)
            }
        }
    }
}

impl ChildCounts {
    /// Counts `count` more stored children in that state.
    pub fn add_stored(&mut self, state: StateName, count: u64) {
        if let Some(of) = self.stored.get_mut(place(state)) {
            *of = of.saturating_add(count);
        }
    }

    /// Counts `count` more removed children in that state.
    pub fn add_removed(&mut self, state: StateName, count: u64) {
        if let Some(of) = self.removed.get_mut(place(state)) {
            *of = of.saturating_add(count);
        }
    }

    /// The number of children in that state, including those that were in it when they were removed.
    pub fn of(&self, state: StateName) -> u64 {
        self.stored(state) + self.removed.get(place(state)).copied().unwrap_or_default()
    }

    /// The number of stored children in that state.
    pub fn stored(&self, state: StateName) -> u64 {
        self.stored.get(place(state)).copied().unwrap_or_default()
    }

    /// The number of all children.
    pub fn total(&self) -> u64 {
        StateName::ALL.iter().map(|state| self.of(*state)).sum()
    }

    /// The number of children that are not done.
    pub fn live(&self) -> u64 {
        StateName::ALL.iter().filter(|it| !it.is_done()).map(|state| self.of(*state)).sum()
    }

    /// The number of children that are neither done nor cancelling.
    pub fn to_cancel(&self) -> u64 {
        self.of(StateName::Queued) + self.of(StateName::Running)
    }

    /// The number of children that are done.
    pub fn ended(&self) -> u64 {
        self.total() - self.live()
    }

    /// The number of children that failed or were cancelled.
    pub fn unsuccessful(&self) -> u64 {
        self.of(StateName::Failed) + self.of(StateName::Cancelled)
    }

    /// The number of stored children that failed or were cancelled.
    pub fn unsuccessful_stored(&self) -> u64 {
        self.stored(StateName::Failed) + self.stored(StateName::Cancelled)
    }

    /// The number of removed children.
    pub fn removed(&self) -> u64 {
        self.removed.iter().sum()
    }

    /// The counts as the batch's result.
    pub fn to_json(&self) -> Value {
        json!({
            "total": self.total(),
            "succeeded": self.of(StateName::Succeeded),
            "partiallySucceeded": self.of(StateName::PartiallySucceeded),
            "failed": self.of(StateName::Failed),
            "cancelled": self.of(StateName::Cancelled),
            "notDone": self.live(),
        })
    }

    /// The counts as text: "3 of 10 children have ended: 2 succeeded, 1 failed".
    pub fn in_words(&self) -> String {
        let (ended, total) = (self.ended(), self.total());
        let cancelled = self.of(StateName::Cancelled);
        let states = [
            (StateName::Succeeded, "succeeded"),
            (StateName::PartiallySucceeded, "partially succeeded"),
            (StateName::Failed, "failed"),
            (StateName::Cancelled, if cancelled == 1 { "was cancelled" } else { "were cancelled" }),
        ];
        let parts = states.map(|(state, word)| (self.of(state), word));
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, word)| format!("{count} {word}")).collect();
        let (noun, verb) = (
            if total == 1 { "child" } else { "children" },
            if ended == 1 { "has" } else { "have" },
        );
        let colon = if parts.is_empty() { "" } else { ": " };
        format!("{ended} of {total} {noun} {verb} ended{colon}{}", parts.join(", "))
    }
}

/// The key of a retry of a child, so that a batch that repeats the retry after a restart does it only once.
pub fn retry_key(batch: OperationId, child: OperationId) -> String {
    format!("{KIND}/{batch}/{child}")
}

/// The index of a state's count.
fn place(state: StateName) -> usize {
    usize::from(state.number()) - 1
}

#[cfg(test)]
mod tests;
