//! The workers' use cases: open a session, report, and receive assignments and cancels.

use tokio::sync::mpsc;

use super::reports::Report;
use super::{Caller, Service, ServiceError};
use crate::engine::{Connected, ToWorker, WorkerHello};
use crate::operation::{Attempt, Event, OperationId, Progress, Reporter, Revision, SessionId};
use crate::store::{HistoryEntry, HistoryPosition, HistoryQuery};

/// How many transitions are read at once to find the end of an attempt.
const HISTORY_READ: usize = 8;

/// A connected worker.
#[derive(Clone, Debug)]
pub struct WorkerSession {
    service: Service,
    caller: Caller,
    connected: Connected,
    /// The session that the worker named but that could not be resumed.
    former: Option<SessionId>,
}

impl Service {
    /// Connects a worker; returns its session, and the messages to it. When the messages end, the stream must end.
    pub async fn connect_worker(
        &self,
        caller: &Caller,
        hello: WorkerHello,
    ) -> Result<(WorkerSession, mpsc::Receiver<ToWorker>), ServiceError> {
        caller.may_execute(&hello.kinds)?;
        super::batch_kind::not_of_batches("hello.kinds", &hello.kinds)?;
        self.connect_any(caller, hello).await
    }

    /// Connects the server's own worker, which executes the batches of all tenants.
    pub async fn connect_batches(
        &self,
        hello: WorkerHello,
    ) -> Result<(WorkerSession, mpsc::Receiver<ToWorker>), ServiceError> {
        self.connect_any(&Caller::in_process(), hello).await
    }

    async fn connect_any(
        &self,
        caller: &Caller,
        hello: WorkerHello,
    ) -> Result<(WorkerSession, mpsc::Receiver<ToWorker>), ServiceError> {
        let limit = self.limits.max_in_flight;
        if hello.max_in_flight == 0 || hello.max_in_flight > limit {
            let rule = format!("must be from 1 to {limit}");
            return Err(ServiceError::invalid_field("hello.max_in_flight", rule));
        }
        // Room for every assignment and its cancel, so that a worker that reads never fills it.
        let (sender, receiver) = mpsc::channel(2 * hello.max_in_flight + hello.running.len() + 16);
        let hello = WorkerHello { scope: caller.scope().clone(), ..hello };
        let named = hello.resume;
        let connected = self.engine.connect(hello, sender).await?;
        let former = named.filter(|named| *named != connected.session);
        let (service, caller) = (self.clone(), caller.clone());
        Ok((WorkerSession { service, caller, connected, former }, receiver))
    }
}

/// How many bytes of a code are part of a session's name.
const NAME_CODE_BYTES: usize = 16;

impl Service {
    /// The worker's name for its session: the id, with a code of it and the caller's credential, if there is one, so
    /// that no other credential resumes it.
    pub fn session_name(&self, caller: &Caller, session: SessionId) -> String {
        match self.session_code(caller, session) {
            None => session.to_string(),
            Some(code) => {
                let code = code.iter().take(NAME_CODE_BYTES).map(|byte| format!("{byte:02x}"));
                format!("{session}.{}", code.collect::<String>())
            }
        }
    }

    /// The session with that name; `None` if there is none, or it is another credential's.
    pub fn session_of(&self, caller: &Caller, name: &str) -> Option<SessionId> {
        let id = name.split('.').next().unwrap_or_default();
        let session = SessionId::parse(id)?;
        let is_own = self.session_name(caller, session) == name;
        if !is_own {
            tracing::info!(worker.session = %session, "a session was named by another credential");
        }
        is_own.then_some(session)
    }

    fn session_code(&self, caller: &Caller, session: SessionId) -> Option<[u8; 32]> {
        let credential = caller.credential().or_else(|| caller.subject())?;
        let parts = [caller.tenant.as_str().as_bytes(), credential.as_bytes(), session.as_bytes()];
        Some(self.secret.code("session", &parts))
    }
}

impl WorkerSession {
    /// The session's name, by which its worker resumes it.
    pub fn name(&self) -> String {
        self.service.session_name(&self.caller, self.id())
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.connected.session
    }

    /// Whether the requested session was resumed.
    pub fn resumed(&self) -> bool {
        self.connected.resumed
    }

    /// Renews the session after a sign of life.
    pub async fn renew(&self) -> Result<(), ServiceError> {
        Ok(self.service.engine.renew(self.id()).await?)
    }

    /// Assigns no more work to the worker.
    pub async fn drain(&self) -> Result<(), ServiceError> {
        Ok(self.service.engine.drain(self.id()).await?)
    }

    /// Reports that the stream has ended. If the engine is too busy to receive that, it notices when it next sends
    /// something, or when the lease expires.
    pub fn disconnect(&self) {
        self.service.engine.disconnect(self.connected);
    }

    /// Records an attempt's progress.
    pub async fn progress(
        &self,
        id: OperationId,
        attempt: Attempt,
        progress: Progress,
    ) -> Result<(), ServiceError> {
        Ok(self.service.engine.progress(self.id(), id, attempt, progress).await?)
    }

    /// Records a report; returns once it is durable.
    pub async fn report(
        &self,
        id: OperationId,
        attempt: Attempt,
        report: Report,
    ) -> Result<(), ServiceError> {
        let reporter = self.reporter(attempt);
        self.service.report(&self.caller, id, reporter, report).await
    }

    /// Whether this worker's report ended the attempt; `false` if that is unknown.
    pub async fn was_recorded(&self, id: OperationId, attempt: Attempt) -> bool {
        let engine = &self.service.engine;
        if engine.get(self.caller.scope(), id).await.is_err() {
            return false;
        }
        // Each earlier attempt has a start and an end, so this one's start has at least that revision.
        let start = Revision(2 * u64::from(attempt.0.max(1)));
        let mut after = HistoryPosition { revision: Revision(start.0 - 1), log_number: 0 };
        loop {
            let query = HistoryQuery { id, after, include_log: false, limit: HISTORY_READ };
            let Ok(events) = engine.history(query).await else { return false };
            for event in &events {
                after = event.position();
                let HistoryEntry::Transition(Event { life, .. }) = event else { continue };
                if life.attempt > attempt {
                    return false;
                } else if life.attempt == attempt && life.state.lease().is_none() {
                    let ended_by = life.last_report.as_ref();
                    return ended_by.is_some_and(|report| report.is_by(&self.reporter(attempt)));
                }
            }
            if events.len() < HISTORY_READ {
                return false;
            }
        }
    }

    fn reporter(&self, attempt: Attempt) -> Reporter {
        Reporter { attempt, session: self.id(), former: self.former }
    }

    /// Refuses an attempt on which this session can neither report nor repeat a report.
    pub(super) async fn check_may_report(
        &self,
        id: OperationId,
        attempt: Attempt,
    ) -> Result<(), ServiceError> {
        self.service.check_may_report(&self.caller, id, &self.reporter(attempt)).await
    }
}
