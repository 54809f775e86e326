//! The data of an operation: its submission, which never changes, and its life, which does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::closed_set::closed_set;
use super::{
    Attempt, CallbackUrl, IdempotencyKey, Kind, OperationError, OperationId, PayloadInfo,
    RecordedReport, Revision, SessionId, Settings, TenantId, Timestamp, TraceContext, WorkerId,
};

/// One piece of work with its whole life.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The submission.
    pub submission: Arc<Submission>,
    /// Its life since then.
    pub life: Life,
}

/// A submission. Never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// The operation's id.
    pub id: OperationId,
    /// The tenant.
    pub tenant: TenantId,
    /// The kind.
    pub kind: Kind,
    /// The submitter's labels.
    pub labels: BTreeMap<String, String>,
    /// How the service treats it.
    pub settings: Settings,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// The earliest start time; never before `created_at`.
    pub start_at: Timestamp,
    /// The submission's idempotency key, with the fingerprint of its content.
    pub idempotency: Option<Idempotency>,
    /// The operation that this one retries.
    pub retry_of: Option<OperationId>,
    /// The batch that has it as a child.
    pub parent: Option<OperationId>,
    /// The submitter's trace context.
    pub trace: Option<TraceContext>,
    /// The receiver of a notification of its end.
    pub callback: Option<CallbackUrl>,
    /// The input, without its contents.
    pub input: Option<PayloadInfo>,
}

/// An idempotency key, and the fingerprint of the submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's name for the submission.
    pub key: IdempotencyKey,
    /// SHA-256 over everything that the client chose.
    pub fingerprint: [u8; 32],
}

/// The changing part of an operation. Each event has the life as of its transition.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// The state.
    pub state: State,
    /// The number of transitions.
    pub revision: Revision,
    /// The current or last attempt.
    pub attempt: Attempt,
    /// The number of attempts that count towards the maximum.
    pub attempts_used: u32,
    /// The worker of that attempt.
    pub worker: Option<WorkerId>,
    /// The latest report that ended an attempt; the current attempt's, if a report ended it. Lives stored by earlier
    /// versions of the program lack it.
    pub last_report: Option<RecordedReport>,
    /// When the latest transition was made.
    pub updated_at: Timestamp,
    /// When the first attempt started.
    pub started_at: Option<Timestamp>,
    /// The latest progress as of the latest transition.
    pub progress: Option<Progress>,
    /// Why the last attempt failed, while another one follows or runs.
    pub last_error: Option<OperationError>,
    /// The first cancel, if there was one.
    pub cancel: Option<CancelRequest>,
}

/// A state with its data.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Waiting for a worker.
    Queued {
        /// The earliest start of the attempt.
        not_before: Timestamp,
    },
    /// A session holds the lease and executes the attempt.
    Running {
        /// The lease of its worker.
        lease: Lease,
    },
    /// A caller has cancelled it; its worker must stop.
    Cancelling {
        /// The lease of its worker.
        lease: Lease,
        /// When the grace period ends.
        grace_until: Timestamp,
    },
    /// Terminal.
    Done {
        /// How it ended.
        outcome: Outcome,
        /// When it ended.
        at: Timestamp,
        /// When the record is deleted.
        purge_at: Timestamp,
    },
}

/// The right of one session to run the current attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The holder.
    pub session: SessionId,
    /// When the attempt ends, if it has a limit.
    pub attempt_deadline: Option<Timestamp>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With its result.
    Succeeded {
        /// The result, without its contents.
        result: Option<PayloadInfo>,
        /// Warnings.
        warnings: Vec<OperationError>,
    },
    /// With a result and errors.
    PartiallySucceeded {
        /// The result, without its contents.
        result: Option<PayloadInfo>,
        /// Errors; at least one.
        errors: Vec<OperationError>,
        /// Warnings.
        warnings: Vec<OperationError>,
    },
    /// With an error, without a result.
    Failed {
        /// The error.
        error: OperationError,
    },
    /// Cancelled before it had an outcome.
    Cancelled {
        /// Code CANCELLED.
        error: OperationError,
    },
}

/// A caller's cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    /// The time.
    pub at: Timestamp,
    /// The reason, as text; may be empty.
    pub reason: String,
}

/// An attempt's progress, as its worker reported it.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// From 0 to 100.
    pub percent: Option<f64>,
    /// Units of work done.
    pub done_units: Option<i64>,
    /// The total number of units.
    pub total_units: Option<i64>,
    /// The current step, for people.
    pub message: String,
    /// When the report was received.
    pub at: Timestamp,
}

impl Progress {
    /// From 0 to 100: the reported percentage, or else the done units in relation to the total.
    pub fn percent_done(&self) -> Option<f64> {
        let of_units = || match (self.done_units, self.total_units) {
            (Some(done), Some(total)) if total > 0 => Some(100.0 * done as f64 / total as f64),
            _ => None,
        };
        self.percent.or_else(of_units).map(|percent| percent.clamp(0.0, 100.0))
    }
}

closed_set! {
    /// The name of a state, in the order of the life cycle. The numbers are those of the wire and of
    /// the database.
    pub enum StateName {
        /// Waiting for a worker.
        Queued = 1 "QUEUED",
        /// Executed by a worker.
        Running = 2 "RUNNING",
        /// Cancelled, and not stopped yet.
        Cancelling = 3 "CANCELLING",
        /// Done, with a result.
        Succeeded = 4 "SUCCEEDED",
        /// Done, with a result and errors.
        PartiallySucceeded = 5 "PARTIALLY_SUCCEEDED",
        /// Done, with an error.
        Failed = 6 "FAILED",
        /// Done, cancelled.
        Cancelled = 7 "CANCELLED",
    }
}

impl StateName {
    /// Whether the state is final.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Succeeded | Self::PartiallySucceeded | Self::Failed | Self::Cancelled)
    }
}

impl State {
    /// The state's name.
    pub const fn name(&self) -> StateName {
        match self {
            Self::Queued { .. } => StateName::Queued,
            Self::Running { .. } => StateName::Running,
            Self::Cancelling { .. } => StateName::Cancelling,
            Self::Done { outcome, .. } => match outcome {
                Outcome::Succeeded { .. } => StateName::Succeeded,
                Outcome::PartiallySucceeded { .. } => StateName::PartiallySucceeded,
                Outcome::Failed { .. } => StateName::Failed,
                Outcome::Cancelled { .. } => StateName::Cancelled,
            },
        }
    }

    /// The lease, if there is one.
    pub const fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Running { lease } | Self::Cancelling { lease, .. } => Some(lease),
            Self::Queued { .. } | Self::Done { .. } => None,
        }
    }
}

impl Operation {
    /// Its id.
    pub fn id(&self) -> OperationId {
        self.submission.id
    }

    /// The name of its state.
    pub fn state_name(&self) -> StateName {
        self.life.state.name()
    }

    /// Whether it waits for an attempt.
    pub fn is_queued(&self) -> bool {
        matches!(self.life.state, State::Queued { .. })
    }

    /// Whether its state is final.
    pub fn is_done(&self) -> bool {
        matches!(self.life.state, State::Done { .. })
    }

    /// When it ended, if it has.
    pub fn ended_at(&self) -> Option<Timestamp> {
        match self.life.state {
            State::Done { at, .. } => Some(at),
            _ => None,
        }
    }

    /// When it is deleted, if it is done: the end of its retention.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self.life.state {
            State::Done { purge_at, .. } => Some(purge_at),
            _ => None,
        }
    }

    /// The result without its contents, if it ended with one.
    pub fn result(&self) -> Option<&PayloadInfo> {
        match &self.life.state {
            State::Done {
                outcome:
                    Outcome::Succeeded { result, .. } | Outcome::PartiallySucceeded { result, .. },
                ..
            } => result.as_ref(),
            _ => None,
        }
    }
}
