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
    /// The tenants whose operations it executes.
    pub scope: Scope,
    /// Its name for itself.
    pub worker: WorkerId,
    /// The kinds that it serves.
    pub kinds: Vec<Kind>,
    /// How many attempts it runs at once.
    pub max_in_flight: usize,
    /// The session to resume.
    pub resume: Option<SessionId>,
    /// Whether it is in this process, and so ends with it.
    pub in_process: bool,
    /// The attempts that it still knows of.
    pub running: Vec<(OperationId, Attempt)>,
}

/// A message for a worker.
#[derive(Clone, Debug)]
pub enum ToWorker {
    /// An attempt to execute: the operation's current one.
    Assignment {
        /// The operation as of its start.
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
    /// Another stream has the session now; the last message.
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
        /// How long the lease of an attempt lives by itself, where this is a place of a poll.
        attempt_lease: Option<Duration>,
        sender: mpsc::Sender<ToWorker>,
        /// The session to resume, if it was read from the store.
        taken: Option<Taken>,
        /// Nothing, where the session to resume may be another replica's: it is to be asked for first.
        reply: oneshot::Sender<Result<Option<Connected>, EngineError>>,
    },
    /// A poll is over: what was handed to it is its worker's. Whether its places hold nothing else.
    EndPoll { places: Vec<Connected>, reply: oneshot::Sender<bool> },
    /// The worker of an attempt without a stream gave a sign of life.
    RenewAttempt {
        lease: AttemptLease,
        /// How far it has come, if there is news of it.
        progress: Option<Progress>,
        /// As in `Connect`.
        taken: Option<Taken>,
        /// Whether the lease is known; nothing, where it may be another replica's: it is to be asked for first.
        reply: oneshot::Sender<Result<Option<bool>, EngineError>>,
    },
    /// A worker gave a sign of life.
    Renew { session: SessionId },
    /// A worker takes no more work.
    Drain { session: SessionId },
    /// A worker's stream has ended.
    Disconnect { session: SessionId, stream: StreamNumber },
    /// A worker reports how far it has come.
    Progress { session: SessionId, id: OperationId, attempt: Attempt, progress: Progress },
    /// Cut all workers off, so that they go elsewhere or come again.
    DisconnectAll { reply: oneshot::Sender<()> },
    /// Another replica has done something, or may have.
    Hint(Hint),
    /// Other limits hold.
    LimitsChanged,
    /// The store has counted what is not done.
    Counts(Vec<Outstanding>),
    /// The store cannot be written to, as was found out without a commit.
    StoreFailed(StoreError),
}

/// What several submissions of a request have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubmitMode {
    /// Nothing: each is stored or refused by itself.
    Each,
    /// The same, and each new operation is to be watched from its first transition on.
    Watched,
    /// The first is a batch, of which the others become children. All are stored or none.
    Batch,
}

/// The state of a session that a worker wants to resume.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is this replica's now, with these leases, unless more has been done here since.
    Over(Vec<shared::Lease>),
    /// There is no such session any more.
    Gone,
    /// The store did not say.
    Unknown(EngineError),
}

/// An attempt with a session of its own, and whose it is.
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

/// A command for one operation, with what belongs to it.
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
    /// About how many bytes it takes in memory.
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
    /// Whether it was there before, under the same idempotency key.
    pub existing: bool,
    /// Made before anything of the operation was published, where it is new and to be watched.
    pub(in crate::engine) subscription: Option<Subscription>,
}

impl Submitted {
    /// One without watches yet.
    pub(crate) fn unwatched(operation: Arc<Operation>, existing: bool) -> Self {
        Self { operation, existing, subscription: None }
    }
}

/// A command that was carried out.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The operation after it; the last state of a removed one.
    pub operation: Arc<Operation>,
    /// Whether it changed anything.
    pub changed: bool,
}

/// A worker's session.
#[derive(Clone, Copy, Debug)]
pub struct Connected {
    /// The session.
    pub session: SessionId,
    /// Whether it was resumed.
    pub resumed: bool,
    /// The number of the stream, to disconnect that one and no later one.
    pub(crate) stream: StreamNumber,
}

/// Why the engine refuses.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such operation for that tenant.
    #[error("there is no such operation")]
    NotFound,
    /// There was one, and its retention has removed it.
    #[error("the operation was deleted when its retention was over")]
    Expired {
        /// The time.
        purged_at: Timestamp,
    },
    /// The rules say no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The idempotency key was used for something else.
    #[error("the idempotency key was used before with different content, for {}", .0.name())]
    KeyReused(OperationId),
    /// The batch that a submission names as its parent does not exist for that tenant.
    #[error("there is no operation {}", .0.name())]
    NoParent(OperationId),
    /// The operation that a submission names as its parent takes no children.
    #[error("{} {why}", .parent.name())]
    ParentNotOpen {
        /// Which it is.
        parent: OperationId,
        /// Why not.
        why: NotOpen,
    },
    /// A limit is reached; trying again later may succeed.
    #[error("the server has reached its limit of {limit} {what}")]
    Full {
        /// Of what there is too much.
        what: ServerLimit,
        /// How much is allowed.
        limit: u64,
    },
    /// A limit of the tenant is reached; trying again later may succeed.
    #[error("{tenant} has reached its limit of {most} for {name}{}", of_kind(.kind.as_ref()))]
    Limited {
        /// The tenant.
        tenant: TenantId,
        /// Of which kind, if not of all together.
        kind: Option<Kind>,
        /// The limit.
        name: LimitName,
        /// How much is allowed.
        most: u64,
    },
    /// A list took too long.
    #[error(
        "the list took too long: narrow its filter by kind, state, time or the value of a label"
    )]
    TimedOut,
    /// Trying again may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// Something is wrong with what is stored.
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
