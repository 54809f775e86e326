//! The log: names of commits, and what is read by them.

use std::collections::BTreeMap;
use std::time::Duration;

use longrun::operation::error::{ErrorSource, OperationError};
use longrun::operation::state::Idempotency;
use longrun::operation::{Command, Operation, Reporter, Timestamp};
use longrun::store::log::{
    Change, Frontier, LogQuery, Logged, Position, Range, ReadError, Reader, Stamp,
};
use longrun::store::{Batch, Store, StoreError, TrimLog};

use crate::lists;
use crate::support::{
    acquire, at, changed, changing, complete, id, key, load, removing, session, stored, submission,
    submitting,
};

/// An entry, in short: the operation, its revision, and what was before, or that it was removed.
pub fn brief(logged: &Logged) -> (u64, u64, Option<u64>) {
    let operation = logged.change.operation();
    let number = (1..100).find(|number| id(*number) == operation.id()).unwrap();
    let revision = operation.life.revision.0;
    match &logged.change {
        Change::Transition { before, .. } => {
            (number, revision, before.as_ref().map(|before| before.life.revision.0))
        }
        Change::Removed { .. } => (number, revision, Some(u64::MAX)),
    }
}

const REMOVED: Option<u64> = Some(u64::MAX);

/// Everything behind `from`, in pages of that size.
pub async fn read(store: &dyn Store, from: Frontier, page: usize) -> Vec<Logged> {
    let mut reader = Reader::new(Position::at(from));
    let mut all = Vec::new();
    loop {
        let read = reader.read(store, page).await.unwrap();
        if read.is_empty() {
            return all;
        }
        assert!(read.len() <= page);
        all.extend(read);
    }
}

pub async fn frontier(store: &dyn Store) -> Frontier {
    store.head().await.unwrap().frontier()
}

async fn stamp(store: &dyn Store, batch: Batch) -> Stamp {
    store.commit(batch).await.unwrap().expect("it changes operations")
}

fn cancel() -> Command {
    Command::Cancel { reason: String::new() }
}

pub async fn commits_are_named_in_their_order(store: &dyn Store) {
    let before = frontier(store).await;
    let first = stamp(store, submitting([submission(1)])).await;
    let second = stamp(store, submitting([submission(2), submission(3)])).await;
    assert_eq!(second, first.next());
    assert!(!before.contains(first));
    let now = frontier(store).await;
    assert!(now.contains(second) && !now.contains(second.next()));
    // What changes no operation has no name, and one that was refused has none either.
    assert_eq!(store.commit(Batch::default()).await.unwrap(), None);
    let refused = store.commit(submitting([submission(2)])).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    // Without a doubt nothing has happened.
    assert_eq!(store.settle().await.unwrap(), None);
    let third = stamp(store, submitting([submission(4)])).await;
    assert!(third > second);
    let stamps: Vec<Stamp> = read(store, before, 9).await.iter().map(|it| it.stamp).collect();
    assert_eq!(stamps, [first, second, second, third]);
}

pub async fn the_log_tells_each_change_once_in_pages(store: &dyn Store) {
    let beginning = frontier(store).await;
    let queued = stored(store, submission(2)).await;
    let other = stored(store, submission(1)).await;
    let running = changed(store, &queued, &acquire(1)).await;
    let middle = frontier(store).await;
    let done = changed(store, &running, &complete(&running)).await;
    let gone = changed(store, &other, &cancel()).await;
    store.commit(removing(&gone)).await.unwrap();
    // Of what was removed only that.
    let all = [(1, 2, REMOVED), (2, 1, None), (2, 2, Some(1)), (2, 3, Some(2))];
    for page in [1, 2, 3, 4, 9] {
        let told: Vec<_> = read(store, beginning.clone(), page).await.iter().map(brief).collect();
        assert_eq!(told, all, "pages of {page}");
        let told: Vec<_> = read(store, middle.clone(), page).await.iter().map(brief).collect();
        assert_eq!(told, [all[0], all[3]], "pages of {page}");
    }
    let read = read(store, middle, 9).await;
    assert_eq!(**read[0].change.operation(), gone);
    assert_eq!(**read[1].change.operation(), done);
    assert!(self::read(store, frontier(store).await, 9).await.is_empty());
}

pub async fn a_reader_goes_on_behind_any_entry(store: &dyn Store) {
    let beginning = frontier(store).await;
    for number in [3, 1, 2] {
        let queued = stored(store, submission(number)).await;
        changed(store, &queued, &cancel()).await;
    }
    let mut reader = Reader::new(Position::at(beginning));
    let page = reader.read(store, 9).await.unwrap();
    let told: Vec<_> = page.iter().map(brief).collect();
    // What comes meanwhile comes behind what was being read.
    stored(store, submission(4)).await;
    for (number, entry) in page.iter().enumerate() {
        let position = match number + 1 == page.len() {
            true => reader.position(),
            false => reader.position_behind(entry.change.cursor()),
        };
        let token = position.encode(&store.signing_key());
        let position = Position::decode(&token, &store.signing_key()).unwrap();
        let (mut reader, mut rest) = (Reader::new(position), Vec::new());
        loop {
            let read = reader.read(store, 2).await.unwrap();
            if read.is_empty() {
                break;
            }
            rest.extend(read.iter().map(brief));
        }
        assert_eq!(rest[..rest.len() - 1], told[number + 1..]);
        assert_eq!(rest.last(), Some(&(4, 1, None)));
    }
}

pub async fn a_list_shows_what_its_frontier_says(store: &dyn Store) {
    let (empty, head) = store.list_with_head(lists::query("", lists::ORDERS[0], 9)).await.unwrap();
    assert!(empty.is_empty());
    let first = stored(store, submission(1)).await;
    let second = stored(store, submission(2)).await;
    let query = lists::query("", lists::ORDERS[0], 9);
    let (page, later) = store.list_with_head(query).await.unwrap();
    let mut page: Vec<Operation> = page;
    page.sort_by_key(Operation::id);
    assert_eq!(page, [first.clone(), second]);
    assert!(read(store, later.frontier(), 9).await.is_empty());
    let told: Vec<_> = read(store, head.frontier(), 9).await.iter().map(brief).collect();
    assert_eq!(told, [(1, 1, None), (2, 1, None)]);
    changed(store, &first, &cancel()).await;
    let told: Vec<_> = read(store, later.frontier(), 9).await.iter().map(brief).collect();
    assert_eq!(told, [(1, 2, Some(1))]);
}

pub async fn what_is_trimmed_is_gone_and_not_passed_over(store: &dyn Store) {
    let beginning = frontier(store).await;
    let mut last = None;
    for number in 1..=3 {
        let queued = stored(store, submission(number)).await;
        let done = changed(store, &queued, &cancel()).await;
        let mut batch = removing(&done);
        batch.removals[0].at = at(0);
        last = Some(stamp(store, batch).await);
    }
    let kept = stored(store, submission(4)).await;
    let now = frontier(store).await;
    let mut slow = Reader::new(Position::at(beginning.clone()));
    assert_eq!(slow.read(store, 1).await.unwrap().len(), 1);
    store
        .trim_log(TrimLog { now: Timestamp::MAX, keep_for: Duration::ZERO, keep: 0 })
        .await
        .unwrap();
    let gone = Reader::new(Position::at(beginning.clone())).read(store, 9).await;
    assert!(matches!(gone, Err(ReadError::Gone(_))), "{gone:?}");
    let gone = slow.read(store, 1).await;
    assert!(matches!(gone, Err(ReadError::Gone(_))), "between two pages: {gone:?}");
    // Ranges that were found before are gone as well.
    let ranges = now.clone();
    let head = store.head().await.unwrap();
    assert!(head.since(&beginning).is_err() && head.since(&ranges).is_ok());
    let writer = last.unwrap().writer;
    let range = Range { writer, after: 0, up_to: 100 };
    let page = store
        .log(LogQuery { ranges: vec![range], unsure: vec![range], after: None, limit: 9 })
        .await
        .unwrap();
    assert!(page.head.lacks(&[range]));
    // Who has seen them goes on.
    changed(store, &kept, &cancel()).await;
    let told: Vec<_> = read(store, now, 9).await.iter().map(brief).collect();
    assert_eq!(told, [(4, 2, Some(1))]);
}

pub async fn a_removal_says_whether_it_is_the_only_word_of_the_end(store: &dyn Store) {
    // The model says it of none.
    let is_said = store.deliveries().is_some();
    let only_words = |read: &[Logged]| {
        let of = |logged: &Logged| match logged.change {
            Change::Removed { is_only_word, .. } => Some(is_only_word),
            Change::Transition { .. } => None,
        };
        read.iter().filter_map(of).collect::<Vec<bool>>()
    };
    let beginning = frontier(store).await;
    stored(store, submission(1)).await;
    let queued = stored(store, submission(2)).await;
    let done = changed(store, &queued, &cancel()).await;
    let end = frontier(store).await;
    let mut early = Reader::new(Position::at(beginning.clone()));
    assert_eq!(early.read(store, 1).await.unwrap().len(), 1);
    store.commit(removing(&done)).await.unwrap();
    for page in [1, 9] {
        let all = read(store, beginning.clone(), page).await;
        assert_eq!(only_words(&all), [is_said], "pages of {page}");
        // Who stands behind the end was told of it.
        assert_eq!(only_words(&read(store, end.clone(), page).await), [false]);
    }
    // Who was about to be told when it was removed is told by the removal, which is in the next part.
    let mut rest = Vec::new();
    loop {
        let page = early.read(store, 1).await.unwrap();
        if page.is_empty() {
            break;
        }
        rest.extend(page);
    }
    assert_eq!(only_words(&rest), [is_said]);
    // Once everything was read, nothing is unsure.
    let other = stored(store, submission(3)).await;
    let gone = changed(store, &other, &cancel()).await;
    while !early.read(store, 9).await.unwrap().is_empty() {}
    store.commit(removing(&gone)).await.unwrap();
    assert_eq!(only_words(&early.read(store, 9).await.unwrap()), [false]);
}

pub async fn a_removed_operation_frees_its_key_in_the_same_batch(store: &dyn Store) {
    let mut first = submission(1);
    let idempotency = Idempotency { key: key("key"), fingerprint: [1; 32] };
    first.idempotency = Some(idempotency.clone());
    let queued = stored(store, first).await;
    let done = changed(store, &queued, &cancel()).await;
    let mut second = submission(2);
    second.idempotency = Some(idempotency);
    let mut batch = submitting([second]);
    batch.removals = removing(&done).removals;
    store.commit(batch).await.unwrap();
    assert!(load(store, id(1)).await.is_none() && load(store, id(2)).await.is_some());
}

pub async fn a_batch_with_nothing_to_change_is_not_in_the_log(store: &dyn Store) {
    let queued = stored(store, submission(1)).await;
    let from = frontier(store).await;
    let (_, mut batch) = changing(&queued, &cancel(), at(50));
    batch.writes[0].expected = Some(queued.life.revision.next());
    let refused = store.commit(batch).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert!(read(store, from, 9).await.is_empty());
}

pub async fn pages_are_bounded_in_bytes(store: &dyn Store) {
    let from = frontier(store).await;
    let message = "x".repeat(200 << 10);
    for number in 1..=40 {
        let queued = stored(store, submission(number)).await;
        let running = changed(store, &queued, &acquire(1)).await;
        let error = OperationError {
            code: "Large".to_owned(),
            message: message.clone(),
            status_code: 2,
            metadata: BTreeMap::new(),
            causes: Vec::new(),
            source: ErrorSource::Application,
        };
        let reporter =
            Reporter { session: session(1), attempt: running.life.attempt, former: None };
        let fail = Command::fail(reporter, error, true, None, 0.0);
        changed(store, &running, &fail).await;
    }
    let mut reader = Reader::new(Position::at(from));
    let (mut pages, mut told) = (0, Vec::new());
    loop {
        let page = reader.read(store, 1_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        pages += 1;
        told.extend(page.iter().map(brief));
    }
    // Of 8 MB: a page ends with the event that brings it beyond 256 KiB, which is every second large one.
    assert!((18..=22).contains(&pages), "{pages} pages");
    let all = (1..=40).flat_map(|it| [(it, 1, None), (it, 2, Some(1)), (it, 3, Some(2))]);
    assert!(told.into_iter().eq(all));
}
