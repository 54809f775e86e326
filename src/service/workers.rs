//! What workers do: open a session, report, and hear of assignments and cancels.

use std::time::Duration;

use tokio::sync::mpsc;

use super::operations::{is_decided, named};
use super::{Caller, Intake, Service, ServiceError, Violation};
use crate::engine::{Apply, Connected, EngineError, ToWorker, WorkerHello};
use crate::operation::{
    Attempt, Command, Event, OperationError, OperationId, Payload, Progress, Reporter, Revision,
    SessionId, transition,
};
use crate::store::{HistoryEntry, HistoryPosition, HistoryQuery};

/// How many transitions are read at once to find the end of an attempt.
const HISTORY_READ: usize = 8;

/// A report that is acknowledged once it is durable.
#[derive(Debug)]
pub enum Report {
    /// Log lines.
    Log(Vec<String>),
    /// The attempt succeeded, wholly or in part.
    Complete {
        /// The result.
        result: Option<Payload>,
        /// The result's contents, where they came in chunks; then `result` has none.
        contents: Option<Box<Intake>>,
        /// What was noticed on the way.
        warnings: Vec<OperationError>,
        /// What went wrong.
        errors: Vec<OperationError>,
    },
    /// The attempt failed.
    Fail {
        /// Why.
        error: OperationError,
        /// No retry.
        is_final: bool,
        /// When to retry.
        retry_delay: Option<Duration>,
    },
    /// The attempt is given back undone.
    Release,
}

/// A worker that is connected.
#[derive(Clone, Debug)]
pub struct WorkerSession {
    service: Service,
    caller: Caller,
    connected: Connected,
    /// The session that the worker named and that could not be resumed.
    former: Option<SessionId>,
}

impl Service {
    /// Connects a worker: its session, and what it is told. When the receiver ends, the server wants
    /// the stream to end.
    pub async fn connect_worker(
        &self,
        caller: &Caller,
        hello: WorkerHello,
    ) -> Result<(WorkerSession, mpsc::Receiver<ToWorker>), ServiceError> {
        let limit = self.limits.max_in_flight;
        if hello.max_in_flight == 0 || hello.max_in_flight > limit {
            let rule = format!("must be from 1 to {limit}");
            return Err(ServiceError::invalid_field("hello.max_in_flight", rule));
        }
        // Room for every assignment and a cancel of each: a worker that reads never fills it.
        let (sender, receiver) = mpsc::channel(2 * hello.max_in_flight + hello.running.len() + 16);
        let hello = WorkerHello { tenant: caller.tenant.clone(), ..hello };
        let named = hello.resume;
        let connected = self.engine.connect(hello, sender).await?;
        let former = named.filter(|named| *named != connected.session);
        let (service, caller) = (self.clone(), caller.clone());
        Ok((WorkerSession { service, caller, connected, former }, receiver))
    }
}

impl WorkerSession {
    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.connected.session
    }

    /// Whether the session asked for was resumed.
    pub fn resumed(&self) -> bool {
        self.connected.resumed
    }

    /// A sign of life.
    pub async fn renew(&self) -> Result<(), ServiceError> {
        Ok(self.service.engine.renew(self.id()).await?)
    }

    /// The worker takes no more work.
    pub async fn drain(&self) -> Result<(), ServiceError> {
        Ok(self.service.engine.drain(self.id()).await?)
    }

    /// The stream has ended. Should the engine be too busy to hear it, it finds out by itself when it
    /// next sends something, or when the lease is over.
    pub fn disconnect(&self) {
        self.service.engine.disconnect(self.connected);
    }

    /// How far an attempt has come.
    pub async fn progress(
        &self,
        id: OperationId,
        attempt: Attempt,
        progress: Progress,
    ) -> Result<(), ServiceError> {
        Ok(self.service.engine.progress(self.id(), id, attempt, progress).await?)
    }

    /// A report; `Ok` once it is durable.
    pub async fn report(
        &self,
        id: OperationId,
        attempt: Attempt,
        report: Report,
    ) -> Result<(), ServiceError> {
        let mut stored = None;
        let reporter = self.reporter(attempt);
        let mut work = Apply {
            tenant: self.caller.tenant.clone(),
            id,
            command: Command::Release { reporter },
            result: None,
            lines: Vec::new(),
        };
        match report {
            Report::Log(lines) => {
                work.command = Command::AddLog { reporter };
                work.lines = lines;
            }
            Report::Complete { result, contents, warnings, errors } => {
                check_errors("complete.warnings", &warnings)?;
                check_errors("complete.errors", &errors)?;
                let result = self.put_result_away(result, contents).await?;
                let in_row = result.as_ref().filter(|result| result.info.object.is_none());
                work.result = in_row.map(|result| result.data.clone());
                work.command = Command::complete(reporter, result.as_ref(), warnings, errors);
                stored = result.map(|result| result.info);
            }
            Report::Fail { error, is_final, retry_delay } => {
                check_errors("fail.error", std::slice::from_ref(&error))?;
                let chance = fastrand::f64();
                work.command = Command::fail(reporter, error, is_final, retry_delay, chance);
            }
            Report::Release => {}
        }
        let applied = self.service.engine.apply(work).await;
        if let Some(stored) = stored.filter(|_| is_decided(&applied)) {
            let result = applied.as_ref().ok().and_then(|applied| applied.operation.result());
            if result.is_none_or(|result| result.object != stored.object) {
                self.service.discard(&stored).await;
            }
        }
        applied.map(drop).map_err(|error| named(error, id))
    }

    /// The result as it is to be kept: within the message, or come in chunks.
    async fn put_result_away(
        &self,
        result: Option<Payload>,
        contents: Option<Box<Intake>>,
    ) -> Result<Option<Payload>, ServiceError> {
        match (result, contents) {
            (Some(result), None) => {
                self.service.put_away("complete.result", result).await.map(Some)
            }
            (None, None) => Ok(None),
            (given, Some(contents)) => {
                let given = given.map(|given| given.info);
                let content_type = given.as_ref().map_or("", |given| given.content_type.as_str());
                let mut result = contents.finish(content_type).await?;
                result.info.http = given.and_then(|given| given.http);
                Ok(Some(result))
            }
        }
    }

    /// Whether the attempt is over because this worker's report ended it; `false` where that cannot be told.
    pub async fn was_recorded(&self, id: OperationId, attempt: Attempt) -> bool {
        let engine = &self.service.engine;
        if engine.get(&self.caller.tenant, id).await.is_err() {
            return false;
        }
        // Each attempt before took a start and an end, so this one's start has that revision at least.
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

    /// Refuses an attempt on which this session has nothing to report, and nothing to report again.
    pub(super) async fn check_may_report(
        &self,
        id: OperationId,
        attempt: Attempt,
    ) -> Result<(), ServiceError> {
        let operation = self.service.engine.get(&self.caller.tenant, id).await;
        let operation = operation.map_err(|error| named(error, id))?;
        transition::may_report(&operation, &self.reporter(attempt))
            .map_err(|stale| named(EngineError::Rejected(stale), id))
    }
}

/// Refuses errors that are too many or too large to be stored.
fn check_errors(field: &str, errors: &[OperationError]) -> Result<(), ServiceError> {
    const MAX_BYTES: usize = 256 * 1024;
    let (mut count, mut bytes, mut left) = (0, 0, errors.iter().collect::<Vec<_>>());
    while let Some(error) = left.pop() {
        count += 1;
        bytes += error.code.len() + error.message.len();
        bytes += error.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        left.extend(&error.causes);
    }
    let rule = if count > OperationError::MAX_ERRORS {
        format!("must be at most {} errors, causes included", OperationError::MAX_ERRORS)
    } else if bytes > MAX_BYTES {
        format!("must be at most {MAX_BYTES} bytes of text")
    } else {
        return Ok(());
    };
    Err(ServiceError::invalid(vec![Violation::new(field, rule)]))
}
