//! The record of a transition.

use super::closed_set::closed_set;
use super::{Life, StateName};

closed_set! {
    /// The type of a transition. The numbers are those of the database.
    pub enum EventType {
        /// It was submitted.
        Submitted = 1 "SUBMITTED",
        /// A worker started an attempt.
        Started = 2 "STARTED",
        /// An attempt failed, timed out or was lost, and another will follow.
        RetryScheduled = 3 "RETRY_SCHEDULED",
        /// The worker gave the lease back.
        Released = 4 "RELEASED",
        /// Cancelling was asked for while it ran.
        CancelRequested = 5 "CANCEL_REQUESTED",
        /// It is done.
        Finished = 6 "FINISHED",
        /// Its next attempt was put off, and was asked to start now. (7 is a log line's on the wire.)
        StartRequested = 8 "START_REQUESTED",
    }
}

/// A transition: what it was and the operation's life just after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The transition.
    pub event_type: EventType,
    /// The life as of this transition; `life.revision` is the event's number and `life.updated_at` its
    /// time.
    pub life: Life,
}

impl Event {
    /// The state that it led to.
    pub fn state(&self) -> StateName {
        self.life.state.name()
    }
}
