//! A copy of the file as of one moment, while a server may be writing to it.
//!
//! One read transaction lasts until all pages are copied, so that later writes neither appear nor make SQLite start
//! again. Writers never wait for it, but their log is not checkpointed until it ends. The copy has another name until
//! it is complete. On the source it uses only SQLite's own locks.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup as Pages, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::super::sql::columns::{OPERATION, limit};
use super::super::{OpenError, StoreError};
use super::rows::{self, beginning};
use super::{hold, mark, open, schema, store_error};
use crate::files::{self, beside, resolve};
use crate::operation::{Operation, OperationId};

/// The number of pages copied between two reports.
const PAGES: i32 = 1_024;
/// The copy is synced after this many bytes; otherwise the system would keep them and write them when the server wants
/// its log synced.
const SYNC_BYTES: u64 = 64 << 20;
/// The first schema that has a table of objects.
const WITH_OBJECTS: u32 = 3;

/// A running backup. If it is dropped before [`Backup::finish`], its files are removed.
pub struct Backup {
    source: Connection,
    copy: Connection,
    target: PathBuf,
    partial: Partial,
    /// The target's lock, as for an open store, so that no process serves it and no other backup writes it.
    _lock: File,
}

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The source cannot be opened.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// The target exists already.
    #[error("{0} exists already: a backup must be a new file")]
    Exists(String),
    /// The target cannot be written, or the source can no longer be read.
    #[error("{path} cannot be written: {reason}")]
    Failed {
        /// The file.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The caller stopped the backup.
    #[error("the backup to {0} was interrupted")]
    GivenUp(String),
}

impl Backup {
    /// Opens source and target. `target` must not exist; files of an earlier unfinished backup to it are removed.
    /// Blocks.
    pub fn begin(source: &Path, target: &Path) -> Result<Self, BackupError> {
        let source = open_source(source)?;
        let absolute = resolve(target).map_err(|error| failed(target, &error))?;
        // A log that was left there would be taken for the backup's.
        let is_there = || match [absolute.clone(), beside(&absolute, "-wal")]
            .into_iter()
            .find(|name| fs::symlink_metadata(name).is_ok())
        {
            Some(name) => Err(BackupError::Exists(name.display().to_string())),
            None => Ok(()),
        };
        is_there()?;
        let lock = hold::lock_beside(target, &absolute)?;
        is_there()?;
        let partial = Partial::of(&absolute);
        partial.remove();
        files::private()
            .write(true)
            .create_new(true)
            .open(&partial.0)
            .map_err(|error| failed(target, &error))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // Synced by this program at the end, because no reader opens it before.
        let copy = Connection::open_with_flags(&partial.0, flags)
            .and_then(|copy| {
                copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
                Ok(copy)
            })
            .map_err(|error| failed(target, &error))?;
        Ok(Self { source, copy, target: absolute, partial, _lock: lock })
    }

    /// Copies all pages as of the beginning. `report(done, total)`, in bytes, returns whether to continue. Blocks.
    pub fn copy(&mut self, report: &dyn Fn(u64, u64) -> bool) -> Result<(), BackupError> {
        let moment = self.source.unchecked_transaction().map_err(|error| self.failed(&error))?;
        let page_bytes: u64 = moment
            .pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))
            .map_err(|error| self.failed(&error))?
            .into();
        let file = File::options().write(true).open(&self.partial.0);
        let file = file.map_err(|error| self.failed(&error))?;
        let failed = |error: &dyn Display| failed(&self.target, error);
        let pages = Pages::new(&moment, &mut self.copy).map_err(|error| failed(&error))?;
        let mut synced = 0;
        loop {
            let step = pages.step(PAGES).map_err(|error| failed(&error))?;
            let progress = pages.progress();
            let total = u64::from(progress.pagecount.unsigned_abs()) * page_bytes;
            let done = total - u64::from(progress.remaining.unsigned_abs()) * page_bytes;
            if !report(done, total) {
                return Err(BackupError::GivenUp(self.target.display().to_string()));
            }
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(failed(&"SQLite's lock on it is held by another program")),
            }
            if done - synced >= SYNC_BYTES {
                file.sync_data().map_err(|error| failed(&error))?;
                synced = done;
            }
        }
        drop(pages);
        drop(moment);
        // A single file, without a log beside it, until a server opens it.
        let journal =
            self.copy.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0));
        match journal {
            Ok(mode) if mode == "delete" => {
                mark::needs_no_log(&self.copy).map_err(|error| self.failed(&error))
            }
            Ok(mode) => Err(self.failed(&format!("its journal mode is {mode}"))),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// A page of the copied operations that have objects, by rising id. Blocks.
    pub fn with_objects(
        &self,
        after: Option<OperationId>,
        page: usize,
    ) -> Result<Vec<Operation>, StoreError> {
        if schema::version(&self.copy).map_err(store_error)? < WITH_OBJECTS {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {OPERATION} FROM (
               SELECT DISTINCT operation FROM objects WHERE operation > ?1
               ORDER BY operation LIMIT ?2) AS with_objects
             JOIN operations AS o ON o.id = with_objects.operation ORDER BY o.id"
        );
        rows::all(&self.copy, &sql, params![beginning(after), limit(page)], rows::operation)
    }

    /// Whether the source has that operation now, not only when it was copied. Blocks.
    pub fn is_live(&self, id: OperationId) -> Result<bool, StoreError> {
        self.source
            .prepare_cached("SELECT 1 FROM operations WHERE id = ?1")
            .and_then(|mut statement| statement.exists([id.as_bytes()]))
            .map_err(store_error)
    }

    /// Makes the copy durable and renames it. Returns its size in bytes. Blocks.
    pub fn finish(self) -> Result<u64, BackupError> {
        let Self { source, copy, target, partial, _lock } = self;
        drop(source);
        copy.close().map_err(|(_, error)| failed(&target, &error))?;
        if fs::symlink_metadata(&target).is_ok() {
            return Err(BackupError::Exists(target.display().to_string()));
        }
        let named = || -> std::io::Result<u64> {
            let file = File::options().write(true).open(&partial.0)?;
            file.sync_all()?;
            fs::rename(&partial.0, &target)?;
            if let Some(directory) = target.parent() {
                File::open(directory)?.sync_all()?;
            }
            Ok(file.metadata()?.len())
        };
        named().map_err(|error| failed(&target, &error))
    }

    fn failed(&self, error: &dyn Display) -> BackupError {
        failed(&self.target, error)
    }
}

/// An incomplete file. Removed on drop, unless it has been renamed.
struct Partial(PathBuf);

impl Partial {
    fn of(target: &Path) -> Self {
        Self(beside(target, ".partial"))
    }

    fn remove(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            // Usually it does not exist.
            let _ignored = fs::remove_file(beside(&self.0, suffix));
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Opens a store for reading, even if another process has it open. Only SQLite opens the file.
fn open_source(path: &Path) -> Result<Connection, OpenError> {
    let name = || path.display().to_string();
    let failed =
        |error: &dyn Display| OpenError::Failed { path: name(), reason: error.to_string() };
    let file = fs::canonicalize(path).map_err(|error| failed(&error))?;
    if !file.is_file() {
        return Err(failed(&"it is not a regular file"));
    }
    // The files of a store that is being served change during the check.
    if !hold::is_held(&file)
        && let Err(reason) = open::check_log(&file)
        && !hold::is_held(&file)
    {
        return Err(failed(&reason));
    }
    let opened = open::open_reader(&file).and_then(|source| {
        let application = source.pragma_query_value(None, "application_id", |row| row.get(0))?;
        Ok((schema::version(&source)?, application, source))
    });
    let reason = match opened {
        Ok((version, schema::APPLICATION_ID, source)) => {
            open::refuse_newer(path, version)?;
            return Ok(source);
        }
        Ok(_) => "it is an SQLite file of another program",
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            "it is not an SQLite file"
        }
        Err(error) => return Err(failed(&error)),
    };
    Err(OpenError::NotAStore { path: name(), reason: reason.to_owned() })
}

fn failed(target: &Path, error: &dyn Display) -> BackupError {
    BackupError::Failed { path: target.display().to_string(), reason: error.to_string() }
}
