//! A handler's view of its attempt. A handler reports and receives cancels; it never decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};

use super::attempt_key::{AttemptEvent, AttemptKey, Happened};
use super::input::Input;
use super::outcome::cut;
use super::progress::{Progress, ProgressBoard};
use crate::proto::v1;

/// The longest log line, in bytes; the rest is cut off.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// An attempt, as its handler sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    key: AttemptKey,
    operation: v1::Operation,
    input: Input,
    deadline: Option<SystemTime>,
    cancellation: watch::Receiver<Option<Cancellation>>,
    board: Arc<ProgressBoard>,
    events: mpsc::Sender<AttemptEvent>,
}

/// Why an attempt is to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    /// The cause.
    pub cause: CancelCause,
    /// The reason given with the cancel; may be empty.
    pub reason: String,
    /// When the grace period ends, if there is one.
    pub grace_deadline: Option<SystemTime>,
}

/// Why an attempt is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelCause {
    /// A caller cancelled the operation: stop within the grace period. An outcome is still accepted.
    Requested,
    /// The attempt has ended for the service: stop. Its outcome will not be reported.
    NotCurrent,
    /// The worker is stopping and has waited long enough: the attempt goes back to the queue.
    WorkerStopping,
}

impl Cancellation {
    pub(super) fn new(cause: CancelCause) -> Self {
        Self { cause, reason: String::new(), grace_deadline: None }
    }

    /// The time left to stop: until the grace deadline, else `default`.
    #[expect(
        clippy::disallowed_methods,
        reason = "a worker has a clock of its own, read only here"
    )]
    pub(super) fn grace(&self, default: Duration) -> Duration {
        match (self.cause, self.grace_deadline) {
            (CancelCause::Requested, Some(at)) => {
                at.duration_since(SystemTime::now()).unwrap_or_default()
            }
            _ => default,
        }
    }
}

impl Context {
    pub(super) fn new(
        key: AttemptKey,
        assignment: v1::Assignment,
        input: Input,
        cancellation: watch::Receiver<Option<Cancellation>>,
        board: Arc<ProgressBoard>,
        events: mpsc::Sender<AttemptEvent>,
    ) -> Self {
        let deadline = assignment.deadline_time.and_then(|at| SystemTime::try_from(at).ok());
        let operation = assignment.operation.unwrap_or_default();
        Self(Arc::new(Inner { key, operation, input, deadline, cancellation, board, events }))
    }

    /// The input.
    pub fn input(&self) -> &Input {
        &self.0.input
    }

    /// The operation as of the attempt's start, without payload contents.
    pub fn operation(&self) -> &v1::Operation {
        &self.0.operation
    }

    /// The operation's name, `operations/{id}`.
    pub fn name(&self) -> &str {
        &self.0.operation.name
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.0.operation.kind
    }

    /// The submitter's labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.0.operation.labels
    }

    /// The attempt number: 1, 2, 3, …; also a fencing token for effects elsewhere.
    pub fn attempt(&self) -> i32 {
        self.0.key.attempt
    }

    /// When the service ends this attempt, if it has a limit.
    pub fn deadline(&self) -> Option<SystemTime> {
        self.0.deadline
    }

    /// Reports progress. Never waits: only the latest report counts, and a few per second are sent.
    pub fn progress(&self, progress: Progress) {
        self.0.board.put(&self.0.key, progress.into_proto());
    }

    /// Adds a line, or each line of a text, to the operation's history. Waits while too many lines are on their way;
    /// once the attempt is cancelled, lines that find no room are dropped.
    pub async fn log(&self, text: impl Into<String>) {
        let text = text.into();
        if text.is_empty() {
            return self.log_line(text).await;
        }
        for line in text.lines() {
            self.log_line(line.to_owned()).await;
        }
    }

    async fn log_line(&self, mut line: String) {
        cut(&mut line, MAX_LINE_BYTES);
        let event = AttemptEvent { key: self.0.key.clone(), happened: Happened::Logged(line) };
        let Err(refused) = self.0.events.try_send(event) else { return };
        let mpsc::error::TrySendError::Full(event) = refused else { return };
        tokio::select! {
            permit = self.0.events.reserve() => {
                if let Ok(permit) = permit {
                    permit.send(event);
                }
            }
            _cancelled = self.cancelled() => {}
        }
    }

    /// Waits until the attempt must stop; returns the reason.
    pub async fn cancelled(&self) -> Cancellation {
        let mut cancellation = self.0.cancellation.clone();
        let cancelled = cancellation.wait_for(Option::is_some).await;
        let why = cancelled.ok().and_then(|why| why.clone());
        // Without a worker that could cancel it, the attempt has ended.
        why.unwrap_or_else(|| Cancellation::new(CancelCause::NotCurrent))
    }

    /// Waits until the attempt must stop for another reason than `first`.
    pub(super) async fn cancelled_otherwise(&self, first: &Cancellation) {
        let mut cancellation = self.0.cancellation.clone();
        let other = |why: &Option<Cancellation>| why.as_ref().is_some_and(|why| why != first);
        if cancellation.wait_for(other).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the attempt must stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation().is_some()
    }

    /// Why the attempt must stop, if it must.
    pub fn cancellation(&self) -> Option<Cancellation> {
        self.0.cancellation.borrow().clone()
    }
}
