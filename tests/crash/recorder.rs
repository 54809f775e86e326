//! Where clients, workers and watchers write down what they see, as they see it.
//!
//! Also the only thing that they share, so that they know of each other's operations.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use longrun::proto::v1::{Event, Operation};

use crate::history::{
    History, Mark, Name, Report, ReportKind, Sighting, Submission, Watch, WatchEnd, WatchEntry,
};

/// How many of the latest operations and attempts are picked from.
const RECENT: usize = 64;

/// The facts so far.
#[derive(Default)]
pub struct Recorder {
    history: Mutex<History>,
    shared: Mutex<Shared>,
    /// Counts questions and answers.
    moment: AtomicU64,
    /// The operations that were acknowledged.
    acknowledged: tokio::sync::watch::Sender<HashSet<Name>>,
}

/// What is known to all.
#[derive(Default)]
struct Shared {
    /// Acknowledged operations.
    names: Vec<Name>,
    /// Operations that may be deleted: nobody uses their key again.
    deletable: Vec<Name>,
    /// Attempts that were assigned.
    attempts: Vec<(Name, i32)>,
}

/// A report's place in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReportIndex(usize);

/// A watch's place in the record.
#[derive(Clone, Copy, Debug)]
pub struct WatchIndex(usize);

/// How a report was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Acknowledged,
    Refused,
}

impl Recorder {
    /// A moment, for [`Recorder::read`]: take it before asking.
    pub fn now(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// A submission was acknowledged with this operation.
    pub fn submitted(&self, content: &str, key: Option<&str>, asked: u64, operation: &Operation) {
        self.read(asked, operation);
        let submission = Submission {
            name: operation.name.clone(),
            key: key.map(str::to_owned),
            content: content.to_owned(),
        };
        self.history().submissions.push(submission);
        self.shared().names.push(operation.name.clone());
        self.acknowledged.send_if_modified(|names| names.insert(operation.name.clone()));
    }

    /// Returns once so many operations have been acknowledged.
    pub async fn acknowledged(&self, operations: usize) {
        let mut names = self.acknowledged.subscribe();
        // The sender is here: it is not gone.
        let _ = names.wait_for(|names| names.len() >= operations).await;
    }

    /// An operation was answered to a question that was asked at `asked`.
    pub fn read(&self, asked: u64, operation: &Operation) {
        self.sighting(operation, Some((asked, self.now())));
    }

    /// An operation was shown in a stream.
    pub fn streamed(&self, operation: &Operation) {
        self.sighting(operation, None);
    }

    fn sighting(&self, operation: &Operation, between: Option<(u64, u64)>) {
        let (name, mark) = (operation.name.clone(), mark(operation));
        self.history().sightings.push(Sighting { name, mark, between });
    }

    /// The service says that there is no such operation.
    pub fn missing(&self, name: &str) {
        self.history().missing.insert(name.to_owned());
    }

    /// An answer that no sound service gives.
    pub fn odd(&self, name: &str, oddity: String) {
        self.history().oddities.push((name.to_owned(), oddity));
    }

    /// Nobody minds if that operation is deleted.
    pub fn may_be_deleted(&self, name: &str) {
        self.shared().deletable.push(name.to_owned());
    }

    /// An operation to delete; from now on it may be gone at any time.
    pub fn take_deletable(&self) -> Option<Name> {
        let mut shared = self.shared();
        // The older they are the more likely are they done.
        let name = (!shared.deletable.is_empty()).then(|| shared.deletable.remove(0))?;
        self.history().deletions.insert(name.clone(), false);
        Some(name)
    }

    /// Deleting was acknowledged.
    pub fn deleted(&self, name: &str) {
        self.history().deletions.insert(name.to_owned(), true);
    }

    /// A recent operation.
    pub fn any_name(&self, rng: &mut fastrand::Rng) -> Option<Name> {
        let shared = self.shared();
        let recent = &shared.names[shared.names.len().saturating_sub(RECENT)..];
        rng.choice(recent).cloned()
    }

    /// An attempt was assigned.
    pub fn assigned(&self, operation: &Operation, attempt: i32) {
        self.streamed(operation);
        self.shared().attempts.push((operation.name.clone(), attempt));
    }

    /// A recent attempt, of whomever.
    pub fn any_attempt(&self, rng: &mut fastrand::Rng) -> Option<(Name, i32)> {
        let shared = self.shared();
        let recent = &shared.attempts[shared.attempts.len().saturating_sub(RECENT)..];
        rng.choice(recent).cloned()
    }

    /// There is going to be a report.
    pub fn report(
        &self,
        name: &str,
        attempt: i32,
        kind: ReportKind,
        token: &str,
        is_forged: bool,
    ) -> ReportIndex {
        let reports = &mut self.history().reports;
        reports.push(Report {
            name: name.to_owned(),
            attempt,
            kind,
            token: token.to_owned(),
            is_forged,
            sent: 0,
            acknowledged: 0,
            refused: 0,
        });
        ReportIndex(reports.len() - 1)
    }

    /// The report is about to be sent, for the first time or again.
    pub fn report_sent(&self, report: ReportIndex) {
        self.history().reports[report.0].sent += 1;
    }

    /// The report was answered.
    pub fn report_answered(&self, report: ReportIndex, answer: Answer) {
        let report = &mut self.history().reports[report.0];
        match answer {
            Answer::Acknowledged => report.acknowledged += 1,
            Answer::Refused => report.refused += 1,
        }
    }

    /// Somebody begins to watch.
    pub fn watch(&self, name: &str, from_snapshot: bool) -> WatchIndex {
        let watches = &mut self.history().watches;
        watches.push(Watch {
            name: name.to_owned(),
            from_snapshot,
            entries: Vec::new(),
            end: WatchEnd::None,
        });
        WatchIndex(watches.len() - 1)
    }

    /// A watch delivered something.
    pub fn watched(&self, watch: WatchIndex, operation: &Operation, event: Option<&Event>) {
        self.streamed(operation);
        let event = event.map(Event::r#type);
        self.history().watches[watch.0].entries.push(WatchEntry { mark: mark(operation), event });
    }

    /// A watch has ended.
    pub fn watch_ended(&self, watch: WatchIndex, end: WatchEnd) {
        self.history().watches[watch.0].end = end;
    }

    /// What has been written down.
    pub fn take(&self) -> History {
        std::mem::take(&mut *self.history())
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operation's latest transition, as it was shown.
pub fn mark(operation: &Operation) -> Mark {
    Mark {
        revision: operation.revision,
        state: operation.state(),
        attempt: operation.attempt,
        worker: operation.worker_id.clone(),
        time: micros(operation.update_time.as_ref()),
    }
}

/// The transition that an event tells of.
pub fn event_mark(event: &Event) -> Mark {
    Mark {
        revision: event.revision,
        state: event.state(),
        attempt: event.attempt,
        worker: event.worker_id.clone(),
        time: micros(event.time.as_ref()),
    }
}

fn micros(time: Option<&prost_types::Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}
