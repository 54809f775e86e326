//! Requests to the committer, and its replies.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::admission::Admitted;
pub use super::server_limit::ServerLimit;
use super::watch::hub::Subscription;
use crate::operation::batch::NotOpen;
use crate::operation::limits::LimitName;
use crate::operation::{
    Attempt, Command, Kind, NewOperation, Operation, OperationId, Payload, Progress, Rejection,
    Scope, SessionId, TenantId, Timestamp, WorkerId,
};
use crate::store::StoreError;
use crate::store::shared::{self, Hint, Outstanding};

/// A connecting worker's description of itself.
#[derive(Clone, Debug)]
pub struct WorkerHello {
    /// The scope of operations that it executes.
    pub scope: Scope,
    /// The worker's name for itself.
    pub worker: WorkerId,
    /// The kinds that it serves.
    pub kinds: Vec<Kind>,
    /// How many attempts it runs at once.
    pub max_in_flight: usize,
    /// The session to resume.
    pub resume: Option<SessionId>,
    /// Whether the worker runs in this process, and so ends with it.
    pub in_process: bool,
    /// The attempts that the worker still knows.
    pub running: Vec<(OperationId, Attempt)>,
}

/// A message for a worker.
#[derive(Clone, Debug)]
pub enum ToWorker {
    /// An attempt to execute: the operation's current one.
    Assignment {
        /// The operation as of the attempt's start.
        operation: Arc<Operation>,
        /// Its input.
        input: Option<Payload>,
    },
    /// A caller cancelled the operation.
    CancelRequested {
        /// The operation as of the cancel.
        operation: Arc<Operation>,
    },
    /// The attempt is no longer current.
    NotCurrent {
        /// The operation.
        id: OperationId,
        /// The attempt.
        attempt: Attempt,
    },
    /// Another stream has taken the session; this is the last message.
    Superseded,
}

/// One stream of a worker, distinct from earlier streams of the same session.
pub(crate) type StreamNumber = u64;

/// A request to the committer.
#[derive(Debug)]
pub(crate) enum Request {
    /// Store submissions, all in one commit.
    Submit {
        items: Vec<NewOperation>,
        mode: SubmitMode,
        reply: oneshot::Sender<Vec<Result<Submitted, EngineError>>>,
        /// Holds the room that the request takes in memory.
        admission: Admitted,
    },
    /// Apply a command to an operation.
    Apply {
        work: Box<Apply>,
        reply: oneshot::Sender<Result<Applied, EngineError>>,
        /// Holds the room that the request takes in memory.
        admission: Admitted,
    },
    /// Connect a worker.
    Connect {
        hello: WorkerHello,
        /// For a place of a poll: how long its attempt's lease lasts by itself.
        attempt_lease: Option<Duration>,
        sender: mpsc::Sender<ToWorker>,
        /// The session to resume, if it was read from the store.
        taken: Option<Taken>,
        /// `None`: the session to resume may be another replica's; take it over first.
        reply: oneshot::Sender<Result<Option<Connected>, EngineError>>,
    },
    /// A poll is over: its worker has what it was handed. The reply: whether the places hold nothing else.
    EndPoll { places: Vec<Connected>, reply: oneshot::Sender<bool> },
    /// The worker of an attempt without a stream gave a sign of life.
    RenewAttempt {
        lease: AttemptLease,
        /// The attempt's latest progress, if it was reported.
        progress: Option<Progress>,
        /// As in `Connect`.
        taken: Option<Taken>,
        /// Whether the lease is known; `None`: it may be another replica's; take it over first.
        reply: oneshot::Sender<Result<Option<bool>, EngineError>>,
    },
    /// A worker gave a sign of life.
    Renew { session: SessionId },
    /// A worker takes no more work.
    Drain { session: SessionId },
    /// A worker's stream has ended.
    Disconnect { session: SessionId, stream: StreamNumber },
    /// A worker reported progress.
    Progress { session: SessionId, id: OperationId, attempt: Attempt, progress: Progress },
    /// End all workers' streams, so that the workers reconnect, perhaps elsewhere.
    DisconnectAll { reply: oneshot::Sender<()> },
    /// Another replica has changed something, or may have.
    Hint(Hint),
    /// The limits of tenants have changed.
    LimitsChanged,
    /// The store's counts of operations that are not done.
    Counts(Vec<Outstanding>),
    /// The store cannot be written to; this was noticed without a commit.
    StoreFailed(StoreError),
}

/// How the submissions of one request depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubmitMode {
    /// Not at all: each is stored or refused by itself.
    Each,
    /// Not at all, and each new operation will be watched from its first transition on.
    Watched,
    /// The first is a batch, of which the others become children. All are stored or none.
    Batch,
}

/// The state of a session that a worker wants to resume.
#[derive(Debug)]
pub(crate) enum Taken {
    /// This replica holds it now, with these leases, unless they have changed here since.
    Over(Vec<shared::Lease>),
    /// The session no longer exists.
    Gone,
    /// The store did not respond.
    Unknown(EngineError),
}

/// An attempt with a session of its own, and the holder of its lease.
#[derive(Clone, Debug)]
pub struct AttemptLease {
    /// The operation.
    pub id: OperationId,
    /// Its attempt.
    pub attempt: Attempt,
    /// The session.
    pub session: SessionId,
    /// The tenant of the attempt's operation.
    pub tenant: TenantId,
    /// The name of the worker that acquired it.
    pub worker: WorkerId,
}

/// A command for one operation, with its contents or lines.
#[derive(Clone, Debug)]
pub struct Apply {
    /// The scope that the operation must belong to.
    pub scope: Scope,
    /// The operation.
    pub id: OperationId,
    /// The command.
    pub command: Command,
    /// For a completion: the contents of its result, unless an object holds them.
    pub result: Option<Bytes>,
    /// For log lines: the lines.
    pub lines: Vec<String>,
}

impl Apply {
    /// Approximate size in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        let lines: usize = self.lines.iter().map(|line| 32 + line.len()).sum();
        self.command.size() + self.result.as_ref().map_or(0, Bytes::len) + lines
    }
}

/// A stored submission.
#[derive(Debug)]
pub struct Submitted {
    /// The operation.
    pub operation: Arc<Operation>,
    /// Whether it existed before, under the same idempotency key.
    pub existing: bool,
    /// For a new operation that will be watched; made before anything about the operation was published.
    pub(in crate::engine) subscription: Option<Subscription>,
}

impl Submitted {
    /// A submission that is not watched yet.
    pub(crate) fn unwatched(operation: Arc<Operation>, existing: bool) -> Self {
        Self { operation, existing, subscription: None }
    }
}

/// A command that was carried out.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The operation after the command; its last state if it was removed.
    pub operation: Arc<Operation>,
    /// Whether the command changed anything.
    pub changed: bool,
}

/// A worker's session.
#[derive(Clone, Copy, Debug)]
pub struct Connected {
    /// The session.
    pub session: SessionId,
    /// Whether it was resumed.
    pub resumed: bool,
    /// The stream's number, so that disconnecting it does not disconnect a later one.
    pub(crate) stream: StreamNumber,
}

/// Why the engine refuses a call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The tenant has no such operation.
    #[error("there is no such operation")]
    NotFound,
    /// Retention has removed the operation.
    #[error("the operation was deleted when its retention was over")]
    Expired {
        /// When it was removed.
        purged_at: Timestamp,
    },
    /// The operation's rules do not allow it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The idempotency key was used for a different submission.
    #[error("the idempotency key was used before with different content, for {}", .0.name())]
    KeyReused(OperationId),
    /// The batch that a submission names as its parent does not exist for that tenant.
    #[error("there is no operation {}", .0.name())]
    NoParent(OperationId),
    /// The parent that a submission names takes no children.
    #[error("{} {why}", .parent.name())]
    ParentNotOpen {
        /// The parent.
        parent: OperationId,
        /// Why it takes no children.
        why: NotOpen,
    },
    /// A limit of the server is reached; a later retry may succeed.
    #[error("the server has reached its limit of {limit} {what}")]
    Full {
        /// The limit.
        what: ServerLimit,
        /// Its value.
        limit: u64,
    },
    /// A limit of the tenant is reached; a later retry may succeed.
    #[error("{tenant} has reached its limit of {most} for {name}{}", of_kind(.kind.as_ref()))]
    Limited {
        /// The tenant.
        tenant: TenantId,
        /// The kind, if the limit is for one kind.
        kind: Option<Kind>,
        /// The limit.
        name: LimitName,
        /// Its value.
        most: u64,
    },
    /// A list query took too long.
    #[error(
        "the list took too long: narrow its filter by kind, state, time or the value of a label"
    )]
    TimedOut,
    /// The call failed for now; a retry may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// Stored data is damaged, or the server has an error.
    #[error("{0}")]
    Internal(String),
}

fn of_kind(kind: Option<&Kind>) -> String {
    kind.map(|kind| format!(" of kind {kind}")).unwrap_or_default()
}

impl EngineError {
    /// The name of the limit that was reached, if one was.
    pub const fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Full { what, .. } => Some(what.name()),
            Self::Limited { name, .. } => Some(name.as_str()),
            _ => None,
        }
    }

    /// Stored data cannot be decoded.
    pub(crate) fn damaged() -> Self {
        Self::Internal("the store is damaged".to_owned())
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt(_) => {
                tracing::error!(error = %error, "reading the store failed");
                Self::damaged()
            }
            StoreError::TimedOut => {
                tracing::info!("a list took too long, and was stopped");
                Self::TimedOut
            }
            _ => {
                tracing::warn!(error = %error, "the store did not answer");
                Self::Unavailable("the store is not available".to_owned())
            }
        }
    }
}
