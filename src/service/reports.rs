//! Reports of workers, over a stream or with an attempt's token.

use std::time::Duration;

use super::operations::{is_decided, named};
use super::{Caller, Intake, Service, ServiceError};
use crate::engine::{Apply, EngineError};
use crate::operation::{Command, OperationError, OperationId, Payload, Reporter, transition};

/// A report, acknowledged once it is durable.
#[derive(Debug)]
pub enum Report {
    /// Log lines.
    Log(Vec<String>),
    /// The attempt succeeded, wholly or partly.
    Complete {
        /// The result.
        result: Option<Payload>,
        /// The result's contents, if they arrived in chunks; then `result` has none.
        contents: Option<Box<Intake>>,
        /// Warnings.
        warnings: Vec<OperationError>,
        /// The errors of a partial success.
        errors: Vec<OperationError>,
    },
    /// The attempt failed.
    Fail {
        /// The error.
        error: OperationError,
        /// Whether not to retry.
        is_final: bool,
        /// The delay until the retry.
        retry_delay: Option<Duration>,
    },
    /// The attempt is returned undone.
    Release,
}

impl Service {
    /// Records a report; returns once it is durable.
    pub(super) async fn report(
        &self,
        caller: &Caller,
        id: OperationId,
        reporter: Reporter,
        report: Report,
    ) -> Result<(), ServiceError> {
        let mut stored = None;
        let mut work = Apply {
            scope: caller.scope().clone(),
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
                let result = self.put_result_away(result, contents).await?;
                if let Some(Payload { info, .. }) = &result
                    && let Err(error) = self.check_result(caller, id, info.size_bytes).await
                {
                    self.discard(info).await;
                    return Err(error);
                }
                let in_row = result.as_ref().filter(|result| result.info.object.is_none());
                work.result = in_row.map(|result| result.data.clone());
                work.command = Command::complete(reporter, result.as_ref(), warnings, errors);
                stored = result.map(|result| result.info);
            }
            Report::Fail { error, is_final, retry_delay } => {
                let chance = fastrand::f64();
                work.command = Command::fail(reporter, error, is_final, retry_delay, chance);
            }
            Report::Release => {}
        }
        let applied = self.engine.apply(work).await;
        if let Some(stored) = stored.filter(|_| is_decided(&applied)) {
            let result = applied.as_ref().ok().and_then(|applied| applied.operation.result());
            if result.is_none_or(|result| result.object != stored.object) {
                self.discard(&stored).await;
            } else if let Ok(applied) = &applied {
                self.usage.add(&applied.operation.submission.tenant, stored.size_bytes);
            }
        }
        applied.map(drop).map_err(|error| named(error, id))
    }

    /// Stores the result, which is in the message or has arrived in chunks.
    async fn put_result_away(
        &self,
        result: Option<Payload>,
        contents: Option<Box<Intake>>,
    ) -> Result<Option<Payload>, ServiceError> {
        match (result, contents) {
            (Some(result), None) => self.put_away(result).await.map(Some),
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

    /// Refuses a report without the attempt's lease, unless it repeats the report that ended the attempt.
    pub(super) async fn check_may_report(
        &self,
        caller: &Caller,
        id: OperationId,
        reporter: &Reporter,
    ) -> Result<(), ServiceError> {
        let operation = self.engine.get(caller.scope(), id).await;
        let operation = operation.map_err(|error| named(error, id))?;
        transition::may_report(&operation, reporter)
            .map_err(|stale| named(EngineError::Rejected(stale), id))
    }
}
