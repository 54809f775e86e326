//! The same with several replicas over one store.
//!
//! Each has its own way to the store, that fails on its own, and hears of the others late, twice, or not at all for
//! a while. Replicas crash and come back, and one may be held up for longer than its workers' leases.
//! Clients and workers go to any of them, and on to another.
//!
//! What they do together in the simplest cases is shown step by step by `scenes`, and by `sessions`, `leases` and `told`
//! of what becomes of workers' sessions and of what they hold, and of what watchers are told.

use crate::schedule::{self, Outcome};
use crate::store::Lie;
use crate::{REPLICAS_SEED, play_many, play_one, variable};

mod feeds;
mod house;
mod leases;
mod mailbox;
mod progress;
mod scenes;
mod sessions;
mod stage;
mod store;
mod tenants;
mod told;

pub use house::House;
pub use store::ReplicaStore;

fn run(seed: u64, traced: bool) -> Outcome {
    let replicas = 2 + usize::from(seed.is_multiple_of(3));
    schedule::run_over(seed, Lie::None, replicas, traced)
}

#[test]
fn every_promise_is_kept_by_replicas_together() {
    if play_one(REPLICAS_SEED, |seed| run(seed, true)) {
        return;
    }
    let seconds = variable("LONGRUN_SIMULATION_SECONDS").unwrap_or(10);
    let (schedules, totals) = play_many(REPLICAS_SEED, seconds, |seed| run(seed, false));
    let [operations, _, _, unknowns, ..] = totals;
    assert!(operations > 3 * schedules && unknowns > schedules, "there was next to no load");
}

#[test]
fn a_seed_makes_the_same_schedule_of_replicas_every_time() {
    for seed in 0..20 {
        let (first, second) = (run(seed, true), run(seed, true));
        let differs = first.trace.iter().zip(&second.trace).position(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed} differs at that line");
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
    }
}
