//! Stores that lie, under the same load and the same check: each lie must be found, and nothing must
//! be found of the honest store.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use longrun::client::Client;
use longrun::operation::log::LogBook;
use longrun::operation::{ChildCounts, ObjectId, Operation, OperationId, TenantId, Timestamp};
use longrun::proto::v1::SubmitRequest;
use longrun::store::log::{Head, LogPage, LogQuery, SigningKey, Stamp};
use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use longrun::store::{
    Batch, CatalogueChange, CatalogueSpace, CatalogueVersions, HistoryEntry, HistoryPosition,
    HistoryQuery, ListQuery, Lookup, PayloadRole, Store, StoreError, Tombstone, TrimLog,
    Unfinished,
};
use tokio::time::Instant;

use crate::collect::collect;
use crate::history::{self, History, Promise};
use crate::host::Host as _;
use crate::in_process::InProcess;
use crate::load::{Crowd, Load, payload};
use crate::submitter::KINDS;
use crate::{Plan, run, tell};

/// How often a store lies that lies now and then: once in so many occasions.
const SELDOM: u64 = 7;

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Nothing.
    None,
    /// Now and then it says that a batch with submissions is written, and does not write it.
    Forgets,
    /// Now and then it leaves out a transition's event.
    DropsEvents,
    /// It does not keep idempotency keys.
    LosesKeys,
    /// It writes the result of the operation before.
    MixesResultsUp,
    /// It replaces whatever is there, whatever revision was expected.
    IgnoresRevisions,
    /// What was written last is gone after a restart, like on a disk that is not synced.
    RollsBack,
}

/// A store with a lie.
struct BrokenStore {
    honest: SqliteStore,
    lie: Lie,
    occasions: AtomicU64,
    last_result: Mutex<Option<Bytes>>,
}

impl BrokenStore {
    fn open(path: &Path, lie: Lie) -> anyhow::Result<Arc<dyn Store>> {
        let honest = SqliteStore::open(path, &SqliteOptions::default())?;
        Ok(Arc::new(Self {
            honest,
            lie,
            occasions: AtomicU64::new(0),
            last_result: Mutex::default(),
        }))
    }

    fn lies_now(&self) -> bool {
        self.occasions.fetch_add(1, Ordering::Relaxed) % SELDOM == SELDOM - 1
    }

    /// Makes the batch expect what is there, and leaves out the events that are in the way.
    async fn expect_anything(&self, batch: &mut Batch, id: OperationId) -> Result<(), StoreError> {
        let stored = self.honest.load(vec![Lookup::Id(id)]).await?.into_iter().flatten().next();
        for write in batch.writes.iter_mut().filter(|write| write.operation.id() == id) {
            write.expected = stored.as_ref().map(|stored| stored.life.revision);
        }
        let after = HistoryPosition::default();
        let query = HistoryQuery { id, after, include_log: false, limit: 1_000 };
        let taken: Vec<HistoryPosition> =
            self.honest.history(query).await?.iter().map(HistoryEntry::position).collect();
        batch.events.retain(|(of, event)| {
            *of != id || taken.iter().all(|taken| taken.revision != event.life.revision)
        });
        Ok(())
    }
}

#[async_trait]
impl Store for BrokenStore {
    async fn commit(&self, mut batch: Batch) -> Result<Option<Stamp>, StoreError> {
        match self.lie {
            Lie::Forgets if has_submissions(&batch) && self.lies_now() => {
                return Ok(None);
            }
            Lie::DropsEvents if self.lies_now() => drop(batch.events.pop()),
            Lie::LosesKeys => {
                for write in &mut batch.writes {
                    Arc::make_mut(&mut write.operation.submission).idempotency = None;
                }
            }
            Lie::MixesResultsUp => {
                let mut last = self.last_result.lock().unwrap();
                for result in batch.writes.iter_mut().filter_map(|write| write.result.as_mut()) {
                    let this = last.replace(result.clone());
                    *result = this.unwrap_or_else(|| result.clone());
                }
            }
            Lie::IgnoresRevisions => loop {
                match self.honest.commit(batch.clone()).await {
                    Err(StoreError::Conflict(ids)) => {
                        for id in ids {
                            self.expect_anything(&mut batch, id).await?;
                        }
                    }
                    committed => return committed,
                }
            },
            _ => {}
        }
        self.honest.commit(batch).await
    }

    async fn load(&self, lookups: Vec<Lookup>) -> Result<Vec<Option<Operation>>, StoreError> {
        self.honest.load(lookups).await
    }

    async fn payload(
        &self,
        id: OperationId,
        role: PayloadRole,
    ) -> Result<Option<Bytes>, StoreError> {
        self.honest.payload(id, role).await
    }

    async fn known_objects(&self, ids: Vec<ObjectId>) -> Result<Vec<bool>, StoreError> {
        self.honest.known_objects(ids).await
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<Operation>, StoreError> {
        self.honest.list(query).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<Vec<HistoryEntry>, StoreError> {
        self.honest.history(query).await
    }

    async fn log_book(&self, id: OperationId) -> Result<LogBook, StoreError> {
        self.honest.log_book(id).await
    }

    async fn children(
        &self,
        batches: Vec<(TenantId, OperationId)>,
    ) -> Result<Vec<ChildCounts>, StoreError> {
        self.honest.children(batches).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.honest.count().await
    }

    async fn scan(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<Operation>, StoreError> {
        self.honest.scan(after, limit).await
    }

    async fn tombstones(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<(OperationId, Tombstone)>, StoreError> {
        self.honest.tombstones(after, limit).await
    }

    async fn unfinished(
        &self,
        after: Option<(TenantId, OperationId)>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, StoreError> {
        self.honest.unfinished(after, limit).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<OperationId>, StoreError> {
        self.honest.due(now, limit).await
    }

    async fn tombstone(&self, id: OperationId) -> Result<Option<Tombstone>, StoreError> {
        self.honest.tombstone(id).await
    }

    async fn next_wake(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.honest.next_wake(now).await
    }

    async fn settle(&self) -> Result<Option<Stamp>, StoreError> {
        self.honest.settle().await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.honest.head().await
    }

    async fn list_with_head(&self, query: ListQuery) -> Result<(Vec<Operation>, Head), StoreError> {
        self.honest.list_with_head(query).await
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.honest.log(query).await
    }

    async fn trim_log(&self, trim: TrimLog) -> Result<(), StoreError> {
        self.honest.trim_log(trim).await
    }

    async fn catalogue_versions(&self) -> Result<CatalogueVersions, StoreError> {
        self.honest.catalogue_versions().await
    }

    async fn catalogue(&self, space: &str) -> Result<CatalogueSpace, StoreError> {
        self.honest.catalogue(space).await
    }

    async fn change_catalogue(&self, change: CatalogueChange) -> Result<u64, StoreError> {
        self.honest.change_catalogue(change).await
    }

    fn signing_key(&self) -> SigningKey {
        self.honest.signing_key()
    }

    async fn close(&self) {
        self.honest.close().await;
    }
}

fn has_submissions(batch: &Batch) -> bool {
    batch.writes.iter().any(|write| write.expected.is_none())
}

fn host(directory: &Path, lie: Lie) -> InProcess {
    let path = directory.join("longrun.db");
    InProcess::new(path, lie == Lie::RollsBack, move |path| BrokenStore::open(path, lie))
}

/// The load over a store with that lie.
async fn tried(lie: Lie, drain: Duration) -> History {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan {
        seed: 1,
        kills: 3,
        longest_uptime: Duration::from_millis(800),
        operations: 20,
        crowd: Crowd { submitters: 3, workers: 3, meddlers: 1, forgers: 1 },
        drain,
    };
    run(&mut host(directory.path(), lie), plan).await.unwrap()
}

/// Two services over one store: what the second has cancelled must not be executed by the first,
/// which knows it as queued. Only the store can tell.
async fn raced(lie: Lie) -> History {
    let directory = tempfile::tempdir().unwrap();
    let mut host = host(directory.path(), lie);
    host.start().await.unwrap();
    let first = Client::connect(&host.url()).await.unwrap();
    let second = Client::connect(&host.start_second().await.unwrap()).await.unwrap();
    let request = |key: &str| SubmitRequest {
        kind: KINDS[0].to_owned(),
        input: Some(payload(key.to_owned())),
        idempotency_key: key.to_owned(),
        ..SubmitRequest::default()
    };
    let contended = first.submit(request("contended")).await.unwrap();
    let cancelled = second.cancel(&contended.name, "raced").await.unwrap();
    let other = first.submit(request("other")).await.unwrap();

    let crowd = Crowd { submitters: 0, workers: 1, meddlers: 0, forgers: 0 };
    let load = Load::start(&host.url(), crowd, &mut fastrand::Rng::with_seed(1));
    let recorder = load.recorder();
    for (key, operation) in [("contended", &contended), ("other", &other)] {
        recorder.submitted(key, Some(key), recorder.now(), operation);
    }
    recorder.read(recorder.now(), &cancelled);
    // The older goes first: when this one is done, the worker was given what it could be given.
    first.wait(&other.name, None).await.unwrap();
    load.drain(Instant::now() + IMPATIENT).await;
    collect(&first, &recorder).await.unwrap()
}

/// A broken service may never come to rest: then it is looked at as it is.
const IMPATIENT: Duration = Duration::from_secs(4);

async fn finds(lie: Lie, promises: &[Promise]) {
    let history = tried(lie, IMPATIENT).await;
    let violations = history::check(&history);
    for promise in promises {
        assert!(
            violations.iter().any(|violation| violation.promise == *promise),
            "{lie:?} does not show in {promise:?}, only {}",
            tell(&history, &violations)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_honest_store_keeps_every_promise() {
    let history = tried(Lie::None, Duration::from_secs(30)).await;
    let violations = history::check(&history);
    assert!(violations.is_empty(), "{}", tell(&history, &violations));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_ignores_revisions_is_found_out_when_two_write() {
    let history = raced(Lie::None).await;
    let violations = history::check(&history);
    assert!(violations.is_empty(), "{}", tell(&history, &violations));
    let violations = history::check(&raced(Lie::IgnoresRevisions).await);
    assert!(violations.iter().any(|violation| violation.promise == Promise::OneOutcome));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_forgets_batches_is_found_out() {
    finds(Lie::Forgets, &[Promise::NothingLost]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_drops_events_is_found_out() {
    finds(Lie::DropsEvents, &[Promise::HistoryIsWhole]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_loses_keys_is_found_out() {
    finds(Lie::LosesKeys, &[Promise::KeyNamesOne]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_mixes_results_up_is_found_out() {
    finds(Lie::MixesResultsUp, &[Promise::ReportShows, Promise::NothingFromStrangers]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_loses_its_last_writes_is_found_out() {
    finds(Lie::RollsBack, &[Promise::NothingLost]).await;
}
