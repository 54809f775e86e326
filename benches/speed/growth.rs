//! Whether a server becomes slower as its store grows, and how long it takes to start.

use std::time::Duration;

use tempfile::TempDir;

use longrun::client::Client;
use longrun::operation::OperationId;
use longrun::proto::v1::{ListOperationsRequest, OperationView};

use crate::figures::{figure, median, verdict};
use crate::fill::{Left, fill};
use crate::processes::{Server, directory, longrun_round};

/// How many operations the store has that the others are compared with. Not none: those that a load has just left behind
/// would be got from the cache.
const SMALL: u64 = 1_000;
/// How many operations the largest store has, unless [`SIZE`] says otherwise.
const LARGE: u64 = 1_000_000;
/// Names a variable.
const SIZE: &str = "LONGRUN_BENCH_OPERATIONS";
const ROUNDS: usize = 5;
/// How long servers are idle: everything that they do now and then, they have done twice.
const IDLE: Duration = Duration::from_secs(25);
const GETS: usize = 400;
const LISTS: usize = 100;
/// So many different operations are got, whatever the size of the store.
const NAMES: usize = 100;

/// A server on a store of some size.
struct Grown {
    name: String,
    server: Server,
    client: Client,
    ids: Vec<OperationId>,
    rounds: Vec<Figures>,
    _directory: TempDir,
}

/// What one round found, in microseconds.
struct Figures {
    /// Latencies at the median, one client alone.
    submit: f64,
    claim: f64,
    /// The server's CPU time for each.
    life: f64,
    get: f64,
    list: f64,
}

pub(crate) async fn run() -> anyhow::Result<()> {
    let large = std::env::var(SIZE).ok().and_then(|size| size.parse().ok()).unwrap_or(LARGE);
    println!("\nGrowth, and start-up after a crash");
    let mut stores = Vec::new();
    for (count, left) in
        [(SMALL, Left::Finished), (large, Left::Finished), (large.min(LARGE), Left::Queued)]
    {
        stores.push(open(count, left).await?);
    }
    idle(&stores).await?;
    for _ in 0..ROUNDS {
        for store in &mut stores {
            let figures = store.round().await?;
            store.rounds.push(figures);
        }
    }
    println!("\n  {:<24} {:^27} {:^41}", "µs (× the first)", "latency p50", "CPU of the server");
    println!(
        "  {:<24} {:>13} {:>13} {:>13} {:>13} {:>13}",
        "", "submit", "claim", "a life", "a get", "a list of 50"
    );
    let medians: Vec<Figures> = stores.iter().map(Grown::medians).collect();
    for (store, figures) in stores.iter().zip(&medians) {
        let Some(first) = medians.first() else { break };
        let pair = |ours: f64, theirs: f64| format!("{ours:.0} ({:.2})", ours / theirs);
        println!(
            "  {:<24} {:>13} {:>13} {:>13} {:>13} {:>13}",
            store.name,
            pair(figures.submit, first.submit),
            pair(figures.claim, first.claim),
            pair(figures.life, first.life),
            pair(figures.get, first.get),
            pair(figures.list, first.list),
        );
    }
    println!("  goal: within 1.10 of the first");
    Ok(())
}

/// What servers cost that nobody asks for anything.
async fn idle(stores: &[Grown]) -> anyhow::Result<()> {
    let cpu = || stores.iter().map(|store| store.server.cpu()).collect::<anyhow::Result<Vec<_>>>();
    let before = cpu()?;
    tokio::time::sleep(IDLE).await;
    for ((store, before), after) in stores.iter().zip(before).zip(cpu()?) {
        let share = (after - before).as_secs_f64() / IDLE.as_secs_f64();
        let goal = verdict(share < 0.005, "under 5 ms");
        let value = format!("{:.1} ms", share * 1e3);
        figure(&format!("CPU in a second of idleness, {}", store.name), value, &goal);
    }
    Ok(())
}

async fn open(count: u64, left: Left) -> anyhow::Result<Grown> {
    let directory = directory()?;
    let ids = fill(directory.path(), count, left).await?;
    let server = Server::longrun(directory.path())?;
    let word = if left == Left::Queued { "queued" } else { "finished" };
    let name = format!("{count} {word}");
    let limit = if left == Left::Queued { 3.0 } else { 1.0 };
    let took = server.ready_after.as_secs_f64();
    let goal = verdict(took < limit, &format!("under {limit:.0} s"));
    figure(&format!("start-up, {name}"), format!("{took:.3} s"), &goal);
    if left == Left::Queued {
        let mib = server.memory()? as f64 / f64::from(1 << 20);
        figure(&format!("memory, {name}"), format!("{mib:.0} MiB"), "");
    }
    let client = Client::connect(&server.url).await?;
    Ok(Grown { name, server, client, ids, rounds: Vec::new(), _directory: directory })
}

impl Grown {
    async fn round(&mut self) -> anyhow::Result<Figures> {
        let one = longrun_round(&self.server, "end", 1, Duration::from_millis(700), &[])?;
        let many = longrun_round(&self.server, "end", 64, Duration::from_millis(1_000), &[])?;
        let micros =
            |name: &str| one.report["latencyMs"][name]["p50"].as_f64().unwrap_or(0.0) * 1e3;
        let known = self.ids.iter().step_by(self.ids.len().div_ceil(NAMES));
        let names: Vec<String> = known.map(OperationId::name).collect();
        let before = self.server.cpu()?;
        for name in names.iter().cycle().take(GETS) {
            self.client.get(name, OperationView::Basic).await?;
        }
        let between = self.server.cpu()?;
        for _ in 0..LISTS {
            self.client.list(list_request(50)).await?;
        }
        let after = self.server.cpu()?;
        let per = |spent: Duration, count: usize| spent.as_secs_f64() * 1e6 / count as f64;
        Ok(Figures {
            submit: micros("submit"),
            claim: micros("push"),
            life: many.server_cpu,
            get: per(between - before, GETS),
            list: per(after - between, LISTS),
        })
    }

    fn medians(&self) -> Figures {
        let of = |figure: fn(&Figures) -> f64| median(&self.rounds, figure);
        Figures {
            submit: of(|round| round.submit),
            claim: of(|round| round.claim),
            life: of(|round| round.life),
            get: of(|round| round.get),
            list: of(|round| round.list),
        }
    }
}

/// The newest that have succeeded.
fn list_request(page_size: i32) -> ListOperationsRequest {
    let filter = "state = SUCCEEDED".to_owned();
    ListOperationsRequest { page_size, filter, ..ListOperationsRequest::default() }
}
