//! Opening: lock the file, make sure that it is ours and not newer than us, bring it up to date.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::OpenError;
use super::{SqliteOptions, damage, schema};

/// How long to wait for a program that reads or backs up the file beside us.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept prepared per connection; the default of 16 is less than a commit uses.
const STATEMENTS: usize = 96;

const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
const USER_VERSION_AT: usize = 60;
const APPLICATION_ID_AT: usize = 68;

/// An open file: its lock, the connection that writes and those that read.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) writer: Connection,
    pub(super) lookups: Vec<Connection>,
    pub(super) lists: Vec<Connection>,
}

pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Opened, OpenError> {
    let failed = |reason: String| OpenError::Failed { path: path.display().to_string(), reason };
    // Made absolute so that no name, like ":memory:" or "file:x", means something else to SQLite.
    let absolute = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
    if let Some(directory) = absolute.parent() {
        std::fs::create_dir_all(directory).map_err(|error| {
            failed(format!("its directory {} cannot be made: {error}", directory.display()))
        })?;
    }
    let absolute = resolve(&absolute).map_err(|error| failed(error.to_string()))?;
    let lock = lock(path, &absolute)?;
    let is_new = check_header(path, &absolute)?;
    if !is_new
        && let Some(reason) = find_damage(&absolute).map_err(|error| failed(error.to_string()))?
    {
        return Err(OpenError::Damaged { path: path.display().to_string(), reason });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite_failed = |error: rusqlite::Error| failed(error.to_string());
    let mut writer = Connection::open_with_flags(&absolute, flags).map_err(sqlite_failed)?;
    check_version(path, &writer)?;
    prepare_writer(&mut writer, is_new).map_err(sqlite_failed)?;
    let readers = |count: usize| {
        let readers = (0..count.max(1)).map(|_| open_reader(&absolute));
        readers.collect::<rusqlite::Result<Vec<_>>>().map_err(sqlite_failed)
    };
    let (lookups, lists) = (readers(options.lookup_threads)?, readers(options.list_threads)?);
    Ok(Opened { lock, writer, lookups, lists })
}

/// The file itself, whatever links lead to it, so that under all its names it has one lock. A pipe or
/// a device is refused before anything is made beside it, or waits in it.
pub(super) fn resolve(absolute: &Path) -> std::io::Result<PathBuf> {
    match std::fs::canonicalize(absolute) {
        Ok(file) if std::fs::metadata(&file)?.is_file() => Ok(file),
        Ok(_) => Err(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match (absolute.parent(), absolute.file_name()) {
                (Some(directory), Some(name)) => Ok(std::fs::canonicalize(directory)?.join(name)),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Takes `PATH.lock` for as long as the file is held. It stays when the lock is gone: removing it
/// would let a second server lock a file that a third no longer finds.
pub(super) fn lock(path: &Path, absolute: &Path) -> Result<File, OpenError> {
    let mut name = OsString::from(absolute);
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |error: std::io::Error| OpenError::Failed {
        path: path.display().to_string(),
        reason: format!("its lock file {} cannot be locked: {error}", name.display()),
    };
    let file = OpenOptions::new().create(true).append(true).open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Looks at the file's first bytes, without SQLite, so that a file that is not ours is not touched
/// at all. Answers whether the file is new.
fn check_header(path: &Path, absolute: &Path) -> Result<bool, OpenError> {
    let name = || path.display().to_string();
    let failed =
        |error: std::io::Error| OpenError::Failed { path: name(), reason: error.to_string() };
    let mut header = Vec::with_capacity(HEADER_BYTES);
    match File::open(absolute) {
        Ok(file) => file.take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(failed)?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(failed(error)),
    };
    if header.is_empty() {
        return Ok(true);
    }
    let not_ours =
        |reason: &str| Err(OpenError::NotAStore { path: name(), reason: reason.to_owned() });
    if header.len() < HEADER_BYTES || !header.starts_with(SQLITE_MAGIC) {
        return not_ours("it is not an SQLite file");
    }
    let number = |at: usize| {
        header.iter().skip(at).take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
    };
    if number(APPLICATION_ID_AT) != schema::APPLICATION_ID {
        return not_ours("it is an SQLite file of another program");
    }
    refuse_newer(path, number(USER_VERSION_AT))?;
    Ok(false)
}

fn find_damage(absolute: &Path) -> std::io::Result<Option<String>> {
    let mut log = OsString::from(absolute);
    log.push("-wal");
    damage::find(absolute, Path::new(&log))
}

/// Looks at the version again through SQLite, because a newer program may have died before its
/// migration got from the write-ahead log into the file.
fn check_version(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let checked = connection
        .busy_timeout(BUSY_TIMEOUT)
        // If the file is refused, closing it must not fold the log into it.
        .and_then(|()| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true))
        .and_then(|_| schema::version(connection))
        .map_err(|error| OpenError::Failed {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
    refuse_newer(path, checked)
}

pub(super) fn refuse_newer(path: &Path, found: u32) -> Result<(), OpenError> {
    if found <= schema::VERSION {
        return Ok(());
    }
    Err(OpenError::NewerSchema { path: path.display().to_string(), found, known: schema::VERSION })
}

fn prepare_writer(writer: &mut Connection, is_new: bool) -> rusqlite::Result<()> {
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    writer.set_prepared_statement_cache_capacity(STATEMENTS);
    writer.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -65536;",
    )?;
    if is_new {
        // Before the write-ahead log is switched on, so that the header says from the beginning
        // whose file this is.
        schema::migrate(writer)?;
    }
    writer.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA wal_autocheckpoint = 8000;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    schema::migrate(writer)
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
