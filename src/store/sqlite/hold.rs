//! The hold on a file: its locks, and whether its name still leads to it.
//!
//! A file can have many names (links, hard links, mounts of a directory or of the file alone), so the file itself is
//! locked, by `flock`, which on Linux does not affect SQLite's own locks. `PATH.lock` beside it covers the time before
//! the file exists, file systems without `flock`, and older programs.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, makedev, statx},
    io::Errno,
};

use super::super::{OpenError, StoreError};
use super::header::{BYTES, MARK_AT, page_bytes};
use crate::files::{beside, private};

/// A backup holds the lock for a moment, so a server tries twice.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A file that only this process may open as a store. Close SQLite's connections before dropping it: closing a file
/// releases all of SQLite's locks that the process has on it.
#[derive(Debug)]
pub(super) struct Hold {
    path: PathBuf,
    log: PathBuf,
    watched: OnceLock<Watched>,
    file: File,
    registered: Registered,
    _lock: File,
}

/// A file's identity under any name: device and inode.
type Identity = (u64, u64);

/// Properties that do not change while the file is in use.
#[derive(Debug)]
struct Watched {
    log: Identity,
    mark: [u8; 4],
}

/// The files of this process's stores. They must not even be opened a second time.
static REGISTER: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());

#[derive(Debug)]
struct Registered(Identity);

impl Hold {
    /// Takes a file, and creates it if it does not exist. `path` is its resolved name, `name` the one for messages.
    pub(super) fn take(name: &Path, path: &Path) -> Result<Self, OpenError> {
        let failed =
            |reason: String| OpenError::Failed { path: name.display().to_string(), reason };
        let lock = lock_beside(name, path)?;
        let in_use = || OpenError::InUse { path: name.display().to_string() };
        let (path, log) = (path.to_owned(), beside(path, "-wal"));
        let found = match std::fs::metadata(&path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error.to_string())),
        };
        if found.as_ref().is_none_or(|found| found.len() == 0) {
            refuse_orphaned(&log).map_err(failed)?;
        }
        let make = || private().read(true).append(true).create(true).open(&path);
        let (registered, file) = match found {
            Some(found) => {
                let registered = Registered::new(identity(&found)).ok_or_else(in_use)?;
                (registered, File::open(&path).map_err(|error| failed(error.to_string()))?)
            }
            None => {
                let file = make().map_err(|error| failed(error.to_string()))?;
                let made = file.metadata().map_err(|error| failed(error.to_string()))?;
                (Registered::new(identity(&made)).ok_or_else(in_use)?, file)
            }
        };
        if is_in_use(&file) {
            sleep(AGAIN_AFTER);
            if is_in_use(&file) {
                return Err(in_use());
            }
        }
        Ok(Self { path, log, watched: OnceLock::new(), file, registered, _lock: lock })
    }

    /// The path of the log.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The file's length, and its first page, which is shorter if the file is no store.
    pub(super) fn first_page(&self) -> io::Result<(u64, Vec<u8>)> {
        first_page(&self.file)
    }

    /// From now on, [`Hold::check`] expects this log and this mark.
    pub(super) fn watch(&self) -> io::Result<()> {
        let log = identity_at(&self.log)?;
        let mark = self.mark()?;
        self.watched.get_or_init(|| Watched { log, mark });
        Ok(())
    }

    /// Fails if the file or its log was removed or replaced, or other contents were written into the file.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let Some(watched) = self.watched.get() else { return Ok(()) };
        for (path, expected) in [(&self.path, self.registered.0), (&self.log, watched.log)] {
            match identity_at(path) {
                Ok(found) if found == expected => {}
                Ok(_) => return Err(lost(path, "was replaced by another file")),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(lost(path, "was removed"));
                }
                Err(error) => return Err(lost(path, &format!("cannot be found: {error}"))),
            }
        }
        match self.mark() {
            Ok(mark) if mark == watched.mark => Ok(()),
            Ok(_) => Err(lost(&self.path, "was replaced by other contents")),
            Err(error) => Err(lost(&self.path, &format!("cannot be read: {error}"))),
        }
    }

    fn mark(&self) -> io::Result<[u8; 4]> {
        let mut mark = [0; 4];
        self.file.read_exact_at(&mut mark, MARK_AT as u64)?;
        Ok(mark)
    }
}

fn lost(path: &Path, how: &str) -> StoreError {
    let path = path.display();
    let what = format!("{path} {how} while it was in use: put it back, or stop the server");
    StoreError::Unavailable(what)
}

impl Registered {
    fn new(identity: Identity) -> Option<Self> {
        register().insert(identity).then_some(Self(identity))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        register().remove(&self.0);
    }
}

fn register() -> std::sync::MutexGuard<'static, BTreeSet<Identity>> {
    REGISTER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// The identity of the file at a path. Linux is not asked for its times: from then on it would give each write a time of
/// its own, and a sync of the log would also have to write that, to the journal of the file system.
fn identity_at(path: &Path) -> io::Result<Identity> {
    #[cfg(target_os = "linux")]
    match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        Ok(found) => return Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino)),
        // Old kernels and some sandboxes do not have this call.
        Err(Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    std::fs::metadata(path).map(|found| identity(&found))
}

/// Refuses a log with contents whose file is missing.
fn refuse_orphaned(log: &Path) -> Result<(), String> {
    match std::fs::metadata(log) {
        Ok(found) if found.len() > 0 => {
            let log = log.display();
            Err(format!(
                "the file is missing or empty, and its log {log} is not: put the file back, or move the log away to \
                 begin with an empty store"
            ))
        }
        _ => Ok(()),
    }
}

/// Takes `PATH.lock` for as long as the file is held. The lock file stays afterwards: after its removal a second server
/// could lock a file that a third one no longer finds.
pub(super) fn lock_beside(name: &Path, path: &Path) -> Result<File, OpenError> {
    let lock = beside(path, ".lock");
    let failed = |error: io::Error| OpenError::Failed {
        path: name.display().to_string(),
        reason: format!("its lock file {} cannot be locked: {error}", lock.display()),
    };
    let file = private().create(true).append(true).open(&lock).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: name.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Whether a server has the file open.
pub(super) fn is_held(path: &Path) -> bool {
    let Ok(found) = identity_at(path) else { return false };
    let is_here = register().contains(&found);
    is_here || File::open(path).is_ok_and(|file| is_in_use(&file))
}

/// Whether another process has locked the file. Only on Linux: elsewhere the lock would conflict with SQLite's. File
/// systems without it return an error, or require that the file is open for writing (NFS, where it conflicts as well).
fn is_in_use(file: &File) -> bool {
    cfg!(target_os = "linux") && matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// A file's length and its first page.
pub(super) fn first_page(file: &File) -> io::Result<(u64, Vec<u8>)> {
    let length = file.metadata()?.len();
    let part = |bytes: u64| {
        let mut part = vec![0; usize::try_from(bytes.min(length)).unwrap_or_default()];
        file.read_exact_at(&mut part, 0).map(|()| part)
    };
    let header = part(BYTES as u64)?;
    let page = part(page_bytes(&header).max(BYTES as u64))?;
    Ok((length, page))
}
