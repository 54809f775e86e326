//! Whole lives with watchers, against the same number of lives at the bare server.

use std::time::Duration;

use crate::baseline::Calls;
use crate::figures::{headings, median, medians, round, verdict};
use crate::processes::{Server, bare_round, directory, longrun_round};

const TIME: Duration = Duration::from_millis(2_500);
const ROUNDS: usize = 3;

pub(crate) fn run() -> anyhow::Result<()> {
    let (ours, theirs) = (directory()?, directory()?);
    let server = Server::longrun(ours.path())?;
    let bare = Server::bare(theirs.path())?;
    headings("Whole lives, 300 B in and out, against four bare durable calls", "lives/s");
    for clients in [1, 64, 256] {
        let (mut bares, mut feeds, mut watches) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bares.push(bare_round(&bare, Calls::Lives, clients, TIME)?);
            feeds.push(longrun_round(&server, "end", clients, TIME, &["--watch", "feed"])?);
            watches.push(longrun_round(&server, "end", clients, TIME, &["--watch", "operation"])?);
        }
        let (bare, feed, watch) = (medians(&bares), medians(&feeds), medians(&watches));
        let verdict = match clients {
            1 => verdict(feed.p50 <= bare.p50, "at most its latency"),
            _ => verdict(feed.rate >= 1.2 * bare.rate, "1.2 times"),
        };
        let push = median(&feeds, |round| {
            round.report["latencyMs"]["push"]["p50"].as_f64().unwrap_or(f64::NAN)
        });
        let verdict = format!("{verdict}; push p50 {push:.2} ms");
        round(&format!("bare, {clients} in flight"), &bare, None, "");
        round(&format!("one WatchOperations, {clients}"), &feed, Some(&bare), &verdict);
        round(&format!("a WatchOperation each, {clients}"), &watch, Some(&bare), "");
    }
    Ok(())
}
