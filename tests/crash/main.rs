//! The guarantees hold when the server is killed at any moment.
//!
//! A real server works under a mixed load: clients submit (with keys and without, in batches,
//! repeatedly), cancel, delete and try again; workers complete, fail, release, forget and forge;
//! watchers follow single operations. It is killed with SIGKILL at random moments and started again
//! on the same file. Everybody writes down what they were told (`recorder`). At the end, when all is
//! done, what the service has is held against that record (`history`): nothing that anybody was
//! told may be gone, changed or doubled.
//!
//! SIGKILL ends the process, not the machine: what this proves is that nothing is told before it is
//! handed to the system as committed. That a commit survives a power cut rests on SQLite's
//! `synchronous=FULL`.
//!
//! That the check can fail is shown by `tests/history/tests.rs`, on made-up records, and by `broken_store.rs`,
//! on stores that lie.
//!
//! | variable | means | default |
//! | --- | --- | --- |
//! | `LONGRUN_CRASH_SEED` | what all chances are drawn from; timing is not reproduced | random, printed |
//! | `LONGRUN_CRASH_KILLS` | how often the server is killed | 24 |
//! | `LONGRUN_CRASH_UPTIME_MS` | the longest that it lives each time | 700 |
//! | `LONGRUN_CRASH_CROWD` | how many times the usual number of clients and workers | 1 |
//!
//! The defaults take about 20 s. An hour: `LONGRUN_CRASH_KILLS=8000`.

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use longrun::client::Client;
use tokio::time::{Instant, sleep, timeout};

mod balancer;
mod broken_store;
mod collect;
mod failover;
mod forger;
#[path = "../history/mod.rs"]
mod history;
mod host;
mod in_process;
mod load;
mod meddler;
mod network;
#[path = "../postgres_support/mod.rs"]
#[expect(dead_code, reason = "its server is not shared here, because it is killed")]
mod postgres_support;
mod recorder;
mod replicas;
mod resumption;
mod submitter;
mod watcher;
mod work_stream;
mod worker;

use history::{EventFact, History, Violation};
use host::{Host, ServerProcess};
use load::{Crowd, Load};

/// How long the crowd may take to have its operations acknowledged.
const PATIENCE: Duration = Duration::from_secs(90);

/// How a service is tried.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    kills: u32,
    longest_uptime: Duration,
    /// So many must have been acknowledged for each kill: a slow machine is given longer.
    operations: usize,
    crowd: Crowd,
    /// For everything to come to its end, after the last kill.
    drain: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_changed_or_doubled_when_the_server_is_killed() {
    let plan = Plan::of(24, 4);
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", directory.path().join("longrun.db").display());
    let mut host = ServerProcess::new(host::free_port(), store);
    if let Err(violations) = try_out(&mut host, plan).await {
        // The file is worth a look.
        println!("the store is kept in {}", directory.keep().display());
        panic!("{violations}");
    }
}

impl Plan {
    /// The plan that the variables ask for.
    fn of(kills: u32, operations: usize) -> Self {
        Self {
            seed: variable("LONGRUN_CRASH_SEED", fastrand::u64(..1 << 32)),
            kills: variable("LONGRUN_CRASH_KILLS", kills),
            longest_uptime: Duration::from_millis(variable("LONGRUN_CRASH_UPTIME_MS", 700)),
            operations,
            crowd: Crowd { submitters: 4, workers: 5, meddlers: 3, forgers: 2 }
                .times(variable("LONGRUN_CRASH_CROWD", 1)),
            drain: PATIENCE,
        }
    }
}

/// Carries the plan out; answers what was violated.
async fn try_out(host: &mut impl Host, plan: Plan) -> Result<(), String> {
    println!("LONGRUN_CRASH_SEED={}", plan.seed);
    let begun = Instant::now();
    let history = run(host, plan).await.unwrap();
    let violations = history::check(&history);
    println!("{} in {:.1?}", summary(&history, plan.kills), begun.elapsed());
    if !violations.is_empty() {
        return Err(tell(&history, &violations));
    }
    Ok(())
}

/// Lets the crowd loose on the host, kills it time and again, and gathers what everybody was told.
async fn run(host: &mut impl Host, plan: Plan) -> anyhow::Result<History> {
    let mut rng = fastrand::Rng::with_seed(plan.seed);
    host.start().await?;
    let load = Load::start(&host.url(), plan.crowd, &mut rng);
    let recorder = load.recorder();
    for kill in 1..=plan.kills {
        // Now and then hardly after the start, while it still recovers.
        let longest =
            if rng.u32(..6) == 0 { Duration::from_millis(30) } else { plan.longest_uptime };
        sleep(longest.mul_f64(rng.f64())).await;
        host.kill().await?;
        host.start().await?;
        let enough = recorder.acknowledged(kill as usize * plan.operations);
        timeout(PATIENCE, enough).await.context("there is next to no load")?;
    }
    load.drain(Instant::now() + plan.drain).await;
    // What is told now comes from the file.
    host.kill().await?;
    host.start().await?;
    let history = collect::collect(&Client::connect(&host.url()).await?, &recorder).await?;
    host.kill().await?;
    Ok(history)
}

/// The value of a variable, or `default` where it is not set.
fn variable<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |text| text.parse().expect("the variable is a number"))
}

fn summary(history: &History, kills: u32) -> String {
    let watched: usize = history.watches.iter().map(|watch| watch.entries.len()).sum();
    let answered =
        |wanted: fn(&history::Report) -> u32| history.reports.iter().map(wanted).sum::<u32>();
    format!(
        "{} kills, {} operations, {} transitions, {} sightings, {} watches of {watched} messages, \
         {} deletions, {} reports acknowledged and {} refused",
        kills,
        history.finals.len(),
        history.finals.values().map(|last| last.events.len()).sum::<usize>(),
        history.sightings.len(),
        history.watches.len(),
        history.deletions.values().filter(|acknowledged| **acknowledged).count(),
        answered(|report| report.acknowledged),
        answered(|report| report.refused),
    )
}

/// The first violations, with all that is known of their operations.
fn tell(history: &History, violations: &[Violation]) -> String {
    let mut text = format!("{} violations\n", violations.len());
    for violation in violations.iter().take(10) {
        text += &format!("\n{violation}\n");
        let events = history.finals.get(&violation.name).map(|last| &last.events);
        for EventFact { mark, event, tokens } in events.into_iter().flatten() {
            text += &format!("  {event:?} {mark:?} {tokens:?}\n");
        }
        for report in history.reports.iter().filter(|report| report.name == violation.name) {
            text += &format!("  {report:?}\n");
        }
    }
    text
}
