//! Opens a store: takes the file, checks that it is a store, has its own log and is not newer than this program, and
//! upgrades its schema.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::OpenError;
use super::header::{BYTES, cut_off, field};
use super::hold::{self, Hold};
use super::mark::{self, Folding, Mark};
use super::wal::{self, Found};
use super::{SqliteOptions, schema};
use crate::files;

/// How long to wait for another program that reads or backs up the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements per connection; a commit uses more than the default of 16.
const STATEMENTS: usize = 96;

const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;

/// An open file, its writing connection and its reading ones.
pub(super) struct Opened {
    pub(super) hold: Hold,
    pub(super) writer: Connection,
    pub(super) lookups: Vec<Connection>,
    pub(super) logs: Vec<Connection>,
    pub(super) lists: Vec<Connection>,
    pub(super) slow_lists: Vec<Connection>,
}

/// The writer's cache, in KiB. Small, because a commit to a store below 1 GiB ends with a scan of all cached pages:
/// pages that move within a tree briefly get a number that far away, and SQLite then looks for pages beyond the end.
const WRITER_CACHE_KIB: i32 = 4 << 10;

pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Opened, OpenError> {
    let failed = |reason: String| failed(path, reason);
    let sqlite_failed = |error: rusqlite::Error| failed(error.to_string());
    let file = resolve(path).map_err(failed)?;
    let hold = Hold::take(path, &file)?;
    let (length, first_page) = hold.first_page().map_err(|error| failed(error.to_string()))?;
    let is_new = first_page.is_empty();
    let has_log = !is_new && check(path, &file, &hold, (length, &first_page))?;
    let mut writer = connect(path, &file)?;
    let mut is_marked = false;
    if has_log {
        // Completes the stop that the last server did not reach.
        match mark::fold(&writer) {
            Folding::Done => {
                drop(writer);
                writer = connect(path, &file)?;
            }
            Folding::NotBegun(why) => {
                tracing::warn!(why, "the last server's log goes on");
                is_marked = matches!(Mark::of(&first_page), Mark::Named(_));
            }
            Folding::Halfway(why) => return Err(failed(why)),
        }
    }
    if is_new {
        // Before the write-ahead log is switched on, so that the header identifies the file from the beginning.
        schema::migrate(&mut writer).map_err(sqlite_failed)?;
    }
    begin_log(&writer).map_err(sqlite_failed)?;
    if is_marked {
        hold.watch().map_err(|error| failed(error.to_string()))?;
    } else {
        mark::begin(&writer, &hold).map_err(failed)?;
    }
    writer.busy_timeout(BUSY_TIMEOUT).map_err(sqlite_failed)?;
    // The mark changes the size of the cache.
    writer.pragma_update(None, "cache_size", -WRITER_CACHE_KIB).map_err(sqlite_failed)?;
    schema::migrate(&mut writer).map_err(sqlite_failed)?;
    let readers = |count: usize| {
        let readers = (0..count.max(1)).map(|_| open_reader(&file));
        readers.collect::<rusqlite::Result<Vec<_>>>().map_err(sqlite_failed)
    };
    let (lookups, lists) = (readers(options.lookup_threads)?, readers(options.list_threads)?);
    let (logs, slow_lists) = (readers(1)?, readers(1)?);
    Ok(Opened { hold, writer, lookups, logs, lists, slow_lists })
}

fn failed(path: &Path, reason: String) -> OpenError {
    OpenError::Failed { path: path.display().to_string(), reason }
}

/// The file that the path means, if it can be a store.
fn resolve(path: &Path) -> Result<PathBuf, String> {
    // Made absolute, so that names like ":memory:" or "file:x" have no special meaning for SQLite.
    let file = files::resolve(path).map_err(|error| error.to_string())?;
    // Refuses a pipe or a device before a file is created beside it, or a read blocks.
    if std::fs::metadata(&file).is_ok_and(|found| !found.is_file()) {
        return Err("it is not a regular file".to_owned());
    }
    // A typing error in the path must not begin an empty store somewhere else.
    if let Some(directory) = file.parent().filter(|directory| !directory.is_dir()) {
        return Err(format!("there is no directory {}", directory.display()));
    }
    Ok(file)
}

/// Checks a file with its log, before SQLite touches them. Returns whether the last server left a log behind.
fn check(
    path: &Path,
    file: &Path,
    hold: &Hold,
    (length, first_page): (u64, &[u8]),
) -> Result<bool, OpenError> {
    check_header(path, first_page)?;
    let log = wal::find(hold.log()).map_err(|error| failed(path, error.to_string()))?;
    if let Some(reason) = find_damage(length, first_page, &log) {
        return Err(OpenError::Damaged { path: path.display().to_string(), reason });
    }
    mark::check(file, first_page, &log).map_err(|reason| failed(path, reason))?;
    Ok(log.commits().is_some() || matches!(Mark::of(first_page), Mark::Named(_)))
}

/// Opens the writing connection.
fn connect(path: &Path, file: &Path) -> Result<Connection, OpenError> {
    let sqlite_failed = |error: rusqlite::Error| failed(path, error.to_string());
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let writer = Connection::open_with_flags(file, flags).map_err(sqlite_failed)?;
    check_version(path, &writer)?;
    prepare_writer(&writer).map_err(sqlite_failed)?;
    Ok(writer)
}

/// Checks the header without SQLite, so that a file that is no store is not touched.
fn check_header(path: &Path, header: &[u8]) -> Result<(), OpenError> {
    let not_ours = |reason: &str| {
        Err(OpenError::NotAStore { path: path.display().to_string(), reason: reason.to_owned() })
    };
    if header.len() < BYTES || !header.starts_with(SQLITE_MAGIC) {
        return not_ours("it is not an SQLite file");
    }
    if field(header, APPLICATION_ID_AT) != schema::APPLICATION_ID {
        return not_ours("it is an SQLite file of another program");
    }
    refuse_newer(path, field(header, USER_VERSION_AT))
}

fn find_damage(length: u64, first_page: &[u8], log: &Found) -> Option<String> {
    match log {
        Found::Damaged(reason) => Some(reason.clone()),
        // The file may be behind its log, also in length.
        Found::Commits(_) => None,
        Found::Missing | Found::Empty => cut_off(first_page, length)
            .map(|whole| format!("it is cut off: of {whole} bytes it has {length}")),
    }
}

/// Why a file that no server has open must not be read with the log beside it, or without one.
pub(super) fn check_log(file: &Path) -> Result<(), String> {
    let found =
        || Ok((hold::first_page(&File::open(file)?)?.1, wal::find(&files::beside(file, "-wal"))?));
    let (first_page, log) = found().map_err(|error: std::io::Error| error.to_string())?;
    match first_page.starts_with(SQLITE_MAGIC) {
        true => mark::check(file, &first_page, &log),
        false => Ok(()),
    }
}

/// Checks the version again through SQLite, because a newer program may have died before its upgrade got from the
/// write-ahead log into the file.
fn check_version(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let checked = connection
        .busy_timeout(BUSY_TIMEOUT)
        // If the file is refused, closing it must not checkpoint the log into it.
        .and_then(|()| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true))
        .and_then(|_| schema::version(connection))
        .map_err(|error| failed(path, error.to_string()))?;
    refuse_newer(path, checked)
}

pub(super) fn refuse_newer(path: &Path, found: u32) -> Result<(), OpenError> {
    if found <= schema::VERSION {
        return Ok(());
    }
    Err(OpenError::NewerSchema { path: path.display().to_string(), found, known: schema::VERSION })
}

fn prepare_writer(writer: &Connection) -> rusqlite::Result<()> {
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    writer.set_prepared_statement_cache_capacity(STATEMENTS);
    writer.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = OFF;
         PRAGMA temp_store = MEMORY;",
    )
}

fn begin_log(writer: &Connection) -> rusqlite::Result<()> {
    writer.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA wal_autocheckpoint = 1000;
         PRAGMA journal_size_limit = 67108864;",
    )
}

pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags)?;
    reader.busy_timeout(BUSY_TIMEOUT)?;
    reader.set_prepared_statement_cache_capacity(STATEMENTS);
    reader.execute_batch(
        "PRAGMA query_only = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16384;",
    )?;
    Ok(reader)
}
