//! Histories: transitions and log lines.

use longrun::operation::log::LogBook;
use longrun::operation::{Attempt, Command, Operation, Revision};
use longrun::store::{
    Batch, HistoryEntry, HistoryPosition, HistoryQuery, LogAppend, Store, StoreError,
};

use crate::support::*;

fn lines(operation: &Operation, numbers: std::ops::Range<u64>, keep_from: u64) -> Batch {
    let append = LogAppend {
        id: operation.id(),
        revision: operation.life.revision,
        attempt: operation.life.attempt,
        worker: operation.life.worker.clone(),
        at: at(7),
        lines: numbers.map(|number| (number, format!("line {number}"))).collect(),
        keep_from,
    };
    Batch { logs: vec![append], ..Batch::default() }
}

async fn pages(store: &dyn Store, include_log: bool, limit: usize) -> Vec<HistoryEntry> {
    let mut query =
        HistoryQuery { id: id(1), after: HistoryPosition::default(), include_log, limit };
    let mut entries: Vec<HistoryEntry> = Vec::new();
    loop {
        let page = store.history(query).await.unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return entries };
        query.after = last.position();
        entries.extend(page);
    }
}

fn positions(entries: &[HistoryEntry]) -> Vec<(u64, u64)> {
    let positions = entries.iter().map(HistoryEntry::position);
    positions.map(|position| (position.revision.0, position.log_number)).collect()
}

pub async fn transitions_and_lines_come_in_order_and_in_pages(store: &dyn Store) {
    let queued = stored(store, submission(1)).await;
    stored(store, submission(2)).await;
    let running = changed(store, &queued, &acquire(1)).await;
    store.commit(lines(&running, 1..3, 1)).await.unwrap();
    let release = Command::Release { reporter: reporter(&running) };
    let released = changed(store, &running, &release).await;
    let second = changed(store, &released, &acquire(2)).await;
    // Lines and the transition behind which they stand, in one batch.
    let (done, mut batch) = changing(&second, &complete(&second), at(90));
    batch.logs = lines(&done, 3..5, 1).logs;
    store.commit(batch).await.unwrap();

    let all = [(1, 0), (2, 0), (2, 1), (2, 2), (3, 0), (4, 0), (5, 0), (5, 3), (5, 4)];
    for limit in 1..11 {
        let entries = pages(store, true, limit).await;
        assert_eq!(positions(&entries), all, "in pages of {limit}");
        let entries = pages(store, false, limit).await;
        assert_eq!(positions(&entries), [1, 2, 3, 4, 5].map(|revision| (revision, 0)));
    }
    let entries = pages(store, true, 100).await;
    let lives = [&queued, &running, &released, &second, &done];
    let events = entries.iter().filter_map(|entry| match entry {
        HistoryEntry::Transition(event) => Some(&event.life),
        HistoryEntry::Log(_) => None,
    });
    assert!(events.eq(lives.map(|operation| &operation.life)));
    let HistoryEntry::Log(line) = &entries[2] else { panic!("{:?}", entries[2]) };
    assert_eq!((line.text.as_str(), line.attempt, line.at), ("line 1", Attempt(1), at(7)));
    assert_eq!(line.worker, Some(worker()));

    // From a revision that lines follow, those lines come too.
    let query = HistoryQuery {
        id: id(1),
        after: HistoryPosition { revision: Revision(2), log_number: 0 },
        include_log: true,
        limit: 3,
    };
    let entries = store.history(query).await.unwrap();
    assert_eq!(positions(&entries), [(2, 1), (2, 2), (3, 0)]);
}

pub async fn lines_may_stand_behind_a_transition_that_their_batch_goes_beyond(store: &dyn Store) {
    let queued = stored(store, submission(1)).await;
    let running = changed(store, &queued, &acquire(1)).await;
    let (done, mut batch) = changing(&running, &complete(&running), at(90));
    batch.logs = lines(&running, 1..3, 1).logs;
    store.commit(batch).await.unwrap();
    assert_eq!(done.life.revision, Revision(3));
    let entries = pages(store, true, 100).await;
    assert_eq!(positions(&entries), [(1, 0), (2, 0), (2, 1), (2, 2), (3, 0)]);
}

pub async fn lines_are_trimmed_and_the_book_goes_on(store: &dyn Store) {
    let queued = stored(store, submission(1)).await;
    assert_eq!(store.log_book(id(1)).await.unwrap(), LogBook::new(0, []));
    let running = changed(store, &queued, &acquire(1)).await;
    store.commit(lines(&running, 1..6, 1)).await.unwrap();
    store.commit(lines(&running, 6..9, 5)).await.unwrap();
    let entries = pages(store, true, 4).await;
    assert_eq!(positions(&entries), [(1, 0), (2, 0), (2, 5), (2, 6), (2, 7), (2, 8)]);
    assert_eq!(store.log_book(id(1)).await.unwrap(), LogBook::new(8, [6, 6, 6, 6]));

    let mut batch = lines(&running, 9..10, 5);
    batch.logs[0].lines[0].1 = "é".to_owned();
    store.commit(batch).await.unwrap();
    assert_eq!(store.log_book(id(1)).await.unwrap(), LogBook::new(9, [6, 6, 6, 6, 2]));
}

pub async fn lines_are_refused_under_another_revision(store: &dyn Store) {
    let queued = stored(store, submission(1)).await;
    let running = changed(store, &queued, &acquire(1)).await;
    for stale in
        [lines(&queued, 1..2, 1), lines(&submitting([submission(5)]).writes[0].operation, 1..2, 1)]
    {
        let refused = store.commit(stale).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    store.commit(lines(&running, 1..2, 1)).await.unwrap();
    assert_eq!(pages(store, true, 100).await.len(), 3);
}
