//! `longrun get NAME`.

use super::format::{self, Format};
use super::output::Output;
use super::remote::Remote;
use super::{Exit, completions, describe, list, silence, text};
use crate::proto::json;
use crate::proto::v1::{Operation, OperationView};

const EXAMPLES: &str = "\
Examples:
  longrun get 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e
  longrun get operations/01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e --json | jq .state
  longrun get 01980a3e 01980a41 -o table";

/// Arguments of `get`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The operations: names, ids, beginnings of ids of at least 8 digits, or URLs
    #[arg(required = true, value_name = "NAME", add = completions::operations())]
    names: Vec<String>,
    /// Output format, in place of a page for each operation; --json is -o json
    #[arg(long = "output", short = 'o', value_name = "FORMAT", value_enum)]
    format: Option<Format>,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let format = Format::chosen(args.format, out)?;
    let mut rows = Vec::new();
    for name in remote.names(&args.names).await? {
        let got = remote.client.get(&name, OperationView::Full).await;
        let operation = got.map_err(|error| remote.failed(&error, &format!("get {name}")))?;
        match format {
            None => show(&operation, out)?,
            Some(Format::Table) => rows.push(operation.clone()),
            Some(format) => format::document(&operation, format, out)?,
        }
        if let Some(words) = silence::words(&operation, text::now()) {
            out.note(&words);
        }
    }
    if !rows.is_empty() {
        list::table(&rows, out)?;
    }
    Ok(Exit::Ok)
}

/// The operation as a page or as its JSON document.
pub(super) fn show(operation: &Operation, out: &Output) -> anyhow::Result<()> {
    if out.is_json() {
        return out.document(&json::to_value(operation)?);
    }
    out.line(&describe::page(operation, text::now(), out.paint))
}
