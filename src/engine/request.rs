//! What the committer is asked to do, and what it answers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::sessions::{StreamNumber, ToWorker, WorkerHello};
use crate::operation::{
    Attempt, Command, NewOperation, Operation, OperationId, Progress, Rejection, SessionId,
    TenantId, Timestamp,
};
use crate::store::StoreError;
use crate::store::shared::{self, Hint, Outstanding};

/// A request to the committer.
#[derive(Debug)]
pub(super) enum Request {
    /// Store submissions, all in one commit.
    Submit {
        items: Vec<NewOperation>,
        reply: oneshot::Sender<Vec<Result<Submitted, EngineError>>>,
        /// Holds the room that the request takes in memory.
        admission: OwnedSemaphorePermit,
    },
    /// Apply a command to an operation.
    Apply { work: Apply, reply: oneshot::Sender<Result<Applied, EngineError>> },
    /// Connect a worker.
    Connect {
        hello: WorkerHello,
        sender: mpsc::Sender<ToWorker>,
        /// What is known of the session to resume, if it was asked for in the store.
        taken: Option<Taken>,
        /// Nothing, where the session to resume may be another replica's: it is to be asked for first.
        reply: oneshot::Sender<Result<Option<Connected>, EngineError>>,
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
    /// The store has counted what is not done.
    Counts(Vec<Outstanding>),
    /// The store cannot be written to, as was found out without a commit.
    StoreFailed(StoreError),
}

/// What has become of a session that a worker wants to resume.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is this replica's now, with these leases, unless more has been done here since.
    Over(Vec<shared::Lease>),
    /// There is no such session any more.
    Gone,
    /// The store did not say.
    Unknown(EngineError),
}

/// A command for one operation, with what belongs to it.
#[derive(Clone, Debug)]
pub struct Apply {
    /// Whose operation it must be.
    pub tenant: TenantId,
    /// Which operation.
    pub id: OperationId,
    /// What to do.
    pub command: Command,
    /// For a worker's report: the session that sends it, which must hold the lease.
    pub session: Option<SessionId>,
    /// For a completion: the contents of its result, unless an object holds them.
    pub result: Option<Bytes>,
    /// For log lines: the lines.
    pub lines: Vec<String>,
}

/// A stored submission.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The operation.
    pub operation: Arc<Operation>,
    /// Whether it was there before, under the same idempotency key.
    pub existing: bool,
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
    /// Which.
    pub session: SessionId,
    /// Whether it was resumed.
    pub resumed: bool,
    /// The number of the stream, to disconnect that one and no later one.
    pub(super) stream: StreamNumber,
}

/// Why the engine refuses.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such operation for that tenant.
    #[error("there is no such operation")]
    NotFound,
    /// There was one, and its retention has removed it.
    #[error("the operation was deleted when its retention was up")]
    Expired {
        /// When.
        purged_at: Timestamp,
    },
    /// The rules say no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The idempotency key was used for something else.
    #[error("the idempotency key was used before with different content, for {}", .0.name())]
    KeyReused(OperationId),
    /// A limit is reached; trying again later may succeed.
    #[error("the server has reached its limit of {limit} {what}")]
    Full {
        /// Of what there is too much.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// Trying again may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// Something is wrong with what is stored.
    #[error("{0}")]
    Internal(String),
}

impl EngineError {
    /// What is stored cannot be understood.
    pub(super) fn damaged() -> Self {
        Self::Internal("the store is damaged".to_owned())
    }
}
