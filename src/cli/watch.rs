//! `longrun watch NAME`: one operation, up to its end.

use std::cell::OnceCell;

use super::live::Live;
use super::output::{Output, Usage, while_read};
use super::remote::Remote;
use super::{Exit, completions, describe, signals, silence, text, wait, watch_many};
use crate::client::Watch;
use crate::config::whole;
use crate::proto::v1::watch_operation_response::Type;
use crate::proto::v1::{Operation, WatchOperationRequest};

const EXAMPLES: &str = "\
Examples:
  longrun watch 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e
  longrun watch 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e --after-revision 0     from its beginning
  longrun watch --filter 'kind=report.build AND done=false'                 many, until Ctrl-C
  longrun watch 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e --json | jq -c '.operation.progress'

A watch survives proxies, lost connections and restarts of the server, and misses no transition.
Times are UTC. With --json each message is a document on one line.

Exit codes, with NAME: 0 SUCCEEDED, 3 FAILED, 4 CANCELLED, 5 PARTIALLY_SUCCEEDED, 130 interrupted.
With several operations, the first code that is not 0.";

const NOTHING: &str = "NAME is missing: name the operations to watch, or give --filter EXPR for all that match, e.g. \
                       longrun watch --filter 'kind=report.build'";

/// Arguments of `watch`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The operations: names, ids, beginnings of ids of at least 8 digits, or URLs
    #[arg(value_name = "NAME", conflicts_with = "filter", add = completions::operations())]
    names: Vec<String>,
    /// Begin with every transition after this revision, 0 for all, instead of the operation as it is
    #[arg(long, value_name = "N", conflicts_with = "filter", value_parser = whole(0..=i64::MAX))]
    after_revision: Option<i64>,
    /// Watch all operations that match, e.g. kind=report.build; AIP-160 as in `longrun list`
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    if let Some(filter) = args.filter {
        return watch_many::run(filter, remote, out).await;
    }
    let names = remote.names(&args.names).await?;
    match names.as_slice() {
        [] => Err(Usage(NOTHING.to_owned()).into()),
        [name] => one(name, args.after_revision, remote, out).await,
        _ => watch_many::named(names, args.after_revision, remote, out).await,
    }
}

/// Watches an operation, shows its outcome, and returns the exit code for it.
pub(super) async fn one(
    name: &str,
    after_revision: Option<i64>,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let watch = remote.patient().watch(WatchOperationRequest {
        name: name.to_owned(),
        after_revision,
        include_progress: true,
        ..Default::default()
    });
    to_its_end(watch, &format!("watch {name}"), remote, out).await
}

/// Shows the messages of a watch and the operation's outcome, and returns the exit code for it. `to` names the command
/// in errors.
pub(super) async fn to_its_end(
    mut watch: Watch,
    to: &str,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let live = Live::new(out);
    let name = OnceCell::new();
    let work = follow(&mut watch, &live, &name, remote, to);
    let work = silence::broken(remote, || name.get().cloned(), |words| live.note(words), work);
    let followed = while_read(signals::interruptible(work)).await?;
    live.end();
    match followed {
        Ok(last) => {
            let Some(operation) = last? else { return Ok(Exit::NotDone) };
            if !out.is_json() {
                ending(&operation, out)?;
            }
            Ok(Exit::of(&operation))
        }
        Err(exit) => {
            let name = watch.name();
            if name.is_empty() {
                // It is unknown whether it was submitted.
                return Ok(exit);
            }
            wait::goes_on(name, out);
            if let Some(revision) = watch.revision() {
                out.hint(&format!("`longrun watch {name} --after-revision {revision}` resumes"));
            }
            Ok(exit)
        }
    }
}

/// Shows the messages of a watch, and returns the latest operation.
async fn follow(
    watch: &mut Watch,
    live: &Live<'_>,
    name: &OnceCell<String>,
    remote: &Remote,
    to: &str,
) -> anyhow::Result<Option<Operation>> {
    let mut last = None;
    while let Some(message) = watch.next().await {
        let message = message.map_err(|error| remote.failed(&error, to))?;
        live.show(&message)?;
        if let Some(operation) = &message.operation {
            name.get_or_init(|| operation.name.clone());
        }
        if message.r#type() != Type::Progress {
            last = message.operation.or(last);
        }
    }
    match last {
        Some(operation) => Ok(Some(operation)),
        // The given revision was the last one, so there is no message.
        None => {
            let view = crate::proto::v1::OperationView::Result;
            let got = remote.client.get(watch.name(), view).await;
            got.map(Some).map_err(|error| remote.failed(&error, to))
        }
    }
}

/// The outcome: the result, errors and warnings.
fn ending(operation: &Operation, out: &Output) -> anyhow::Result<()> {
    if let Some(result) = &operation.result {
        out.line(&format!("{}  {}", out.paint.dim("result"), describe::summary(result)))?;
        match describe::contents(result) {
            Some(contents) => out.line(&contents)?,
            None => {
                let name = text::clean(&operation.name);
                out.line(&format!("`longrun result {name}` reads it"))?;
            }
        }
    }
    let errors = operation.errors.iter().map(|error| ("error", error));
    let alone = operation
        .error
        .iter()
        .filter(|error| !error.causes.is_empty() || !error.metadata.is_empty());
    let warnings = operation.warnings.iter().map(|error| ("warning", error));
    for (what, error) in alone.map(|error| ("error", error)).chain(errors).chain(warnings) {
        out.line(&format!("{}\n{}", out.paint.red(what), describe::error(error, 2)))?;
    }
    Ok(())
}
