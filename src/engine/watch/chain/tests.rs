//! A watch gets each commit from the chain once, or learns that it must read.

use futures_util::FutureExt as _;

use super::*;
use crate::engine::sample::{at, operation};
use crate::operation::{EventType, Operation, Revision};
use crate::store::log::{Change, Head, Stamp, WriterState};

/// The only writer, unless a test adds others.
const OURS: u64 = 1;

fn frontier<const N: usize>(writers: [(u64, u64); N]) -> Frontier {
    let state = |(writer, sequence)| WriterState {
        writer,
        nonce: writer,
        sequence,
        trimmed: 0,
        is_ended: false,
    };
    Head::new(writers.into_iter().map(state).collect()).frontier()
}

/// A chain that has begun with nothing committed.
fn begun(is_shared: bool) -> Arc<Chain> {
    let chain = Chain::new(is_shared);
    chain.state().tip = Some(frontier([(OURS, 0)]));
    chain
}

fn change(stamp: Stamp, operation: Operation) -> Logged {
    let (after, event_type) = (Arc::new(operation), EventType::Submitted);
    Logged { stamp, change: Change::Transition { before: None, after, event_type } }
}

fn stamp(sequence: u64) -> Stamp {
    Stamp { writer: OURS, sequence }
}

/// Commits as this process, after these commits to the same operations.
fn commit(chain: &Chain, sequence: u64, follows: Option<&[Stamp]>) {
    let made = || vec![change(stamp(sequence), operation(u128::from(sequence), at(0)))];
    chain.committed(stamp(sequence), follows, made);
}

/// The stamps of the next commits at the place.
fn walk(place: &mut Place) -> Vec<Stamp> {
    let mut walked = Vec::new();
    while let Next::Link(link) = place.take() {
        walked.extend(link.changes.iter().map(|logged| logged.stamp));
    }
    walked
}

fn is_woken(place: &mut Place) -> bool {
    place.changed().now_or_never().is_some()
}

fn must_be_read(chain: &Chain) -> bool {
    chain.wait_for_unread().now_or_never().is_some()
}

#[test]
fn whoever_has_a_place_is_told_each_commit_once() {
    let chain = begun(false);
    let mut first = chain.place();
    commit(&chain, 1, None);
    let mut second = chain.place();
    commit(&chain, 2, None);
    commit(&chain, 2, None);
    assert!(is_woken(&mut first));
    assert_eq!(walk(&mut first), [1, 2].map(stamp));
    assert_eq!(walk(&mut second), [2].map(stamp));
    assert!(matches!(first.take(), Next::Nothing) && !is_woken(&mut first));
    assert!(!must_be_read(&chain));
}

#[test]
fn nothing_is_kept_for_nobody() {
    let chain = begun(false);
    commit(&chain, 1, None);
    assert!(chain.state().links.is_empty());
    drop(chain.place());
    commit(&chain, 2, None);
    assert!(!chain.is_watched() && chain.state().links.is_empty());
    let place = chain.place();
    commit(&chain, 3, None);
    drop(place);
    assert!(chain.state().links.is_empty());
    assert_eq!(chain.state().bytes, 0);
    assert_eq!(chain.tip(), Some(frontier([(OURS, 3)])), "the only writer knows where it is");
    let shared = begun(true);
    drop(shared.place());
    assert_eq!(shared.tip(), None, "nobody has read what others write");
}

#[test]
fn who_is_too_slow_reads_and_then_goes_on_at_the_end() {
    let chain = begun(false);
    let (mut slow, mut slower) = (chain.place(), chain.place());
    let most = MAX_LINKS as u64;
    (1..=most).for_each(|sequence| commit(&chain, sequence, None));
    assert!(matches!(slow.take(), Next::Link(link) if link.changes[0].stamp == stamp(1)));
    commit(&chain, most + 1, None);
    assert!(matches!(slow.take(), Next::Link(link) if link.changes[0].stamp == stamp(2)));
    assert!(matches!(slower.take(), Next::Skipped));
    assert!(matches!(slower.take(), Next::Nothing));
    commit(&chain, most + 2, None);
    assert_eq!(walk(&mut slower), [stamp(most + 2)]);
    assert_eq!(chain.state().links.len(), MAX_LINKS);
}

#[test]
fn what_is_kept_is_bounded_in_bytes() {
    let chain = begun(false);
    let mut slow = chain.place();
    let large = |number: u64| {
        let mut large = operation(u128::from(number), at(0));
        large.life.cancel = Some(crate::operation::state::CancelRequest {
            at: at(0),
            reason: "r".repeat(MAX_BYTES / 4),
        });
        vec![change(stamp(number), large)]
    };
    for number in 1..=9 {
        chain.committed(stamp(number), None, || large(number));
        let state = chain.state();
        assert!(state.bytes <= MAX_BYTES);
        assert_eq!(state.bytes, state.links.iter().map(|link| bytes(&link.changes)).sum::<usize>());
    }
    assert_eq!(chain.state().links.len(), 3);
    assert!(matches!(slow.take(), Next::Skipped));
}

#[test]
fn a_new_writer_is_read_and_not_guessed() {
    let chain = begun(false);
    let mut place = chain.place();
    chain.committed(Stamp { writer: 2, sequence: 1 }, None, || {
        panic!("it is not asked what was done")
    });
    assert!(must_be_read(&chain));
    assert_eq!(chain.tip(), None, "the chain begins anew");
    assert!(matches!(place.take(), Next::Nothing));
}

/// Another process's commit.
fn others(sequence: u64) -> Stamp {
    Stamp { writer: 2, sequence }
}

/// What a read finds of another process's commit.
fn found(stamp: Stamp) -> Logged {
    change(stamp, operation(u128::from(stamp.writer * 100 + stamp.sequence), at(0)))
}

#[test]
fn a_commit_among_others_waits_for_them() {
    let chain = begun(true);
    let mut place = chain.place();
    commit(&chain, 1, Some(&[]));
    assert_eq!(walk(&mut place), [stamp(1)]);
    // What others committed before it has not been read.
    commit(&chain, 2, Some(&[stamp(1), others(1)]));
    // Nor is what came before this one in a link.
    commit(&chain, 3, Some(&[stamp(1)]));
    assert!(must_be_read(&chain));
    assert!(matches!(place.take(), Next::Nothing));
    // Only what others committed is read.
    let from = chain.read_from().unwrap();
    assert_eq!(from, frontier([(OURS, 3)]));
    // More is committed meanwhile: one that the read finds, and one that it does not.
    commit(&chain, 4, None);
    commit(&chain, 5, None);
    let to = frontier([(OURS, 4), (2, 1)]);
    chain.read(&from, to.clone(), Some(vec![found(others(1)), found(stamp(4))]));
    assert!(is_woken(&mut place));
    assert_eq!(walk(&mut place), [stamp(2), stamp(3), stamp(4), others(1)]);
    assert_eq!(chain.state().tip, Some(to));
    let from = chain.read_from().unwrap();
    assert_eq!(from, frontier([(OURS, 5), (2, 1)]), "the last one waits");
    // It is passed on although nobody else committed.
    chain.read(&from, from.clone(), Some(Vec::new()));
    assert!(is_woken(&mut place));
    assert_eq!(walk(&mut place), [stamp(5)]);
    // A read of an earlier frontier takes nothing back.
    chain.read(&frontier([(OURS, 0)]), frontier([(OURS, 1)]), Some(vec![found(stamp(1))]));
    assert_eq!(chain.state().tip, Some(from));
    assert!(!is_woken(&mut place) && matches!(place.take(), Next::Nothing));
    assert_eq!(chain.state().waiting_bytes, 0);
}

#[test]
fn a_commit_to_what_is_known_waits_for_nobody() {
    let chain = begun(true);
    let mut place = chain.place();
    commit(&chain, 1, Some(&[]));
    // Others commit, too; a read of that is under way.
    let from = chain.read_from().unwrap();
    commit(&chain, 2, Some(&[stamp(1)]));
    commit(&chain, 3, Some(&[stamp(1), stamp(2)]));
    assert_eq!(walk(&mut place), [1, 2, 3].map(stamp));
    assert!(!must_be_read(&chain));
    // The read finds two of them again, and one whose response has not come.
    let seen = frontier([(OURS, 4), (2, 1)]);
    let changes = vec![found(others(1)), found(stamp(2)), found(stamp(3)), found(stamp(4))];
    chain.read(&from, seen.clone(), Some(changes));
    commit(&chain, 4, Some(&[stamp(3)]));
    assert_eq!(walk(&mut place), [stamp(4), others(1)]);
    assert_eq!(chain.tip(), Some(seen));
    commit(&chain, 5, Some(&[others(1)]));
    assert_eq!(walk(&mut place), [stamp(5)]);
    // A new connection of this process: nobody knows yet what its number is.
    chain.committed(Stamp { writer: 3, sequence: 1 }, Some(&[]), Vec::new);
    assert!(must_be_read(&chain));
}

#[test]
fn commits_that_wait_are_delivered_in_the_order_of_revisions() {
    let chain = begun(true);
    let mut place = chain.place();
    let of = |stamp, revision| {
        let mut operation = operation(1, at(0));
        operation.life.revision = Revision(revision);
        change(stamp, operation)
    };
    chain.committed(stamp(1), None, || vec![of(stamp(1), 2)]);
    let from = chain.read_from().unwrap();
    assert_eq!(from, frontier([(OURS, 1)]));
    let read = vec![of(others(1), 1), of(others(2), 3)];
    chain.read(&from, frontier([(OURS, 1), (2, 2)]), Some(read));
    assert_eq!(walk(&mut place), [others(1), stamp(1), others(2)]);
}

#[test]
fn commits_after_one_that_was_not_told_are_read() {
    let chain = begun(true);
    let mut place = chain.place();
    commit(&chain, 1, None);
    commit(&chain, 3, None);
    let from = chain.read_from().unwrap();
    assert_eq!(from, frontier([(OURS, 1)]));
    chain.read(&from, frontier([(OURS, 3)]), Some(vec![found(stamp(2)), found(stamp(3))]));
    assert_eq!(walk(&mut place), [1, 2, 3].map(stamp));
}

#[test]
fn commits_that_wait_are_bounded_in_bytes() {
    let chain = begun(true);
    let place = chain.place();
    let large = |number: u64| {
        let mut large = operation(u128::from(number), at(0));
        let reason = "r".repeat(MAX_WAITING_BYTES);
        large.life.cancel = Some(crate::operation::state::CancelRequest { at: at(0), reason });
        vec![change(stamp(number), large)]
    };
    for number in 1..=3 {
        chain.committed(stamp(number), None, || large(number));
    }
    let from = chain.read_from().unwrap();
    assert_eq!(from, frontier([(OURS, 1)]), "the others are read");
    drop(place);
    let state = chain.state();
    assert!(state.waiting.is_empty() && state.waiting_bytes == 0, "nobody is there to be told");
}

#[test]
fn commits_without_changes_that_wait_are_bounded_in_number() {
    let chain = begun(true);
    let _place = chain.place();
    let most = MAX_LINKS as u64;
    for number in 1..=most + 1 {
        chain.committed(stamp(number), None, Vec::new);
    }
    assert_eq!(chain.state().waiting.len(), MAX_LINKS);
    let from = chain.read_from().unwrap();
    assert_eq!(from, frontier([(OURS, most)]), "the last one is read");
}

#[test]
fn what_is_too_much_for_a_link_everybody_reads() {
    let chain = begun(true);
    let mut places = [chain.place(), chain.place()];
    commit(&chain, 1, Some(&[]));
    assert_eq!(walk(&mut places[1]), [stamp(1)]);
    commit(&chain, 2, None);
    let from = chain.tip().unwrap();
    chain.read(&from, frontier([(OURS, 1), (2, 9_000)]), None);
    for mut place in places {
        assert!(is_woken(&mut place));
        assert!(matches!(place.take(), Next::Skipped), "also who stood at the end");
        assert!(matches!(place.take(), Next::Nothing));
        assert_eq!(chain.tip(), Some(frontier([(OURS, 1), (2, 9_000)])));
    }
}
