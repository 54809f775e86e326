//! The guarantees hold on schedules that nobody would think of.
//!
//! A schedule is made from a seed: clients, workers and watchers in one thread, a clock that is moved by hand
//! (now and then far ahead, or back), a network that loses calls, answers and streams, a store
//! that fails before, within and after its commits, tells nobody which it was, or is slow, and a server
//! that crashes at any step and comes back on what was durable. What everybody was told is held against
//! what is stored at the end by the same checker as in `tests/crash`.
//!
//! The same seed makes the same schedule, to the step. That the simulation can fail is shown by stores
//! that lie (`lies`).
//!
//! | variable | means | default |
//! | --- | --- | --- |
//! | `LONGRUN_SIMULATION_SEED` | run that schedule only, and print what happens | |
//! | `LONGRUN_SIMULATION_REPLICAS_SEED` | the same with several replicas | |
//! | `LONGRUN_SIMULATION_SECONDS` | for how long new schedules are begun | 20, with replicas 10 |
//! | `LONGRUN_SIMULATION_FROM` | the first seed | random, printed |
//!
//! An hour: `LONGRUN_SIMULATION_SECONDS=3600 cargo test --release --test simulation`.

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod caller;
mod clock;
mod disk;
mod disk_log;
mod feed;
mod gate;
#[path = "../history/mod.rs"]
mod history;
mod lies;
mod record;
mod replicas;
mod scenes;
mod schedule;
mod store;
mod submitter;
mod watcher;
mod worker;
mod world;

use schedule::Outcome;
use store::Lie;

/// The variables that name one schedule: with one server, and with several replicas.
const SEED: &str = "LONGRUN_SIMULATION_SEED";
const REPLICAS_SEED: &str = "LONGRUN_SIMULATION_REPLICAS_SEED";

#[test]
fn every_promise_is_kept_on_every_schedule() {
    if play_one(SEED, |seed| schedule::run(seed, Lie::None, true)) {
        return;
    }
    let seconds = variable("LONGRUN_SIMULATION_SECONDS").unwrap_or(20);
    let (schedules, totals) =
        play_many(SEED, seconds, |seed| schedule::run(seed, Lie::None, false));
    let [operations, _, _, unknowns, _, _, stalls] = totals;
    assert!(operations > 3 * schedules && unknowns > schedules, "there was next to no load");
    assert!(stalls > 0 || schedules < 200, "a store that does not answer was never noticed");
}

/// Plays the schedule that one of the variables names, and prints it; `name` is the caller's. Answers whether any
/// is named.
fn play_one(name: &str, play: impl Fn(u64) -> Outcome) -> bool {
    if let Some(seed) = variable(name) {
        let outcome = play(seed);
        println!("{}", outcome.trace.join("\n"));
        assert!(outcome.violations.is_empty(), "{}", tell(name, seed, &outcome));
    }
    [SEED, REPLICAS_SEED].into_iter().any(|name| variable::<u64>(name).is_some())
}

/// Plays new schedules for so many seconds, and answers how many, and what happened in them. Fails with the first
/// promise that is broken.
fn play_many(
    name: &'static str,
    seconds: u64,
    play: impl Fn(u64) -> Outcome + Sync,
) -> (u64, [u64; 7]) {
    let from = variable("LONGRUN_SIMULATION_FROM").unwrap_or_else(|| fastrand::u64(..1 << 40));
    println!("LONGRUN_SIMULATION_FROM={from}");
    let (begun, next, failed) = (Instant::now(), AtomicU64::new(from), AtomicBool::new(false));
    let (failures, totals) = (Mutex::new(Vec::new()), Mutex::new([0; 7]));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while begun.elapsed() < Duration::from_secs(seconds)
                    && !failed.load(Ordering::Relaxed)
                {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // A panic names its seed as well.
                    let running = Running(name, seed);
                    let outcome = play(seed);
                    drop(running);
                    let transitions = outcome.history.finals.values().map(|last| last.events.len());
                    let [commits, unknowns, failures_of_store, starts, stalls] = outcome.counts;
                    let these = [
                        outcome.history.finals.len() as u64,
                        transitions.sum::<usize>() as u64,
                        commits,
                        unknowns,
                        failures_of_store,
                        starts,
                        stalls,
                    ];
                    let mut totals = totals.lock().unwrap();
                    totals.iter_mut().zip(these).for_each(|(total, this)| *total += this);
                    if !outcome.violations.is_empty() {
                        failed.store(true, Ordering::Relaxed);
                        failures.lock().unwrap().push(tell(name, seed, &outcome));
                    }
                }
            });
        }
    });
    let schedules = next.load(Ordering::Relaxed) - from;
    let totals = totals.into_inner().unwrap();
    let [operations, transitions, commits, unknowns, failures_of_store, starts, _] = totals;
    println!(
        "{schedules} schedules in {:.1?}: {operations} operations, {transitions} transitions, \
         {commits} commits, {unknowns} of unknown outcome, {failures_of_store} failures of the store, \
         {starts} starts",
        begun.elapsed()
    );
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    (schedules, totals)
}

#[test]
fn a_seed_makes_the_same_schedule_every_time() {
    let mut lines = 0;
    for seed in 0..40 {
        let (first, second) =
            (schedule::run(seed, Lie::None, true), schedule::run(seed, Lie::None, true));
        let differs = first.trace.iter().zip(&second.trace).position(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed} differs at that line");
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
        lines += first.trace.len();
    }
    assert!(lines > 1_000, "next to nothing happens: {lines} lines");
}

/// Says which schedule it was that panicked.
struct Running(&'static str, u64);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}={} panicked", self.0, self.1);
        }
    }
}

fn variable<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("the variable is a number"))
}

/// The first violations, with all that is known of their operations.
fn tell(name: &str, seed: u64, outcome: &Outcome) -> String {
    let Outcome { violations, history, .. } = outcome;
    let mut text = format!(
        "{name}={seed} cargo test --test simulation shows {} violations\n",
        violations.len()
    );
    for violation in violations.iter().take(5) {
        text += &format!("{violation}\n");
        for event in history.finals.get(&violation.name).into_iter().flat_map(|last| &last.events) {
            text += &format!("  {:?} {:?} {:?}\n", event.event, event.mark, event.tokens);
        }
        for report in history.reports.iter().filter(|report| report.name == violation.name) {
            text += &format!("  {report:?}\n");
        }
    }
    text
}
