//! The calls that the service makes to the engine. Reads go to the store, changes to the committer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch as signal};

use super::Shared;
use super::admission::Admission;
use super::clock::Clock;
use super::commit::counts::Added;
use super::health::StoreHealth;
use super::request::{
    Applied, Apply, Connected, EngineError, Request, ServerLimit, SubmitMode, Submitted, Taken,
    ToWorker, WorkerHello,
};
use crate::metrics::Meters;
use crate::operation::limits::LimitTable;
use crate::operation::{
    Attempt, IdempotencyKey, NewOperation, ObjectId, Operation, OperationId, Progress, Scope,
    SessionId, TenantId,
};
use crate::spans::Spans;
use crate::store::shared::TakeOver;
use crate::store::{HistoryEntry, HistoryQuery, ListQuery, Lookup, PayloadRole};

mod children;
pub(super) mod figures;
mod open;
pub(super) mod standing;
mod watching;

pub use open::EngineTask;

/// A handle to the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    admission: Admission,
    lease_duration: Duration,
}

impl Engine {
    /// The engine's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// The engine's counters.
    pub fn meters(&self) -> &Arc<Meters> {
        &self.shared.meters
    }

    /// Makes spans of operations' transitions.
    pub fn spans(&self) -> &Spans {
        &self.shared.spans
    }

    /// The current limits of tenants.
    pub fn limits(&self) -> Arc<LimitTable> {
        self.shared.limits()
    }

    /// Replaces the limits, and examines again what waits because of the old ones.
    pub async fn set_limits(&self, limits: Arc<LimitTable>) -> Result<(), EngineError> {
        self.shared.set_limits(limits);
        self.send(Request::LimitsChanged).await
    }

    /// The number of operations that are not done.
    pub fn outstanding(&self) -> u64 {
        self.shared.counts().all()
    }

    /// Watches whether the store accepts writes.
    pub fn store_health(&self) -> signal::Receiver<StoreHealth> {
        self.shared.health.subscribe()
    }

    /// Checks that the store's storage is still there. If not, writes are refused until the store accepts them again.
    pub async fn check_store(&self) {
        if let Err(error) = self.shared.store.check().await {
            // If the queue is full, the commits in it will notice the failure as well.
            let _ = self.requests.try_send(Request::StoreFailed(error));
        }
    }

    /// Refuses a submission for which there is no room now, before its input is read. A known
    /// idempotency key is admitted whatever the load, because it makes no new work.
    pub async fn admit(&self, new: &NewOperation) -> Result<(), EngineError> {
        self.shared.health.check()?;
        let full = self.shared.counts().submit(new, &mut Added::default(), &self.shared.limits());
        let full = full.map_err(|error| self.refused(error));
        let (Err(_), Some(key)) = (&full, &new.idempotency_key) else { return full };
        let lookup = Lookup::Key(new.tenant.clone(), key.clone());
        let found = self.shared.store.load(vec![lookup]).await?;
        if found.into_iter().flatten().next().is_some() { Ok(()) } else { full }
    }

    /// Stores submissions in one commit; returns the results in the same order. Refuses at once if there is
    /// no room, or while the store accepts no writes.
    pub async fn submit(
        &self,
        items: Vec<NewOperation>,
    ) -> Result<Vec<Result<Submitted, EngineError>>, EngineError> {
        self.store(items, SubmitMode::Each).await
    }

    /// Like [`Engine::submit`], for submissions that [`Engine::follow`] will watch.
    pub async fn submit_watched(
        &self,
        items: Vec<NewOperation>,
    ) -> Result<Vec<Result<Submitted, EngineError>>, EngineError> {
        self.store(items, SubmitMode::Watched).await
    }

    /// Stores a batch, which is the first of these, with the others as its children: all or none. If one of them is
    /// refused, all results have its error.
    pub async fn submit_batch(
        &self,
        items: Vec<NewOperation>,
    ) -> Result<Vec<Result<Submitted, EngineError>>, EngineError> {
        self.store(items, SubmitMode::Batch).await
    }

    async fn store(
        &self,
        items: Vec<NewOperation>,
        mode: SubmitMode,
    ) -> Result<Vec<Result<Submitted, EngineError>>, EngineError> {
        self.shared.health.check()?;
        let Some(tenant) = items.first().map(|new| new.tenant.clone()) else {
            return Ok(Vec::new());
        };
        let size = items.iter().map(NewOperation::size).sum();
        let limit = self.admission.most_requests();
        let full = || self.refused(EngineError::Full { what: ServerLimit::Requests, limit });
        let admission = self.admission.try_admit(&tenant, size).ok_or_else(full)?;
        let (reply, answer) = oneshot::channel();
        self.send(Request::Submit { items, mode, reply, admission }).await?;
        let submitted = answer.await.map_err(|_| closed())?;
        let count = |submitted: Result<_, _>| submitted.map_err(|error| self.refused(error));
        Ok(submitted.into_iter().map(count).collect())
    }

    /// Returns the error, and counts it if a limit was reached.
    pub fn refused(&self, error: EngineError) -> EngineError {
        if let Some(limit) = error.limit() {
            self.shared.meters.refusals.one(limit);
        }
        error
    }

    /// Applies a command; returns once its outcome is durable. Waits for room, because a worker's report must not be
    /// refused for lack of room. Refuses at once while the store accepts no writes.
    pub fn apply(&self, work: Apply) -> impl Future<Output = Result<Applied, EngineError>> + Send {
        // Boxed outside the future: each future that awaits another one is as large as both.
        let work = Box::new(work);
        async move {
            self.shared.health.check()?;
            let by_worker = work.command.reporter().is_some();
            let (scope, id) = (work.scope.clone(), work.id);
            let admission = self.admission.admit(work.size()).await.ok_or_else(closed)?;
            let (reply, answer) = oneshot::channel();
            self.send(Request::Apply { work, reply, admission }).await?;
            match answer.await.map_err(|_| closed())? {
                // A worker needs no distinction between expired and unknown operations.
                Err(EngineError::NotFound) if !by_worker => {
                    Err(Box::pin(self.absent(&scope, id)).await)
                }
                answer => answer,
            }
        }
    }

    /// Connects a worker, whose messages go to `sender`.
    pub async fn connect(
        &self,
        hello: WorkerHello,
        sender: mpsc::Sender<ToWorker>,
    ) -> Result<Connected, EngineError> {
        self.connect_to(hello, None, sender).await
    }

    /// Like [`Engine::connect`], also for a place of a poll, whose attempt has a lease of `attempt_lease`.
    pub(super) async fn connect_to(
        &self,
        hello: WorkerHello,
        attempt_lease: Option<Duration>,
        sender: mpsc::Sender<ToWorker>,
    ) -> Result<Connected, EngineError> {
        let mut taken = None;
        loop {
            let (reply, answer) = oneshot::channel();
            let (hello, sender) = (hello.clone(), sender.clone());
            let resume = hello.resume.map(|session| (session, hello.scope.clone()));
            self.send(Request::Connect { hello, attempt_lease, sender, taken, reply }).await?;
            let connected = answer.await.map_err(|_| closed())?;
            if let Some(connected) = connected.map_err(|error| self.refused(error))? {
                return Ok(connected);
            }
            taken = Some(match resume {
                Some((session, scope)) => self.take_over(session, scope).await,
                None => Taken::Gone,
            });
        }
    }

    /// Takes over a session from the store that another replica may hold.
    pub(super) async fn take_over(&self, session: SessionId, scope: Scope) -> Taken {
        let Some(store) = self.shared.store.shared() else { return Taken::Gone };
        let lease = session.lease(self.lease_duration).max(self.lease_duration);
        match store.take_over(TakeOver { session, scope, lease }).await {
            Ok(Some(leases)) => Taken::Over(leases),
            Ok(None) => Taken::Gone,
            Err(error) => Taken::Unknown(error.into()),
        }
    }

    /// Renews a session whose worker gave a sign of life.
    pub async fn renew(&self, session: SessionId) -> Result<(), EngineError> {
        self.send(Request::Renew { session }).await
    }

    /// Assigns no more work to a session.
    pub async fn drain(&self, session: SessionId) -> Result<(), EngineError> {
        self.send(Request::Drain { session }).await
    }

    /// Reports that a worker's stream has ended. If the queue has no room for the request, the engine notices at its
    /// next check of sessions, and assigns nothing to the stream meanwhile.
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

    /// Records a worker's progress report. Ignored if the worker does not hold the attempt.
    pub async fn progress(
        &self,
        session: SessionId,
        id: OperationId,
        attempt: Attempt,
        progress: Progress,
    ) -> Result<(), EngineError> {
        self.send(Request::Progress { session, id, attempt, progress }).await
    }

    /// The present state of an operation within the scope.
    pub async fn get(&self, scope: &Scope, id: OperationId) -> Result<Operation, EngineError> {
        let shares = self.shared.store.shared().is_some();
        // The cache does not have what other replicas have committed since.
        let cached = if shares { None } else { self.shared.cache.read(id) };
        let found = match cached {
            Some(operation) => Some(Operation::clone(&operation)),
            None => {
                let found = self.shared.store.load(vec![Lookup::Id(id)]).await?;
                found.into_iter().flatten().next()
            }
        };
        match found {
            Some(operation) if scope.contains(&operation.submission.tenant) => {
                let refreshed = self.shared.refresh(vec![operation]).await;
                refreshed.into_iter().next().ok_or(EngineError::NotFound)
            }
            Some(_) => Err(EngineError::NotFound),
            None => Err(self.absent(scope, id).await),
        }
    }

    /// The tenant's operation that was submitted under that key, if it is still there.
    pub async fn get_by_key(
        &self,
        tenant: &TenantId,
        key: &IdempotencyKey,
    ) -> Result<Option<Operation>, EngineError> {
        let lookup = Lookup::Key(tenant.clone(), key.clone());
        let found = self.shared.store.load(vec![lookup]).await?;
        let refreshed = self.shared.refresh(found.into_iter().flatten().collect()).await;
        Ok(refreshed.into_iter().next())
    }

    /// Why the scope has no such operation: retention removed it, or it never existed.
    async fn absent(&self, scope: &Scope, id: OperationId) -> EngineError {
        let now = self.shared.clock.now();
        match self.shared.store.tombstone(id).await {
            Ok(Some(stone)) if scope.contains(&stone.tenant) && stone.forget_at > now => {
                EngineError::Expired { purged_at: stone.purged_at }
            }
            Ok(_) => EngineError::NotFound,
            Err(error) => error.into(),
        }
    }

    /// The contents of a payload of an operation that the caller may read.
    pub async fn payload(
        &self,
        id: OperationId,
        role: PayloadRole,
    ) -> Result<Option<Bytes>, EngineError> {
        let at_hand = match role {
            PayloadRole::Result => self.shared.cache.result(id),
            PayloadRole::Input => None,
        };
        match at_hand {
            Some(result) => Ok(Some(result)),
            None => Ok(self.shared.store.payload(id, role).await?),
        }
    }

    /// For each object, whether a stored operation has a payload in it.
    pub async fn known_objects(&self, ids: Vec<ObjectId>) -> Result<Vec<bool>, EngineError> {
        Ok(self.shared.store.known_objects(ids).await?)
    }

    /// A page of operations.
    pub async fn list(&self, query: ListQuery) -> Result<Vec<Operation>, EngineError> {
        let page = self.shared.store.list(query).await?;
        Ok(self.shared.refresh(page).await)
    }

    /// A page of the history of an operation that the caller may read.
    pub async fn history(&self, query: HistoryQuery) -> Result<Vec<HistoryEntry>, EngineError> {
        Ok(self.shared.store.history(query).await?)
    }

    pub(super) async fn send(&self, request: Request) -> Result<(), EngineError> {
        self.requests.reserve().await.map_err(|_| closed())?.send(request);
        Ok(())
    }
}

pub(super) fn closed() -> EngineError {
    EngineError::Unavailable("the server is stopping".to_owned())
}
