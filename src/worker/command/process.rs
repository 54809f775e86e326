//! One run of a command from start to end: its input, its output, and its remaining processes.

use std::fmt::Write as _;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

use super::Command;
use super::keeper::PROGRESS_FD;
use super::kept::{self, NotStarted, Orders, Pipes, Reports};
use super::lines::Lines;
use super::output::{Said, Tail, failure, outcome};
use super::progress_line::ProgressLine;
use crate::client::ClientError;
use crate::worker::{Context, Failure, Outcome, Spool};

/// How long remaining processes may hold the command's pipes open after its own end.
const PIPE_GRACE: Duration = Duration::from_secs(1);
/// How long to read on after such processes were killed.
const LAST_READ: Duration = Duration::from_millis(200);
/// How much output is read at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// How long to wait for killed processes; one that is stuck in a system call may stay.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// The output of a command.
#[derive(Debug, Default)]
struct Written {
    stdout: Spool,
    too_large: bool,
    /// Why its output could not be kept.
    unkept: Option<io::Error>,
    /// Why it did not get all of its input.
    unfed: Option<ClientError>,
    stderr: Tail,
    said: Said,
}

/// Runs the command for an attempt.
pub(super) async fn run(command: &Command, context: &Context) -> Result<Outcome, Failure> {
    let directory = command.confinement.directory().map_err(|error| {
        let message = format!("no directory could be made for the command: {error}");
        Failure::retryable("COMMAND_NOT_STARTED", message)
    })?;
    let started = kept::start(command, directory.as_ref(), environment(context)).await;
    let (pipes, orders, reports) = started.map_err(|error| not_started(command, error))?;
    let mut written = Written::default();
    let status = attend(command, context, pipes, &orders, reports, &mut written).await?;
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
        let message = format!("the output of the command could not be stored: {error}");
        return Err(Failure::retryable("RESULT_NOT_KEPT", message));
    }
    if status.success() {
        return Ok(outcome(written.stdout.finish().await?, written.said));
    }
    match context.cancellation() {
        Some(_) => Err(Failure::retryable("CANCELLED", "the command was stopped")),
        None => Err(failure(status, &written.stderr, written.said, &command.retry_on)),
    }
}

fn not_started(command: &Command, error: NotStarted) -> Failure {
    let (program, role, error) = match error {
        NotStarted::Keeper(error) => (command.keeper.as_os_str(), "the keeper ", error),
        NotStarted::Command(error) => (command.program.as_os_str(), "", error),
    };
    let program = program.to_string_lossy();
    let message = format!("could not start {role}{program}: {error}");
    let failure = Failure::retryable("COMMAND_NOT_STARTED", message);
    match error.kind() {
        // The machine's state is at fault, not the command: a retry may work.
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory | io::ErrorKind::Other => failure,
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
    let trace = [("TRACEPARENT", &operation.trace_parent), ("TRACESTATE", &operation.trace_state)];
    for (name, value) in trace.into_iter().filter(|(_, value)| !value.is_empty()) {
        variables.push((name.to_owned(), value.clone()));
    }
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
    // A NUL would keep the command from starting; no valid value contains one.
    variables.retain(|(_, value)| !value.contains('\0'));
    variables
}

/// Feeds and reads the command until it has ended, and ends its remaining processes.
async fn attend(
    command: &Command,
    context: &Context,
    pipes: Pipes,
    orders: &Orders,
    mut reports: Reports,
    written: &mut Written,
) -> io::Result<ExitStatus> {
    let Written { stdout, too_large, unkept, unfed, stderr, said } = written;
    let streams = async {
        tokio::join!(
            async {
                *unfed = feed(pipes.stdin, context).await.err();
                if unfed.is_some() {
                    orders.kill();
                }
            },
            async {
                match read_up_to(pipes.stdout, stdout, command.max_result_bytes).await {
                    Ok(all) => *too_large = !all,
                    Err(error) => *unkept = Some(error),
                }
                if *too_large || unkept.is_some() {
                    orders.kill();
                }
            },
            log_lines(pipes.stderr, stderr, context),
            read_words(pipes.progress, said, context),
        )
    };
    tokio::pin!(streams);
    let stopped = stop_on_cancel(command, context, orders);
    tokio::pin!(stopped);
    let (mut read_all, mut killed) = (false, false);
    let status = loop {
        tokio::select! {
            status = reports.ended() => break status?,
            _ = &mut streams, if !read_all => read_all = true,
            () = &mut stopped, if !killed => killed = true,
        }
    };
    // Processes that survived a cancel's SIGTERM have the rest of the grace period.
    while context.is_cancelled() && !killed {
        tokio::select! {
            () = reports.gone() => break,
            _ = &mut streams, if !read_all => read_all = true,
            () = &mut stopped => killed = true,
        }
    }
    let unread = !read_all && timeout(PIPE_GRACE, &mut streams).await.is_err();
    // Remaining processes must not run beside the next attempt.
    orders.kill();
    if unread {
        let _ = timeout(LAST_READ, streams).await;
    }
    if timeout(LAST_LOOK, reports.gone()).await.is_err() {
        tracing::warn!("processes that the command started cannot be ended");
    }
    Ok(status)
}

/// Once the attempt is cancelled: asks the command to stop, and kills it when its time is over.
async fn stop_on_cancel(command: &Command, context: &Context, orders: &Orders) {
    let why = context.cancelled().await;
    orders.terminate();
    tokio::select! {
        () = sleep(why.grace(command.stop_grace)) => {}
        // If the attempt ends after the cancel, only this worker's own grace period remains.
        () = async {
            context.cancelled_otherwise(&why).await;
            sleep(command.stop_grace).await;
        } => {}
    }
    orders.kill();
}

/// Writes the input. A command that does not read all of it has not failed. An input that cannot be read to its end is
/// an error.
async fn feed(mut stdin: pipe::Sender, context: &Context) -> Result<(), ClientError> {
    let mut input = context.input().open().await?;
    while let Some(piece) = input.next().await {
        if stdin.write_all(&piece?).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads into `kept`; false if there was more than `limit`.
async fn read_up_to(mut source: pipe::Receiver, kept: &mut Spool, limit: u64) -> io::Result<bool> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        // A pipe that cannot be read has ended, whatever the reason.
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

/// Sends the lines of stderr to the operation's history, and keeps their end.
async fn log_lines(source: pipe::Receiver, tail: &mut Tail, context: &Context) {
    let mut lines = Lines::of(source);
    while let Some(line) = lines.next().await {
        tail.push(&line);
        context.log(line).await;
    }
}

/// Reads the progress descriptor: reports progress at once, keeps the rest.
async fn read_words(source: pipe::Receiver, said: &mut Said, context: &Context) {
    let mut lines = Lines::of(source);
    while let Some(line) = lines.next().await {
        match ProgressLine::parse(&line) {
            Some(ProgressLine::Progress(progress)) => context.progress(progress),
            Some(word) => said.add(word),
            None => {}
        }
    }
}
