//! The writes of one commit.

use bytes::Bytes;

use super::shared::SessionChanges;
use crate::operation::{
    Attempt, Event, Operation, OperationId, Revision, TenantId, Timestamp, WorkerId,
};

/// Rows to be written in one transaction. An operation occurs at most once among `writes` and
/// `removals` together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Operations as they are to be.
    pub writes: Vec<Write>,
    /// Transitions, each operation's in the order of their revisions. Every one belongs to an
    /// operation of `writes`.
    pub events: Vec<(OperationId, Event)>,
    /// Batches that new operations are children of, each once, at the revision that it must have; none that is itself among
    /// `writes`.
    pub parents: Vec<(OperationId, Revision)>,
    /// Log lines.
    pub logs: Vec<LogAppend>,
    /// Operations to forget, with their history and payloads.
    pub removals: Vec<Removal>,
    /// Tombstones that come from another store; of an operation that has one it becomes the latest.
    pub tombstones: Vec<(OperationId, Tombstone)>,
    /// Tombstones to forget, after those of this batch are written.
    pub forget: Option<Forget>,
    /// Changes of sessions, if replicas share the store.
    pub sessions: SessionChanges,
    /// Whether [`Committed::seen`](super::Committed::seen) is wanted.
    pub asks_frontier: bool,
}

impl Batch {
    /// Whether it changes operations, so that its commit is one to be told of.
    pub fn is_logged(&self) -> bool {
        !(self.events.is_empty() && self.removals.is_empty() && self.logs.is_empty())
    }
}

/// One operation to write.
#[derive(Clone, Debug)]
pub struct Write {
    /// As it is to be.
    pub operation: Operation,
    /// The revision that it replaces; `None` for a new operation, whose id and idempotency key
    /// must be unknown (else [`StoreError::Conflict`](super::StoreError::Conflict)).
    pub expected: Option<Revision>,
    /// The input's contents, for a new operation that has an input which is in no object.
    pub input: Option<Bytes>,
    /// The result's contents, for an operation that ends with a result which is in no object.
    pub result: Option<Bytes>,
}

/// Log lines to add.
#[derive(Clone, Debug)]
pub struct LogAppend {
    /// The operation.
    pub id: OperationId,
    /// The revision under which they are written. Where the operation is not among `writes`, it must
    /// be the stored one.
    pub revision: Revision,
    /// The attempt that they belong to.
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

/// One operation to forget.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The operation.
    pub id: OperationId,
    /// The revision that it has.
    pub expected: Revision,
    /// Its tombstone.
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
    /// Until when this is remembered.
    pub forget_at: Timestamp,
}

/// How many tombstones one batch forgets at most.
pub const FORGET_BATCH: usize = 256;

/// The expired ones among the oldest [`FORGET_BATCH`] tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget {
    /// Those that are remembered until this time or less.
    pub until: Timestamp,
    /// And those that are more than this many behind the latest.
    pub keep: u64,
}
