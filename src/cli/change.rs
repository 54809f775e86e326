//! `longrun cancel`, `delete` and `retry`: what changes an operation that exists.

use clap::builder::NonEmptyStringValueParser;

use super::output::{self, Output};
use super::remote::Remote;
use super::{Exit, describe, get};
use crate::client::ClientError;
use crate::proto::v1::{Operation, RetryOperationRequest};

const CANCEL_EXAMPLES: &str = "\
Examples:
  longrun cancel 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e --reason 'wrong input'

A queued operation is CANCELLED at once. A running one is CANCELLING until its worker has stopped or
its grace period is over; if it ends first, its outcome stands. Cancelling what is done changes
nothing.";

const DELETE_EXAMPLES: &str = "\
Examples:
  longrun delete 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e
  longrun delete $(longrun list --filter state=FAILED --all --json | jq -r '.operations[].name')

Only done operations can be deleted: deleting does not cancel.";

const RETRY_EXAMPLES: &str = "\
Examples:
  longrun retry 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e

The done operation stays as it is; the answer is a new one with the same input and settings.";

/// Arguments of `cancel`.
#[derive(clap::Args, Debug)]
#[command(after_help = CANCEL_EXAMPLES)]
pub(super) struct CancelArgs {
    /// The operations: operations/ID or ID
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Why, for people and for the worker; at most 1,000 characters
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Arguments of `delete`.
#[derive(clap::Args, Debug)]
#[command(after_help = DELETE_EXAMPLES)]
pub(super) struct DeleteArgs {
    /// The operations: operations/ID or ID
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Arguments of `retry`.
#[derive(clap::Args, Debug)]
#[command(after_help = RETRY_EXAMPLES)]
pub(super) struct RetryArgs {
    /// The done operation: operations/ID or ID
    name: String,
    /// Name for this retry: repeating the command with the same key gives the same new operation
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
    for name in &args.names {
        match remote.client.cancel(name, &args.reason).await {
            Ok(operation) => state_line(&operation, out)?,
            Err(error) => exit = refused(&error, &format!("cancel {name}"), remote)?,
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
    for name in &args.names {
        match remote.client.delete(name).await {
            Ok(()) if out.is_json() => {}
            Ok(()) => out.line(&format!("{name} deleted"))?,
            Err(error) => exit = refused(&error, &format!("delete {name}"), remote)?,
        }
    }
    Ok(exit)
}

/// Says that one of several was refused; the others are still to be done, unless no server is there.
fn refused(error: &ClientError, to: &str, remote: &Remote) -> anyhow::Result<Exit> {
    let is_transient = error.is_transient();
    let error = remote.failed(error, to);
    if is_transient { Err(error) } else { Ok(output::report(&error)) }
}

pub(super) async fn retry(args: RetryArgs, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let RetryArgs { name, idempotency_key, quiet } = args;
    let idempotency_key = idempotency_key.unwrap_or_default();
    let request = RetryOperationRequest { name: name.clone(), idempotency_key };
    let retried = remote.client.retry(request).await;
    let operation = retried.map_err(|error| remote.failed(&error, &format!("retry {name}")))?;
    if quiet {
        out.line(&operation.name)?;
    } else {
        state_line(&operation, out)?;
    }
    Ok(Exit::Ok)
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
