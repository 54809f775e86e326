//! The keeper: a small process around each command. It ends the command when the worker's process ends, for whatever
//! reason, because a command must never run beside the next attempt of its operation.
//!
//! The keeper is the `longrun` program itself, started with [`WORD`]. Its stdin is a socket to the worker. Over it the
//! keeper gets the command's four pipes and then bytes: [`TERMINATE`] and [`KILL`]. The end of the socket also means
//! [`KILL`]. The keeper sends lines, see [`Report`], and ends once no process is left that the command started.
//!
//! The keeper adopts orphans (as their subreaper), so that it also reaches processes that have left the command's group
//! or session. On systems without subreapers or `/proc`, it reaches only the process group.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group,
    wait, waitid,
};
use tokio::signal::unix::{SignalKind, signal};

/// The first argument of a keeper's process.
pub const WORD: &str = "keep-command";
/// Sends SIGTERM to every process of the command.
pub(super) const TERMINATE: u8 = b't';
/// Sends SIGKILL to every process of the command, until none is left.
pub(super) const KILL: u8 = b'k';
/// The descriptor on which a command reports progress.
pub(super) const PROGRESS_FD: i32 = 3;
/// The number of pipes: stdin, stdout, stderr and progress.
pub(super) const PIPES: usize = 4;
/// The first and the longest pause between two rounds of SIGKILL, because a process in a system call may take its time.
const ROUND: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(200)];

/// A line that the keeper sends to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The command runs, as the leader of the process group with this number.
    Started(i32),
    /// The command could not be started: an error of the system.
    NotStarted(i32),
    /// The command ended with this code.
    Exited(i32),
    /// This signal ended the command.
    Signalled(i32),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, number) = match self {
            Self::Started(pid) => ("started", pid),
            Self::NotStarted(error) => ("not-started", error),
            Self::Exited(code) => ("exited", code),
            Self::Signalled(number) => ("signalled", number),
        };
        writeln!(f, "{word} {number}")
    }
}

impl Report {
    /// Parses a line; `None` if the keeper did not write it.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (word, number) = line.split_once(' ')?;
        let number = number.parse().ok()?;
        match word {
            "started" => Some(Self::Started(number)),
            "not-started" => Some(Self::NotStarted(number)),
            "exited" => Some(Self::Exited(number)),
            "signalled" => Some(Self::Signalled(number)),
            _ => None,
        }
    }
}

/// Runs as the keeper of the command in `words`, until all its processes have ended.
pub fn keep(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(words.into_iter()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(words: impl Iterator<Item = OsString>) -> io::Result<()> {
    // A signal that ends the worker must not end the keeper before it has ended the command.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        // The handler stays installed after the stream is dropped.
        let _signals = signal(kind)?;
    }
    drop(entered);
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let pipes = receive_pipes(&control)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(getpid()))?;
    let leader = match start(words, pipes) {
        Ok(leader) => leader,
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
            return write!(control, "{}", Report::NotStarted(number));
        }
    };
    // Reading the socket shows that a worker is gone.
    let _ = write!(control, "{}", Report::Started(leader.as_raw_nonzero().get()));
    let family = Arc::new(Family { leader, reaping: Mutex::new(()) });
    let (reports, relatives) = (control.try_clone()?, Arc::clone(&family));
    let reaper = thread::spawn(move || relatives.reap_all(reports));
    thread::spawn(move || family.obey(control));
    reaper.join().map_err(|_| io::Error::other("the reaper panicked"))
}

/// Receives the command's ends of its pipes.
fn receive_pipes(control: &UnixStream) -> io::Result<[OwnedFd; PIPES]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PIPES))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(control, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let pipes: Vec<OwnedFd> = rights.flatten().collect();
    pipes.try_into().map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Starts the command. Closes the keeper's copies of the pipes, so that readers see their ends.
fn start(
    mut words: impl Iterator<Item = OsString>,
    [stdin, stdout, stderr, progress]: [OwnedFd; PIPES],
) -> io::Result<Pid> {
    let mut command = Command::new(words.next().ok_or(io::ErrorKind::InvalidInput)?);
    command.args(words).stdin(stdin).stdout(stdout).stderr(stderr).process_group(0);
    let progress = FdMapping { parent_fd: progress, child_fd: PROGRESS_FD };
    command.fd_mappings(vec![progress]).map_err(io::Error::other)?;
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The command and everything that it has started.
struct Family {
    leader: Pid,
    /// Held while children are reaped or signalled, so that the number of a child is not reused meanwhile.
    reaping: Mutex<()>,
}

impl Family {
    /// Reaps until no child is left, and reports the command's own end.
    fn reap_all(&self, mut reports: UnixStream) {
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_no_children) => return,
            }
            let _reaping = self.lock();
            let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) else { continue };
            if pid != self.leader {
                continue;
            }
            let report = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Report::Exited(code),
                (None, Some(number)) => Report::Signalled(number),
                (None, None) => continue,
            };
            let _ = write!(reports, "{report}");
        }
    }

    /// Obeys the worker, and ends the command when the worker is gone.
    fn obey(&self, mut control: UnixStream) {
        let mut order = [0];
        loop {
            match control.read(&mut order) {
                Ok(1) if order[0] == TERMINATE => self.signal(Signal::TERM),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _killed_or_gone => break,
            }
        }
        let [mut pause, longest] = ROUND;
        loop {
            self.signal(Signal::KILL);
            thread::sleep(pause);
            pause = (2 * pause).min(longest);
        }
    }

    fn signal(&self, signal: Signal) {
        let _reaping = self.lock();
        // A process that is already gone needs no signal.
        let Some(processes) = descendants(getpid()) else {
            let _ = kill_process_group(self.leader, signal);
            return;
        };
        for process in processes {
            let _ = kill_process(process, signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.reaping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every process below `root`; `None` if `/proc` does not show them.
fn descendants(root: Pid) -> Option<Vec<Pid>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        // "pid (name) state parent …": only the name can contain blanks and parentheses.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = children.remove(&root.as_raw_nonzero().get())?;
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    Some(found.into_iter().filter_map(Pid::from_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_written() {
        for report in [
            Report::Started(7),
            Report::NotStarted(2),
            Report::Exited(0),
            Report::Exited(255),
            Report::Signalled(9),
        ] {
            assert_eq!(Report::parse(report.to_string().trim_end()), Some(report));
        }
        assert_eq!(Report::parse("error: unrecognized subcommand"), None);
    }
}
