//! `longrun cancel`, `run-now`, `delete` and `retry`: changes to existing operations.

use clap::builder::NonEmptyStringValueParser;

use super::output::{self, Output, Usage};
use super::remote::Remote;
use super::selection::Chosen;
use super::{Exit, describe, get};
use crate::client::ClientError;
use crate::proto::v1::{Operation, RetryOperationRequest};

const CANCEL_EXAMPLES: &str = "\
Examples:
  longrun cancel 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e --reason 'wrong input'
  longrun cancel --kind report.build --state queued          asks first; --yes does not

A queued operation is CANCELLED at once. A running one is CANCELLING until its worker has stopped or
its grace period is over; if it ends first, its outcome counts. Cancelling a done operation changes
nothing.";

const DELETE_EXAMPLES: &str = "\
Examples:
  longrun delete 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e
  longrun delete --filter 'state=FAILED AND labels.team=maps' --yes

Only done operations can be deleted: deleting does not cancel.";

const RUN_NOW_EXAMPLES: &str = "\
Examples:
  longrun run-now 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e
  longrun run-now --kind report.build --yes                  all that wait for their time

For queued operations that wait for their start time, or for the next attempt after a failed one:
they start as soon as a worker has room. Other operations do not change.";

const RETRY_EXAMPLES: &str = "\
Examples:
  longrun retry 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e
  longrun retry --state failed --since 1h

The done operation does not change. The command prints a new one with the same input and settings.";

/// Arguments of `cancel`.
#[derive(clap::Args, Debug)]
#[command(after_help = CANCEL_EXAMPLES)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Reason, for people and for the worker; at most 1,000 characters
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Arguments of `delete`.
#[derive(clap::Args, Debug)]
#[command(after_help = DELETE_EXAMPLES)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    chosen: Chosen,
}

/// Arguments of `run-now`.
#[derive(clap::Args, Debug)]
#[command(after_help = RUN_NOW_EXAMPLES)]
pub(super) struct RunNowArgs {
    #[command(flatten)]
    chosen: Chosen,
}

/// Arguments of `retry`.
#[derive(clap::Args, Debug)]
#[command(after_help = RETRY_EXAMPLES)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Name for this retry of one operation: the same command with the same key returns the same new operation
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    idempotency_key: Option<String>,
    /// Print the new operation's name and nothing else
    #[arg(long, short)]
    quiet: bool,
}

pub(super) async fn cancel(
    args: CancelArgs,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Ok;
    for name in &args.chosen.names("cancel", "done=false", remote, out).await? {
        match remote.client.cancel(name, &args.reason).await {
            Ok(operation) => state_line(&operation, out)?,
            Err(error) => exit = refused(&error, &format!("cancel {name}"), remote, out)?,
        }
    }
    Ok(exit)
}

pub(super) async fn run_now(
    args: RunNowArgs,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Ok;
    for name in &args.chosen.names("run", "state=QUEUED", remote, out).await? {
        match remote.client.run_now(name).await {
            Ok(operation) => state_line(&operation, out)?,
            Err(error) => exit = refused(&error, &format!("run {name}"), remote, out)?,
        }
    }
    Ok(exit)
}

pub(super) async fn delete(
    args: DeleteArgs,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let mut exit = Exit::Ok;
    for name in &args.chosen.names("delete", "done=true", remote, out).await? {
        match remote.client.delete(name).await {
            Ok(()) if out.is_json() => {}
            Ok(()) => out.line(&format!("{name} deleted"))?,
            Err(error) => exit = refused(&error, &format!("delete {name}"), remote, out)?,
        }
    }
    Ok(exit)
}

/// Reports the refusal of one operation. The command goes on with the others, unless the server cannot be reached.
fn refused(error: &ClientError, to: &str, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let is_transient = error.is_transient();
    let error = remote.failed(error, to);
    if is_transient { Err(error) } else { Ok(output::report(&error, out.is_json())) }
}

pub(super) async fn retry(args: RetryArgs, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let RetryArgs { chosen, idempotency_key, quiet } = args;
    let names = chosen.names("retry", "done=true", remote, out).await?;
    if names.len() > 1 && idempotency_key.is_some() {
        let text = "--idempotency-key is for one operation, because each retry needs a key of its own: name one, e.g. longrun \
                    retry 01980a3e --idempotency-key again";
        return Err(Usage(text.to_owned()).into());
    }
    let mut exit = Exit::Ok;
    for name in names {
        let idempotency_key = idempotency_key.clone().unwrap_or_default();
        let request = RetryOperationRequest { name: name.clone(), idempotency_key };
        match remote.client.retry(request).await {
            Ok(operation) if quiet => out.line(&operation.name)?,
            Ok(operation) => state_line(&operation, out)?,
            Err(error) => exit = refused(&error, &format!("retry {name}"), remote, out)?,
        }
    }
    Ok(exit)
}

/// An operation's name and state, or its JSON document.
pub(super) fn state_line(operation: &Operation, out: &Output) -> anyhow::Result<()> {
    if out.is_json() {
        return get::show(operation, out);
    }
    let state = operation.state();
    let name = out.paint.state(state, describe::state_name(state));
    out.line(&format!("{}  {name}", operation.name))
}
