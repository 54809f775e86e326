//! What is remembered of operations that were removed.

use longrun::operation::{Operation, Timestamp};
use longrun::store::{Batch, FORGET_BATCH, Forget, Store, StoreError, Tombstone};

use crate::support::*;

fn stone(forget_at: Timestamp) -> Tombstone {
    Tombstone { tenant: submission(1).tenant, purged_at: at(50), forget_at }
}

fn burying(operation: &Operation, forget_at: Timestamp) -> Batch {
    let mut batch = removing(operation);
    batch.removals[0].tombstone = Some(stone(forget_at));
    batch
}

/// Submits and buries operations, the number of each the millisecond at which it is to be forgotten.
async fn bury(store: &dyn Store, numbers: std::ops::RangeInclusive<u64>) {
    let submitted = submitting(numbers.clone().map(submission));
    store.commit(submitted.clone()).await.unwrap();
    let mut batch = Batch::default();
    for (number, write) in numbers.zip(&submitted.writes) {
        batch.removals.extend(burying(&write.operation, at(number as i64)).removals);
    }
    store.commit(batch).await.unwrap();
}

async fn forget(store: &dyn Store, until: i64, keep: u64) {
    let forget = Some(Forget { until: at(until), keep });
    store.commit(Batch { forget, ..Batch::default() }).await.unwrap();
}

async fn remembered(store: &dyn Store, numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    let mut found = Vec::new();
    for number in numbers {
        if store.tombstone(id(number)).await.unwrap().is_some() {
            found.push(number);
        }
    }
    found
}

pub async fn a_removal_may_leave_a_tombstone(store: &dyn Store) {
    let first = stored(store, with_key(submission(1), "order-1")).await;
    let second = stored(store, submission(2)).await;
    store.commit(removing(&second)).await.unwrap();
    assert_eq!(store.tombstone(id(1)).await.unwrap(), None);
    assert_eq!(store.tombstone(id(2)).await.unwrap(), None);

    store.commit(burying(&first, at(90))).await.unwrap();
    assert_eq!(store.tombstone(id(1)).await.unwrap(), Some(stone(at(90))));
    assert_eq!(load(store, id(1)).await, None);
    // The key is free; what is gone cannot be buried again.
    stored(store, with_key(submission(3), "order-1")).await;
    let again = store.commit(burying(&first, at(99))).await;
    assert!(matches!(again, Err(StoreError::Conflict(ref it)) if *it == [id(1)]), "{again:?}");
    assert_eq!(store.tombstone(id(1)).await.unwrap(), Some(stone(at(90))));
}

pub async fn tombstones_go_when_their_time_has_come(store: &dyn Store) {
    bury(store, 1..=4).await;
    assert_eq!(store.next_wake(at(0)).await.unwrap(), Some(at(1)));
    forget(store, 2, 100).await;
    assert_eq!(remembered(store, 1..=4).await, [3, 4]);
    assert_eq!(store.next_wake(at(0)).await.unwrap(), Some(at(3)));
    assert_eq!(store.due(at(9), 10).await.unwrap(), []);
    forget(store, 9, 100).await;
    assert!(remembered(store, 1..=4).await.is_empty());
    assert_eq!(store.next_wake(at(0)).await.unwrap(), None);
    forget(store, 9, 100).await;

    let many = 2 * FORGET_BATCH as u64 + 5;
    bury(store, 1..=many).await;
    for left in [many - FORGET_BATCH as u64, 5, 0] {
        forget(store, 1_000_000, 1_000_000).await;
        assert_eq!(remembered(store, 1..=many).await.len() as u64, left);
    }
}

pub async fn no_more_are_kept_than_are_to_be(store: &dyn Store) {
    bury(store, 1..=6).await;
    forget(store, 0, 4).await;
    assert_eq!(remembered(store, 1..=6).await, [3, 4, 5, 6]);
    // Those of the batch itself count.
    let next = stored(store, submission(7)).await;
    let mut batch = burying(&next, at(7));
    batch.forget = Some(Forget { until: at(0), keep: 2 });
    store.commit(batch).await.unwrap();
    assert_eq!(remembered(store, 1..=7).await, [6, 7]);
}
