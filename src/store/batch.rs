//! The writes of one commit.

use bytes::Bytes;

use super::shared::SessionChanges;
use crate::operation::{
    Attempt, Event, Operation, OperationId, Revision, TenantId, Timestamp, WorkerId,
};

/// Rows to write in one transaction. An operation occurs at most once among `writes` and `removals` together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Operations to write.
    pub writes: Vec<Write>,
    /// Transitions; those of an operation in the order of their revisions. Each must belong to an operation of
    /// `writes`.
    pub events: Vec<(OperationId, Event)>,
    /// The batches of new children, each once, at the revision that it must have; none of them is itself among
    /// `writes`.
    pub parents: Vec<(OperationId, Revision)>,
    /// Log lines.
    pub logs: Vec<LogAppend>,
    /// Operations to remove, with their history and payloads.
    pub removals: Vec<Removal>,
    /// Tombstones of another store; one replaces a tombstone of the same operation and counts as the latest.
    pub tombstones: Vec<(OperationId, Tombstone)>,
    /// Tombstones to delete, after those of this batch are written.
    pub forget: Option<Forget>,
    /// Changes of sessions, if replicas share the store.
    pub sessions: SessionChanges,
}

impl Batch {
    /// Whether the batch changes operations, so that its commit belongs in the log.
    pub fn is_logged(&self) -> bool {
        !(self.events.is_empty() && self.removals.is_empty() && self.logs.is_empty())
    }
}

/// One operation to write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The operation to write.
    pub operation: Operation,
    /// The revision that it replaces; `None` for a new operation, whose id and idempotency key
    /// must be unknown (else [`StoreError::Conflict`](super::StoreError::Conflict)).
    pub expected: Option<Revision>,
    /// The input's contents, for a new operation whose input is in no object.
    pub input: Option<Bytes>,
    /// The result's contents, for an operation that ends with a result that is in no object.
    pub result: Option<Bytes>,
}

/// Log lines to add.
#[derive(Clone, Debug)]
pub struct LogAppend {
    /// The operation.
    pub id: OperationId,
    /// The revision under which they are written. If the operation is not among `writes`, this must be the stored
    /// revision.
    pub revision: Revision,
    /// The attempt that wrote them.
    pub attempt: Attempt,
    /// That attempt's worker.
    pub worker: Option<WorkerId>,
    /// The time.
    pub at: Timestamp,
    /// The lines with their numbers.
    pub lines: Vec<(u64, String)>,
    /// Lines with smaller numbers are deleted.
    pub keep_from: u64,
}

/// One operation to remove.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The operation.
    pub id: OperationId,
    /// The revision that it must have.
    pub expected: Revision,
    /// Its tombstone, if it gets one.
    pub tombstone: Option<Tombstone>,
    /// When it is removed.
    pub at: Timestamp,
}

/// The tombstone of a removed operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The tenant that it belonged to.
    pub tenant: TenantId,
    /// When it was removed.
    pub purged_at: Timestamp,
    /// When the tombstone expires.
    pub forget_at: Timestamp,
}

/// The maximum number of tombstones that one batch deletes.
pub const FORGET_BATCH: usize = 256;

/// Deletes those of the oldest [`FORGET_BATCH`] tombstones that have expired or are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget {
    /// A tombstone is deleted if it expires at this time or earlier.
    pub until: Timestamp,
    /// A tombstone is also deleted if it is more than this many behind the latest.
    pub keep: u64,
}
