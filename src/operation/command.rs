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
    /// A report of the attempt: it succeeded. Made by [`Command::complete`].
    Complete {
        /// The reporting session and its attempt.
        reporter: Reporter,
        /// The identity of this report.
        digest: ReportDigest,
        /// The result, without its contents.
        result: Option<Box<PayloadInfo>>,
        /// Warnings.
        warnings: Vec<OperationError>,
        /// Errors; any makes it a partial success.
        errors: Vec<OperationError>,
    },
    /// A report of the attempt: it failed. Made by [`Command::fail`].
    Fail {
        /// The reporting session and its attempt.
        reporter: Reporter,
        /// The identity of this report.
        digest: ReportDigest,
        /// The error.
        error: OperationError,
        /// No retry, whatever the policy.
        is_final: bool,
        /// When to retry, in place of the policy's backoff.
        retry_delay: Option<Duration>,
        /// Drawn by the caller, from 0 to 1, for the jitter.
        chance: f64,
    },
    /// A report of the attempt: it is given back undone.
    Release {
        /// The reporting session and its attempt.
        reporter: Reporter,
    },
    /// Log lines of the attempt arrived; accepted by "no change".
    AddLog {
        /// The reporting session and its attempt.
        reporter: Reporter,
    },
    /// The session that holds the lease is gone.
    LoseLease {
        /// The attempt that it held.
        attempt: Attempt,
    },
    /// A caller asks for it to stop.
    Cancel {
        /// Why, for people; may be empty.
        reason: String,
    },
    /// A caller asks for its next attempt to start now, if it was put off.
    RunNow,
    /// A caller asks for it to be forgotten.
    Delete,
    /// Time has passed: apply the limits that are up.
    Tick {
        /// As in `Fail`.
        chance: f64,
    },
}

impl Command {
    /// A completion with this result.
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

    /// The session and attempt of a worker's report.
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
    /// It is already so.
    NoChange,
    /// The record goes.
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
        /// The operation's own attempt.
        current: CurrentAttempt,
    },
    /// The operation is not waiting for a worker, or not yet.
    #[error("the operation is not due for an attempt")]
    NotDue,
    /// The operation is not done.
    #[error("the operation is not done")]
    NotDone,
}

/// The attempt of an operation, from the view of a session whose report was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrentAttempt {
    /// No attempt has started.
    None,
    /// This one is under way, and another session's.
    Leased(Attempt),
    /// This one was the last. It is over, and not by a report.
    Over(Attempt),
    /// This one was the last. Another report has ended it.
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
