//! Rows: operations, their history and their payloads on durable storage.
//!
//! A store moves rows and checks revisions. It holds no policy, reads no clock, and knows nothing of
//! requests, workers or watchers. SQL stays below this module. Each method is one transaction.
//!
//! Contract, proved for every implementation by `tests/store_contract`:
//!
//! - When [`Store::commit`] returns `Ok`, the whole batch is durable and every later read sees it; when it returns an
//!   error other than [`StoreError::Unknown`], nothing of the batch was written.
//! - After [`StoreError::Unknown`] the batch may or may not be durable, and may still become so, even after a
//!   crash; [`Store::settle`] ends the doubt.
//! - A commit that changes operations has a name, which its events carry (`log`). The commits of one writer become
//!   visible in the order of their names.
//! - A write, a removal or a log append happens only if the stored revision is the expected one; otherwise the whole
//!   batch is refused with [`StoreError::Conflict`], which names as many of the changed operations as the store
//!   knows. If other transactions keep locks for too long, it is refused with [`StoreError::Locked`].
//! - A child is stored only if its batch is at the revision that [`Batch::parents`] names.
//! - A removed child counts among its batch's children until the batch is removed.
//! - Reads see committed data only.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;

use crate::operation::filter::Filter;
use crate::operation::log::LogBook;
use crate::operation::{
    Attempt, ChildCounts, Event, IdempotencyKey, ObjectId, Operation, OperationId, Revision, Scope,
    TenantId, Timestamp, WorkerId,
};

mod batch;
mod catalogue;
pub mod codec;
pub mod deliveries;
mod error;
pub mod log;
pub mod postgres;
pub mod shared;
mod sql;
pub mod sqlite;
mod unfinished;

pub use batch::{Batch, FORGET_BATCH, Forget, LogAppend, Removal, Tombstone, Write};
pub use catalogue::{CatalogueChange, CatalogueSpace, CatalogueVersions, SECRETS};
use deliveries::DeliveryStore;
pub use error::{OpenError, StoreError};
use log::{Head, LogPage, LogQuery, SigningKey, Stamp};
use shared::SharedStore;
pub use unfinished::{Place, Unfinished};

/// The default time limit of a list. A filter that no index serves reads every operation.
pub const LIST_TIME: Duration = Duration::from_secs(5);

/// Durable storage of operations.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes the whole batch in one durable transaction, or nothing of it. Removals come first, so that a new
    /// operation can use the idempotency key of a removed one. Returns the name of the commit; `None` if it changed no
    /// operation.
    async fn commit(&self, batch: Batch) -> Result<Option<Stamp>, StoreError>;

    /// Resolves this store's last commit, if that returned [`StoreError::Unknown`], by claiming its name: the commit
    /// was written if the name is taken, and otherwise never will be. Returns the name if it was written. A call
    /// without a doubt writes something without meaning: `Ok` means that the store can be written to.
    async fn settle(&self) -> Result<Option<Stamp>, StoreError>;

    /// The operations in the order of the lookups; `None` for one that does not exist.
    async fn load(&self, lookups: Vec<Lookup>) -> Result<Vec<Option<Operation>>, StoreError>;

    /// The contents of a payload; `None` if the operation has none in that role.
    async fn payload(
        &self,
        id: OperationId,
        role: PayloadRole,
    ) -> Result<Option<Bytes>, StoreError>;

    /// The contents of the operations' inputs, in the order of the ids. Each has an error of its own, because what is
    /// damaged must not hide the others.
    async fn inputs(&self, ids: Vec<OperationId>) -> Vec<Result<Option<Bytes>, StoreError>> {
        inputs_one_by_one(self, ids).await
    }

    /// The tombstone of a removed operation. The caller must check whether it has expired.
    async fn tombstone(&self, id: OperationId) -> Result<Option<Tombstone>, StoreError>;

    /// For each object, whether a stored operation has a payload in it.
    async fn known_objects(&self, ids: Vec<ObjectId>) -> Result<Vec<bool>, StoreError>;

    /// A page of operations.
    async fn list(&self, query: ListQuery) -> Result<Vec<Operation>, StoreError>;

    /// A page of an operation's history, oldest first.
    async fn history(&self, query: HistoryQuery) -> Result<Vec<HistoryEntry>, StoreError>;

    /// The numbers of an operation's kept log lines.
    async fn log_book(&self, id: OperationId) -> Result<LogBook, StoreError>;

    /// How many children each of these batches has, in the order asked.
    async fn children(
        &self,
        batches: Vec<(TenantId, OperationId)>,
    ) -> Result<Vec<ChildCounts>, StoreError>;

    /// How many operations there are.
    async fn count(&self) -> Result<u64, StoreError>;

    /// A page of all tenants' operations, by rising id, beginning after `after`.
    async fn scan(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<Operation>, StoreError>;

    /// A page of the tombstones, oldest first, beginning after that of `after`.
    async fn tombstones(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<(OperationId, Tombstone)>, StoreError>;

    /// A page of the operations that are not done, by rising tenant and id, beginning after `after`.
    async fn unfinished(
        &self,
        after: Option<(TenantId, OperationId)>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, StoreError>;

    /// Operations whose `wake_at` is not after `now`, earliest first, at most `limit`.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<OperationId>, StoreError>;

    /// The earliest time at which something becomes due: the least `wake_at` of all operations, or the `forget_at` of
    /// the oldest tombstone. `now` is the caller's clock, and no limit.
    async fn next_wake(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// All writers and the last visible commit of each, as of one moment.
    async fn head(&self) -> Result<Head, StoreError>;

    /// A page of operations, and the writers as of the same moment: the page shows exactly what their commits made.
    async fn list_with_head(&self, query: ListQuery) -> Result<(Vec<Operation>, Head), StoreError>;

    /// A page of the log.
    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError>;

    /// Deletes old records of removals and names of commits, and writers that have ended.
    async fn trim_log(&self, trim: TrimLog) -> Result<(), StoreError>;

    /// The versions of the catalogue's spaces. Cheap; replicas ask for it twice a second.
    async fn catalogue_versions(&self) -> Result<CatalogueVersions, StoreError>;

    /// A space of the catalogue; an empty one if it was never written.
    async fn catalogue(&self, space: &str) -> Result<CatalogueSpace, StoreError>;

    /// Changes a space of the catalogue in one durable transaction, and returns its new version. An empty
    /// [`StoreError::Conflict`] means that the space does not have the expected version. After
    /// [`StoreError::Unavailable`] the change may or may not have been written.
    async fn change_catalogue(&self, change: CatalogueChange) -> Result<u64, StoreError>;

    /// The key that signs positions in this store's log.
    fn signing_key(&self) -> SigningKey;

    /// Checks that the storage is still where it was when it was opened. Cheap; called every few seconds, so that
    /// storage that was taken away is noticed while nothing is written.
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Finishes running calls and releases the storage. Later calls fail.
    async fn close(&self);

    /// The deliveries of webhooks, if the store has them.
    fn deliveries(&self) -> Option<&dyn DeliveryStore> {
        None
    }

    /// The calls for several replicas that share the store; `None` if one process has it to itself.
    fn shared(&self) -> Option<&dyn SharedStore> {
        None
    }
}

async fn inputs_one_by_one(
    store: &(impl Store + ?Sized),
    ids: Vec<OperationId>,
) -> Vec<Result<Option<Bytes>, StoreError>> {
    join_all(ids.into_iter().map(|id| store.payload(id, PayloadRole::Input))).await
}

/// The part of the log to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimLog {
    /// The time now.
    pub now: Timestamp,
    /// Records of removals that are older than this are deleted.
    pub keep_for: Duration,
    /// So are records that are more than this many behind their writer's latest.
    pub keep: u64,
}

/// How to find an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// By its id.
    Id(OperationId),
    /// By the idempotency key that a tenant submitted it under.
    Key(TenantId, IdempotencyKey),
}

/// A payload of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadRole {
    /// The input.
    Input,
    /// The result.
    Result,
}

/// A list of operations to read.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The tenant, or all.
    pub scope: Scope,
    /// The filter.
    pub filter: Filter,
    /// The order. A list of all tenants by end time has only batches that are done, whatever the filter.
    pub order: ListOrder,
    /// The place after which to begin; `None`: at the beginning.
    pub after: Option<ListPosition>,
    /// The maximum number of operations.
    pub limit: usize,
}

/// The order of a list. Ties are broken by id in the same direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOrder {
    /// The compared value.
    pub by: OrderBy,
    /// Largest first.
    pub descending: bool,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderBy {
    /// The time of submission; ids rise with it, so ids are compared.
    CreateTime,
    /// The time of the end; an operation that is not done counts as ending last.
    EndTime,
}

/// A place in an ordered list: right after this operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPosition {
    /// Its end time (`Timestamp::MAX` if it was not done); unused when ordered by create time.
    pub end_time: Timestamp,
    /// Its id.
    pub id: OperationId,
}

/// A part of a history to read.
#[derive(Clone, Copy, Debug)]
pub struct HistoryQuery {
    /// The operation.
    pub id: OperationId,
    /// The place after which to begin; the default is the beginning.
    pub after: HistoryPosition,
    /// Whether to include log lines.
    pub include_log: bool,
    /// The maximum number of entries.
    pub limit: usize,
}

/// A place in a history: right after the transition `revision` and the log line `log_number` that was written under
/// that revision (0: before the first such line).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryPosition {
    /// The last transition's revision.
    pub revision: Revision,
    /// The last log line's number.
    pub log_number: u64,
}

/// An entry of a history. Log lines come after the transition that they followed.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most entries are transitions; a page is short-lived"
)]
pub enum HistoryEntry {
    /// A transition.
    Transition(Event),
    /// A log line.
    Log(LogEntry),
}

/// A stored log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number within the operation.
    pub number: u64,
    /// The revision under which it was written.
    pub revision: Revision,
    /// The attempt that wrote it.
    pub attempt: Attempt,
    /// That attempt's worker.
    pub worker: Option<WorkerId>,
    /// The time.
    pub at: Timestamp,
    /// The line.
    pub text: String,
    /// The number of older lines that were dropped, on the first line that is kept; else 0.
    pub dropped_before: u64,
}

impl HistoryEntry {
    /// The place right after it.
    pub fn position(&self) -> HistoryPosition {
        match self {
            Self::Transition(event) => {
                HistoryPosition { revision: event.life.revision, log_number: 0 }
            }
            Self::Log(line) => HistoryPosition { revision: line.revision, log_number: line.number },
        }
    }
}
