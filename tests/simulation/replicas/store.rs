//! One replica's way to the store that all share. It fails as [`SimStore`] does, for this replica alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use longrun::operation::log::LogBook;
use longrun::operation::{
    ChildCounts, Event, Kind, ObjectId, Operation, OperationId, Revision, SessionId, TenantId,
    Timestamp,
};
use longrun::store::log::{Head, LogPage, LogQuery, SigningKey, Stamp};
use longrun::store::shared::{
    AttemptProgress, Claimed, ExpiredSession, Hint, Lease, Listening, OtherWorker, Outstanding,
    Queues, SharedStore, TakeOver, Topic, Wanted,
};
use longrun::store::{
    Batch, CatalogueChange, CatalogueSpace, CatalogueVersions, HistoryEntry, HistoryPosition,
    HistoryQuery, ListQuery, Lookup, PayloadRole, Store, StoreError, Tombstone, TrimLog,
    Unfinished,
};

use super::house::{self, House, ReplicaId};
use super::mailbox::Mailbox;
use crate::clock::hop;
use crate::disk::Disk;
use crate::store::SimStore;

/// The store as one replica has it. Clones are the same.
#[derive(Clone)]
pub struct ReplicaStore {
    id: ReplicaId,
    pub store: SimStore,
    pub mailbox: Mailbox,
    house: House,
    calls: Arc<AtomicU64>,
    claims: Arc<AtomicU64>,
}

impl ReplicaStore {
    pub fn new(id: ReplicaId, store: SimStore, mailbox: Mailbox, house: House) -> Self {
        Self { id, store, mailbox, house, calls: Arc::default(), claims: Arc::default() }
    }

    /// How often it was asked for anything.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How often for work.
    pub fn claims(&self) -> u64 {
        self.claims.load(Ordering::Relaxed)
    }

    /// The process is gone. A commit that was under way may come to be all the same, when `store` says so.
    pub fn crash(&self) {
        self.house.leave(self.id);
    }

    /// Whether it waits for a commit.
    pub fn is_open(&self) -> bool {
        self.house.is_open(self.id)
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for others who have found one of these expired.
    async fn wait_for(&self, sessions: &[SessionId]) {
        // Whoever holds them commits, or is given up after a while.
        while self.house.is_held_by_others(self.id, sessions) {
            self.store.tick().await;
            hop().await;
        }
    }

    /// A look that keeps what it finds from others. If it fails, nothing is kept any more.
    async fn find<T>(&self, look: impl FnOnce(&Disk) -> T) -> Result<T, StoreError> {
        self.called();
        let found = self.store.read(look).await;
        self.house.begin(self.id);
        if found.is_err() {
            self.house.release(self.id);
        }
        found
    }
}

#[async_trait]
impl Store for ReplicaStore {
    async fn commit(&self, batch: Batch) -> Result<Option<Stamp>, StoreError> {
        self.called();
        let changes = &batch.sessions;
        let kept = changes.kept.iter().map(|kept| kept.session);
        let sessions: Vec<SessionId> =
            kept.chain(changes.used.iter().chain(&changes.ended).copied()).collect();
        self.wait_for(&sessions).await;
        if self.house.has_lost_hold(self.id) {
            return Err(StoreError::Unavailable("the transaction was given up".to_owned()));
        }
        let committed = self.store.commit(batch).await;
        if !matches!(committed, Err(StoreError::Unknown(_))) {
            self.house.release(self.id);
        }
        committed
    }

    async fn settle(&self) -> Result<Option<Stamp>, StoreError> {
        self.called();
        let settled = self.store.settle().await;
        self.house.release(self.id);
        settled
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.called();
        self.store.head().await
    }

    async fn list_with_head(&self, query: ListQuery) -> Result<(Vec<Operation>, Head), StoreError> {
        self.called();
        self.store.list_with_head(query).await
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.called();
        self.store.log(query).await
    }

    async fn trim_log(&self, trim: TrimLog) -> Result<(), StoreError> {
        self.called();
        self.store.trim_log(trim).await
    }

    async fn catalogue_versions(&self) -> Result<CatalogueVersions, StoreError> {
        self.called();
        self.store.catalogue_versions().await
    }

    async fn catalogue(&self, space: &str) -> Result<CatalogueSpace, StoreError> {
        self.called();
        self.store.catalogue(space).await
    }

    async fn change_catalogue(&self, change: CatalogueChange) -> Result<u64, StoreError> {
        self.called();
        self.store.change_catalogue(change).await
    }

    fn signing_key(&self) -> SigningKey {
        self.store.signing_key()
    }

    async fn load(&self, lookups: Vec<Lookup>) -> Result<Vec<Option<Operation>>, StoreError> {
        self.called();
        self.store.load(lookups).await
    }

    async fn payload(
        &self,
        id: OperationId,
        role: PayloadRole,
    ) -> Result<Option<Bytes>, StoreError> {
        self.called();
        self.store.payload(id, role).await
    }

    async fn known_objects(&self, ids: Vec<ObjectId>) -> Result<Vec<bool>, StoreError> {
        self.called();
        self.store.known_objects(ids).await
    }

    async fn tombstone(&self, id: OperationId) -> Result<Option<Tombstone>, StoreError> {
        self.called();
        self.store.tombstone(id).await
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<Operation>, StoreError> {
        self.called();
        self.store.list(query).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<Vec<HistoryEntry>, StoreError> {
        self.called();
        self.store.history(query).await
    }

    async fn log_book(&self, id: OperationId) -> Result<LogBook, StoreError> {
        self.called();
        self.store.log_book(id).await
    }

    async fn children(
        &self,
        batches: Vec<(TenantId, OperationId)>,
    ) -> Result<Vec<ChildCounts>, StoreError> {
        self.called();
        self.store.children(batches).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.called();
        self.store.count().await
    }

    async fn scan(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<Operation>, StoreError> {
        self.called();
        self.store.scan(after, limit).await
    }

    async fn tombstones(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<(OperationId, Tombstone)>, StoreError> {
        self.called();
        self.store.tombstones(after, limit).await
    }

    async fn unfinished(
        &self,
        after: Option<(TenantId, OperationId)>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, StoreError> {
        self.called();
        self.store.unfinished(after, limit).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<OperationId>, StoreError> {
        self.find(|disk| self.house.due(self.id, disk, now, limit)).await
    }

    async fn next_wake(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.called();
        self.store.next_wake(now).await
    }

    async fn close(&self) {
        self.store.close().await;
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        Some(self)
    }
}

#[async_trait]
impl SharedStore for ReplicaStore {
    async fn claim(
        &self,
        wanted: Vec<Wanted>,
        except: Vec<OperationId>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        self.claims.fetch_add(1, Ordering::Relaxed);
        self.find(|disk| self.house.claim(self.id, disk, &wanted, &except, now)).await
    }

    async fn queues(
        &self,
        kinds: Vec<Kind>,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Queues, StoreError> {
        self.called();
        self.store.read(|disk| house::queues(disk, &kinds, after.as_ref(), limit)).await
    }

    async fn outstanding(&self) -> Result<Vec<Outstanding>, StoreError> {
        self.called();
        self.store.read(house::outstanding).await
    }

    async fn workers(&self, _: usize) -> Result<Vec<OtherWorker>, StoreError> {
        Ok(Vec::new())
    }

    async fn take_over(&self, take: TakeOver) -> Result<Option<Vec<Lease>>, StoreError> {
        self.called();
        self.wait_for(&[take.session]).await;
        self.store.write_else(|disk| self.house.take_over(self.id, disk, &take)).await
    }

    async fn expired(
        &self,
        limit: usize,
        leases: usize,
    ) -> Result<Vec<ExpiredSession>, StoreError> {
        self.find(|disk| self.house.expired(self.id, disk, limit, leases)).await
    }

    async fn transitions(
        &self,
        after: Vec<(OperationId, Revision)>,
        limit: usize,
    ) -> Result<Vec<Vec<Event>>, StoreError> {
        self.called();
        let of = |disk: &Disk, (id, revision): &(OperationId, Revision)| {
            let after = HistoryPosition { revision: *revision, log_number: 0 };
            let query = HistoryQuery { id: *id, after, include_log: false, limit };
            let entries = disk.history(&query).into_iter();
            let events = entries.filter_map(|entry| match entry {
                HistoryEntry::Transition(event) => Some(event),
                HistoryEntry::Log(_) => None,
            });
            events.collect()
        };
        self.store.read(|disk| after.iter().map(|asked| of(disk, asked)).collect()).await
    }

    async fn leave_progress(
        &self,
        news: Vec<AttemptProgress>,
        ended: Vec<OperationId>,
    ) -> Result<(), StoreError> {
        self.called();
        self.store.read(|_| self.house.leave_progress(self.id, news, &ended)).await
    }

    async fn progress(&self, of: Vec<OperationId>) -> Result<Vec<AttemptProgress>, StoreError> {
        self.called();
        let left = self.store.read(|_| self.house.progress_of_others(self.id)).await?;
        Ok(left.into_iter().filter(|it| of.contains(&it.id)).collect())
    }

    async fn recent_progress(&self, limit: usize) -> Result<Vec<AttemptProgress>, StoreError> {
        self.called();
        let mut left = self.store.read(|_| self.house.progress_of_others(self.id)).await?;
        left.truncate(limit);
        Ok(left)
    }

    async fn others(&self) -> Result<u64, StoreError> {
        // For those who copy stores; nobody does that here.
        self.store.read(|_| 0).await
    }

    fn listen(&self, topic: Topic) -> Listening {
        self.mailbox.listen(topic)
    }

    async fn hint(&self) -> Hint {
        self.mailbox.next().await
    }
}
