//! Whole lives with watchers, against the same number of lives at the bare server.

use std::time::Duration;

use crate::baseline::Calls;
use crate::figures::{headings, median, medians, round, verdict};
use crate::processes::{Round, Server, bare_round, directory, longrun_round};

const TIME: Duration = Duration::from_millis(2_500);
const ROUNDS: usize = 3;

pub(crate) fn run() -> anyhow::Result<()> {
    let (ours, theirs) = (directory()?, directory()?);
    let server = Server::longrun(ours.path())?;
    let bare = Server::bare(theirs.path())?;
    headings("Whole lives, 300 B in and out, against four bare durable calls", "lives/s");
    for clients in [1, 64, 256] {
        let (mut bares, mut feeds) = (Vec::new(), Vec::new());
        let (mut submits, mut watches) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bares.push(bare_round(&bare, Calls::Lives, clients, TIME)?);
            feeds.push(longrun_round(&server, "end", clients, TIME, &["--watch", "feed"])?);
            submits.push(longrun_round(&server, "end", clients, TIME, &["--watch", "submit"])?);
            watches.push(longrun_round(&server, "end", clients, TIME, &["--watch", "operation"])?);
        }
        let (bare, feed) = (medians(&bares), medians(&feeds));
        let (submit, watch) = (medians(&submits), medians(&watches));
        let judged = |round: &Round| match clients {
            1 => verdict(round.p50 <= bare.p50, "at most its latency"),
            _ => verdict(round.rate >= 1.2 * bare.rate, "1.2 times"),
        };
        let push = median(&feeds, |round| {
            round.report["latencyMs"]["push"]["p50"].as_f64().unwrap_or(f64::NAN)
        });
        let note = format!("{}; push p50 {push:.2} ms", judged(&feed));
        round(&format!("bare, {clients} in flight"), &bare, None, "");
        round(&format!("one WatchOperations, {clients}"), &feed, Some(&bare), &note);
        round(&format!("SubmitAndWatch, {clients}"), &submit, Some(&bare), &judged(&submit));
        round(&format!("a WatchOperation each, {clients}"), &watch, Some(&bare), "");
    }
    Ok(())
}
