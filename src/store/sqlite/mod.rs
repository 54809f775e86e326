//! The embedded store: one SQLite file, one writer thread, a few reader threads.
//!
//! Owns the file, its lock and the threads; every thread is joined by [`Store::close`] or by
//! dropping the store. Must never decide anything about an operation.
//!
//! - WAL with `synchronous=FULL`: a commit is one fsync, and readers see the last commit without waiting for the
//!   writer. The log is checkpointed every 1,000 pages: every 8,000 gave 3 % more commits, and made those behind it
//!   wait for 50 ms.
//! - The file itself is locked as long as the store is open, and so is `PATH.lock` (`hold`). The system releases the
//!   locks however the process ends. SQLite's own locks let other programs read meanwhile.
//! - The file's header names the log that it needs (`mark`), so that another file's log is not replayed, and a missing
//!   log is noticed.
//! - There is no auto-vacuum: a store in steady state reuses the pages that its retention frees, and moving pages would
//!   cost every commit.
//!
//! Read next: `write` for the statements of a commit, `list` for how lists find their index.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::deliveries::DeliveryStore;
use super::log::{Head, LogPage, LogQuery, SigningKey, Stamp};
use super::{
    Batch, CatalogueChange, CatalogueSpace, CatalogueVersions, HistoryEntry, HistoryQuery,
    LIST_TIME, ListQuery, Lookup, OpenError, PayloadRole, Store, StoreError, Tombstone, TrimLog,
    Unfinished,
};
use crate::operation::log::LogBook;
use crate::operation::{ChildCounts, ObjectId, Operation, OperationId, TenantId, Timestamp};

pub mod backup;
mod catalogue;
mod commits;
mod deliveries;
mod header;
mod hold;
mod list;
mod log;
mod mark;
mod objects;
mod open;
mod read;
mod rows;
mod schema;
mod threads;
mod tombstones;
mod wal;
mod write;

use threads::Threads;

/// The options of an SQLite store.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Threads for reads of a few rows, each with its own connection; at least 1.
    pub lookup_threads: usize,
    /// Threads for lists, each with its own connection; at least 1. One more thread is for slow lists, because a list
    /// may scan an index.
    pub list_threads: usize,
    /// The time limit of a list.
    pub list_time: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { lookup_threads: 2, list_threads: 2, list_time: LIST_TIME }
    }
}

/// The embedded store.
pub struct SqliteStore {
    threads: Threads,
    key: SigningKey,
}

impl SqliteStore {
    /// Opens the store at `path`. Creates the file if it does not exist; its directory must exist. Blocks.
    pub fn open(path: &Path, options: &SqliteOptions) -> Result<Self, OpenError> {
        let failed = |reason| OpenError::Failed { path: path.display().to_string(), reason };
        let opened = open::open(path, options)?;
        let key = commits::key(&opened.writer).map_err(|error| failed(error.to_string()))?;
        let threads = Threads::start(opened, options.list_time)
            .map_err(|error| failed(format!("a thread cannot be started: {error}")))?;
        Ok(Self { threads, key })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, batch: Batch) -> Result<Option<Stamp>, StoreError> {
        self.threads.write(move |connection, names| write::commit(connection, names, &batch)).await
    }

    async fn settle(&self) -> Result<Option<Stamp>, StoreError> {
        self.threads.write(|connection, names| names.settle(connection)).await
    }

    async fn load(&self, lookups: Vec<Lookup>) -> Result<Vec<Option<Operation>>, StoreError> {
        self.threads.look_up(move |connection| read::load(connection, &lookups)).await
    }

    async fn payload(
        &self,
        id: OperationId,
        role: PayloadRole,
    ) -> Result<Option<Bytes>, StoreError> {
        self.threads.look_up(move |connection| read::payload(connection, id, role)).await
    }

    async fn inputs(&self, ids: Vec<OperationId>) -> Vec<Result<Option<Bytes>, StoreError>> {
        // In one job: a hand-over to a thread costs more than such a read.
        let count = ids.len();
        let read = move |connection: &rusqlite::Connection| {
            Ok(ids.iter().map(|id| read::payload(connection, *id, PayloadRole::Input)).collect())
        };
        let found: Result<Vec<_>, StoreError> = self.threads.look_up(read).await;
        found.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn tombstone(&self, id: OperationId) -> Result<Option<Tombstone>, StoreError> {
        self.threads.look_up(move |connection| tombstones::tombstone(connection, id)).await
    }

    async fn known_objects(&self, ids: Vec<ObjectId>) -> Result<Vec<bool>, StoreError> {
        self.threads.look_up(move |connection| objects::known(connection, &ids)).await
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<Operation>, StoreError> {
        self.threads.list(move |connection| list::list(connection, &query)).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<Vec<HistoryEntry>, StoreError> {
        self.threads.look_up(move |connection| read::history(connection, &query)).await
    }

    async fn log_book(&self, id: OperationId) -> Result<LogBook, StoreError> {
        self.threads.look_up(move |connection| read::log_book(connection, id)).await
    }

    async fn children(
        &self,
        batches: Vec<(TenantId, OperationId)>,
    ) -> Result<Vec<ChildCounts>, StoreError> {
        // Everything that one job reads is of one moment.
        self.threads.look_up(move |connection| read::children(connection, &batches)).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.threads.scan(read::count).await
    }

    async fn scan(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<Operation>, StoreError> {
        self.threads.scan(move |connection| read::scan(connection, after, limit)).await
    }

    async fn tombstones(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<(OperationId, Tombstone)>, StoreError> {
        self.threads.scan(move |connection| tombstones::page(connection, after, limit)).await
    }

    async fn unfinished(
        &self,
        after: Option<(TenantId, OperationId)>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, StoreError> {
        self.threads.look_up(move |connection| read::unfinished(connection, after, limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<OperationId>, StoreError> {
        self.threads.look_up(move |connection| read::due(connection, now, limit)).await
    }

    async fn next_wake(&self, _now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.threads.look_up(read::next_wake).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.threads.look_up(log::head).await
    }

    async fn list_with_head(&self, query: ListQuery) -> Result<(Vec<Operation>, Head), StoreError> {
        // Everything that one job reads is of one moment.
        let read =
            move |connection: &_| Ok((list::list(connection, &query)?, log::head(connection)?));
        self.threads.list(read).await
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.threads.log(move |connection| log::log(connection, &query)).await
    }

    async fn trim_log(&self, trim: TrimLog) -> Result<(), StoreError> {
        self.threads.write(move |connection, names| commits::trim(connection, names, &trim)).await
    }

    async fn catalogue_versions(&self) -> Result<CatalogueVersions, StoreError> {
        self.threads.look_up(catalogue::versions).await
    }

    async fn catalogue(&self, space: &str) -> Result<CatalogueSpace, StoreError> {
        let space = space.to_owned();
        self.threads.list(move |connection| catalogue::space(connection, &space)).await
    }

    async fn change_catalogue(&self, change: CatalogueChange) -> Result<u64, StoreError> {
        self.threads.write(move |connection, _| catalogue::change(connection, &change)).await
    }

    fn signing_key(&self) -> SigningKey {
        self.key
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.threads.check().await
    }

    async fn close(&self) {
        self.threads.close().await;
    }

    fn deliveries(&self) -> Option<&dyn DeliveryStore> {
        Some(self)
    }
}

/// The store's error for a failed read, or for a write that was rolled back.
fn store_error(error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt(error.to_string())
        }
        // Callers wait only for statements with a time limit.
        Some(ErrorCode::OperationInterrupted) => StoreError::TimedOut,
        _ => StoreError::Unavailable(error.to_string()),
    }
}
