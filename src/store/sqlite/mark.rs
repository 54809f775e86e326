//! The mark in a file's header: which log the file needs.
//!
//! A server that is killed leaves commits in the log that are not in the file. SQLite pairs the two by name alone: it
//! replays any log that it finds, even over a file that was restored from a backup, and takes a file without its log
//! for complete. So the file itself says what it needs:
//!
//! - [`Mark::Folded`] after a clean stop, and in backups: everything is in the file, and a log beside it is another
//!   file's.
//! - [`Mark::Named`] while the file is in use: the first salt of the log, a random number that SQLite gives to a new
//!   log and raises by one each time that it begins the log anew.
//! - [`Mark::Unmarked`] in files of older programs: nothing is known.
//!
//! The mark is in the header's field for a suggested cache size (`PRAGMA default_cache_size`), which SQLite uses for
//! nothing else and which every connection of this program overrides. A kill at any instant leaves a pair that is
//! accepted: a mark goes through the log into the file, and a log that has nothing else is harmless.
//!
//! | instant | file | log |
//! | --- | --- | --- |
//! | opening: the mark is in the log only | folded | has nothing but the first page, changed by the mark |
//! | open | names a log | that log |
//! | stopping: the log is folded, then marked | names a log | that log |
//! | stopping: the mark is in the file | folded | its last first page is the file's, or none |
//! | stopped | folded | none |

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::header::{self, MARK_AT};
use super::hold::Hold;
use super::wal::{self, Found, Log};

/// SQLite's value before this field was used.
const FOLDED: u32 = 2_000;
/// Set in names. No cache is that large.
const NAMED: u32 = 1 << 30;
/// The bits of a salt that are part of a name.
const SALT: u32 = NAMED - 1;
/// The maximum number of times that a log is begun anew while one server has it, every 32 MiB at the earliest.
const GENERATIONS: u32 = 1 << 20;
/// How long a checkpoint waits for a lock. What cannot be checkpointed now stays in the log.
const MOMENT: Duration = Duration::from_millis(250);
/// Fields of the header that change with every mark: the change counter, the mark, and the counter's copy with SQLite's
/// version.
const CHANGING: [std::ops::Range<usize>; 3] = [24..28, MARK_AT..MARK_AT + 4, 92..100];

/// The log that a file needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Unknown.
    Unmarked,
    /// No log.
    Folded,
    /// The log with this salt, or a later generation of it.
    Named(u32),
}

impl Mark {
    pub(super) fn of(first_page: &[u8]) -> Self {
        match header::field(first_page, MARK_AT) {
            FOLDED => Self::Folded,
            name if name & NAMED != 0 => Self::Named(name & SALT),
            _ => Self::Unmarked,
        }
    }

    fn names(self, log: &Log) -> bool {
        let Self::Named(salt) = self else { return false };
        log.salt.wrapping_sub(salt) & SALT < GENERATIONS
    }
}

/// Checks a file and its log. The error says why the log must not be replayed, or the file not be used without its log.
pub(super) fn check(path: &Path, first_page: &[u8], found: &Found) -> Result<(), String> {
    let log_path = format!("{}-wal", path.display());
    let mark = Mark::of(first_page);
    let log = match (mark, found) {
        (Mark::Named(_), Found::Missing) => {
            return Err(format!(
                "the server that used it last did not close it, and that server's log {log_path} is missing. If \
                 the file was moved, renamed or mounted without its log, put the log beside it. If the log is lost, \
                 restore a backup. If another program (such as sqlite3) has opened the file since then, and so merged \
                 the log into the file, nothing is missing: make an empty file {log_path} and start again"
            ));
        }
        (_, Found::Missing | Found::Empty | Found::Damaged(_)) => return Ok(()),
        (_, Found::Commits(log)) => log,
    };
    // A log of an older program has no name. This program may have been killed while it checkpointed it.
    let is_named = |page: &Vec<u8>| matches!(Mark::of(page), Mark::Named(_));
    let is_of_older = mark == Mark::Unmarked && !log.first_page.as_ref().is_some_and(is_named);
    if is_of_older || mark.names(log) || is_mere_mark(log, first_page) || is_folded(log, first_page)
    {
        return Ok(());
    }
    Err(format!(
        "the log {log_path} is not of this file, and applying it would damage the file. If the file was restored \
         from a backup, move the log (and {}-shm) away. Otherwise put back the file that the log belongs to, or \
         close the other program that has written to the file",
        path.display()
    ))
}

/// Whether the log has only a mark for this very page.
fn is_mere_mark(log: &Log, first_page: &[u8]) -> bool {
    let is_unchanged = |page: &Vec<u8>| {
        let bytes = page.iter().zip(first_page).enumerate();
        let differs = bytes.filter(|(_, (left, right))| left != right).map(|(at, _)| at);
        page.len() == first_page.len()
            && differs.into_iter().all(|at| CHANGING.iter().any(|field| field.contains(&at)))
    };
    log.has_first_page_only && log.first_page.as_ref().is_some_and(is_unchanged)
}

/// Whether a clean stop has checkpointed the log into this file.
fn is_folded(log: &Log, first_page: &[u8]) -> bool {
    Mark::of(first_page) == Mark::Folded && log.first_page.as_deref() == Some(first_page)
}

/// Begins a new log and marks the file with its name. The connection must be the only one that writes, and the log must
/// be empty.
pub(super) fn begin(writer: &Connection, hold: &Hold) -> Result<(), String> {
    let sqlite = |error: rusqlite::Error| error.to_string();
    let files = |error: std::io::Error| error.to_string();
    let busy = || "another program reads it: start again when that is done".to_owned();
    write(writer, FOLDED).map_err(sqlite)?;
    let salt = wal::salt(hold.log()).map_err(files)?;
    // The log's second generation: SQLite may draw a new salt for the first one only.
    if !checkpoint(writer, "TRUNCATE").map_err(sqlite)? {
        return Err(busy());
    }
    write(writer, NAMED | salt & SALT).map_err(sqlite)?;
    if !checkpoint(writer, "FULL").map_err(sqlite)? {
        return Err(busy());
    }
    let (_, first_page) = hold.first_page().map_err(files)?;
    if Mark::of(&first_page) != Mark::Named(salt & SALT) {
        return Err("its header cannot be marked as in use".to_owned());
    }
    hold.watch().map_err(files)
}

/// How much of a log was checkpointed into its file.
#[derive(Debug)]
pub(super) enum Folding {
    /// Everything is in the file, its mark says so, and the log is empty.
    Done,
    /// The file still names its log: another program reads it, or nothing can be written.
    NotBegun(String),
    /// The file may be marked as needing no log, so nothing may be added to the log.
    Halfway(String),
}

/// Checkpoints the log into the file, and then marks the file. Does not wait for other programs.
pub(super) fn fold(writer: &Connection) -> Folding {
    let busy = || "another program reads it".to_owned();
    let truncated = writer
        .busy_timeout(MOMENT)
        .and_then(|()| checkpoint(writer, "TRUNCATE"))
        .and_then(|is_folded| is_folded.then(|| write(writer, FOLDED)).transpose());
    match truncated {
        Ok(Some(())) => {}
        Ok(None) => return Folding::NotBegun(busy()),
        Err(error) => return Folding::NotBegun(error.to_string()),
    }
    match checkpoint(writer, "TRUNCATE") {
        Ok(true) => Folding::Done,
        Ok(false) => Folding::Halfway(busy()),
        Err(error) => Folding::Halfway(error.to_string()),
    }
}

/// Stops cleanly. If that fails, the log stays.
pub(super) fn end(writer: &Connection, hold: &Hold) {
    if hold.check().is_err() {
        // The file may have another file's contents by now. Closing must not checkpoint the log into it.
        let _ = writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        return;
    }
    match fold(writer) {
        Folding::Done => {}
        Folding::NotBegun(why) | Folding::Halfway(why) => {
            tracing::info!(why, "the log stays beside the store");
        }
    }
}

/// Marks a copy as needing no log.
pub(super) fn needs_no_log(copy: &Connection) -> rusqlite::Result<()> {
    write(copy, FOLDED)?;
    copy.pragma_update(None, "cache_size", -16_384)
}

fn write(connection: &Connection, mark: u32) -> rusqlite::Result<()> {
    connection.pragma_update(None, "default_cache_size", mark)
}

/// Checkpoints. Returns whether no other connection prevented it.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(|busy| busy == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{SqliteOptions, SqliteStore};
    use super::*;
    use crate::files::beside;

    /// Checks that what a kill at this instant leaves can be served.
    fn survives(path: &Path, instant: &str) {
        let other = tempfile::tempdir().unwrap();
        let copy = other.path().join("copy.db");
        fs::copy(path, &copy).unwrap();
        let log = beside(path, "-wal");
        if log.exists() {
            fs::copy(log, beside(&copy, "-wal")).unwrap();
        }
        let opened = SqliteStore::open(&copy, &SqliteOptions::default());
        assert!(opened.is_ok(), "{instant}: {:?}", opened.err());
    }

    #[test]
    fn a_kill_at_any_instant_leaves_a_pair() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("longrun.db");
        drop(SqliteStore::open(&path, &SqliteOptions::default()).unwrap());
        survives(&path, "stopped");
        let writer = Connection::open(&path).unwrap();
        survives(&path, "opened");
        write(&writer, FOLDED).unwrap();
        survives(&path, "a log was begun");
        let salt = wal::salt(&beside(&path, "-wal")).unwrap();
        checkpoint(&writer, "TRUNCATE").unwrap();
        survives(&path, "the log is empty");
        write(&writer, NAMED | salt & SALT).unwrap();
        survives(&path, "the log has its name");
        checkpoint(&writer, "FULL").unwrap();
        survives(&path, "the file has its name");
        let work = "CREATE TABLE work (a BLOB); INSERT INTO work VALUES (randomblob(100000))";
        writer.execute_batch(work).unwrap();
        survives(&path, "at work");
        for generation in 0..3 {
            checkpoint(&writer, "TRUNCATE").unwrap();
            survives(&path, "the log was folded");
            writer.execute_batch("UPDATE work SET a = randomblob(50000)").unwrap();
            survives(&path, &format!("the log was begun anew, {generation} times before"));
        }
        let before = fs::read(&path).unwrap();
        checkpoint(&writer, "PASSIVE").unwrap();
        survives(&path, "folded, not emptied");
        // Pages are written in order, so the first one may be there before the others.
        let after = fs::read(&path).unwrap();
        fs::write(&path, [&after[..4_096], &before[4_096..]].concat()).unwrap();
        survives(&path, "half folded");
        fs::write(&path, after).unwrap();
        checkpoint(&writer, "TRUNCATE").unwrap();
        survives(&path, "emptied");
        write(&writer, FOLDED).unwrap();
        survives(&path, "the log has the mark of a stop");
        checkpoint(&writer, "PASSIVE").unwrap();
        survives(&path, "the file has it");
        checkpoint(&writer, "TRUNCATE").unwrap();
        survives(&path, "emptied again");
        drop(writer);
        assert!(!beside(&path, "-wal").exists());
        survives(&path, "stopped again");
    }

    /// An older program was killed, and then this one while it checkpointed the log into the file.
    #[test]
    fn a_log_of_an_older_program_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("longrun.db");
        drop(SqliteStore::open(&path, &SqliteOptions::default()).unwrap());
        let writer = Connection::open(&path).unwrap();
        write(&writer, 0).unwrap();
        checkpoint(&writer, "TRUNCATE").unwrap();
        writer.execute_batch("CREATE TABLE work (a BLOB)").unwrap();
        survives(&path, "killed");
        write(&writer, FOLDED).unwrap();
        survives(&path, "taken over");
    }

    #[test]
    fn names_are_of_one_log_and_its_later_generations() {
        let log = |salt| Log { salt, first_page: None, has_first_page_only: false };
        let mark = Mark::Named(5);
        assert!(mark.names(&log(5)) && mark.names(&log(6)));
        assert!(mark.names(&log(NAMED | 5)), "a salt has more bits than a name");
        assert!(!mark.names(&log(4)) && !mark.names(&log(5 + GENERATIONS)));
        assert!(Mark::Named(SALT).names(&log(0)), "salts begin again");
        assert!(!Mark::Folded.names(&log(5)) && !Mark::Unmarked.names(&log(5)));
    }
}
