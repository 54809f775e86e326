//! What a store offers beyond [`Store`](super::Store) where several replicas share it.
//!
//! Each replica opens the store for itself. *Ours* is what was written through this one, *others* are
//! all the rest. Who holds a lease is a matter of rows; what replicas tell each other are hints, which
//! may come twice, late, or as [`Hint::Missed`].

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
    /// Queued operations that may start at `now`: of each queue at most as many as are wanted, the highest
    /// priority first, then the oldest.
    ///
    /// What is answered here, by [`SharedStore::expired`] or by [`Store::due`](super::Store::due) is
    /// answered to no other replica before our next commit, which must follow, with an empty batch if there
    /// is nothing to write. Operations claimed by other replicas are skipped, and so are those of `except`.
    async fn claim(
        &self,
        wanted: Vec<Wanted>,
        except: Vec<OperationId>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError>;

    /// In which queues of these kinds something is queued, due or not. Looks at as many tenants as `limit` that have
    /// something queued, of whatever kind, in the order of their names, beginning behind `after`.
    async fn queues(
        &self,
        kinds: Vec<Kind>,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Queues, StoreError>;

    /// How many operations are not done.
    async fn outstanding(&self) -> Result<Vec<Outstanding>, StoreError>;

    /// Makes a session ours, with the leases that it holds; `None` where there is no such session within the scope. If it
    /// was another replica's, that one is told.
    async fn take_over(&self, take: TakeOver) -> Result<Option<Vec<Lease>>, StoreError>;

    /// Sessions that no replica has kept for as long as their lease, by the store's own clock: each with at most
    /// `leases` of its leases; at most `limit`. See [`SharedStore::claim`] for what the answer means to others.
    async fn expired(&self, limit: usize, leases: usize)
    -> Result<Vec<ExpiredSession>, StoreError>;

    /// Transitions of operations, in the order asked: of each those after the revision that is named with it, the
    /// oldest first, at most `limit`. Of an operation that is not there, none.
    async fn transitions(
        &self,
        after: Vec<(OperationId, Revision)>,
        limit: usize,
    ) -> Result<Vec<Vec<Event>>, StoreError>;

    /// Leaves how far attempts have come where other replicas find it, and takes away what was left of those that
    /// have `ended`. It may be lost: progress is not history.
    async fn leave_progress(
        &self,
        news: Vec<AttemptProgress>,
        ended: Vec<OperationId>,
    ) -> Result<(), StoreError>;

    /// Progress that other replicas published, unordered; may include finished attempts.
    async fn progress(&self, of: Vec<OperationId>) -> Result<Vec<AttemptProgress>, StoreError>;

    /// Progress that other replicas published in the last few seconds, at most `limit`.
    async fn recent_progress(&self, limit: usize) -> Result<Vec<AttemptProgress>, StoreError>;

    /// Workers' sessions that other replicas keep, at most `limit`.
    async fn workers(&self, limit: usize) -> Result<Vec<OtherWorker>, StoreError>;

    /// How many others have the store open, or had until moments ago.
    async fn others(&self) -> Result<u64, StoreError>;

    /// Asks for hints of a topic, as long as the answer is held.
    fn listen(&self, topic: Topic) -> Listening;

    /// The next hint. For one caller at a time; dropping the future loses nothing.
    async fn hint(&self) -> Hint;
}

/// Queues in which something is queued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Those that were found, in any order.
    pub found: Vec<(TenantId, Kind)>,
    /// The tenant that was looked at last, where there may be more behind it.
    pub last: Option<TenantId>,
}

/// How many operations to claim of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The tenant.
    pub tenant: TenantId,
    /// Of which kind.
    pub kind: Kind,
    /// At most this many.
    pub limit: usize,
    /// How many attempts may run that count with those of this queue. They hold whoever starts the others: what is
    /// claimed is counted until the next commit, and what others claim is waited for.
    pub limits: Vec<RunningLimit>,
}

/// A claimed operation.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The operations, those of a queue in its order.
    pub operations: Vec<Operation>,
    /// Operations that would be among them and cannot be read.
    pub damaged: Vec<OperationId>,
    /// When the next operation of the same queues may start that may not start yet.
    pub next_at: Option<Timestamp>,
    /// Queues of which there may be more that limits hold back.
    pub held: Vec<(TenantId, Kind)>,
    /// Whether another replica is just claiming for a tenant with limits, so that nothing was claimed of it.
    pub is_contended: bool,
}

impl Claimed {
    /// Limits hold back what more there may be of a queue.
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
    /// Of which kind.
    pub kind: Kind,
    /// How many.
    pub count: u64,
    /// How many of these have a running attempt.
    pub running: u64,
}

/// A lease of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The operation.
    pub id: OperationId,
    /// Its attempt.
    pub attempt: Attempt,
}

/// A session to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeOver {
    /// The session.
    pub session: SessionId,
    /// The scope that it must belong to.
    pub scope: Scope,
    /// For how long it is ours unless it is kept.
    pub lease: Duration,
}

/// An expired session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredSession {
    /// The session.
    pub session: SessionId,
    /// What it holds, or the first part of that; with nothing it can be ended.
    pub leases: Vec<Lease>,
}

/// How far an attempt has come.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptProgress {
    /// Of which operation.
    pub id: OperationId,
    /// The attempt.
    pub attempt: Attempt,
    /// How far.
    pub progress: Progress,
}

/// Changes of workers' sessions by a commit. Empty without replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionChanges {
    /// Sessions of ours to keep for longer; one that is not there is made.
    pub kept: Vec<KeptSession>,
    /// Sessions of ours that hold what this batch changes, before or after it, each once. They must be there and
    /// be ours: who takes one over waits for this batch, and sees what it does to leases.
    pub used: Vec<SessionId>,
    /// Sessions that end: ours, and those that [`SharedStore::expired`] has answered us since our last commit. Of
    /// these, those stay that hold leases after this batch: others may have used them unseen.
    pub ended: Vec<SessionId>,
    /// Leases that this batch changes and that others' sessions hold: those replicas are told.
    pub told: Vec<(SessionId, OperationId)>,
}

/// A session to keep.
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
    /// Attempts that it runs at once, at most.
    pub places: usize,
    /// For how long from the commit on, by the store's own clock.
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
    /// Attempts that it runs at once, at most.
    pub places: usize,
    /// Attempts that it runs.
    pub running: usize,
}

/// The subjects of hints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Transitions of one operation.
    Operation(OperationId),
    /// Transitions of all operations.
    Operations,
    /// Operations that are left in a queue.
    Queue(TenantId, Kind),
    /// Operations that are left in any queue.
    Queues,
}

/// Another replica's change, or possible change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Operations have changed, or log lines were added to them.
    Changed(Vec<OperationId>),
    /// Operations are in queues that were asked for, or in others.
    Queued,
    /// Leases that sessions of ours hold, or held, were changed by others.
    Leases(Vec<OperationId>),
    /// Sessions of ours were taken over.
    TakenOver(Vec<SessionId>),
    /// Any of these may have happened unseen. Comes before anything else, and whenever others could not
    /// be heard for a while.
    Missed,
}

/// Holds the wish for hints of a topic.
#[derive(Debug)]
pub struct Listening {
    effective: watch::Receiver<bool>,
    _wish: Box<dyn std::fmt::Debug + Send + Sync>,
}

impl Listening {
    /// `effective` says whether hints arrive, or a [`Hint::Missed`] will before any does; dropping `wish`
    /// ends the wish.
    pub fn new(
        effective: watch::Receiver<bool>,
        wish: Box<dyn std::fmt::Debug + Send + Sync>,
    ) -> Self {
        Self { effective, _wish: wish }
    }

    /// Returns when whatever is committed from then on is hinted at; at once if that is so.
    pub async fn effective(&mut self) {
        // Without a sender there are no more notifications: the store is closed.
        let _ = self.effective.wait_for(|effective| *effective).await;
    }
}
