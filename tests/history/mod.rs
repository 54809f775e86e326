//! What clients and workers saw of a service, and whether a service that keeps its promises could
//! have shown it to them.
//!
//! Pure: no I/O, no clock, no async. The facts are gathered elsewhere; [`check`] answers every broken
//! promise that they prove. It trusts nothing but the facts: what the service says at the end is
//! held against what it said before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;

mod reports;
mod rules;
#[cfg(test)]
mod tests;

/// An operation's name.
pub type Name = String;

/// An operation, or a transition of it, as somebody was shown it. Two marks of one revision are of
/// the same commit if and only if they are equal: a transition that was lost and made again
/// has another time, another worker or another attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub revision: i64,
    pub state: State,
    pub attempt: i32,
    pub worker: String,
    /// Of the commit, in microseconds.
    pub time: i64,
}

/// A submission that was acknowledged.
#[derive(Clone, Debug)]
pub struct Submission {
    pub name: Name,
    pub key: Option<String>,
    pub content: String,
}

/// An operation that was shown to somebody.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub name: Name,
    pub mark: Mark,
    /// When it was asked for and when it was seen, by a counter that all observers share. Only set
    /// where the answer had to be as of a moment in between: messages of a stream may be late.
    pub between: Option<(u64, u64)>,
}

/// What one watcher of one operation was told, over all its streams, in the order of arrival.
#[derive(Clone, Debug)]
pub struct Watch {
    pub name: Name,
    /// Whether it began with the operation as it was rather than with its first transition.
    pub from_snapshot: bool,
    pub entries: Vec<WatchEntry>,
    pub end: WatchEnd,
}

/// One message of a watch.
#[derive(Clone, Debug)]
pub struct WatchEntry {
    pub mark: Mark,
    /// `None` for the operation as it was.
    pub event: Option<EventType>,
}

/// How a watch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// It was still going on when the facts were gathered.
    None,
    /// The service ended it for good.
    Finished,
    /// The service refused to go on, for this reason.
    Refused(String),
}

/// What a worker said about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReportKind {
    Complete,
    CompletePartly,
    FailForRetry,
    FailForGood,
    Release,
    Log,
}

/// A report, once for however often it was sent.
#[derive(Clone, Debug)]
pub struct Report {
    pub name: Name,
    pub attempt: i32,
    pub kind: ReportKind,
    /// What it carried: unique, so that it is known again wherever it shows.
    pub token: String,
    /// Sent by somebody to whom the attempt was never assigned, or who knew that he had lost it.
    pub is_forged: bool,
    pub sent: u32,
    pub acknowledged: u32,
    pub refused: u32,
}

/// A transition, as the service tells it at the end.
#[derive(Clone, Debug)]
pub struct EventFact {
    pub mark: Mark,
    pub event: EventType,
    /// The tokens of reports in its error.
    pub tokens: Vec<String>,
}

/// An operation, as the service tells it at the end.
#[derive(Clone, Debug)]
pub struct Final {
    pub mark: Mark,
    /// As it stands in the list of all operations; `None` if it is missing there.
    pub listed: Option<Mark>,
    pub key: Option<String>,
    pub content: String,
    /// The tokens of reports in its result and its errors.
    pub tokens: Vec<String>,
    pub events: Vec<EventFact>,
    /// The attempt and the text of each log line.
    pub log: Vec<(i32, String)>,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub submissions: Vec<Submission>,
    pub sightings: Vec<Sighting>,
    pub watches: Vec<Watch>,
    pub reports: Vec<Report>,
    /// Operations that somebody asked to delete; true once that was acknowledged.
    pub deletions: BTreeMap<Name, bool>,
    /// Operations of which the service said that they do not exist.
    pub missing: BTreeSet<Name>,
    /// Answers that no sound service gives, with the operation that they are about, if any.
    pub oddities: Vec<(Name, String)>,
    pub finals: BTreeMap<Name, Final>,
}

/// The promises that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// What was acknowledged is there.
    NothingLost,
    /// What was submitted is what is stored.
    ContentKept,
    /// A deleted operation is gone.
    DeletedIsGone,
    /// One key, one operation.
    KeyNamesOne,
    /// One key, one content.
    KeyKeepsContent,
    /// Every operation comes to an end.
    EveryoneEnds,
    /// There is one end, and nothing after it.
    OneOutcome,
    /// A history has revisions 1, 2, 3, … and agrees with its operation.
    HistoryIsWhole,
    /// What somebody has seen stays so.
    NothingTakenBack,
    /// Nobody is shown less than what somebody was shown before.
    NeverBackInTime,
    /// A watch has every transition once and in order.
    WatchIsWhole,
    /// A watch goes on up to the end.
    WatchEnds,
    /// At most one attempt at a time, and their numbers rise by one.
    OneAttempt,
    /// An acknowledged report shows, as it was.
    ReportShows,
    /// At most one report ends an attempt.
    OneReport,
    /// A refused, forged or invented report shows nowhere.
    NothingFromStrangers,
    /// Sound calls are taken, unsound ones are refused for the right reason.
    AnswersAreSound,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    pub promise: Promise,
    pub name: Name,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}: {}", self.promise, self.name, self.detail)
    }
}

/// The promises that the facts show to be broken; none for a service that keeps them.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Violations::default();
    rules::submissions(history, &mut violations);
    rules::keys(history, &mut violations);
    for (name, last) in &history.finals {
        rules::own_history(name, last, &mut violations);
        rules::attempts(name, last, &mut violations);
    }
    rules::sightings(history, &mut violations);
    rules::reads_in_order(history, &mut violations);
    for watch in &history.watches {
        rules::watch(history, watch, &mut violations);
    }
    reports::check(history, &mut violations);
    for (name, oddity) in &history.oddities {
        violations.add(Promise::AnswersAreSound, name, oddity);
    }
    violations.0
}

/// Broken promises as they are found.
#[derive(Default)]
struct Violations(Vec<Violation>);

impl Violations {
    fn add(&mut self, promise: Promise, name: &str, detail: impl Into<String>) {
        self.0.push(Violation { promise, name: name.to_owned(), detail: detail.into() });
    }
}

/// Whether nothing follows that state.
pub fn is_final(state: State) -> bool {
    matches!(state, State::Succeeded | State::PartiallySucceeded | State::Failed | State::Cancelled)
}
