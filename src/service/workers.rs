//! What workers do: open a session, report, and hear of assignments and cancels.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::operations::named;
use super::{Caller, Service, ServiceError, Violation};
use crate::engine::{Apply, Connected, ToWorker, WorkerHello};
use crate::operation::{
    Attempt, Command, OperationError, OperationId, Payload, Progress, SessionId,
};

/// A report that is acknowledged once it is durable.
#[derive(Clone, Debug)]
pub enum Report {
    /// Log lines.
    Log(Vec<String>),
    /// The attempt succeeded, wholly or in part.
    Complete {
        /// The result.
        result: Option<Payload>,
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
        let connected = self.engine.connect(hello, sender).await?;
        let session = WorkerSession { service: self.clone(), caller: caller.clone(), connected };
        Ok((session, receiver))
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
        let mut work = Apply {
            tenant: self.caller.tenant.clone(),
            id,
            command: Command::Release { attempt },
            session: Some(self.id()),
            result: None,
            lines: Vec::new(),
        };
        match report {
            Report::Log(lines) => {
                work.command = Command::AddLog { attempt };
                work.lines = lines;
            }
            Report::Complete { result, warnings, errors } => {
                if let Some(result) = &result {
                    self.service.check_payload("complete.result", result)?;
                }
                check_errors("complete.warnings", &warnings)?;
                check_errors("complete.errors", &errors)?;
                let (info, data): (_, Option<Bytes>) =
                    result.map(|result| (result.info, result.data)).unzip();
                work.result = data;
                work.command = Command::Complete { attempt, result: info, warnings, errors };
            }
            Report::Fail { error, is_final, retry_delay } => {
                check_errors("fail.error", std::slice::from_ref(&error))?;
                let chance = fastrand::f64();
                work.command = Command::Fail { attempt, error, is_final, retry_delay, chance };
            }
            Report::Release => {}
        }
        let applied = self.service.engine.apply(work).await;
        applied.map(drop).map_err(|error| named(error, id))
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
