//! `longrun store copy FROM TO`.

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::output::{Output, Usage};
use super::super::signals::interruptible;
use super::super::text::count;
use super::super::{Exit, text};
use super::bar::Bar;
use super::{file, open_objects};
use crate::config::{Liveness, StoreUrl, Webhooks, objects_place};
use crate::engine::{Clock as _, SystemClock};
use crate::files;
use crate::server;
use crate::transfer::{self, Copied, CopyOptions, Side, Tally};

const EXAMPLES: &str = "\
Examples:
  longrun store copy sqlite:longrun.db sqlite:/mnt/larger/longrun.db
  longrun store copy sqlite:longrun.db postgres://db/longrun --to-objects s3://bucket/longrun

Stop the servers of both stores first. The command copies everything: operations in every state,
inputs, results, histories with their log lines, idempotency keys, tombstones, API keys with the
server's secret, webhooks with their deliveries, objects. FROM does not change. The server of TO
sends the deliveries that the server of FROM had not, and none a second time.

TO must be empty, or part of an earlier copy of FROM: the same command continues an interrupted
copy. If TO has anything else, the command writes nothing and names the first such operation. At the
end it reads both stores again and compares them.

Exit codes: 0 copied, and both sides are the same; 1 not copied, or they differ; 2 the command line
is wrong; 130 or 143 interrupted: start it again to continue.";

/// Arguments of `store copy`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Store to copy from
    #[arg(value_name = "FROM")]
    from: StoreUrl,
    /// Store to copy to, created if it does not exist
    #[arg(value_name = "TO")]
    to: StoreUrl,
    /// Directory or URL of FROM's large inputs and results, as in `serve --objects`
    #[arg(long, value_name = "DIR|URL", value_parser = objects_place)]
    from_objects: Option<String>,
    /// Directory or URL for TO's large inputs and results, as in `serve --objects`
    #[arg(long, value_name = "DIR|URL", value_parser = objects_place)]
    to_objects: Option<String>,
}

pub(super) async fn run(args: Args, out: &Output) -> anyhow::Result<Exit> {
    let Args { from, to, from_objects, to_objects } = args;
    check(&from, &to)?;
    let began = Instant::now();
    let (source, target) = ((&from, from_objects.as_ref()), (&to, to_objects.as_ref()));
    let copied = interruptible(copy(source, target, out));
    let copied = match copied.await? {
        Ok(copied) => copied?,
        Err(signal) => return Ok(signal),
    };
    let seconds = began.elapsed().as_secs_f64();
    if out.is_json() {
        out.document(&summary(&from, &to, &copied, seconds))?;
    } else if copied.verified.is_same() {
        out.line(&words(&copied, seconds))?;
    }
    if copied.has_gap {
        out.note(
            "FROM's log is incomplete after the last transition that its server had read for webhooks: later \
             transitions are not delivered",
        );
    }
    if copied.verified.is_same() {
        return Ok(Exit::Ok);
    }
    let differences = count(copied.verified.differences, "difference");
    let told = copied.verified.told.join("\n");
    let error = anyhow::anyhow!("{told}")
        .context(format!("{to} is not the same as {from}: {differences}; do not serve it",));
    Err(error)
}

/// Refuses a copy of a store onto itself, and of one that is not there.
fn check(from: &StoreUrl, to: &StoreUrl) -> anyhow::Result<()> {
    if from == to {
        return Err(Usage(format!("FROM and TO are both {from}, and must differ, e.g. longrun store copy sqlite:longrun.db sqlite:copy.db")).into());
    }
    if let (Some(one), Some(other)) = (file(from), file(to))
        && files::is_same(one, other)
    {
        return Err(Usage(format!("FROM {from} and TO {to} are the same file, and must differ, e.g. longrun store copy sqlite:longrun.db sqlite:copy.db")).into());
    }
    if let Some(path) = file(from).filter(|path| !path.exists()) {
        anyhow::bail!("there is no store {}", path.display());
    }
    Ok(())
}

/// Copies between the stores with these places of objects, and closes both.
async fn copy(
    (from, from_objects): (&StoreUrl, Option<&String>),
    (to, to_objects): (&StoreUrl, Option<&String>),
    out: &Output,
) -> anyhow::Result<Copied> {
    let from = open(from, from_objects).await?;
    let to = match open(to, to_objects).await {
        Ok(to) => to,
        Err(error) => {
            from.store.close().await;
            return Err(error);
        }
    };
    let bar = Bar::new(out);
    let options = CopyOptions {
        lease_duration: Liveness::default().lease_duration,
        retry_for: Webhooks::default().retry_for,
        now: SystemClock.now(),
    };
    let watcher = |progress| bar.show(progress);
    let copied = transfer::copy(&from, &to, options, &watcher).await;
    from.store.close().await;
    to.store.close().await;
    copied.with_context(|| format!("failed to copy {} to {}", from.name, to.name))
}

async fn open(url: &StoreUrl, objects: Option<&String>) -> anyhow::Result<Side> {
    let objects = open_objects(url, objects)?;
    let store = server::open_store(url.clone()).await?;
    Ok(Side { name: url.to_string(), store, objects })
}

fn words(copied: &Copied, seconds: f64) -> String {
    let tally = &copied.verified.to;
    let rate = (copied.operations as f64 / seconds.max(0.001)) as u64;
    let rate = match copied.operations {
        0 => String::new(),
        _ => format!(" ({} a second, comparing included)", count(rate, "operation")),
    };
    let there = match copied.skipped {
        0 => String::new(),
        skipped => format!(" ({} there already)", count(skipped, "operation")),
    };
    let parts = [
        format!(
            "copied {}{there}, {}, {} in {seconds:.1} s{rate}",
            count(copied.operations, "operation"),
            count(copied.objects, "object"),
            count(copied.tombstones, "tombstone"),
        ),
        "both sides are the same (SHA-256):".to_owned(),
        line(&count(tally.operations, "operation"), &tally.operations_sum),
        line(&format!("{} of payloads", bytes(tally.payload_bytes)), &tally.payloads_sum),
        line(&format!("{} of history", count(tally.history_entries, "record")), &tally.history_sum),
        line(&count(tally.tombstones, "tombstone"), &tally.tombstones_sum),
        line(&count(tally.catalogue, "setting"), &tally.catalogue_sum),
        line(&deliveries(tally.deliveries), &tally.deliveries_sum),
        format!("  {:<28}  as recorded with their operations", count(tally.objects, "object")),
    ];
    parts.join("\n")
}

fn deliveries(number: u64) -> String {
    if number == 1 { "1 delivery".to_owned() } else { format!("{number} deliveries") }
}

fn line(what: &str, sum: &[u8; 32]) -> String {
    format!("  {what:<28}  {}", hex(sum))
}

fn bytes(number: u64) -> String {
    text::bytes(i64::try_from(number).unwrap_or(i64::MAX))
}

fn hex(sum: &[u8; 32]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn summary(from: &StoreUrl, to: &StoreUrl, copied: &Copied, seconds: f64) -> Value {
    let Copied { operations, skipped, objects, tombstones, catalogue, .. } = copied;
    let Copied { deliveries, has_gap, verified, .. } = copied;
    json!({
        "copied": {
            "operations": operations,
            "objects": objects,
            "tombstones": tombstones,
            "catalogue": catalogue,
            "deliveries": deliveries,
        },
        "webhookGap": has_gap,
        "alreadyThere": { "operations": skipped },
        "same": verified.is_same(),
        "from": tally(from, &verified.from),
        "to": tally(to, &verified.to),
        "differences": verified.differences,
        "firstDifferences": verified.told,
        "seconds": seconds,
    })
}

fn tally(url: &StoreUrl, tally: &Tally) -> Value {
    json!({
        "store": url.to_string(),
        "operations": { "count": tally.operations, "sha256": hex(&tally.operations_sum) },
        "payloads": { "bytes": tally.payload_bytes, "sha256": hex(&tally.payloads_sum) },
        "history": { "entries": tally.history_entries, "sha256": hex(&tally.history_sum) },
        "tombstones": { "count": tally.tombstones, "sha256": hex(&tally.tombstones_sum) },
        "catalogue": { "count": tally.catalogue, "sha256": hex(&tally.catalogue_sum) },
        "deliveries": { "count": tally.deliveries, "sha256": hex(&tally.deliveries_sum) },
        "objects": { "count": tally.objects },
    })
}
