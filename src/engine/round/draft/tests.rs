//! What a draft writes.

use super::*;
use crate::engine::sample::{at, cancelled, id, new_operation, operation};
use crate::operation::{Attempt, Revision};

fn draft() -> Draft {
    Draft::new(at(5), &EngineConfig::default())
}

fn keyed(kind: &str) -> NewOperation {
    let key = IdempotencyKey::parse("key").expect("a key");
    NewOperation { idempotency_key: Some(key), ..new_operation(kind) }
}

/// A done operation that was submitted under that key.
fn done(number: u128) -> Arc<Operation> {
    let new = keyed("a");
    let done = cancelled(&operation(number, at(0)));
    let mut submission = Submission::clone(&done.submission);
    let key = new.idempotency_key.clone().expect("a key");
    submission.idempotency = Some(Idempotency { key, fingerprint: new.fingerprint() });
    Arc::new(Operation { submission: Arc::new(submission), ..done })
}

#[test]
fn what_changes_is_written_with_what_it_replaces() {
    let mut draft = draft();
    draft.submit(&new_operation("a"), id(9));
    for number in [1, 2] {
        draft.learn(Arc::new(operation(number, at(0))));
    }
    let known = draft.current(id(1)).expect("it is known");
    let cancel = Command::Cancel { reason: String::new() };
    assert!(draft.apply(&known, &cancel, None, None).expect("it can be").changed);
    let expected: Vec<_> =
        draft.batch().writes.iter().map(|it| (it.operation.id(), it.expected)).collect();
    assert_eq!(expected, [(id(1), Some(Revision(1))), (id(9), None)]);
    let written: Vec<_> = draft.written().collect();
    assert_eq!(written, [(id(1), Some(Revision(1))), (id(9), None)], "and nothing of the other");
    assert_eq!(draft.batch().events.len(), 2);
}

#[test]
fn a_key_is_free_once_its_operation_is_removed_in_the_same_draft() {
    let mut draft = draft();
    let old = done(1);
    draft.learn(Arc::clone(&old));
    assert!(matches!(draft.existing(&keyed("a")), Some(Ok(existing)) if existing.id() == id(1)));
    assert!(matches!(draft.existing(&keyed("b")), Some(Err(EngineError::KeyReused(_)))));
    draft.apply(&old, &Command::Delete, None, None).expect("it can be deleted");
    assert!(draft.existing(&keyed("b")).is_none());
    draft.submit(&keyed("b"), id(2));
    let batch = draft.batch();
    assert_eq!(batch.removals.iter().map(|it| it.id).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(batch.writes.iter().map(|it| it.operation.id()).collect::<Vec<_>>(), [id(2)]);
    assert!(batch.removals[0].tombstone.is_none(), "a client that deletes wants it forgotten");
}

#[test]
fn what_is_removed_takes_its_history_along() {
    let mut draft = draft();
    let old = done(1);
    draft.learn(Arc::clone(&old));
    draft.add_log(LogAppend {
        id: id(1),
        revision: old.life.revision,
        attempt: Attempt(1),
        worker: None,
        at: at(5),
        lines: vec![(1, "a line".to_owned())],
        keep_from: 1,
    });
    let retention = Command::Tick { chance: 0.0 };
    let late = Timestamp::MAX;
    draft.now = late;
    draft.apply(&old, &retention, None, None).expect("its time is up");
    let batch = draft.batch();
    assert!(batch.logs.is_empty() && batch.events.is_empty() && batch.writes.is_empty());
    assert!(batch.removals[0].tombstone.is_some() && batch.forget.is_some());
    let logged = draft.logged(Stamp { writer: 1, sequence: 1 });
    let places: Vec<_> = logged.iter().map(|logged| logged.change.cursor()).collect();
    assert_eq!(places, [(id(1), old.life.revision.next())], "behind its last transition");
}

#[test]
fn nothing_is_written_where_nothing_changes() {
    let mut draft = draft();
    let old = done(1);
    draft.learn(Arc::clone(&old));
    let cancel = Command::Cancel { reason: String::new() };
    assert!(!draft.apply(&old, &cancel, None, None).expect("it can be").changed);
    assert!(draft.is_empty());
    assert_eq!(draft.written().count(), 0);
    draft.forget();
    assert!(!draft.is_empty());
}

#[test]
fn a_new_child_rests_on_its_batch_as_it_was_read() {
    let mut draft = draft();
    for number in [1, 2] {
        draft.learn(Arc::new(operation(number, at(0))));
    }
    draft.submit(&new_operation("a"), id(7));
    for (number, parent) in [(8, 1), (9, 7), (10, 2)] {
        draft.submit(&NewOperation { parent: Some(id(parent)), ..new_operation("a") }, id(number));
    }
    // What this commit writes itself is checked anyway.
    let changed = draft.current(id(2)).expect("it is known");
    let cancel = Command::Cancel { reason: String::new() };
    draft.apply(&changed, &cancel, None, None).expect("it can be");
    assert_eq!(draft.batch().parents, [(id(1), Revision(1))]);
}
