//! What copying from store to store rests on: everything can be read by those who know no tenant and no id, and
//! written as it was.

use longrun::operation::{Operation, OperationId, TenantId};
use longrun::store::{
    Batch, Forget, HistoryEntry, HistoryQuery, LogAppend, PayloadRole, Store, Tombstone, Write,
};

use crate::support::*;

pub async fn all_operations_are_counted_and_told_in_pages(store: &dyn Store) {
    assert_eq!(store.count().await.unwrap(), 0);
    assert!(store.scan(None, 10).await.unwrap().is_empty());
    let submissions = [5, 1, 3, 2, 4].map(|number| {
        let mut submission = submission(number);
        if number % 2 == 0 {
            submission.tenant = TenantId::parse("other").unwrap();
        }
        submission
    });
    let mut stored_ones = Vec::new();
    for submission in submissions {
        stored_ones.push(stored(store, submission).await);
    }
    let queued = stored_ones.pop().unwrap();
    let running = changed(store, &queued, &acquire(1)).await;
    stored_ones.push(changed(store, &running, &complete(&running)).await);
    stored_ones.sort_by_key(Operation::id);

    assert_eq!(store.count().await.unwrap(), 5);
    let mut told = Vec::new();
    loop {
        let page = store.scan(told.last().map(Operation::id), 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        told.extend(page);
    }
    assert_eq!(told, stored_ones);
}

fn stone(forget_at: i64) -> Tombstone {
    Tombstone { tenant: submission(1).tenant, purged_at: at(50), forget_at: at(forget_at) }
}

async fn bring(store: &dyn Store, numbers: &[u64]) {
    let tombstones = numbers.iter().map(|number| (id(*number), stone(*number as i64))).collect();
    store.commit(Batch { tombstones, ..Batch::default() }).await.unwrap();
}

async fn told(store: &dyn Store, page: usize) -> Vec<OperationId> {
    let mut told: Vec<OperationId> = Vec::new();
    loop {
        let next = store.tombstones(told.last().copied(), page).await.unwrap();
        assert!(next.len() <= page);
        if next.is_empty() {
            return told;
        }
        for (id, tombstone) in next {
            assert_eq!(store.tombstone(id).await.unwrap(), Some(tombstone));
            told.push(id);
        }
    }
}

/// In the order in which they came, not in that of their ids, because it is the order in which they go.
pub async fn tombstones_are_brought_and_told_in_their_order(store: &dyn Store) {
    assert!(told(store, 2).await.is_empty());
    bring(store, &[3, 1]).await;
    bring(store, &[5, 2, 4]).await;
    assert_eq!(told(store, 2).await, [3, 1, 5, 2, 4].map(id));
    assert_eq!(told(store, 10).await, [3, 1, 5, 2, 4].map(id));
    assert_eq!(store.tombstone(id(1)).await.unwrap(), Some(stone(1)));
    assert_eq!(store.next_wake(at(0)).await.unwrap(), Some(at(3)));
    // One that is there becomes the latest.
    bring(store, &[1]).await;
    assert_eq!(told(store, 2).await, [3, 5, 2, 4, 1].map(id));
    let forget = Some(Forget { until: at(0), keep: 2 });
    store.commit(Batch { forget, ..Batch::default() }).await.unwrap();
    assert_eq!(told(store, 2).await, [4, 1].map(id));
}

/// A whole life in one batch: the end, both payloads, and lines of earlier revisions whose oldest are gone.
pub async fn a_whole_life_is_written_at_once(store: &dyn Store) {
    let queued = submitting([with_key(submission(1), "order-1")]);
    let first = queued.writes[0].operation.clone();
    let (running, started) = changing(&first, &acquire(1), at(10));
    let (done, ended) = changing(&running, &complete(&running), at(20));
    let line = |revision: &Operation, number: u64, millis| LogAppend {
        id: id(1),
        revision: revision.life.revision,
        attempt: running.life.attempt,
        worker: Some(worker()),
        at: at(millis),
        lines: vec![(number, format!("line {number}"))],
        keep_from: 7,
    };
    let write = Write {
        operation: done.clone(),
        expected: None,
        input: Some(vec![1; 10].into()),
        result: Some(vec![2; 10_000].into()),
    };
    let batch = Batch {
        writes: vec![write],
        events: [queued.events, started.events, ended.events].concat(),
        logs: vec![line(&running, 7, 11), line(&running, 8, 12), line(&done, 9, 30)],
        ..Batch::default()
    };
    store.commit(batch).await.unwrap();

    assert_eq!(load(store, id(1)).await, Some(done.clone()));
    let input = store.payload(id(1), PayloadRole::Input).await.unwrap();
    assert_eq!(input.unwrap(), vec![1; 10]);
    let result = store.payload(id(1), PayloadRole::Result).await.unwrap();
    assert_eq!(result.unwrap(), vec![2; 10_000]);
    let query =
        HistoryQuery { id: id(1), after: Default::default(), include_log: true, limit: 100 };
    let history = store.history(query).await.unwrap();
    let shown: Vec<_> = history
        .iter()
        .map(|entry| match entry {
            HistoryEntry::Transition(event) => (event.life.revision.0, 0, 0),
            HistoryEntry::Log(line) => (line.revision.0, line.number, line.dropped_before),
        })
        .collect();
    assert_eq!(shown, [(1, 0, 0), (2, 0, 0), (2, 7, 6), (2, 8, 0), (3, 0, 0), (3, 9, 0)]);
    let mut book = store.log_book(id(1)).await.unwrap();
    assert_eq!(book.append(["next".to_owned()]).lines[0].0, 10);
    assert_eq!(store.due(at(1_000_000_000), 9).await.unwrap(), [id(1)], "its retention ends");
}
