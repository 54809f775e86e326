//! `longrun workers` and `longrun kinds`.

use std::time::{Duration, SystemTime};

use clap::Subcommand;

use super::output::Output;
use super::remote::Remote;
use super::table::{Cell, Table};
use super::{Exit, text};
use crate::proto::json;
use crate::proto::v1::worker::State;
use crate::proto::v1::{DurationPercentiles, KindSummary, Worker};

const WORKERS_EXAMPLES: &str = "\
Examples:
  longrun workers
  longrun workers --kind report.build --json | jq -r '.workers[].workerId'

STATE is SERVING, DRAINING (the worker takes no more work) or AWAY (its connection is lost, and it
may reconnect and continue its attempts).";

const KINDS_EXAMPLES: &str = "\
Examples:
  longrun kinds
  longrun kinds --json | jq '.kinds[] | select(.workers == 0) | .kind'
  longrun kinds pause report.build
  longrun kinds resume report.build

OLDEST is how long the oldest queued operation has waited. ENDED/MIN and FAILED/MIN count the
operations that have ended in the last minute. WAITED and TOOK are medians of the latest
attempts: how long they waited, and how long they took; --json has percentiles.

No operation of a paused kind is started: running ones go on, and new ones wait. A pause applies at
once at the server that is called, within a second at its replicas, and after restarts.";

/// Arguments of `workers`.
#[derive(clap::Args, Debug)]
#[command(after_help = WORKERS_EXAMPLES)]
pub(super) struct WorkersArgs {
    /// Only workers that serve this kind
    #[arg(long, short = 'K', value_name = "KIND", default_value = "", hide_default_value = true)]
    kind: String,
}

/// Arguments of `kinds`.
#[derive(clap::Args, Debug)]
#[command(after_help = KINDS_EXAMPLES)]
pub(super) struct KindsArgs {
    #[command(subcommand)]
    command: Option<KindCommand>,
}

#[derive(Debug, Subcommand)]
enum KindCommand {
    /// Pause a kind: none of its operations are started
    Pause(WhichKind),
    /// Resume a paused kind
    Resume(WhichKind),
}

#[derive(clap::Args, Debug)]
struct WhichKind {
    /// The kind
    #[arg(value_name = "KIND")]
    kind: String,
    /// Tenant; by default the caller's own; - for all tenants. Others than your own are for operators
    #[arg(long, value_name = "TENANT", default_value = "", hide_default_value = true)]
    tenant: String,
}

pub(super) async fn workers(
    args: WorkersArgs,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Exit> {
    let listed = remote.client.list_workers(&args.kind).await;
    let listed = listed.map_err(|error| remote.failed(&error, "list workers"))?;
    if out.is_json() {
        out.document(&json::to_value(&listed)?)?;
        return Ok(Exit::Ok);
    }
    if listed.workers.is_empty() {
        match args.kind.as_str() {
            "" => out.note("no worker is connected"),
            kind => out.note(&format!("no worker serves {}", text::clean(kind))),
        }
        return Ok(Exit::Ok);
    }
    out.line(&workers_table(&listed.workers, text::now(), out))?;
    note_rest(listed.workers.len(), listed.total_size, out);
    Ok(Exit::Ok)
}

/// Workers as a table.
pub(super) fn workers_table(workers: &[Worker], now: SystemTime, out: &Output) -> String {
    let headings = ["WORKER", "STATE", "RUNNING", "KINDS", "AGE", "WHERE"];
    let rows = workers.iter().map(|worker| worker_row(worker, now)).collect();
    Table::new(headings, out.paint).block(rows)
}

fn worker_row(worker: &Worker, now: SystemTime) -> [Cell; 6] {
    let state = match worker.state() {
        State::Unspecified => "",
        state => state.as_str_name().trim_start_matches("STATE_"),
    };
    let age = text::time(worker.connect_time.as_ref()).map(|time| text::age(time, now));
    let place = match (worker.other_replica, worker.shared) {
        (true, _) => "another replica",
        (false, true) => "within the server",
        (false, false) => "",
    };
    [
        text::clean(&worker.worker_id).into(),
        state.into(),
        format!("{}/{}", worker.running, worker.places).into(),
        text::shorten(&text::clean(&worker.kinds.join(",")), 60).into(),
        age.unwrap_or_default().into(),
        place.into(),
    ]
}

pub(super) async fn kinds(args: KindsArgs, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let (WhichKind { kind, tenant }, done) = match args.command {
        None => return list_kinds(remote, out).await,
        Some(KindCommand::Pause(which)) => {
            let paused = remote.client.pause_kind(&which.kind, &which.tenant).await;
            paused.map_err(|error| remote.failed(&error, "pause the kind"))?;
            (which, "paused")
        }
        Some(KindCommand::Resume(which)) => {
            let resumed = remote.client.resume_kind(&which.kind, &which.tenant).await;
            resumed.map_err(|error| remote.failed(&error, "resume the kind"))?;
            (which, "resumed")
        }
    };
    if !out.is_json() {
        let of = match tenant.as_str() {
            "" => String::new(),
            "-" => " for all tenants".to_owned(),
            tenant => format!(" for {}", text::clean(tenant)),
        };
        out.line(&format!("{} {done}{of}", text::clean(&kind)))?;
    }
    Ok(Exit::Ok)
}

async fn list_kinds(remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let listed = remote.client.list_kinds().await;
    let listed = listed.map_err(|error| remote.failed(&error, "list kinds"))?;
    if out.is_json() {
        out.document(&json::to_value(&listed)?)?;
        return Ok(Exit::Ok);
    }
    if listed.kinds.is_empty() {
        out.note("no kinds: no worker is connected, and no operation waits or runs");
        return Ok(Exit::Ok);
    }
    out.line(&kinds_table(&listed.kinds, text::now(), out))?;
    note_rest(listed.kinds.len(), listed.total_size, out);
    Ok(Exit::Ok)
}

/// Kinds as a table.
pub(super) fn kinds_table(kinds: &[KindSummary], now: SystemTime, out: &Output) -> String {
    let headings = [
        "KIND",
        "QUEUED",
        "OLDEST",
        "RUNNING",
        "WORKERS",
        "ENDED/MIN",
        "FAILED/MIN",
        "WAITED",
        "TOOK",
    ];
    let rows = kinds.iter().map(|kind| kind_row(kind, now)).collect();
    Table::new(headings, out.paint).block(rows)
}

fn kind_row(kind: &KindSummary, now: SystemTime) -> [Cell; 9] {
    let waited = text::time(kind.oldest_queued_time.as_ref())
        .and_then(|since| now.duration_since(since).ok())
        .map(text::duration);
    [
        match kind.paused {
            true => format!("{} (paused)", text::clean(&kind.kind)).into(),
            false => text::clean(&kind.kind).into(),
        },
        kind.queued.to_string().into(),
        waited.unwrap_or_default().into(),
        kind.running.to_string().into(),
        kind.workers.to_string().into(),
        kind.ended_last_minute.to_string().into(),
        kind.failed_last_minute.to_string().into(),
        median(kind.queue_durations.as_ref()).into(),
        median(kind.attempt_durations.as_ref()).into(),
    ]
}

/// The median of durations.
fn median(of: Option<&DurationPercentiles>) -> String {
    let p50 = of.and_then(|of| of.p50).and_then(|it| Duration::try_from(it).ok());
    p50.map(text::duration).unwrap_or_default()
}

fn note_rest(shown: usize, total: i32, out: &Output) {
    let rest = usize::try_from(total).unwrap_or_default().saturating_sub(shown);
    if rest > 0 {
        out.note(&format!("{rest} more are not shown"));
    }
}
