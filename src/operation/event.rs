//! The record of a transition.

use super::closed_set::closed_set;
use super::{Life, StateName};

closed_set! {
    /// The type of a transition. The numbers are those of the database.
    pub enum EventType {
        /// The operation was submitted.
        Submitted = 1 "SUBMITTED",
        /// A worker started an attempt.
        Started = 2 "STARTED",
        /// An attempt failed, timed out or was lost, and another will follow.
        RetryScheduled = 3 "RETRY_SCHEDULED",
        /// The worker released the attempt undone.
        Released = 4 "RELEASED",
        /// A caller cancelled the operation while an attempt ran.
        CancelRequested = 5 "CANCEL_REQUESTED",
        /// The operation is done.
        Finished = 6 "FINISHED",
        /// A caller wanted a deferred attempt to start now. (7 is a log line's number on the wire.)
        StartRequested = 8 "START_REQUESTED",
    }
}

/// A transition: its type, and the operation's life right after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The type of the transition.
    pub event_type: EventType,
    /// The life as of this transition; `life.revision` is the event's number, `life.updated_at` its time.
    pub life: Life,
}

impl Event {
    /// The state after the transition.
    pub fn state(&self) -> StateName {
        self.life.state.name()
    }
}
