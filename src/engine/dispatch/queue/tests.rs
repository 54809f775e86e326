//! What a draft does to the queue, and what undoes it.

use super::*;
use crate::engine::sample::{self, at, id, operation};
use crate::operation::{EventType, State};

fn key() -> QueueKey {
    QueueKey::of(&operation(1, at(0)))
}

fn submitted(number: u128) -> Transition {
    let after = Arc::new(operation(number, at(0)));
    Transition { before: None, after, event_type: EventType::Submitted, by_report: false }
}

fn cancelled(number: u128) -> Transition {
    let before = Arc::new(operation(number, at(0)));
    let after = Arc::new(sample::cancelled(&before));
    let event_type = EventType::Finished;
    Transition { before: Some(before), after, event_type, by_report: false }
}

fn waiting(queue: &Queue) -> Vec<OperationId> {
    queue.ready.ranks(&key()).map(|rank| rank.1).collect()
}

#[test]
fn what_is_not_committed_is_undone() {
    let mut queue = Queue::default();
    for number in [1, 2] {
        queue.follow(&submitted(number), at(0));
    }
    queue.commit();
    assert_eq!(queue.pop(&key()).map(|rank| rank.1), Some(id(1)));
    queue.follow(&cancelled(2), at(0));
    queue.follow(&submitted(3), at(0));
    assert_eq!(waiting(&queue), [id(3)]);
    assert_eq!(queue.roll_back(at(0)), [key(), key()]);
    assert_eq!(waiting(&queue), [id(1), id(2)]);
    assert!(queue.roll_back(at(0)).is_empty(), "once");
}

#[test]
fn what_is_to_start_later_is_put_back_as_well() {
    let mut queue = Queue::default();
    let later = |transition: Transition| {
        let delay = |operation: Arc<Operation>| {
            let mut later = Operation::clone(&operation);
            if let State::Queued { not_before } = &mut later.life.state {
                *not_before = at(30);
            }
            Arc::new(later)
        };
        let before = transition.before.map(delay);
        Transition { before, after: delay(transition.after), ..transition }
    };
    queue.follow(&later(submitted(1)), at(0));
    queue.commit();
    queue.follow(&later(cancelled(1)), at(0));
    assert_eq!(queue.next_due(), None);
    assert_eq!(queue.roll_back(at(0)), [key()]);
    assert_eq!((queue.next_due(), waiting(&queue)), (Some(at(30)), vec![]));
}

#[test]
fn what_was_taken_by_a_commit_is_gone() {
    let mut queue = Queue::default();
    queue.follow(&submitted(1), at(0));
    queue.pop(&key());
    queue.commit();
    queue.roll_back(at(0));
    assert!(!queue.has_ready(&key()));
}

#[test]
fn what_is_claimed_is_given_once() {
    let mut queue = Queue::default();
    queue.follow(&submitted(1), at(0));
    queue.commit();
    // The commit that starts it was in doubt, and was not written after all.
    queue.pop(&key());
    queue.roll_back(at(0));
    queue.claimed(&Arc::new(operation(1, at(0))));
    assert!(!queue.has_ready(&key()));
    assert_eq!(queue.roll_back(at(0)), [key()]);
    assert_eq!(waiting(&queue), [id(1)]);
}

#[test]
fn what_is_deferred_comes_again_when_it_is_time() {
    let mut queue = Queue::default();
    queue.follow(&submitted(1), at(0));
    queue.commit();
    let rank = queue.pop(&key()).expect("it waits");
    queue.defer(&key(), rank, at(30));
    queue.roll_back(at(0));
    assert_eq!(waiting(&queue), [id(1)]);
    let rank = queue.pop(&key()).expect("it waits");
    queue.defer(&key(), rank, at(30));
    queue.commit();
    assert_eq!((queue.next_due(), queue.release_due(at(29))), (Some(at(30)), vec![]));
    assert_eq!(queue.release_due(at(30)), [key()]);
    assert_eq!(waiting(&queue), [id(1)]);
}
