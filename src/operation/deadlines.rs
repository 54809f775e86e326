//! The times of an operation: when it may start, and when time alone changes it.

use super::state::{Operation, State, Submission};
use super::{Attempt, Timestamp};

/// A time limit of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// The operation did not start in time.
    Queue,
    /// One attempt took too long.
    Attempt,
    /// The whole life took too long.
    Deadline,
    /// The worker did not stop in time after a cancel.
    Grace,
}

impl Submission {
    /// When the operation fails if it has not started.
    pub fn queue_deadline(&self) -> Option<Timestamp> {
        self.settings.queue_timeout.map(|limit| self.start_at.after(limit))
    }

    /// When the operation fails in any case.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.settings.deadline.map(|limit| self.created_at.after(limit))
    }
}

impl Operation {
    /// The earliest time at which time alone changes it: a limit, or the end of its retention. (Becoming due for an
    /// attempt is not a change.)
    pub fn wake_at(&self) -> Option<Timestamp> {
        match &self.life.state {
            State::Done { purge_at, .. } => Some(*purge_at),
            _ => self.next_limit().map(|(at, _)| at),
        }
    }

    /// The earliest start, while it is queued. The beginning of time unless the operation was deferred, because an
    /// operation without a start time must not depend on the clock, which may have been set back, or may be behind that
    /// of the replica that accepted it.
    pub fn may_start_at(&self) -> Option<Timestamp> {
        let State::Queued { not_before } = self.life.state else { return None };
        let is_put_off = not_before > self.submission.created_at;
        Some(if is_put_off { not_before } else { Timestamp::default() })
    }

    /// The time limit that ends the current state first, if nothing else does.
    pub fn next_limit(&self) -> Option<(Timestamp, Limit)> {
        let deadline = self.submission.deadline().map(|at| (at, Limit::Deadline));
        let own = match &self.life.state {
            State::Queued { .. } if self.life.attempt == Attempt(0) => {
                [self.submission.queue_deadline().map(|at| (at, Limit::Queue)), None]
            }
            State::Queued { .. } | State::Done { .. } => [None, None],
            State::Running { lease } => {
                [lease.attempt_deadline.map(|at| (at, Limit::Attempt)), None]
            }
            State::Cancelling { lease, grace_until } => [
                lease.attempt_deadline.map(|at| (at, Limit::Attempt)),
                Some((*grace_until, Limit::Grace)),
            ],
        };
        if self.is_done() {
            return None;
        }
        own.into_iter().chain([deadline]).flatten().min_by_key(|(at, _)| *at)
    }
}
