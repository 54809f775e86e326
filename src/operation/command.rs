//! What may be asked of an operation, and what may come of it.

use std::time::Duration;

use super::{Attempt, Event, OperationError, PayloadInfo, SessionId, WorkerId};

/// What somebody wants of an operation. Requests, workers and timers differ only in the command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A session takes the lease.
    Acquire {
        /// Which.
        session: SessionId,
        /// Its worker's name.
        worker: WorkerId,
    },
    /// A report of the attempt: it succeeded.
    Complete {
        /// The fencing token.
        attempt: Attempt,
        /// The result, without its contents.
        result: Option<PayloadInfo>,
        /// What was noticed on the way.
        warnings: Vec<OperationError>,
        /// What went wrong; any makes it a partial success.
        errors: Vec<OperationError>,
    },
    /// A report of the attempt: it failed.
    Fail {
        /// The fencing token.
        attempt: Attempt,
        /// Why.
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
        /// The fencing token.
        attempt: Attempt,
    },
    /// Log lines of the attempt arrived; accepted by "no change".
    AddLog {
        /// The fencing token.
        attempt: Attempt,
    },
    /// The session that holds the lease is gone.
    LoseLease {
        /// The attempt that it held.
        attempt: Attempt,
    },
    /// Somebody asks for it to stop.
    Cancel {
        /// Why, for people; may be empty.
        reason: String,
    },
    /// Somebody asks for it to be forgotten.
    Delete,
    /// Time has passed: apply the limits that are up.
    Tick {
        /// As in `Fail`.
        chance: f64,
    },
}

/// What follows from a command.
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
    /// The report is of an attempt that is not, or no longer, current.
    #[error("attempt {reported} is not current")]
    StaleAttempt {
        /// The attempt of the report.
        reported: u32,
    },
    /// The operation is not waiting for a worker, or not yet.
    #[error("the operation is not due for an attempt")]
    NotDue,
    /// The operation is not done.
    #[error("the operation is not done")]
    NotDone,
}
