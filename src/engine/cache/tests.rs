//! Entries are found while they are current, and bounded in bytes.

use super::super::sample::{at, cancelled, id, operation};
use super::*;
use crate::operation::EventType;

const MOST: usize = 1 << 20;

fn put(cache: &Cache, number: u128, input: Option<usize>) {
    let input = input.map(|length| Bytes::from(vec![0; length]));
    cache.put(Arc::new(operation(number, at(0))), input, None);
}

fn end(cache: &Cache, number: u128) {
    let input = Some(Bytes::from_static(b"not wanted any more"));
    let result = Some(Bytes::from_static(b"result"));
    cache.put(Arc::new(cancelled(&operation(number, at(0)))), input, result);
}

fn lengths<const N: usize>(cache: &Cache) -> [Option<usize>; N] {
    std::array::from_fn(|index| cache.input(id(index as u128 + 1)).map(|input| input.len()))
}

fn is_exact(cache: &Cache) -> bool {
    let entries = cache.lock();
    entries.bytes == entries.by_id.iter().map(|(_, entry)| entry.bytes()).sum::<usize>()
}

#[test]
fn what_a_commit_is_changing_is_for_that_commit_only() {
    let cache = Cache::new(MOST);
    for number in [1, 2] {
        put(&cache, number, None);
    }
    cache.hold([id(1), id(3)].into_iter());
    assert!(cache.read(id(1)).is_none() && cache.get(id(1)).is_some());
    assert!(cache.read(id(2)).is_some());
    end(&cache, 1);
    let read = cache.read(id(1)).map(|read| read.life.revision);
    assert_eq!(read, Some(Revision(2)));
    cache.remove(id(1));
    assert!(cache.get(id(1)).is_none() && cache.read(id(1)).is_none());
}

#[test]
fn the_last_transitions_are_at_hand_without_a_gap() {
    let cache = Cache::new(MOST);
    let at_hand = |after| {
        let (operation, recent) = cache.since(id(1), Revision(after))?;
        assert_eq!(operation.life.revision, Revision(after + recent.len() as u64));
        Some(recent.len())
    };
    let to = |revision| {
        let mut after = operation(1, at(0));
        after.life.revision = Revision(revision);
        let after = Arc::new(after);
        cache.put(Arc::clone(&after), None, None);
        let event_type = EventType::Submitted;
        cache.follow(&[Transition { before: None, after, event_type, by_report: false }], None);
    };
    assert_eq!(at_hand(0), None);
    (1..=RECENT as u64 + 1).for_each(to);
    assert_eq!([0, 1, 2, 3, 4, 5].map(at_hand), [None, Some(3), Some(2), Some(1), Some(0), None]);
    // Others made the fifth.
    to(6);
    assert_eq!([4, 5, 6].map(at_hand), [None, Some(1), Some(0)]);
    let mut after = operation(1, at(0));
    after.life.revision = Revision(7);
    cache.put(Arc::new(after), None, None);
    assert_eq!([5, 6].map(at_hand), [None, None], "its transition comes next");
    assert!(is_exact(&cache));
}

#[test]
fn the_commit_is_known_of_what_this_process_committed_last() {
    let cache = Cache::new(MOST);
    let with = |number: u128, revision| {
        let mut operation = operation(number, at(0));
        operation.life.revision = Revision(revision);
        Arc::new(operation)
    };
    let known = |of: &[&Arc<Operation>]| cache.commits(of.iter().copied());
    let commit = |after: &Arc<Operation>, sequence| {
        let stamp = Stamp { writer: 1, sequence };
        cache.put(Arc::clone(after), None, None);
        let (after, event_type) = (Arc::clone(after), EventType::Submitted);
        let made = Transition { before: None, after, event_type, by_report: false };
        cache.follow(&[made], Some(stamp));
        stamp
    };
    let (first, other) = (with(1, 1), with(2, 1));
    assert_eq!((known(&[]), known(&[&first])), (Some(vec![]), None));
    let stamps = vec![commit(&first, 1), commit(&other, 2)];
    assert_eq!(known(&[&first, &other]), Some(stamps.clone()));
    // A commit that did not change it.
    cache.put(Arc::clone(&first), None, None);
    assert_eq!(known(&[&first, &other]), Some(stamps));
    // Somebody else made this revision.
    let second = with(1, 2);
    assert_eq!(known(&[&other, &second]), None);
    cache.put(Arc::clone(&second), None, None);
    assert_eq!((known(&[&first]), known(&[&second])), (None, None));
    let third = with(1, 3);
    assert_eq!(known(&[&third]), None);
    assert_eq!(Some(vec![commit(&third, 5)]), known(&[&third]));
}

#[test]
fn transitions_count_and_are_dropped_where_they_are_large() {
    let cache = Cache::new(MOST);
    let bytes = |cache: &Cache| cache.lock().bytes;
    let end = |number, reason| {
        let mut after = cancelled(&operation(number, at(0)));
        after.life.cancel.as_mut().expect("a cancel").reason = "r".repeat(reason);
        let after = Arc::new(after);
        cache.put(Arc::clone(&after), None, None);
        let before = bytes(&cache);
        let event_type = EventType::Finished;
        cache.follow(&[Transition { before: None, after, event_type, by_report: false }], None);
        bytes(&cache) - before
    };
    assert!(end(1, 1_000) > 1_000);
    assert!(cache.since(id(1), Revision(1)).is_some());
    assert_eq!(end(2, MOST / 16 - 2_000), 0);
    assert!(cache.since(id(2), Revision(1)).is_none());
}

#[test]
fn those_that_were_used_longest_ago_make_room() {
    let cache = Cache::new(MOST);
    // Sixteen of them do not fit.
    let length = MOST / 16 - 2_000;
    for number in 1..=16 {
        put(&cache, number, Some(length));
    }
    assert!(cache.get(id(1)).is_some());
    put(&cache, 17, Some(length));
    assert_eq!(lengths(&cache), [Some(length), None, Some(length)]);
    assert!(cache.lock().bytes <= MOST && is_exact(&cache));
}

#[test]
fn an_input_is_kept_until_its_operation_is_done_and_then_its_result() {
    let cache = Cache::new(MOST);
    for number in [1, 2] {
        put(&cache, number, Some(10));
    }
    put(&cache, 1, None);
    assert_eq!(lengths(&cache), [Some(10), Some(10)]);
    assert_eq!(cache.result(id(1)), None);
    end(&cache, 1);
    assert_eq!(lengths(&cache), [None, Some(10)]);
    assert_eq!(cache.result(id(1)).as_deref(), Some(&b"result"[..]));
    // A commit read it and changed nothing.
    cache.put(Arc::new(cancelled(&operation(1, at(0)))), None, None);
    assert_eq!(cache.result(id(1)).as_deref(), Some(&b"result"[..]));
    cache.remove(id(2));
    end(&cache, 3);
    assert!(cache.get(id(3)).is_some() && cache.input(id(3)).is_none());
    assert!(is_exact(&cache));
}

#[test]
fn what_is_too_large_pushes_out_nothing() {
    let cache = Cache::new(MOST);
    put(&cache, 1, Some(10));
    put(&cache, 2, Some(MOST / 16));
    assert!(cache.get(id(2)).is_some(), "the operation is kept without");
    let mut large = cancelled(&operation(3, at(0)));
    large.life.cancel.as_mut().expect("a cancel").reason = "r".repeat(MOST / 16);
    cache.put(Arc::new(large), None, None);
    assert!(cache.get(id(3)).is_none(), "errors and texts count as well");
    assert_eq!(lengths(&cache), [Some(10), None]);
    assert!(is_exact(&cache));
}
