//! Acts: owns the clock, the loop that commits, dispatch to workers, and watches.
//!
//! Every change takes the same road through one task: decide by the rules, commit, then answer, publish and
//! dispatch. Requests, workers and timers differ only in the command that they bring. Nothing here knows of
//! gRPC or HTTP.
//!
//! Read next: `committer` for the road, `dispatch` for what happens on both sides of a commit, `watch` and
//! `watcher` for how transitions reach clients.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot, watch as signal};
use tokio_util::sync::CancellationToken;

use crate::operation::filter::Filter;
use crate::operation::{
    Attempt, NewOperation, ObjectId, Operation, OperationId, Progress, Revision, SessionId,
    TenantId,
};
use crate::store::shared::{Listening, TakeOver, Topic};
use crate::store::{HistoryEntry, HistoryQuery, ListQuery, Lookup, PayloadRole, Store, StoreError};

mod backlog;
mod cache;
pub mod clock;
mod committer;
mod dispatch;
mod draft;
mod feed;
mod follower;
mod health;
mod outage;
mod progress;
mod queue;
mod replicas;
mod request;
#[cfg(test)]
mod sample;
mod sessions;
mod sharing;
mod timers;
mod told;
mod watch;
mod watcher;
mod work;

pub use clock::{Clock, Ids, ManualClock, Moment, SystemClock};
pub use feed::{Feed, FeedItem};
pub use health::StoreHealth;
pub use request::{Applied, Apply, Connected, EngineError, Submitted};
pub use sessions::{ToWorker, WorkerHello};
pub use watch::Committed;
pub use watcher::{WatchItem, Watcher};

use backlog::Backlog;
use cache::Cache;
use committer::Committer;
use follower::Follower;
use health::HealthBoard;
use progress::ProgressBoard;
use queue::QueueKey;
use request::{Request, Taken};
use sharing::Sharer;
use watch::Hub;

/// Changes of our own that wait to be told to watches over filters, where others change things too.
const QUEUED_CHANGES: usize = 8_192;
/// How long a watch waits until changes of other replicas can be heard.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// How long leases live without a sign of their worker.
    pub lease_duration: Duration,
    /// Most operations that are not done.
    pub max_outstanding: u64,
    /// Most worker sessions.
    pub max_sessions: usize,
    /// Most requests that wait for the committer.
    pub queued_requests: usize,
    /// Most bytes of submissions that wait for the committer.
    pub queued_bytes: usize,
    /// Most operations kept in memory for their next transition.
    pub cached_operations: usize,
    /// How long it is remembered that an operation was there, after its retention has removed it.
    pub tombstone_retention: Duration,
    /// Of how many operations this is remembered at most; the oldest go first.
    pub max_tombstones: u64,
    /// Who is told of objects whose operations are gone. Where there is no room, or nobody, they are left to
    /// whoever looks for objects that nothing refers to.
    pub discarded_objects: Option<mpsc::Sender<ObjectId>>,
    /// Seeds the jitter of retries.
    pub seed: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(30),
            max_outstanding: 1_000_000,
            max_sessions: 10_000,
            queued_requests: 4_096,
            queued_bytes: 256 << 20,
            cached_operations: 16_384,
            tombstone_retention: Duration::from_secs(7 * 24 * 3600),
            max_tombstones: 1_000_000,
            discarded_objects: None,
            seed: 0,
        }
    }
}

/// What the engine's parts have in common.
struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Ids,
    hub: Arc<Hub>,
    cache: Cache,
    progress: ProgressBoard,
    health: HealthBoard,
    backlog: Backlog,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("backlog", &self.backlog).finish_non_exhaustive()
    }
}

/// The way to the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    /// Room for submissions in memory, in KiB.
    admission: Arc<Semaphore>,
    queued_requests: u64,
    max_outstanding: u64,
    lease_duration: Duration,
}

/// The engine's task, to be run by whoever owns the engine.
pub struct EngineTask {
    committer: Committer,
    requests: mpsc::Receiver<Request>,
    follower: Follower,
    sharer: Sharer,
}

impl EngineTask {
    /// Works until `stop`, then finishes what has come in.
    pub async fn run(self, stop: CancellationToken) {
        let Self { committer, requests, follower, sharer } = self;
        let (following, sharing) = (follower.run(stop.clone()), sharer.run(stop.clone()));
        tokio::join!(following, sharing, committer.run(requests, stop));
    }
}

impl Engine {
    /// Rebuilds from the store what is kept in memory.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config: EngineConfig,
    ) -> Result<(Self, EngineTask), StoreError> {
        let (changes, ours) = mpsc::channel(QUEUED_CHANGES);
        let follower = store.shared().map(|_| changes);
        let shared = Arc::new(Shared {
            store,
            clock,
            ids: Ids::default(),
            hub: Arc::new(Hub::new(follower)),
            cache: Cache::new(config.cached_operations),
            progress: ProgressBoard::default(),
            health: HealthBoard::default(),
            backlog: Backlog::default(),
        });
        let (sender, requests) = mpsc::channel(config.queued_requests);
        let engine = Self {
            shared: Arc::clone(&shared),
            requests: sender.clone(),
            admission: Arc::new(Semaphore::new(config.queued_bytes >> 10)),
            queued_requests: config.queued_requests as u64,
            max_outstanding: config.max_outstanding,
            lease_duration: config.lease_duration,
        };
        let follower = Follower::new(Arc::clone(&shared), sender, ours);
        let sharer = Sharer::new(Arc::clone(&shared));
        let mut committer = Committer::new(shared, config);
        committer.recover().await?;
        Ok((engine, EngineTask { committer, requests, follower, sharer }))
    }

    /// The engine's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// How many operations are not done.
    pub fn outstanding(&self) -> u64 {
        self.shared.backlog.all()
    }

    /// Whether the store takes writes, to be watched.
    pub fn store_health(&self) -> signal::Receiver<StoreHealth> {
        self.shared.health.subscribe()
    }

    /// Refuses a submission that there is no room for as things stand, before its input is taken in. A known
    /// idempotency key is let in whatever the load, because it is no new work.
    pub async fn admit(&self, new: &NewOperation) -> Result<(), EngineError> {
        self.shared.health.check()?;
        let key = QueueKey { tenant: new.tenant.clone(), kind: new.kind.clone() };
        let full = self.shared.backlog.check(self.max_outstanding, &key, new.capacity, (0, 0));
        let (Err(_), Some(key)) = (&full, &new.idempotency_key) else { return full };
        let lookup = Lookup::Key(new.tenant.clone(), key.clone());
        let found = self.shared.store.load(vec![lookup]).await?;
        if found.into_iter().flatten().next().is_some() { Ok(()) } else { full }
    }

    /// Stores submissions in one commit; answers each in its place. Refused at once where there is
    /// no room for it, and while the store takes no writes.
    pub async fn submit(
        &self,
        items: Vec<NewOperation>,
    ) -> Result<Vec<Result<Submitted, EngineError>>, EngineError> {
        self.shared.health.check()?;
        let bytes: usize =
            items.iter().map(|new| 1_024 + new.input.as_ref().map_or(0, |i| i.data.len())).sum();
        let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX);
        let full = EngineError::Full { what: "waiting requests", limit: self.queued_requests };
        let Ok(admission) = Arc::clone(&self.admission).try_acquire_many_owned(kib) else {
            return Err(full);
        };
        let (reply, answer) = oneshot::channel();
        match self.requests.try_send(Request::Submit { items, reply, admission }) {
            Ok(()) => answer.await.map_err(|_| closed()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }

    /// Applies a command; answers once its outcome is durable. Refused at once while the store takes no
    /// writes.
    pub async fn apply(&self, work: Apply) -> Result<Applied, EngineError> {
        self.shared.health.check()?;
        let (tenant, id, by_worker) = (work.tenant.clone(), work.id, work.session.is_some());
        let (reply, answer) = oneshot::channel();
        self.send(Request::Apply { work, reply }).await?;
        match answer.await.map_err(|_| closed())? {
            // To a worker it makes no difference why.
            Err(EngineError::NotFound) if !by_worker => Err(self.absent(&tenant, id).await),
            answer => answer,
        }
    }

    /// Connects a worker, whose messages go to `sender`.
    pub async fn connect(
        &self,
        hello: WorkerHello,
        sender: mpsc::Sender<ToWorker>,
    ) -> Result<Connected, EngineError> {
        let mut taken = None;
        loop {
            let (reply, answer) = oneshot::channel();
            let (hello, sender) = (hello.clone(), sender.clone());
            let resume = hello.resume.map(|session| (session, hello.tenant.clone()));
            self.send(Request::Connect { hello, sender, taken, reply }).await?;
            if let Some(connected) = answer.await.map_err(|_| closed())?? {
                return Ok(connected);
            }
            taken = Some(match resume {
                Some((session, tenant)) => self.take_over(session, tenant).await,
                None => Taken::Gone,
            });
        }
    }

    /// Asks the store for a session that another replica may have.
    async fn take_over(&self, session: SessionId, tenant: TenantId) -> Taken {
        let Some(store) = self.shared.store.shared() else { return Taken::Gone };
        let expires_at = self.shared.clock.now().after(self.lease_duration);
        match store.take_over(TakeOver { session, tenant, expires_at }).await {
            Ok(Some(leases)) => Taken::Over(leases),
            Ok(None) => Taken::Gone,
            Err(error) => Taken::Unknown(error.into()),
        }
    }

    /// A worker gave a sign of life.
    pub async fn renew(&self, session: SessionId) -> Result<(), EngineError> {
        self.send(Request::Renew { session }).await
    }

    /// A worker takes no more work.
    pub async fn drain(&self, session: SessionId) -> Result<(), EngineError> {
        self.send(Request::Drain { session }).await
    }

    /// A worker's stream has ended. Told where there is room: it can also be found out.
    pub fn disconnect(&self, connected: Connected) {
        let Connected { session, stream, .. } = connected;
        let _ = self.requests.try_send(Request::Disconnect { session, stream });
    }

    /// Ends every worker's stream; their sessions remain.
    pub async fn disconnect_all(&self) -> Result<(), EngineError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::DisconnectAll { reply }).await?;
        answer.await.map_err(|_| closed())
    }

    /// A worker reports how far an attempt has come. Ignored if the attempt is not its own.
    pub async fn progress(
        &self,
        session: SessionId,
        id: OperationId,
        attempt: Attempt,
        progress: Progress,
    ) -> Result<(), EngineError> {
        self.send(Request::Progress { session, id, attempt, progress }).await
    }

    /// A tenant's operation as it is now.
    pub async fn get(&self, tenant: &TenantId, id: OperationId) -> Result<Operation, EngineError> {
        let shares = self.shared.store.shared().is_some();
        // What others have committed since is not in the cache.
        let cached = if shares { None } else { self.shared.cache.read(id) };
        let found = match cached {
            Some(operation) => Some(Operation::clone(&operation)),
            None => {
                let found = self.shared.store.load(vec![Lookup::Id(id)]).await?;
                found.into_iter().flatten().next()
            }
        };
        match found {
            Some(operation) if operation.submission.tenant == *tenant => {
                let refreshed = self.shared.refresh(vec![operation]).await;
                refreshed.into_iter().next().ok_or(EngineError::NotFound)
            }
            Some(_) => Err(EngineError::NotFound),
            None => Err(self.absent(tenant, id).await),
        }
    }

    /// Why a tenant's operation is not there: its retention has removed it, or there was none.
    async fn absent(&self, tenant: &TenantId, id: OperationId) -> EngineError {
        let now = self.shared.clock.now();
        match self.shared.store.tombstone(id).await {
            Ok(Some(stone)) if stone.tenant == *tenant && stone.forget_at > now => {
                EngineError::Expired { purged_at: stone.purged_at }
            }
            Ok(_) => EngineError::NotFound,
            Err(error) => error.into(),
        }
    }

    /// The contents of a payload of an operation that the caller may see.
    pub async fn payload(
        &self,
        id: OperationId,
        role: PayloadRole,
    ) -> Result<Option<Bytes>, EngineError> {
        Ok(self.shared.store.payload(id, role).await?)
    }

    /// Of each object, whether a payload of a stored operation is in it.
    pub async fn known_objects(&self, ids: Vec<ObjectId>) -> Result<Vec<bool>, EngineError> {
        Ok(self.shared.store.known_objects(ids).await?)
    }

    /// A page of operations.
    pub async fn list(&self, query: ListQuery) -> Result<Vec<Operation>, EngineError> {
        let page = self.shared.store.list(query).await?;
        Ok(self.shared.refresh(page).await)
    }

    /// A page of the history of an operation that the caller may see.
    pub async fn history(&self, query: HistoryQuery) -> Result<Vec<HistoryEntry>, EngineError> {
        Ok(self.shared.store.history(query).await?)
    }

    /// Watches an operation from `after`, or from its present state. The operation as it was found comes
    /// along, for checks.
    pub async fn watch(
        &self,
        tenant: &TenantId,
        id: OperationId,
        after: Option<Revision>,
        include_progress: bool,
    ) -> Result<(Watcher, Operation), EngineError> {
        // Interest first, then the question: nothing can fall in between.
        let subscription = self.shared.hub.subscribe(id);
        let listening = self.listen(Topic::Operation(id)).await?;
        let operation = self.get(tenant, id).await?;
        let found = operation.clone();
        let shared = Arc::clone(&self.shared);
        let watcher =
            Watcher::new(shared, subscription, operation, after, include_progress, listening);
        Ok((watcher, found))
    }

    /// Asks for hints of other replicas, and waits until they arrive.
    async fn listen(&self, topic: Topic) -> Result<Option<Listening>, EngineError> {
        let Some(store) = self.shared.store.shared() else { return Ok(None) };
        let mut listening = store.listen(topic);
        let clock = &self.shared.clock;
        tokio::select! {
            biased;
            () = listening.effective() => Ok(Some(listening)),
            () = clock.sleep_until(clock.now().after(LISTEN_TIMEOUT)) => {
                Err(EngineError::Unavailable("the store is not available".to_owned()))
            }
        }
    }

    /// Watches all operations of a tenant that match.
    pub fn feed(
        &self,
        tenant: TenantId,
        filter: Filter,
        include_progress: bool,
        skip_current: bool,
    ) -> Feed {
        Feed::new(Arc::clone(&self.shared), tenant, filter, include_progress, skip_current)
    }

    async fn send(&self, request: Request) -> Result<(), EngineError> {
        self.requests.send(request).await.map_err(|_| closed())
    }
}

fn closed() -> EngineError {
    EngineError::Unavailable("the server is stopping".to_owned())
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt(_) => {
                tracing::error!(error = %error, "reading the store failed");
                Self::damaged()
            }
            _ => {
                tracing::warn!(error = %error, "the store did not answer");
                Self::Unavailable("the store is not available".to_owned())
            }
        }
    }
}
