//! `longrun events NAME`: the history.

use std::pin::pin;

use futures_util::TryStreamExt as _;

use super::output::Output;
use super::remote::Remote;
use super::table::{Cell, Table};
use super::{Exit, completions, describe, text};
use crate::proto::json;
use crate::proto::v1::Event;

const EXAMPLES: &str = "\
Examples:
  longrun events 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e
  longrun events 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e --json | jq -r 'select(.log).log.text'

With --json each event is a document on one line. `longrun watch NAME --after-revision 0` shows the
same transitions, and goes on live.";

/// The rows of one block of the table: enough to align, few enough to begin at once.
const BLOCK: usize = 100;

/// Arguments of `events`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The operations: names, ids, beginnings of ids of at least 8 digits, or URLs
    #[arg(required = true, value_name = "NAME", add = completions::operations())]
    names: Vec<String>,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let names = remote.names(&args.names).await?;
    for name in &names {
        if names.len() > 1 && !out.is_json() {
            out.line(&out.paint.dim(&text::clean(name)))?;
        }
        show(name, remote, out).await?;
    }
    Ok(Exit::Ok)
}

/// The whole history, oldest first.
pub(super) async fn show(name: &str, remote: &Remote, out: &Output) -> anyhow::Result<()> {
    let mut events = pin!(remote.client.events_all(name));
    let mut table = Table::new(["TIME", "TYPE", "STATE", "ATTEMPT", "WORKER", "TEXT"], out.paint);
    let mut rows = Vec::new();
    loop {
        let next = events.try_next().await;
        let next =
            next.map_err(|error| remote.failed(&error, &format!("list events of {name}")))?;
        let is_last = next.is_none();
        match next {
            Some(event) if out.is_json() => out.record(&json::to_value(&event)?)?,
            Some(event) => rows.push(row(&event)),
            None => {}
        }
        if rows.len() == BLOCK || (is_last && !rows.is_empty()) {
            out.line(&table.block(std::mem::take(&mut rows)))?;
        }
        if is_last {
            return Ok(());
        }
    }
}

fn row(event: &Event) -> [Cell; 6] {
    let attempt = match event.attempt {
        0 => String::new(),
        attempt => attempt.to_string(),
    };
    [
        text::time(event.time.as_ref()).map(text::date).unwrap_or_default().into(),
        event.r#type().as_str_name().trim_start_matches("TYPE_").into(),
        Cell::state(event.state()),
        attempt.into(),
        text::clean(&event.worker_id).into(),
        describe::event(event).into(),
    ]
}
