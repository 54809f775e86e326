//! Writing: what is there afterwards, and what is not.

use std::time::Duration;

use longrun::operation::log::LogBook;
use longrun::operation::{
    Attempt, Command, ObjectId, Operation, Payload, Revision, StoredObject, TenantId, Timestamp,
};
use longrun::store::{
    HistoryPosition, HistoryQuery, LogAppend, Lookup, PayloadRole, Place, Store, StoreError,
    Unfinished,
};

use crate::support::*;

pub async fn a_new_operation_is_found_by_id_and_by_key(store: &dyn Store) {
    let first = stored(store, with_key(submission(1), "order-1")).await;
    let second = stored(store, with_label(submission(2), "team", "a")).await;
    let tenant = TenantId::default_tenant;
    let found = store
        .load(vec![
            Lookup::Id(second.id()),
            Lookup::Key(tenant(), key("order-1")),
            Lookup::Key(tenant(), key("order-2")),
            Lookup::Key(TenantId::parse("other").unwrap(), key("order-1")),
            Lookup::Id(id(3)),
        ])
        .await
        .unwrap();
    assert_eq!(found, [Some(second), Some(first), None, None, None]);
}

pub async fn a_known_id_or_key_is_a_conflict_and_nothing_is_written(store: &dyn Store) {
    stored(store, with_key(submission(1), "order-1")).await;
    let same_id = submitting([submission(2), submission(1)]);
    let refused = store.commit(same_id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(ref it)) if *it == [id(1)]), "{refused:?}");
    let same_key = submitting([submission(2), with_key(submission(3), "order-1")]);
    let refused = store.commit(same_key).await;
    assert!(matches!(refused, Err(StoreError::Conflict(ref it)) if *it == [id(3)]), "{refused:?}");
    assert_eq!(load(store, id(2)).await, None);

    let mut other_tenant = with_key(submission(4), "order-1");
    other_tenant.tenant = TenantId::parse("other").unwrap();
    stored(store, other_tenant).await;
}

pub async fn a_write_replaces_only_the_revision_that_it_expects(store: &dyn Store) {
    let queued = stored(store, submission(1)).await;
    let (running, lease) = changing(&queued, &acquire(1), at(5));
    store.commit(lease.clone()).await.unwrap();
    assert_eq!(load(store, id(1)).await, Some(running.clone()));

    let again = store.commit(lease).await;
    assert!(matches!(again, Err(StoreError::Conflict(ref it)) if *it == [id(1)]), "{again:?}");
    let unknown = changing(&submitting([submission(9)]).writes[0].operation, &acquire(1), at(9)).1;
    let unknown = store.commit(unknown).await;
    assert!(matches!(unknown, Err(StoreError::Conflict(ref it)) if *it == [id(9)]), "{unknown:?}");

    let done = changed(store, &running, &complete(&running)).await;
    assert_eq!(load(store, id(1)).await, Some(done));
}

pub async fn a_batch_is_written_whole_or_not_at_all(store: &dyn Store) {
    let first = stored(store, submission(1)).await;
    let second = stored(store, submission(2)).await;
    let (_, mut batch) = changing(&first, &acquire(1), at(5));
    batch.events.extend(submitting([submission(3)]).events);
    batch.writes.extend(submitting([submission(3)]).writes);
    batch.logs.push(line(&first, 1, Revision(2)));
    let mut stale = removing(&second);
    stale.removals[0].expected = Revision(7);
    batch.removals.extend(stale.removals);

    let refused = store.commit(batch.clone()).await;
    assert!(matches!(refused, Err(StoreError::Conflict(ref it)) if *it == [id(2)]), "{refused:?}");
    assert_eq!(load(store, id(1)).await, Some(first.clone()));
    assert_eq!(load(store, id(3)).await, None);
    assert_eq!(history_len(store, 1).await, 1);
    assert_eq!(history_len(store, 3).await, 0);

    batch.removals[0].expected = second.life.revision;
    store.commit(batch).await.unwrap();
    assert_eq!(load(store, id(1)).await.unwrap().life.revision, Revision(2));
    assert_eq!(load(store, id(2)).await, None);
    assert!(load(store, id(3)).await.is_some());
    assert_eq!(history_len(store, 1).await, 3);
}

pub async fn payloads_small_and_large_come_back(store: &dyn Store) {
    for (number, size) in [(1, 0), (2, 300), (3, 2_048), (4, 2_049), (5, 300_000)] {
        let (input, result) = (vec![1; size], vec![2; size]);
        let mut batch = submitting([submission(number)]);
        batch.writes[0].input = Some(input.clone().into());
        let queued = batch.writes[0].operation.clone();
        store.commit(batch).await.unwrap();
        let running = changed(store, &queued, &acquire(1)).await;
        assert_eq!(store.payload(id(number), PayloadRole::Result).await.unwrap(), None);
        let (_, mut batch) = changing(&running, &complete(&running), at(50));
        batch.writes[0].result = Some(result.clone().into());
        store.commit(batch).await.unwrap();
        let input_now = store.payload(id(number), PayloadRole::Input).await.unwrap();
        assert_eq!(input_now.as_deref(), Some(&*input));
        let result_now = store.payload(id(number), PayloadRole::Result).await.unwrap();
        assert_eq!(result_now.as_deref(), Some(&*result));
    }
    stored(store, submission(9)).await;
    assert_eq!(store.payload(id(9), PayloadRole::Input).await.unwrap(), None);
    assert_eq!(store.payload(id(10), PayloadRole::Input).await.unwrap(), None);
    // Many at once: in the order of the ids.
    let inputs = store.inputs([4, 10, 5, 9, 1].map(id).to_vec()).await;
    let sizes = inputs.into_iter().map(|input| input.unwrap().map(|data| data.len()));
    assert_eq!(sizes.collect::<Vec<_>>(), [Some(2_049), None, Some(300_000), None, Some(0)]);
}

pub async fn objects_are_known_while_their_operation_is_there(store: &dyn Store) {
    let object = |n| StoredObject { id: ObjectId::from_bytes([n; 16]), sha256: [n; 32] };
    let known = async || store.known_objects([1, 2, 3].map(|n| object(n).id).to_vec()).await;
    let mut submission = submission(1);
    submission.input = Some(Payload::in_object("image/png", object(1), 9_000_000).info);
    let queued = stored(store, submission).await;
    assert_eq!(known().await.unwrap(), [true, false, false]);
    let running = changed(store, &queued, &acquire(1)).await;
    let result = Payload::in_object("", object(2), 8_000_000);
    let end = Command::complete(reporter(&running), Some(&result), Vec::new(), Vec::new());
    let done = changed(store, &running, &end).await;
    assert_eq!(known().await.unwrap(), [true, true, false]);
    assert_eq!(load(store, id(1)).await, Some(done.clone()));
    assert_eq!(store.payload(id(1), PayloadRole::Result).await.unwrap(), None);
    store.commit(removing(&done)).await.unwrap();
    assert_eq!(known().await.unwrap(), [false; 3]);
}

pub async fn a_removal_leaves_nothing_and_frees_the_key(store: &dyn Store) {
    let submission = || with_label(with_key(submission(1), "order-1"), "team", "a");
    for _ in 0..2 {
        let mut batch = submitting([submission()]);
        batch.writes[0].input = Some(vec![1; 5_000].into());
        let queued = batch.writes[0].operation.clone();
        batch.logs.push(line(&queued, 1, Revision(1)));
        store.commit(batch).await.unwrap();
        store.commit(removing(&queued)).await.unwrap();
        let again = store.commit(removing(&queued)).await;
        assert!(matches!(again, Err(StoreError::Conflict(ref it)) if *it == [id(1)]), "{again:?}");
        assert_eq!(load(store, id(1)).await, None);
        assert_eq!(history_len(store, 1).await, 0);
        assert_eq!(store.payload(id(1), PayloadRole::Input).await.unwrap(), None);
        assert_eq!(store.log_book(id(1)).await.unwrap(), LogBook::new(0, []));
        assert_eq!(store.next_wake(at(0)).await.unwrap(), None);
        assert_eq!(store.unfinished(None, 10).await.unwrap(), []);
    }
}

pub async fn wake_times_come_earliest_first(store: &dyn Store) {
    assert_eq!(store.next_wake(at(0)).await.unwrap(), None);
    for (number, seconds) in [(1, Some(30)), (2, None), (3, Some(10)), (4, Some(20))] {
        let mut submission = submission(number);
        submission.settings.deadline = seconds.map(Duration::from_secs);
        stored(store, submission).await;
    }
    let wake = at(3).after(Duration::from_secs(10));
    assert_eq!(store.next_wake(at(0)).await.unwrap(), Some(wake));
    let just_before = Timestamp::from_micros(wake.micros() - 1);
    assert_eq!(store.due(just_before, 10).await.unwrap(), []);
    assert_eq!(store.due(wake, 10).await.unwrap(), [id(3)]);
    let later = at(1).after(Duration::from_secs(3600));
    assert_eq!(store.due(later, 10).await.unwrap(), [id(3), id(4), id(1)]);
    assert_eq!(store.due(later, 2).await.unwrap(), [id(3), id(4)]);
    // Done: what is left is the end of its retention.
    let third = load(store, id(3)).await.unwrap();
    let done = changed(store, &third, &Command::Cancel { reason: String::new() }).await;
    assert_eq!(store.due(later, 10).await.unwrap(), [id(4), id(1)]);
    assert_eq!(store.due(done.wake_at().unwrap(), 10).await.unwrap(), [id(4), id(1), id(3)]);
}

pub async fn what_is_unfinished_is_told_in_pages(store: &dyn Store) {
    for number in 1..=7 {
        let queued = stored(store, submission(number)).await;
        if number % 3 == 0 {
            let running = changed(store, &queued, &acquire(number as u8)).await;
            if number == 6 {
                changed(store, &running, &complete(&running)).await;
            }
        }
    }
    let mut told: Vec<Unfinished> = Vec::new();
    loop {
        let page =
            store.unfinished(told.last().map(|it| (it.tenant.clone(), it.id)), 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        told.extend(page);
    }
    let ids: Vec<_> = told.iter().map(|it| it.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 7].map(id));
    assert_eq!(told[0].place, Place::Queued { not_before: Timestamp::default() });
    let leased = Place::Leased { session: session(3), worker: worker(), attempt: Attempt(1) };
    assert_eq!(told[2].place, leased);
    assert_eq!(told[2].kind, submission(3).kind);
}

pub async fn a_claim_changes_nothing(store: &dyn Store) {
    let first = stored(store, submission(1)).await;
    store.settle().await.unwrap();
    assert_eq!(load(store, id(1)).await, Some(first));
    let second = stored(store, submission(2)).await;
    assert_eq!(load(store, id(2)).await, Some(second));
}

pub async fn a_closed_store_refuses_and_closing_twice_is_fine(store: &dyn Store) {
    stored(store, submission(1)).await;
    store.close().await;
    store.close().await;
    let refused = store.commit(submitting([submission(2)])).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let refused = store.load(vec![Lookup::Id(id(1))]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(matches!(store.settle().await, Err(StoreError::Unavailable(_))));
}

fn line(operation: &Operation, number: u64, revision: Revision) -> LogAppend {
    LogAppend {
        id: operation.id(),
        revision,
        attempt: Attempt(1),
        worker: None,
        at: at(1),
        lines: vec![(number, "a line".to_owned())],
        keep_from: 0,
    }
}

async fn history_len(store: &dyn Store, number: u64) -> usize {
    let query = HistoryQuery {
        id: id(number),
        after: HistoryPosition::default(),
        include_log: true,
        limit: 100,
    };
    store.history(query).await.unwrap().len()
}
