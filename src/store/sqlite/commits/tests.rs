//! Which commits were written, and how long their records are kept.

use std::time::Duration;

use super::super::{log, schema};
use super::*;
use crate::operation::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);

fn empty() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    connection
}

/// Deletes records older than an hour, and younger ones beyond a maximum.
fn trim_at(connection: &mut Connection, names: &Names, half_hours: u32, keep: u64) {
    let now = Timestamp::from_micros(0).after(HOUR * half_hours / 2);
    trim(connection, names, &TrimLog { now, keep_for: HOUR, keep }).unwrap();
}

/// Records a removal, made at that half hour.
fn record(connection: &Connection, stamp: Stamp, half_hour: u32) {
    let at = Timestamp::from_micros(0).after(HOUR * half_hour / 2);
    let sql =
        "INSERT INTO removals (writer, sequence, id, revision, removed_at, tenant, kind, priority,
                 created_at, submission, life)
               VALUES (?1, ?2, x'01', 1, ?3, 't', 'k', 0, 0, x'', x'')";
    let values = params![number(stamp.writer), number(stamp.sequence), at.micros()];
    connection.execute(sql, values).unwrap();
}

fn count(connection: &Connection, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {what}");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// The known writers, and whether each has ended.
fn writers(connection: &Connection) -> Vec<(u64, bool)> {
    let head = log::head(connection).unwrap();
    head.writers().iter().map(|state| (state.writer, state.is_ended)).collect()
}

/// The next commit of that opening of the file.
fn commit(connection: &mut Connection, names: &mut Names) -> Stamp {
    let stamp = names.next(connection).unwrap();
    assert!(claim(connection, stamp, &Batch::default()).unwrap());
    names.used(stamp);
    stamp
}

#[test]
fn a_commit_stays_in_doubt_until_something_is_written_behind_it() {
    let mut connection = empty();
    let mut names = Names::default();
    let stamp = names.next(&mut connection).unwrap();
    assert!(claim(&connection, stamp, &Batch::default()).unwrap());
    names.doubt(stamp);
    let full = "CREATE TRIGGER full BEFORE INSERT ON commits WHEN NEW.sequence > 1
                BEGIN SELECT RAISE(FAIL, 'the disk is full'); END";
    connection.execute_batch(full).unwrap();
    names.settle(&mut connection).unwrap_err();
    connection.execute_batch("DROP TRIGGER full").unwrap();
    // One try was written all the same. The name in doubt is then not the last one, and is still needed.
    assert!(void(&connection, stamp.next()).unwrap());
    let all = TrimLog { now: Timestamp::MAX, keep_for: Duration::ZERO, keep: 0 };
    trim(&mut connection, &names, &all).unwrap();
    assert_eq!(names.settle(&mut connection).unwrap(), Some(stamp));
    let next = names.next(&mut connection).unwrap();
    assert!(next.sequence > stamp.sequence + 2, "each try has written under a name of its own");
}

#[test]
fn a_name_that_was_claimed_is_no_commit_however_often_it_is_asked() {
    let mut connection = empty();
    let mut names = Names::default();
    let stamp = commit(&mut connection, &mut names).next();
    for _ in 0..2 {
        // A try's answer is lost, so the commit is still in doubt.
        names.doubt(stamp);
        assert_eq!(names.settle(&mut connection).unwrap(), None);
    }
    assert_eq!(names.next(&mut connection).unwrap(), stamp.next(), "nobody takes it again");
}

#[test]
fn an_opening_ends_those_before_it_and_is_kept_while_it_lasts() {
    let mut connection = empty();
    let (mut first, mut second) = (Names::default(), Names::default());
    let removed = commit(&mut connection, &mut first);
    let own = commit(&mut connection, &mut second);
    assert_eq!(writers(&connection), [(removed.writer, true), (own.writer, false)]);
    record(&connection, removed, 4);
    for half_hour in [2, 5] {
        // It has ended long ago by then, but its removals must still be readable.
        trim_at(&mut connection, &second, half_hour, 100);
        assert_eq!(writers(&connection), [(removed.writer, true), (own.writer, false)]);
    }
    assert_eq!(count(&connection, "removals"), 1);
    trim_at(&mut connection, &second, 7, 100);
    assert_eq!(count(&connection, "removals"), 0, "it is too old");
    assert_eq!(writers(&connection), [(own.writer, false)]);
    assert_eq!(count(&connection, "commits"), 1);
}

#[test]
fn of_each_opening_so_many_removals_are_kept() {
    let mut connection = empty();
    let mut names = Names::default();
    let mut stamps = Vec::new();
    for _ in 0..4 {
        stamps.push(commit(&mut connection, &mut names));
    }
    stamps.iter().for_each(|stamp| record(&connection, *stamp, 2));
    trim_at(&mut connection, &names, 2, 3);
    assert_eq!(count(&connection, "removals"), 3);
    let [state] = *log::head(&connection).unwrap().writers() else { panic!("there is one") };
    assert_eq!((state.trimmed, state.sequence), (stamps[0].sequence, stamps[3].sequence));
}

/// The sequence numbers of the first and the last kept commit.
fn kept(connection: &Connection) -> (i64, i64) {
    let sql = "SELECT min(sequence), max(sequence) FROM commits";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// Adds commits of that writer up to `last`, without changes.
fn fill(connection: &Connection, writer: u64, last: u64) {
    let sql = "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ?2)
               INSERT OR IGNORE INTO commits (writer, sequence, is_void) SELECT ?1, n, 0 FROM s";
    connection.execute(sql, [number(writer), number(last)]).unwrap();
}

#[test]
fn commits_are_deleted_with_the_removals_behind_them_some_at_a_time() {
    let mut connection = empty();
    let mut names = Names::default();
    let Stamp { writer, .. } = commit(&mut connection, &mut names);
    let (removed, last) = (DELETE_COMMITS + 500, DELETE_COMMITS + 1_000);
    fill(&connection, writer, last);
    record(&connection, Stamp { writer, sequence: removed }, 2);
    trim_at(&mut connection, &names, 3, 100);
    assert_eq!(kept(&connection), (1, number(last)), "the removal is to be told");
    for first in [DELETE_COMMITS + 1, removed + 1] {
        trim_at(&mut connection, &names, 5, 100);
        assert_eq!(kept(&connection), (number(first), number(last)));
    }
    let [state] = *log::head(&connection).unwrap().writers() else { panic!("there is one") };
    assert_eq!((state.trimmed, state.sequence), (removed, last));
}

#[test]
fn a_writer_is_forgotten_when_nothing_is_left_of_it() {
    let mut connection = empty();
    let (mut first, mut second) = (Names::default(), Names::default());
    let ended = commit(&mut connection, &mut first).writer;
    let own = commit(&mut connection, &mut second);
    fill(&connection, ended, DELETE_COMMITS + 2);
    for half_hour in [1, 4] {
        // Its changes are no longer readable, and are deleted step by step.
        trim_at(&mut connection, &second, half_hour, 100);
        assert_eq!(writers(&connection), [(ended, true), (own.writer, false)]);
    }
    assert_eq!(count(&connection, "commits"), 3);
    trim_at(&mut connection, &second, 4, 100);
    assert_eq!(writers(&connection), [(own.writer, false)]);
    assert_eq!(count(&connection, "commits"), 1);
}

#[test]
fn of_each_opening_so_many_commits_are_kept() {
    let mut connection = empty();
    let mut names = Names::default();
    let Stamp { writer, .. } = commit(&mut connection, &mut names);
    let last = number(KEEP_COMMITS + 3);
    connection
        .execute(
            "INSERT INTO commits (writer, sequence, is_void) VALUES (?1, ?2, 0)",
            [number(writer), last],
        )
        .unwrap();
    trim_at(&mut connection, &names, 1, 100);
    assert_eq!(kept(&connection), (last, last));
    let [state] = *log::head(&connection).unwrap().writers() else { panic!("there is one") };
    assert_eq!(state.trimmed, 3);
}
