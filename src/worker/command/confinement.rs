//! Limits of commands: CPU time, memory, file size, processes, open files; another user; a directory of their own.
//!
//! A confined command is started by the `longrun` program itself, with [`WORD`]: it limits itself, becomes the other
//! user, and then turns into the command. So the command and everything that it starts have the limits from their first
//! instruction, and on Linux no program that they run, such as `sudo`, gives them more rights. If one of these steps
//! fails, the command does not run.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use tempfile::TempDir;

/// The first argument of a process that will turn into a command.
pub const WORD: &str = "limit-command";
/// The exit code if it cannot.
const FAILED: u8 = 126;
/// Ends the words of the confinement; the command follows.
const END: &str = "--";

/// A limit on each process of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessLimit {
    /// Seconds of CPU time.
    CpuSeconds(u64),
    /// Bytes of address space.
    MemoryBytes(u64),
    /// Bytes of a file that it writes.
    FileBytes(u64),
    /// Processes and threads of the same user, on the whole machine. Does not limit root.
    Processes(u64),
    /// Open files.
    OpenFiles(u64),
}

/// The confinement of commands; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    limits: Vec<ProcessLimit>,
    user: Option<(u32, u32)>,
    has_own_directory: bool,
}

impl ProcessLimit {
    /// The limit with that name: `cpu-seconds`, `memory-bytes`, `file-bytes`, `processes`, `open-files`.
    fn named(name: &str, most: u64) -> Option<Self> {
        Some(match name {
            "cpu-seconds" => Self::CpuSeconds(most),
            "memory-bytes" => Self::MemoryBytes(most),
            "file-bytes" => Self::FileBytes(most),
            "processes" => Self::Processes(most),
            "open-files" => Self::OpenFiles(most),
            _ => return None,
        })
    }

    const fn parts(self) -> (&'static str, Resource, u64) {
        match self {
            Self::CpuSeconds(most) => ("cpu-seconds", Resource::Cpu, most),
            Self::MemoryBytes(most) => ("memory-bytes", Resource::As, most),
            Self::FileBytes(most) => ("file-bytes", Resource::Fsize, most),
            Self::Processes(most) => ("processes", Resource::Nproc, most),
            Self::OpenFiles(most) => ("open-files", Resource::Nofile, most),
        }
    }

    const fn name(self) -> &'static str {
        self.parts().0
    }

    /// The limit's value, in seconds, bytes or units.
    pub const fn most(self) -> u64 {
        self.parts().2
    }

    fn word(self) -> String {
        let (name, _, most) = self.parts();
        format!("{name}={most}")
    }

    fn set(self) -> io::Result<()> {
        let (_, resource, most) = self.parts();
        // At the hard limit of CPU time the system sends SIGKILL, which would not name the reason.
        let last = if resource == Resource::Cpu { most.saturating_add(1) } else { most };
        Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(last) })?)
    }
}

impl Confinement {
    /// Adds a limit of each process; it replaces one of the same name.
    #[must_use]
    pub fn with_limit(mut self, limit: ProcessLimit) -> Self {
        self.limits.retain(|other| other.name() != limit.name());
        self.limits.push(limit);
        self
    }

    /// Sets another user and group, by number. Only root can become another user.
    #[must_use]
    pub fn with_user(self, user: u32, group: u32) -> Self {
        Self { user: Some((user, group)), ..self }
    }

    /// Sets whether each attempt gets an empty directory, as `TMPDIR` and as the working directory, which is removed
    /// after it.
    #[must_use]
    pub fn with_own_directory(self, has_own_directory: bool) -> Self {
        Self { has_own_directory, ..self }
    }

    /// Refuses a confinement that this process cannot apply.
    pub fn check(&self) -> Result<(), String> {
        if self.user.is_some() && !geteuid().is_root() {
            return Err("only root can run commands as another user".to_owned());
        }
        for limit in &self.limits {
            let (name, resource, most) = limit.parts();
            if most == 0 {
                return Err(format!("{name} must be at least 1"));
            }
            if let Some(own) = getrlimit(resource).maximum.filter(|own| *own < most) {
                return Err(format!(
                    "{name} must be at most {own}, which is this process's own limit, and is {most}"
                ));
            }
        }
        Ok(())
    }

    /// Whether there is no confinement.
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Makes a directory for an attempt, if it gets one.
    pub(super) fn directory(&self) -> io::Result<Option<OwnDirectory>> {
        if !self.has_own_directory {
            return Ok(None);
        }
        let made = private_directory("longrun-")?;
        if let Some((user, group)) = self.user {
            chown(made.path(), Some(user), Some(group))?;
        }
        Ok(Some(OwnDirectory { path: made.path().to_owned(), made: Some(made) }))
    }

    /// The words that start the command of `words`, confined.
    pub(super) fn words<'a>(
        &self,
        longrun: &Path,
        directory: Option<&OwnDirectory>,
        words: impl Iterator<Item = &'a OsString>,
    ) -> Vec<OsString> {
        let mut all = Vec::new();
        if !self.is_empty() {
            all.push(longrun.as_os_str().to_owned());
            all.push(WORD.into());
            all.extend(self.limits.iter().map(|limit| limit.word().into()));
            all.extend(self.user.map(|(user, group)| format!("user={user}:{group}").into()));
            all.extend(directory.map(|directory| {
                let mut word = OsString::from("directory=");
                word.push(&directory.path);
                word
            }));
            all.push(END.into());
        }
        all.extend(words.cloned());
        all
    }
}

/// A temporary directory that its owner alone may enter, whatever the umask.
pub(crate) fn private_directory(prefix: &str) -> io::Result<TempDir> {
    let mode = Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix(prefix).permissions(mode.clone()).tempdir()?;
    // The umask may have taken permissions away from the owner, too.
    fs::set_permissions(made.path(), mode)?;
    Ok(made)
}

/// A directory that is removed on drop.
#[derive(Debug)]
pub(super) struct OwnDirectory {
    path: PathBuf,
    made: Option<TempDir>,
}

impl OwnDirectory {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        let Some(made) = self.made.take() else { return };
        let remove = move || {
            if let Err(error) = made.close() {
                tracing::warn!(%error, "a directory of a command stays");
            }
        };
        match tokio::runtime::Handle::try_current() {
            // The attempt's end does not wait for the removal of a large directory.
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Turns into the command at the end of `words`, confined as they say. Returns only if that fails.
pub fn confine(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let error = match turn(words.into_iter()) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    // This is the command's own standard error, where commands report their reasons.
    let _ = writeln!(io::stderr(), "longrun: the command was not started: {error}");
    ExitCode::from(FAILED)
}

enum Never {}

fn turn(mut words: impl Iterator<Item = OsString>) -> io::Result<Never> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let (mut user, mut directory) = (None, None);
    for word in words.by_ref().take_while(|word| word != END) {
        let (name, value) = split(&word).ok_or_else(wrong)?;
        match name {
            "directory" => directory = Some(PathBuf::from(value)),
            "user" => user = Some(numbers(value).ok_or_else(wrong)?),
            name => {
                let most = value.to_str().and_then(|most| most.parse().ok());
                let limit = most.and_then(|most| ProcessLimit::named(name, most));
                limit.ok_or_else(wrong)?.set()?;
            }
        }
    }
    let program = words.next().ok_or_else(wrong)?;
    // A set-user-ID program would run as a user without the limits. Becoming another user needs no such program.
    #[cfg(target_os = "linux")]
    rustix::thread::set_no_new_privs(true)?;
    let mut command = std::process::Command::new(&program);
    command.args(words);
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let error = command.exec();
    Err(io::Error::new(error.kind(), format!("{}: {error}", program.display())))
}

fn split(word: &OsStr) -> Option<(&str, &OsStr)> {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    Some((std::str::from_utf8(&bytes[..at]).ok()?, OsStr::from_bytes(&bytes[at + 1..])))
}

fn numbers(value: &OsStr) -> Option<(u32, u32)> {
    let (user, group) = value.to_str()?.split_once(':')?;
    Some((user.parse().ok()?, group.parse().ok()?))
}
