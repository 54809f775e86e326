//! Operations that are not done: the part that is needed to continue them.

use crate::operation::{Attempt, Kind, OperationId, SessionId, TenantId, Timestamp, WorkerId};

/// The part of an unfinished operation that is needed to queue it, or to know its session.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfinished {
    /// Its id.
    pub id: OperationId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its kind.
    pub kind: Kind,
    /// Its priority.
    pub priority: u8,
    /// Queued, or leased.
    pub place: Place,
}

/// Where an unfinished operation is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// In the queue.
    Queued {
        /// [`Operation::may_start_at`](crate::operation::Operation::may_start_at).
        not_before: Timestamp,
    },
    /// With a worker, running or cancelling.
    Leased {
        /// The session that holds the lease.
        session: SessionId,
        /// The worker's name.
        worker: WorkerId,
        /// The leased attempt.
        attempt: Attempt,
    },
}
