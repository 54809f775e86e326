//! `longrun worker KIND -- COMMAND…`: a command for each operation of a kind.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use tokio_util::sync::CancellationToken;

use super::host::keeper;
use super::output::Output;
use super::remote::Remote;
use super::signals::Signals;
use super::{Exit, Usage};
use crate::operation::Kind;
use crate::time_text::parse_duration;
use crate::worker::Worker;
use crate::worker::command::{Command, RetryOn};

const EXAMPLES: &str = "\
Examples:
  longrun worker shout -- tr a-z A-Z
  longrun worker report.build --concurrency 4 -- python3 build_report.py --format pdf
  longrun worker thumbnail -- sh -c 'echo 10% decoding >&3; convert - -resize 128 png:-'

The command gets the input on stdin and LONGRUN_… variables; of the worker's own variables it gets
PATH, HOME, LANG, TZ and what --env names. What it writes on stdout is the result, lines on stderr
go to the operation's history. Lines on file descriptor 3 are progress: `40%`, `4/10`,
`4/10 copying` or {\"percent\": 40, \"message\": \"…\"}; or `content-type: text/csv` for the result,
`warning CODE: text` and `error CODE: text` (with exit 0: a partial success).

Exit 0 succeeds. 75, a death by a signal (129 to 159 where a shell reports it) and the codes of
--retry-on ask for another attempt. Anything else fails for good. The message is the named error,
or the end of stderr. A cancel is SIGTERM to all processes of the command, then SIGKILL when the
grace period is over. What the command starts ends with it. docs/workers.md has all of it.

The first SIGTERM or SIGINT stops taking work and lets running commands finish within the drain
timeout; what is left goes back to the queue. A second one ends at once.";

/// Arguments of `worker`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The kind to serve
    #[arg(value_parser = kind)]
    kind: String,
    /// The command and its arguments, run as they are, without a shell
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Environment variable of this worker that the command gets too; repeatable
    #[arg(long = "env", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    variables: Vec<String>,
    /// Exit codes that ask for another attempt, beside 75: `all`, or codes like 1,64-78
    #[arg(long, value_name = "CODES", env = "LONGRUN_RETRY_ON")]
    retry_on: Option<RetryOn>,
    /// How many commands run at once
    #[arg(long, value_name = "N", env = "LONGRUN_CONCURRENCY", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: u16,
    /// This worker's name, for people; by default host and process id
    #[arg(long, value_name = "ID", env = "LONGRUN_WORKER_ID")]
    worker_id: Option<String>,
    /// Longest time for running commands after SIGTERM or SIGINT
    #[arg(long, value_name = "DURATION", env = "LONGRUN_DRAIN_TIMEOUT", default_value = "8s", value_parser = parse_duration)]
    drain_timeout: Duration,
}

fn kind(text: &str) -> Result<String, String> {
    Kind::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Whether a program of that name can be run, as the system looks for it.
fn is_there(program: &OsStr) -> bool {
    let is_file = |path: PathBuf| path.metadata().is_ok_and(|found| found.is_file());
    if program.as_encoded_bytes().contains(&b'/') {
        return is_file(program.into());
    }
    // Without a PATH the system has one of its own.
    let Some(path) = std::env::var_os("PATH") else { return true };
    std::env::split_paths(&path).any(|directory| is_file(directory.join(program)))
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let Args { kind, command, variables, retry_on, concurrency, worker_id, drain_timeout } = args;
    let mut words = command.into_iter();
    let program = words.next().context("no command was given")?;
    if !is_there(&program) {
        let program = program.to_string_lossy();
        return Err(Usage(format!("there is no program {program} to run, see PATH")).into());
    }
    let command = Command::new(program, words)
        .with_keeper(keeper()?)
        .with_retry_on(retry_on.unwrap_or_default())
        .with_variables(variables);
    let mut worker = Worker::new(remote.client.clone())
        .command(&kind, command)
        .concurrency(concurrency.into())
        .drain_timeout(drain_timeout);
    if let Some(worker_id) = worker_id {
        worker = worker.worker_id(worker_id);
    }
    out.note(&format!("serving {kind}, {concurrency} at once; Ctrl-C stops"));
    let stop = CancellationToken::new();
    let mut signals = Signals::catch()?;
    let work = worker.run(stop.clone());
    tokio::pin!(work);
    let mut asked = false;
    loop {
        tokio::select! {
            ended = &mut work => {
                ended.with_context(|| format!("failed to serve {kind}"))?;
                return Ok(Exit::Ok);
            }
            signal = signals.next() => {
                if std::mem::replace(&mut asked, true) {
                    return Ok(signal);
                }
                out.note("stopping: what runs may finish; again to end at once");
                stop.cancel();
            }
        }
    }
}
