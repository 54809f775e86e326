//! `longrun wait NAME`: waits until the operation is done, or the time to wait is over.

use std::time::Duration;

use tokio::time::Instant;

use super::output::{Output, while_read};
use super::remote::Remote;
use super::{Exit, completions, get, signals, silence};
use crate::client::ClientError;
use crate::proto::v1::Operation;
use crate::time_text::parse_duration;

const EXAMPLES: &str = "\
Examples:
  longrun wait 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e && echo it succeeded
  longrun wait 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e --timeout 30s; echo $?   6 if it is not done
  longrun wait $(longrun list --label batch=7 --all -o name)

Exit codes: 0 SUCCEEDED, 3 FAILED, 4 CANCELLED, 5 PARTIALLY_SUCCEEDED, 6 not done when the time was
over, 1 if the server was not reached by then, 130 interrupted. With several operations, the first
code that is not 0. Waiting survives proxies, lost connections and restarts of the server.";

/// Arguments of `wait`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The operations: names, ids, beginnings of ids of at least 8 digits, or URLs
    #[arg(required = true, value_name = "NAME", add = completions::operations())]
    names: Vec<String>,
    /// The longest time to wait for all of them, e.g. 30s, 5m; unlimited by default
    #[arg(long, visible_alias = "wait", value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let client = remote.patient();
    let end = args.timeout.map(|limit| Instant::now() + limit);
    let mut exit = Exit::Ok;
    for name in remote.names(&args.names).await? {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let ended = wait(&name, client.wait(&name, left), remote, out).await?;
        match ended {
            Exit::Interrupted | Exit::Terminated => return Ok(ended),
            _ if exit == Exit::Ok => exit = ended,
            _ => {}
        }
    }
    Ok(exit)
}

/// Waits, shows the operation, and returns the exit code for its outcome.
pub(super) async fn wait(
    name: &str,
    waiting: impl Future<Output = Result<Operation, ClientError>>,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    match while_read(until_done(name, waiting, remote, out)).await? {
        Ok(operation) => {
            get::show(&operation, out)?;
            if !operation.done {
                out.note(&format!("{name} is not done yet"));
            }
            Ok(Exit::of(&operation))
        }
        Err(exit) => Ok(exit),
    }
}

/// Waits, and returns the exit code for the outcome.
pub(super) async fn silently(
    name: &str,
    waiting: impl Future<Output = Result<Operation, ClientError>>,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let waited = until_done(name, waiting, remote, out).await?;
    Ok(waited.map_or_else(|exit| exit, |operation| Exit::of(&operation)))
}

/// The operation, when it is done or the time to wait is over; or the exit code for a signal.
pub(super) async fn until_done(
    name: &str,
    waiting: impl Future<Output = Result<Operation, ClientError>>,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Result<Operation, Exit>> {
    let (asked, note) = (|| Some(name.to_owned()), |words: &str| out.note(words));
    let waiting = silence::broken(remote, asked, note, waiting);
    match signals::interruptible(waiting).await? {
        Ok(Ok(operation)) => Ok(Ok(operation)),
        Ok(Err(error)) => Err(remote.failed(&error, &format!("wait for {name}"))),
        Err(exit) => {
            goes_on(name, out);
            Ok(Err(exit))
        }
    }
}

/// Notes that only the waiting has ended.
pub(super) fn goes_on(name: &str, out: &Output) {
    out.note(&format!("stopped waiting; {name} goes on (`longrun cancel {name}` cancels it)"));
}
