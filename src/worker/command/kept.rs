//! A command with its keeper, from the worker's side: four pipes, orders, reports.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ExitStatus, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};

use super::Command;
use super::confinement::OwnDirectory;
use super::keeper::{KILL, PIPES, Report, TERMINATE, WORD};

/// The worker's ends of a command's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
    pub(super) stderr: pipe::Receiver,
    pub(super) progress: pipe::Receiver,
}

/// Orders to the keeper. Once this is dropped, the keeper ends the command.
#[derive(Debug)]
pub(super) struct Orders(OwnedWriteHalf);

/// The keeper's reports about a running command.
#[derive(Debug)]
pub(super) struct Reports {
    lines: Lines<BufReader<OwnedReadHalf>>,
    leader: Option<Pid>,
}

/// Why a command is not running.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// The system could not start the keeper.
    Keeper(io::Error),
    /// The system could not start the command.
    Command(io::Error),
}

/// Starts a command and waits until it runs.
pub(super) async fn start(
    command: &Command,
    directory: Option<&OwnDirectory>,
    variables: Vec<(String, String)>,
) -> Result<(Pipes, Orders, Reports), NotStarted> {
    let (pipes, control) = launch(command, directory, variables).map_err(NotStarted::Keeper)?;
    let (reports, orders) = control.into_split();
    let mut lines = BufReader::new(reports).lines();
    let line = lines.next_line().await.map_err(NotStarted::Keeper)?;
    match line.as_deref().and_then(Report::parse) {
        Some(Report::Started(pid)) => {
            Ok((pipes, Orders(orders), Reports { lines, leader: Pid::from_raw(pid) }))
        }
        Some(Report::NotStarted(error)) => {
            Err(NotStarted::Command(io::Error::from_raw_os_error(error)))
        }
        _ => Err(NotStarted::Keeper(io::Error::other("it ended before it started the command"))),
    }
}

/// Starts the keeper and passes it the command's ends of the pipes.
fn launch(
    command: &Command,
    directory: Option<&OwnDirectory>,
    variables: Vec<(String, String)>,
) -> io::Result<(Pipes, UnixStream)> {
    let (ours, theirs) = StdStream::pair()?;
    let (stdin, stdin_sender) = io::pipe()?;
    let (stdout_receiver, stdout) = io::pipe()?;
    let (stderr_receiver, stderr) = io::pipe()?;
    let (progress_receiver, progress) = io::pipe()?;
    let passed = command.variables.iter();
    let mut keeper = std::process::Command::new(&command.keeper);
    keeper
        .arg0("longrun")
        .arg(WORD)
        .args(command.confinement.words(&command.keeper, directory, command.words()))
        .env_clear()
        .envs(passed.filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(variables)
        .envs(directory.map(|directory| ("TMPDIR", directory.path())))
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A terminal's signal to this process's group must not reach the keeper.
        .process_group(0);
    // Nothing waits for the keeper: the end of the socket shows that it has ended, and tokio reaps it.
    drop(tokio::process::Command::from(keeper).spawn()?);
    let fds = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd(), progress.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PIPES))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(&ours, &[IoSlice::new(b"p")], &mut ancillary, SendFlags::NOSIGNAL)?;
    ours.set_nonblocking(true)?;
    let pipes = Pipes {
        stdin: pipe::Sender::from_owned_fd(stdin_sender.into())?,
        stdout: pipe::Receiver::from_owned_fd(stdout_receiver.into())?,
        stderr: pipe::Receiver::from_owned_fd(stderr_receiver.into())?,
        progress: pipe::Receiver::from_owned_fd(progress_receiver.into())?,
    };
    Ok((pipes, UnixStream::from_std(ours)?))
}

impl Orders {
    /// Asks every process of the command to stop.
    pub(super) fn terminate(&self) {
        self.give(TERMINATE);
    }

    /// Ends every process of the command.
    pub(super) fn kill(&self) {
        self.give(KILL);
    }

    fn give(&self, order: u8) {
        // There is room for a few bytes, and a keeper that is gone has no processes left.
        let _ = self.0.try_write(&[order]);
    }
}

impl Reports {
    /// Waits for the command's own end. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        match self.lines.next_line().await?.as_deref().and_then(Report::parse) {
            Some(Report::Exited(code)) => Ok(ExitStatus::from_raw(code << 8)),
            Some(Report::Signalled(number)) => Ok(ExitStatus::from_raw(number)),
            _ => {
                // The keeper was killed: then only the process group can be reached.
                if let Some(leader) = self.leader {
                    let _ = kill_process_group(leader, Signal::KILL);
                }
                Err(io::Error::other("the process that kept the command was killed"))
            }
        }
    }

    /// Waits until no process of the command is left. May be dropped and called again.
    pub(super) async fn gone(&mut self) {
        while let Ok(Some(_)) = self.lines.next_line().await {}
    }
}
