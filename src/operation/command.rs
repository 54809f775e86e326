//! The commands to an operation, and their outcomes.

use std::time::Duration;

use super::{
    Attempt, Event, OperationError, Payload, PayloadInfo, ReportDigest, Reporter, SessionId,
    WorkerId,
};

/// A command to an operation. Requests, workers and timers differ only in the command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A session takes the lease.
    Acquire {
        /// The session.
        session: SessionId,
        /// Its worker's name.
        worker: WorkerId,
    },
    /// The attempt reports success. Made by [`Command::complete`].
    Complete {
        /// The reporting session and its attempt.
        reporter: Reporter,
        /// The report's digest.
        digest: ReportDigest,
        /// The result, without its contents.
        result: Option<Box<PayloadInfo>>,
        /// Warnings.
        warnings: Vec<OperationError>,
        /// Errors; any makes it a partial success.
        errors: Vec<OperationError>,
    },
    /// The attempt reports failure. Made by [`Command::fail`].
    Fail {
        /// The reporting session and its attempt.
        reporter: Reporter,
        /// The report's digest.
        digest: ReportDigest,
        /// The error.
        error: OperationError,
        /// Whether to fail without a retry, whatever the policy.
        is_final: bool,
        /// The delay until the retry, instead of the policy's backoff.
        retry_delay: Option<Duration>,
        /// From 0 to 1, drawn by the caller, for the jitter.
        chance: f64,
    },
    /// The attempt is returned undone.
    Release {
        /// The reporting session and its attempt.
        reporter: Reporter,
    },
    /// Log lines of the attempt have arrived; "no change" accepts them.
    AddLog {
        /// The reporting session and its attempt.
        reporter: Reporter,
    },
    /// The session that holds the lease has been lost.
    LoseLease {
        /// The attempt whose lease is lost.
        attempt: Attempt,
    },
    /// A caller cancels the operation.
    Cancel {
        /// The reason, as text; may be empty.
        reason: String,
    },
    /// A caller wants a deferred attempt to start now.
    RunNow,
    /// A caller deletes the operation.
    Delete,
    /// Time has passed: apply the limits that have expired.
    Tick {
        /// As in `Fail`.
        chance: f64,
    },
}

impl Command {
    /// A successful completion with this result.
    pub fn complete(
        reporter: Reporter,
        result: Option<&Payload>,
        warnings: Vec<OperationError>,
        errors: Vec<OperationError>,
    ) -> Self {
        let digest = ReportDigest::of_complete(result, &warnings, &errors);
        let result = result.map(|result| Box::new(result.info.clone()));
        Self::Complete { reporter, digest, result, warnings, errors }
    }

    /// A failure; `chance` as in [`Command::Fail`].
    pub fn fail(
        reporter: Reporter,
        error: OperationError,
        is_final: bool,
        retry_delay: Option<Duration>,
        chance: f64,
    ) -> Self {
        let digest = ReportDigest::of_fail(&error, is_final, retry_delay);
        Self::Fail { reporter, digest, error, is_final, retry_delay, chance }
    }

    /// The reporter, if the command is a worker's report.
    pub fn reporter(&self) -> Option<&Reporter> {
        match self {
            Self::Complete { reporter, .. }
            | Self::Fail { reporter, .. }
            | Self::Release { reporter }
            | Self::AddLog { reporter } => Some(reporter),
            Self::Acquire { .. }
            | Self::LoseLease { .. }
            | Self::Cancel { .. }
            | Self::RunNow
            | Self::Delete
            | Self::Tick { .. } => None,
        }
    }
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// A transition, with the life after it.
    Change(Box<Event>),
    /// Nothing to do: the operation is already in that state.
    NoChange,
    /// Remove the operation.
    Remove,
}

/// Why a command is refused. Nothing changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The reporting session does not hold the attempt.
    #[error("{}", stale(*reported, *current))]
    StaleAttempt {
        /// The attempt of the report.
        reported: Attempt,
        /// The operation's current attempt.
        current: CurrentAttempt,
    },
    /// The operation is not queued, or not due yet.
    #[error("the operation is not due for an attempt")]
    NotDue,
    /// The operation is not done.
    #[error("the operation is not done")]
    NotDone,
}

/// The operation's attempt, from the view of a session whose report was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrentAttempt {
    /// No attempt has started.
    None,
    /// This attempt is running under another session.
    Leased(Attempt),
    /// This was the last attempt. It ended without a report.
    Over(Attempt),
    /// This was the last attempt. Another report ended it.
    Reported(Attempt),
}

/// Why a report of the attempt `reported` is refused.
fn stale(Attempt(reported): Attempt, current: CurrentAttempt) -> String {
    let why = match current {
        CurrentAttempt::None => "none has started".to_owned(),
        CurrentAttempt::Leased(Attempt(number)) if number == reported => {
            return format!("attempt {reported} is held by another session");
        }
        CurrentAttempt::Leased(Attempt(number)) => format!("attempt {number} is"),
        CurrentAttempt::Over(Attempt(number)) if number == reported => "it is over".to_owned(),
        CurrentAttempt::Reported(Attempt(number)) if number == reported => {
            "another report has ended it".to_owned()
        }
        CurrentAttempt::Over(Attempt(number)) | CurrentAttempt::Reported(Attempt(number)) => {
            format!("attempt {number} was the last, and is over")
        }
    };
    format!("attempt {reported} is not current: {why}")
}
