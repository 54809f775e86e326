//! What only a store that replicas share can do, and what only a database can do to it.

use std::time::Duration;

use longrun::operation::Operation;
use longrun::store::log::Stamp;
use longrun::store::postgres::{PostgresOptions, PostgresStore};
use longrun::store::shared::{Hint, KeptSession, SessionChanges, SharedStore, Wanted};
use longrun::store::{Batch, Store, StoreError};
use tokio::time::timeout;

use crate::postgres_support::{Database, database};
use crate::support::*;

mod claims;
mod doubt;
mod floors;
mod hints;
mod plans;
mod pooler;
mod proxy;
mod schema;
mod sessions;
mod slow_lists;
mod tls;

/// One replica's store.
async fn open(database: &Database) -> PostgresStore {
    open_url(&database.url).await
}

async fn open_url(url: &str) -> PostgresStore {
    PostgresStore::open(url, &PostgresOptions::default()).await.unwrap()
}

/// Two replicas of a new database.
async fn two() -> (Database, PostgresStore, PostgresStore) {
    let database = database().await;
    let (a, b) = (open(&database).await, open(&database).await);
    (database, a, b)
}

fn shared(store: &PostgresStore) -> &dyn SharedStore {
    store.shared().unwrap()
}

fn wanted(limit: usize) -> Vec<Wanted> {
    let submission = submission(1);
    vec![Wanted { tenant: submission.tenant, kind: submission.kind, limit, limits: Vec::new() }]
}

async fn claim(store: &PostgresStore, limit: usize) -> Vec<u64> {
    let claimed = shared(store).claim(wanted(limit), Vec::new(), at(1_000)).await.unwrap();
    claimed.operations.iter().map(number).collect()
}

/// The number that an operation of these tests was made of.
fn number(operation: &Operation) -> u64 {
    (1..1_000).find(|number| id(*number) == operation.id()).unwrap()
}

/// Keeps a session for an hour, or so that it has expired at once.
fn keeping(number: u8) -> Batch {
    keeping_for(number, Duration::from_secs(3_600))
}

fn keeping_for(number: u8, lease: Duration) -> Batch {
    let kept = KeptSession {
        session: session(number),
        scope: submission(1).tenant.into(),
        worker: worker(),
        kinds: std::sync::Arc::from([]),
        places: 0,
        lease,
    };
    let sessions = SessionChanges { kept: vec![kept], ..SessionChanges::default() };
    Batch { sessions, ..Batch::default() }
}

/// A batch that leases an operation to a session, which must be the store's own.
fn leasing(operation: &Operation, number: u8) -> (Operation, Batch) {
    let (running, mut batch) = changing(operation, &acquire(number), at(500));
    batch.sessions.used = vec![session(number)];
    (running, batch)
}

fn conflicts(committed: Result<Option<Stamp>, StoreError>) -> Vec<u64> {
    let Err(StoreError::Conflict(ids)) = committed else { panic!("{committed:?}") };
    let mut numbers: Vec<u64> =
        ids.iter().map(|it| (1..1_000).find(|number| id(*number) == *it).unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

async fn next_hint(store: &PostgresStore) -> Hint {
    let hint = timeout(Duration::from_secs(20), shared(store).hint()).await;
    hint.expect("a hint in time")
}

/// The next hint that says something.
async fn next_news(store: &PostgresStore) -> Hint {
    loop {
        match next_hint(store).await {
            Hint::Missed => {}
            hint => return hint,
        }
    }
}
