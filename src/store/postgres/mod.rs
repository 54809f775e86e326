//! The shared store: a PostgreSQL database, which any number of replicas use at once.
//!
//! Owns its connections and their tasks, all of which end with [`Store::close`]. Must never decide anything about an
//! operation, and never use a clock of this machine for stored data.
//!
//! - One connection writes: a commit is one round trip (`writer`). Others look up, list and listen.
//! - Each call takes a bounded time. A broken connection is reopened on its next use.
//! - Replicas notify each other of commits (`notify`). Notifications may be lost with a connection: then the store
//!   reports that some were missed.
//!
//! Read next: `write` for the statements of a commit, `writer` for how it ends, `listen` for hints.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::timeout;
use uuid::Uuid;

use super::deliveries::DeliveryStore;
use super::log::{Head, LogPage, LogQuery, SigningKey, Stamp};
use super::shared::SharedStore;
use super::{
    Batch, CatalogueChange, CatalogueSpace, CatalogueVersions, HistoryEntry, HistoryQuery,
    ListQuery, Lookup, PayloadRole, Store, StoreError, Tombstone, TrimLog, Unfinished,
    inputs_one_by_one,
};
use crate::operation::log::LogBook;
use crate::operation::{ChildCounts, ObjectId, Operation, OperationId, TenantId, Timestamp};

mod addresses;
mod catalogue;
mod changes;
pub mod checkup;
mod children;
mod claims;
mod deliveries;
mod error;
mod floors;
mod hints;
mod interest;
mod lanes;
mod link;
mod list;
mod listen;
mod locked;
mod log;
mod looks;
mod notify;
mod open;
mod operations;
mod presence;
mod progress;
mod read;
mod replicas;
mod rows;
mod running;
mod schema;
mod server;
mod session;
mod sessions;
mod step;
mod tls;
mod tombstones;
mod transaction;
mod url;
mod wakes;
mod write;
mod writer;

use claims::QueueFloors;
use hints::Hints;
use interest::Interest;
use lanes::Lists;
use link::Pool;
use looks::Looks;
use presence::Presence;
use server::Server;
use tombstones::Tombstones;
use transaction::Work;
use wakes::Wakes;
use writer::Writer;

pub use open::PostgresOptions;

/// How long connections have to close properly.
const CLOSING: Duration = Duration::from_secs(1);

/// A replica's view of the shared store.
pub struct PostgresStore {
    replica: Uuid,
    server: Arc<Server>,
    writer: Arc<Writer>,
    queues: Arc<QueueFloors>,
    wakes: Wakes,
    tombstones: Tombstones,
    looks: Looks,
    lookups: Arc<Pool>,
    lists: Lists,
    scans: Pool,
    presence: Arc<Presence>,
    interest: Arc<Interest>,
    hints: Arc<Hints>,
    key: SigningKey,
}

impl PostgresStore {
    /// The statements of the batch, in order.
    fn work<'a>(&self, batch: &'a Batch, expired: Vec<Uuid>, stamp: Stamp) -> Work<'a> {
        let mut steps = sessions::claimed(&batch.sessions, self.replica);
        steps.extend(write::steps(batch, stamp, self.tombstones.floor()));
        steps.extend(notify::of_leases(&batch.sessions.told, self.replica));
        steps.extend(sessions::end(&batch.sessions.ended, expired, self.replica));
        let tell = if self.presence.is_alone() { None } else { notify::of_batch(batch) };
        let is_named = batch.is_logged();
        Work { steps, is_named, tell, bytes: write::payload_bytes(batch) }
    }
}

/// Ends the tasks. Connections close with the values that hold them.
impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.server.closing.cancel();
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, batch: Batch) -> Result<Option<Stamp>, StoreError> {
        let committed = self.writer.commit(|expired, stamp| self.work(&batch, expired, stamp));
        let (_, stamp) = match committed.await {
            Ok(committed) => committed,
            Err(error) => return Err(locked::name(&self.lookups, &batch, error).await),
        };
        if batch.forget.is_some() {
            self.tombstones.used(&self.looks);
        }
        Ok(stamp)
    }

    async fn settle(&self) -> Result<Option<Stamp>, StoreError> {
        // Other replicas may not have been notified of a commit in doubt.
        let tell = (!self.presence.is_alone()).then(|| notify::missed(self.replica));
        self.writer.settle(tell).await
    }

    async fn load(&self, lookups: Vec<Lookup>) -> Result<Vec<Option<Operation>>, StoreError> {
        self.lookups.run(|session| read::load(session, lookups)).await
    }

    async fn payload(
        &self,
        id: OperationId,
        role: PayloadRole,
    ) -> Result<Option<Bytes>, StoreError> {
        self.lookups.run(|session| read::payload(session, id, role)).await
    }

    async fn inputs(&self, ids: Vec<OperationId>) -> Vec<Result<Option<Bytes>, StoreError>> {
        let read = |session| read::inputs(session, ids.clone());
        match self.lookups.run(read).await {
            Ok(mut found) => ids.iter().map(|id| Ok(found.remove(id))).collect(),
            // So that only what is damaged fails.
            Err(StoreError::Corrupt(_)) => inputs_one_by_one(self, ids).await,
            Err(error) => vec![Err(error); ids.len()],
        }
    }

    async fn tombstone(&self, id: OperationId) -> Result<Option<Tombstone>, StoreError> {
        self.lookups.run(|session| tombstones::tombstone(session, id)).await
    }

    async fn known_objects(&self, ids: Vec<ObjectId>) -> Result<Vec<bool>, StoreError> {
        self.lookups.run(|session| read::known_objects(session, ids)).await
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<Operation>, StoreError> {
        self.lists.run(|session| list::list(session, query.clone())).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<Vec<HistoryEntry>, StoreError> {
        self.lookups.run(|session| read::history(session, query)).await
    }

    async fn log_book(&self, id: OperationId) -> Result<LogBook, StoreError> {
        self.lookups.run(|session| read::log_book(session, id)).await
    }

    async fn children(
        &self,
        batches: Vec<(TenantId, OperationId)>,
    ) -> Result<Vec<ChildCounts>, StoreError> {
        self.lookups.run(|session| children::count(session, batches)).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.scans.run(read::count).await
    }

    async fn scan(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<Operation>, StoreError> {
        self.scans.run(|session| read::scan(session, after, limit)).await
    }

    async fn tombstones(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<(OperationId, Tombstone)>, StoreError> {
        self.scans.run(|session| tombstones::page(session, after, limit)).await
    }

    async fn unfinished(
        &self,
        after: Option<(TenantId, OperationId)>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, StoreError> {
        self.scans.run(|session| read::unfinished(session, after, limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<OperationId>, StoreError> {
        self.wakes.due((&self.writer, &self.looks), now, limit).await
    }

    async fn next_wake(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.wakes.next((&self.lookups, &self.looks), &self.tombstones, now).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.lookups.run(log::head).await
    }

    async fn list_with_head(&self, query: ListQuery) -> Result<(Vec<Operation>, Head), StoreError> {
        self.lists.run(|session| list::list_with_head(session, query.clone())).await
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.lookups.run(|session| changes::page(session, query)).await
    }

    async fn trim_log(&self, trim: TrimLog) -> Result<(), StoreError> {
        log::trim(&self.scans, trim).await
    }

    async fn catalogue_versions(&self) -> Result<CatalogueVersions, StoreError> {
        self.lookups.run(catalogue::versions).await
    }

    async fn catalogue(&self, space: &str) -> Result<CatalogueSpace, StoreError> {
        self.scans.run(|session| catalogue::space(session, space.to_owned())).await
    }

    async fn change_catalogue(&self, change: CatalogueChange) -> Result<u64, StoreError> {
        // Connections for lookups do not wait for a standby when they write.
        self.scans.run(|session| catalogue::change(session, change)).await
    }

    fn signing_key(&self) -> SigningKey {
        self.key
    }

    async fn close(&self) {
        if !self.server.closing.is_cancelled() {
            let _ = timeout(CLOSING, self.presence.leave(&self.lookups)).await;
        }
        self.server.closing.cancel();
        self.writer.close().await;
        self.lookups.close().await;
        self.lists.close();
        self.scans.close().await;
        self.looks.close().await;
        self.server.tasks.close();
        if timeout(CLOSING, self.server.tasks.wait()).await.is_err() {
            self.server.cut.cancel();
            self.server.tasks.wait().await;
        }
    }

    fn deliveries(&self) -> Option<&dyn DeliveryStore> {
        Some(self)
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        Some(self)
    }
}
