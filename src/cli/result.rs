//! `longrun result NAME` and `longrun input NAME`: the exact bytes.

use std::time::Duration;

use super::contents::To;
use super::output::{Ended, Output, while_read};
use super::remote::Remote;
use super::{Exit, completions};
use super::{describe, wait};
use crate::client::ClientError;
use crate::proto::v1::operation::State;
use crate::proto::v1::{Operation, OperationView};
use crate::time_text::parse_duration;

const RESULT_EXAMPLES: &str = "\
Examples:
  longrun result 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e | jq .
  longrun result 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e -o report.pdf
  longrun result 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e --wait 5m

An interrupted read resumes where it stopped. With --json, which needs -o, the output is a document
with the result's content type and size.

Exit codes: 3 FAILED and 4 CANCELLED, with the reason on stderr; 6 not done when the time of --wait
was over; 1 not done, without --wait. If an operation succeeded without a result, nothing is
written, a note on stderr says so, and the exit code is 0. Binary contents go to a terminal only
with -o -.";

const INPUT_EXAMPLES: &str = "\
Examples:
  longrun input 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e | jq .
  longrun input 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e -o archive.tar

An interrupted read resumes where it stopped. With --json, which needs -o, the output is a document
with the input's content type and size. Binary contents go to a terminal only with -o -.";

/// Arguments of `result`.
#[derive(clap::Args, Debug)]
#[command(after_help = RESULT_EXAMPLES)]
pub(super) struct Args {
    /// The operations: names, ids, beginnings of ids of at least 8 digits, or URLs; with several, their results follow each other
    #[arg(required = true, value_name = "NAME", add = completions::operations())]
    names: Vec<String>,
    #[command(flatten)]
    to: To,
    /// Wait until it is done; --wait 30s waits at most 30 s
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = parse_duration)]
    wait: Option<Option<Duration>>,
}

/// Arguments of `input`.
#[derive(clap::Args, Debug)]
#[command(after_help = INPUT_EXAMPLES)]
pub(super) struct InputArgs {
    /// The operations: names, ids, beginnings of ids of at least 8 digits, or URLs; with several, their inputs follow each other
    #[arg(required = true, value_name = "NAME", add = completions::operations())]
    names: Vec<String>,
    #[command(flatten)]
    to: To,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let Args { names, to, wait } = args;
    to.check(out)?;
    to.check_several(names.len())?;
    for name in remote.names(&names).await? {
        if let Some(limit) = wait {
            let client = remote.patient();
            let waiting = wait::until_done(&name, client.wait(&name, limit), remote, out);
            let waited = match to.is_stdout() {
                true => while_read(waiting).await?,
                false => waiting.await?,
            };
            match waited {
                Ok(operation) if operation.done => {}
                Ok(_) => return Ok(not_done(&name, out)),
                Err(exit) => return Ok(exit),
            }
        }
        write(&name, &to, remote, out).await?;
    }
    Ok(Exit::Ok)
}

/// Waits for an operation, and writes its result to stdout. Returns the exit code for its outcome.
pub(super) async fn after(
    name: &str,
    waiting: impl Future<Output = Result<Operation, ClientError>>,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    match while_read(wait::until_done(name, waiting, remote, out)).await? {
        Ok(operation) if operation.done => {
            write(name, &To::default(), remote, out).await?;
            Ok(Exit::of(&operation))
        }
        Ok(_) => Ok(not_done(name, out)),
        Err(exit) => Ok(exit),
    }
}

fn not_done(name: &str, out: &Output) -> Exit {
    out.note(&format!("{name} is not done yet"));
    Exit::NotDone
}

async fn write(name: &str, to: &To, remote: &Remote, out: &Output) -> anyhow::Result<()> {
    let failed = |error| remote.failed(&error, &format!("read the result of {name}"));
    match remote.client.result_stream(name, 0).await {
        Ok(contents) => to.write(contents, &format!("longrun result {name}"), out, failed).await,
        Err(error) => {
            let Some(operation) = without_result(name, &error, remote).await else {
                return Err(failed(error));
            };
            let state = describe::state_name(operation.state());
            match &operation.error {
                Some(error) => {
                    let text = format!("{name} {state}: {}", describe::one_line(error));
                    Err(Ended { text, exit: Exit::of(&operation) }.into())
                }
                None => {
                    out.note(&format!("{name} {state} without a result"));
                    Ok(())
                }
            }
        }
    }
}

/// The operation, if it has ended, and has an error or no result.
async fn without_result(name: &str, error: &ClientError, remote: &Remote) -> Option<Operation> {
    if error.is_transient() {
        return None;
    }
    let operation = remote.client.get(name, OperationView::Result).await.ok()?;
    let succeeded = matches!(operation.state(), State::Succeeded | State::PartiallySucceeded);
    let is_without = operation.error.is_some() || (succeeded && operation.result.is_none());
    (operation.done && is_without).then_some(operation)
}

pub(super) async fn input(args: InputArgs, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let InputArgs { names, to } = args;
    to.check(out)?;
    to.check_several(names.len())?;
    for name in remote.names(&names).await? {
        let failed = |error| remote.failed(&error, &format!("read the input of {name}"));
        let contents = remote.client.input_stream(&name, 0).await.map_err(failed)?;
        to.write(contents, &format!("longrun input {name}"), out, failed).await?;
    }
    Ok(Exit::Ok)
}
