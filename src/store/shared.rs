//! What a store offers beyond [`Store`](super::Store) if several replicas share it.
//!
//! Each replica opens the store for itself. In this trait *this replica* is the one that opened the store. Rows say
//! which session holds a lease; hints between replicas may come twice, late, or as [`Hint::Missed`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::StoreError;
use crate::operation::limits::RunningLimit;
use crate::operation::{
    Attempt, Event, Kind, Operation, OperationId, Progress, Revision, Scope, SessionId, TenantId,
    Timestamp, WorkerId,
};

/// Durable storage of operations that several replicas share.
#[async_trait]
pub trait SharedStore: Send + Sync {
    /// Queued operations that may start at `now`: at most the wanted number of each queue, the highest priority first,
    /// then the oldest.
    ///
    /// What this method, [`SharedStore::expired`] or [`Store::due`](super::Store::due) returns is returned to no other
    /// replica before this replica's next commit, which must follow, with an empty batch if there is nothing to write.
    /// Operations claimed by other replicas are skipped, and so are those of `except`.
    async fn claim(
        &self,
        wanted: Vec<Wanted>,
        except: Vec<OperationId>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError>;

    /// The queues of these kinds with queued operations, due or not. Reads at most `limit` tenants with queued
    /// operations of any kind, by name, beginning after `after`.
    async fn queues(
        &self,
        kinds: Vec<Kind>,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Queues, StoreError>;

    /// The number of operations that are not done, by queue.
    async fn outstanding(&self) -> Result<Vec<Outstanding>, StoreError>;

    /// Makes this replica the owner of a session with its leases; `None` if the scope has no such session. A previous
    /// owner is notified.
    async fn take_over(&self, take: TakeOver) -> Result<Option<Vec<Lease>>, StoreError>;

    /// Sessions that no replica has renewed within their lease, by the store's own clock: each with at most `leases` of
    /// its leases; at most `limit`. The result is reserved for this replica as in [`SharedStore::claim`].
    async fn expired(&self, limit: usize, leases: usize)
    -> Result<Vec<ExpiredSession>, StoreError>;

    /// Transitions of operations, in the order asked: for each, those after the given revision, the oldest first, at
    /// most `limit`. None for an operation that does not exist.
    async fn transitions(
        &self,
        after: Vec<(OperationId, Revision)>,
        limit: usize,
    ) -> Result<Vec<Vec<Event>>, StoreError>;

    /// Publishes the progress of attempts to other replicas, and withdraws that of attempts that have `ended`. It may
    /// be lost, because progress is not history.
    async fn leave_progress(
        &self,
        news: Vec<AttemptProgress>,
        ended: Vec<OperationId>,
    ) -> Result<(), StoreError>;

    /// Progress that other replicas published, unordered; may include finished attempts.
    async fn progress(&self, of: Vec<OperationId>) -> Result<Vec<AttemptProgress>, StoreError>;

    /// Progress that other replicas published in the last few seconds, at most `limit`.
    async fn recent_progress(&self, limit: usize) -> Result<Vec<AttemptProgress>, StoreError>;

    /// Workers' sessions that other replicas own, at most `limit`.
    async fn workers(&self, limit: usize) -> Result<Vec<OtherWorker>, StoreError>;

    /// The number of other replicas that have the store open, or had until moments ago.
    async fn others(&self) -> Result<u64, StoreError>;

    /// Subscribes to hints of a topic until the returned value is dropped.
    fn listen(&self, topic: Topic) -> Listening;

    /// Returns the next hint. For one caller at a time; dropping the future loses nothing.
    async fn hint(&self) -> Hint;
}

/// Queues with queued operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// The queues, in any order.
    pub found: Vec<(TenantId, Kind)>,
    /// The last tenant that was read, if there may be more.
    pub last: Option<TenantId>,
}

/// How many operations to claim of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The tenant.
    pub tenant: TenantId,
    /// The kind.
    pub kind: Kind,
    /// The maximum number of operations.
    pub limit: usize,
    /// The limits on running attempts that apply to this queue. They hold across replicas: claimed operations count
    /// until the next commit, and a queue that another replica is claiming from is left to it.
    pub limits: Vec<RunningLimit>,
}

/// Claimed operations.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The operations; those of a queue in its order.
    pub operations: Vec<Operation>,
    /// Claimed operations that cannot be read.
    pub damaged: Vec<OperationId>,
    /// When the next operation of the same queues becomes due.
    pub next_at: Option<Timestamp>,
    /// Queues that may have more operations, which limits hold back.
    pub held: Vec<(TenantId, Kind)>,
    /// Whether another replica was claiming for a tenant with limits, so that nothing was claimed for it.
    pub is_contended: bool,
}

impl Claimed {
    /// Notes that limits hold back further operations of the queue.
    pub fn hold(&mut self, tenant: TenantId, kind: Kind) {
        let queue = (tenant, kind);
        if !self.held.contains(&queue) {
            self.held.push(queue);
        }
    }
}

/// How many operations of a queue are not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outstanding {
    /// The tenant.
    pub tenant: TenantId,
    /// The kind.
    pub kind: Kind,
    /// The number of operations that are not done.
    pub count: u64,
    /// The number of these with a running attempt.
    pub running: u64,
}

/// A lease of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The operation.
    pub id: OperationId,
    /// The attempt.
    pub attempt: Attempt,
}

/// A session to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeOver {
    /// The session.
    pub session: SessionId,
    /// The scope that it must belong to.
    pub scope: Scope,
    /// How long this replica owns it unless it is renewed.
    pub lease: Duration,
}

/// An expired session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredSession {
    /// The session.
    pub session: SessionId,
    /// Its leases, or the first of them; without any, the session can be ended.
    pub leases: Vec<Lease>,
}

/// The progress of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptProgress {
    /// The operation.
    pub id: OperationId,
    /// The attempt.
    pub attempt: Attempt,
    /// The progress.
    pub progress: Progress,
}

/// Changes of workers' sessions in a commit. Empty without replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionChanges {
    /// Sessions of this replica to renew; missing ones are created.
    pub kept: Vec<KeptSession>,
    /// Sessions of this replica that hold what this batch changes, before or after it, each once. They must exist and
    /// belong to this replica: a replica that takes one over waits for this batch, and sees what it does to leases.
    pub used: Vec<SessionId>,
    /// Sessions that end: this replica's own, and those that [`SharedStore::expired`] has returned since its last
    /// commit. Those that hold leases after this batch remain, because other replicas may have used them meanwhile.
    pub ended: Vec<SessionId>,
    /// Leases that this batch changes and that other replicas' sessions hold: those replicas are notified.
    pub told: Vec<(SessionId, OperationId)>,
}

/// A session to renew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSession {
    /// The session.
    pub session: SessionId,
    /// The tenants whose operations it executes.
    pub scope: Scope,
    /// The worker's name.
    pub worker: WorkerId,
    /// The kinds that it serves.
    pub kinds: Arc<[Kind]>,
    /// The maximum number of attempts that it runs at once.
    pub places: usize,
    /// How long the session lasts after the commit, by the store's own clock.
    pub lease: Duration,
}

/// A worker of another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherWorker {
    /// The tenants whose operations it executes.
    pub scope: Scope,
    /// The worker's name.
    pub worker: WorkerId,
    /// The kinds that it serves.
    pub kinds: Arc<[Kind]>,
    /// The maximum number of attempts that it runs at once.
    pub places: usize,
    /// The number of attempts that it runs.
    pub running: usize,
}

/// The subjects of hints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Transitions of one operation.
    Operation(OperationId),
    /// Transitions of all operations.
    Operations,
    /// Operations left in a queue of the store.
    Queue(TenantId, Kind),
    /// Operations left in any queue of the store.
    Queues,
}

/// Another replica's change, or possible change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Operations have changed, or log lines were added to them.
    Changed(Vec<OperationId>),
    /// Operations were left in subscribed queues, or perhaps only in others.
    Queued,
    /// Another replica changed leases that sessions of this replica hold or held.
    Leases(Vec<OperationId>),
    /// Other replicas took over sessions of this replica.
    TakenOver(Vec<SessionId>),
    /// Any of these may have happened unnoticed. Comes first of all, and whenever other replicas could not be heard for
    /// a while.
    Missed,
}

/// A subscription to hints of a topic.
#[derive(Debug)]
pub struct Listening {
    effective: watch::Receiver<bool>,
    _wish: Box<dyn std::fmt::Debug + Send + Sync>,
}

impl Listening {
    /// `effective` says whether hints arrive, or a [`Hint::Missed`] will before any does; dropping `wish` ends the
    /// subscription.
    pub fn new(
        effective: watch::Receiver<bool>,
        wish: Box<dyn std::fmt::Debug + Send + Sync>,
    ) -> Self {
        Self { effective, _wish: wish }
    }

    /// Returns once every later commit causes a hint; at once if that is already so.
    pub async fn effective(&mut self) {
        // If the sender is gone, the store is closed and no more notifications arrive.
        let _ = self.effective.wait_for(|effective| *effective).await;
    }
}
