//! One run of a command, from start to end: everything it reads, writes and leaves behind.

use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin};
use tokio::time::{sleep, timeout};

use super::Command;
use super::group::Group;
use super::keeper;
use super::lines::Lines;
use super::output::{Tail, failure, outcome};
use super::progress_line::ProgressLine;
use crate::client::ClientError;
use crate::worker::{Context, Failure, Outcome, Spool};

/// The descriptor on which a command reports progress.
const PROGRESS_FD: i32 = 3;
/// How long what a command left behind may hold its pipes open once it has ended itself.
const PIPE_GRACE: Duration = Duration::from_secs(1);
/// How long to read on once whoever held the pipes has been killed.
const LAST_READ: Duration = Duration::from_millis(200);
/// How much of what it writes is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// How often to look whether a process group is gone: nothing tells.
const GROUP_POLL: Duration = Duration::from_millis(20);

/// What a command has written so far.
#[derive(Debug, Default)]
struct Written {
    stdout: Spool,
    too_large: bool,
    /// Why what it wrote could not be kept.
    unkept: Option<io::Error>,
    /// Why it did not get all of its input.
    unfed: Option<ClientError>,
    stderr: Tail,
    content_type: Option<String>,
}

/// Runs the command for an attempt.
pub(super) async fn run(command: &Command, context: &Context) -> Result<Outcome, Failure> {
    let (mut child, progress) =
        start(command, context).map_err(|error| not_started(command, &error))?;
    let group = Group::led_by(child.id());
    let mut written = Written::default();
    let status = attend(command, context, &mut child, progress, &group, &mut written).await?;
    group.leave_alone();
    if written.too_large {
        let limit = command.max_result_bytes;
        let message = format!("the command wrote more than {limit} bytes on stdout");
        return Err(Failure::permanent("RESULT_TOO_LARGE", message));
    }
    if let Some(error) = written.unfed {
        let message = format!("the input could not be read to its end: {error}");
        return Err(Failure::retryable("INPUT_UNREADABLE", message));
    }
    if let Some(error) = written.unkept {
        let message = format!("what the command wrote could not be kept: {error}");
        return Err(Failure::retryable("RESULT_NOT_KEPT", message));
    }
    if status.success() {
        return Ok(outcome(written.stdout.finish().await?, written.content_type));
    }
    match context.cancellation() {
        Some(_) => Err(Failure::retryable("CANCELLED", "the command was stopped")),
        None => Err(failure(status, &written.stderr)),
    }
}

fn start(command: &Command, context: &Context) -> io::Result<(Child, pipe::Receiver)> {
    keeper::prepare();
    let (receiver, sender) = io::pipe()?;
    let mut process = std::process::Command::new(&command.program);
    process
        .args(&command.args)
        .env_clear()
        .envs(command.variables.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(environment(context))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let progress = FdMapping { parent_fd: sender.into(), child_fd: PROGRESS_FD };
    process.fd_mappings(vec![progress]).map_err(io::Error::other)?;
    // The process holds our end of the pipe, which must be gone for its end to be seen.
    let child = tokio::process::Command::from(process).kill_on_drop(true).spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(receiver))?))
}

fn not_started(command: &Command, error: &io::Error) -> Failure {
    let program = command.program.to_string_lossy();
    let message = format!("could not start {program}: {error}");
    let failure = Failure::retryable("COMMAND_NOT_STARTED", message);
    match error.kind() {
        // Of the machine's state, not of the command: another time it may work.
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => failure,
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => failure,
        _ => failure.into_permanent(),
    }
}

fn environment(context: &Context) -> Vec<(String, String)> {
    let operation = context.operation();
    let mut variables = vec![
        ("LONGRUN_OPERATION".to_owned(), operation.name.clone()),
        ("LONGRUN_KIND".to_owned(), operation.kind.clone()),
        ("LONGRUN_ATTEMPT".to_owned(), context.attempt().to_string()),
        ("LONGRUN_CONTENT_TYPE".to_owned(), context.input().content_type().to_owned()),
        ("LONGRUN_TENANT".to_owned(), operation.tenant.clone()),
        ("LONGRUN_PROGRESS_FD".to_owned(), PROGRESS_FD.to_string()),
    ];
    if let Some(deadline) = context.deadline() {
        let deadline = prost_types::Timestamp::from(deadline).to_string();
        variables.push(("LONGRUN_DEADLINE".to_owned(), deadline));
    }
    let mut labels: Vec<_> = operation.labels.iter().collect();
    labels.sort_unstable();
    for (key, value) in labels {
        let mut name = "LONGRUN_LABEL_".to_owned();
        for character in key.chars() {
            let kept = character.is_ascii_alphanumeric();
            // Writing to a string does not fail.
            let _ = write!(name, "{}", if kept { character.to_ascii_uppercase() } else { '_' });
        }
        variables.push((name, value.clone()));
    }
    // A NUL would keep the command from starting; no valid value has one.
    variables.retain(|(_, value)| !value.contains('\0'));
    variables
}

/// Feeds and reads the command until it has ended and nothing more is to be read.
async fn attend(
    command: &Command,
    context: &Context,
    child: &mut Child,
    progress: pipe::Receiver,
    group: &Group,
    written: &mut Written,
) -> io::Result<ExitStatus> {
    let Written { stdout, too_large, unkept, unfed, stderr, content_type } = written;
    let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let streams = async {
        tokio::join!(
            async {
                *unfed = feed(stdin, context).await.err();
                if unfed.is_some() {
                    group.kill();
                }
            },
            async {
                match read_up_to(out, stdout, command.max_result_bytes).await {
                    Ok(all) => *too_large = !all,
                    Err(error) => *unkept = Some(error),
                }
                if *too_large || unkept.is_some() {
                    group.kill();
                }
            },
            log_lines(err, stderr, context),
            report_progress(progress, content_type, context),
        )
    };
    tokio::pin!(streams);
    let stopped = stop_on_cancel(command, context, group);
    tokio::pin!(stopped);
    let (mut read_all, mut killed) = (false, false);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = &mut streams, if !read_all => read_all = true,
            () = &mut stopped, if !killed => killed = true,
        }
    };
    // Members that the signal of a cancel did not end have the rest of the grace period.
    while context.is_cancelled() && !killed {
        tokio::select! {
            () = gone(group) => break,
            _ = &mut streams, if !read_all => read_all = true,
            () = &mut stopped => killed = true,
        }
    }
    if !read_all && timeout(PIPE_GRACE, &mut streams).await.is_err() {
        // Something in the background holds the pipes.
        group.kill();
        let _ = timeout(LAST_READ, streams).await;
    }
    Ok(status)
}

/// Once the attempt is cancelled: asks the group to stop, and ends it when its time is up.
async fn stop_on_cancel(command: &Command, context: &Context, group: &Group) {
    let why = context.cancelled().await;
    group.terminate();
    tokio::select! {
        () = sleep(why.grace(command.stop_grace)) => {}
        // A cancel that turns into the end of the attempt leaves no more than our own grace.
        () = async {
            context.cancelled_otherwise(&why).await;
            sleep(command.stop_grace).await;
        } => {}
    }
    group.kill();
}

/// Waits until no process of the group is left.
async fn gone(group: &Group) {
    while group.is_alive() {
        sleep(GROUP_POLL).await;
    }
}

/// Writes the input. A command need not read it: what it does not want is no failure. An input that cannot be
/// read to its end is one.
async fn feed(stdin: Option<ChildStdin>, context: &Context) -> Result<(), ClientError> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    let mut input = context.input().open().await?;
    while let Some(piece) = input.next().await {
        if stdin.write_all(&piece?).await.is_err() {
            break;
        }
    }
    let _ = stdin.shutdown().await;
    Ok(())
}

/// Reads into `kept`; false if there was more than `limit`.
async fn read_up_to(
    source: Option<impl AsyncRead + Unpin>,
    kept: &mut Spool,
    limit: u64,
) -> io::Result<bool> {
    let Some(mut source) = source else { return Ok(true) };
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        // A pipe that cannot be read any more has ended, whatever the reason.
        let length = source.read(&mut piece).await.unwrap_or(0);
        if length == 0 {
            return Ok(true);
        }
        if kept.size_bytes() + length as u64 > limit {
            return Ok(false);
        }
        kept.write(&piece[..length]).await?;
    }
}

/// Hands the lines of stderr on to the operation's history, and keeps their end.
async fn log_lines(source: Option<impl AsyncRead + Unpin>, tail: &mut Tail, context: &Context) {
    let Some(source) = source else { return };
    let mut lines = Lines::of(source);
    while let Some(line) = lines.next().await {
        tail.push(&line);
        context.log(line).await;
    }
}

/// Reports what the command says on the progress descriptor.
async fn report_progress(
    source: pipe::Receiver,
    content_type: &mut Option<String>,
    context: &Context,
) {
    let mut lines = Lines::of(source);
    while let Some(line) = lines.next().await {
        match ProgressLine::parse(&line) {
            Some(ProgressLine::Progress(progress)) => context.progress(progress),
            Some(ProgressLine::ContentType(named)) => *content_type = Some(named),
            None => {}
        }
    }
}
