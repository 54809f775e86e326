//! The name of a commit, also of one that fails.

use std::sync::Arc;

use super::super::schema;
use super::*;
use crate::operation::{Timestamp, sample, transition};

fn submitting(number: u8) -> Batch {
    let id = OperationId::from_bytes([number; 16]);
    let submission = sample::submission(id, Timestamp::from_micros(0));
    let (operation, event_type) = transition::submit(Arc::new(submission));
    let event = Event { event_type, life: operation.life.clone() };
    Batch {
        events: vec![(operation.id(), event)],
        writes: vec![Write { operation, expected: None, input: None, result: None }],
        ..Batch::default()
    }
}

fn failure(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

fn opened() -> (Connection, Names, Stamp) {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    let mut names = Names::default();
    let stamp = names.next(&mut connection).unwrap();
    (connection, names, stamp)
}

#[test]
fn a_commit_is_known_by_its_name_and_takes_no_name_that_is_taken() {
    let (mut connection, mut names, stamp) = opened();
    let committed = commit(&mut connection, &mut names, &submitting(1)).unwrap();
    assert_eq!(committed, Some(stamp));
    names.doubt(stamp);
    assert_eq!(names.settle(&mut connection).unwrap(), Some(stamp));
    let next = names.next(&mut connection).unwrap();
    assert!(commits::void(&connection, next).unwrap());
    let refused = commit(&mut connection, &mut names, &submitting(2));
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    let count = connection.query_row("SELECT count(*) FROM operations", [], |row| row.get(0));
    assert_eq!(count, Ok(1));
}

#[test]
fn a_commit_that_may_be_in_the_log_can_never_come_back_or_stays_in_doubt() {
    let (mut connection, mut names, stamp) = opened();
    let error = failure(ffi::SQLITE_IOERR_FSYNC);
    let failed = after_failed_commit(&mut connection, &mut names, stamp, error);
    assert!(matches!(failed, StoreError::Unavailable(_)), "{failed:?}");
    assert!(!commits::claim(&connection, stamp, &Batch::default()).unwrap(), "its name is taken");
    let stamp = names.next(&mut connection).unwrap();

    // It was written, as claiming its name shows.
    assert!(commits::claim(&connection, stamp, &Batch::default()).unwrap());
    let error = failure(ffi::SQLITE_IOERR_WRITE);
    let failed = after_failed_commit(&mut connection, &mut names, stamp, error);
    assert!(matches!(failed, StoreError::Unknown(_)), "{failed:?}");
    assert_eq!(names.settle(&mut connection).unwrap(), Some(stamp));
}

#[test]
fn a_commit_that_was_refused_needs_no_other() {
    let (mut connection, mut names, stamp) = opened();
    let error = failure(ffi::SQLITE_FULL);
    after_failed_commit(&mut connection, &mut names, stamp, error);
    assert_eq!(names.next(&mut connection).unwrap(), stamp);
    assert!(commits::claim(&connection, stamp, &Batch::default()).unwrap(), "nothing was written");
}
