//! Commits whose outcome is not known, and connections that end.

use std::time::{Duration, Instant};

use longrun::store::{Store, StoreError};

use super::proxy::{Fate, Proxy};
use super::*;

async fn doubtful(fate: Fate) -> (Database, Proxy, PostgresStore) {
    let database = database().await;
    let proxy = Proxy::to(&database).await;
    let store = open_url(&proxy.url).await;
    stored(&store, submission(1)).await;
    proxy.next(fate);
    let committed = store.commit(submitting([submission(2)])).await;
    assert!(matches!(committed, Err(StoreError::Unknown(_))), "{committed:?}");
    (database, proxy, store)
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_known_by_its_name() {
    let (_database, _proxy, store) = doubtful(Fate::Unanswered).await;
    assert!(store.settle().await.unwrap().is_some(), "it was committed");
    assert!(load(&store, id(2)).await.is_some());
    stored(&store, submission(3)).await;
    store.close().await;
}

/// The server has the transaction open, and would still commit it. When its name is claimed it no longer can.
#[tokio::test]
async fn a_commit_that_is_late_is_never_there_once_its_name_is_claimed() {
    let (_database, proxy, store) = doubtful(Fate::Late).await;
    assert!(load(&store, id(2)).await.is_none());
    assert_eq!(store.settle().await.unwrap(), None);
    assert!(load(&store, id(2)).await.is_none());
    proxy.let_go();
    stored(&store, submission(3)).await;
    assert!(load(&store, id(2)).await.is_none());
    // Nothing of it is in the way.
    stored(&store, submission(2)).await;
    store.close().await;
}

/// The answer to a claim can be lost as well. What has taken the name then is no commit.
#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_not_taken_for_the_commit() {
    let (_database, proxy, store) = doubtful(Fate::Late).await;
    // So that there is a connection, and the next COMMIT is that of the claim.
    claim(&store, 1).await;
    proxy.next(Fate::Unanswered);
    store.settle().await.unwrap_err();
    assert_eq!(store.settle().await.unwrap(), None);
    proxy.let_go();
    assert!(load(&store, id(2)).await.is_none());
    stored(&store, submission(2)).await;
    store.close().await;
}

/// Without a claim the next commit comes to the same, because it needs a new connection.
#[tokio::test]
async fn the_next_commit_ends_the_doubt_as_well() {
    let (_database, proxy, store) = doubtful(Fate::Late).await;
    stored(&store, submission(3)).await;
    proxy.let_go();
    stored(&store, submission(4)).await;
    assert!(load(&store, id(2)).await.is_none());
    store.close().await;
}

/// A connection that the server ends is made again by the next use of it.
#[tokio::test]
async fn every_connection_is_mended() {
    let (database, a, b) = two().await;
    stored(&a, submission(1)).await;
    a.list(crate::lists::query("", crate::lists::ORDERS[0], 9)).await.unwrap();
    let admin = database.connect().await;
    for round in 0..3 {
        claim(&a, 1).await;
        admin
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
                &[],
            )
            .await
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut number = 10 * round + 10;
        // What meets the end of a connection fails; nothing has to be done but to try again.
        loop {
            assert!(Instant::now() < deadline, "the store does not recover");
            number += 1;
            let committed = a.commit(submitting([submission(number)])).await;
            if matches!(committed, Err(StoreError::Unknown(_))) {
                a.settle().await.unwrap();
            }
            if committed.is_ok() && load(&a, id(1)).await.is_some() {
                break;
            }
        }
    }
    a.close().await;
    b.close().await;
}

/// A row that another program has locked is a lost race of its operation, and soon.
#[tokio::test]
async fn a_locked_row_is_no_outage() {
    let (database, a, b) = two().await;
    let first = stored(&a, submission(1)).await;
    let admin = database.connect().await;
    admin.batch_execute("BEGIN; SELECT 1 FROM operations FOR UPDATE").await.unwrap();
    let start = Instant::now();
    let mut batch = changing(&first, &acquire(1), at(5)).1;
    batch.writes.extend(submitting([submission(3)]).writes);
    match a.commit(batch).await {
        Err(StoreError::Locked(named)) => assert_eq!(named, [id(1)], "the others may go on"),
        other => panic!("{other:?}"),
    }
    assert!(start.elapsed() < Duration::from_millis(2_500), "after {:?}", start.elapsed());
    stored(&a, submission(2)).await;
    admin.batch_execute("ROLLBACK").await.unwrap();
    changed(&a, &first, &acquire(1)).await;
    a.close().await;
    b.close().await;
}

/// Whoever holds a table up makes reads fail in time, and commits.
#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    let (database, a, b) = two().await;
    let first = stored(&a, submission(1)).await;
    let admin = database.connect().await;
    admin.batch_execute("BEGIN; LOCK TABLE operations IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let start = Instant::now();
    let (read, written) = tokio::join!(
        b.load(vec![longrun::store::Lookup::Id(id(1))]),
        a.commit(changing(&first, &acquire(1), at(5)).1),
    );
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    // As far as anybody can tell, another writer is there first.
    let is_definite = matches!(written, Err(StoreError::Locked(_) | StoreError::Unavailable(_)));
    assert!(is_definite, "{written:?}");
    admin.batch_execute("ROLLBACK").await.unwrap();
    changed(&a, &first, &acquire(1)).await;
    a.close().await;
    b.close().await;
}
