//! Stores that lie: each lie must be found within a number of schedules.

use crate::history::Promise;
use crate::schedule;
use crate::store::Lie;

/// So many schedules are tried.
const SCHEDULES: u64 = 1_000;

/// Fails unless the lie shows in one of the promises. The seeds are always the same.
fn found(lie: Lie, promises: &[Promise]) {
    let shows = (0..SCHEDULES).find(|seed| {
        let violations = schedule::run(*seed, lie, false).violations;
        violations.iter().any(|violation| promises.contains(&violation.promise))
    });
    println!("{lie:?} shows in schedule {shows:?}");
    assert!(shows.is_some(), "{lie:?} was not found in {SCHEDULES} schedules");
}

#[test]
fn a_store_that_acknowledges_early_is_found_out() {
    found(Lie::AcknowledgesEarly, &[Promise::NothingLost, Promise::NothingTakenBack]);
}

#[test]
fn a_store_that_forgets_batches_is_found_out() {
    found(Lie::Forgets, &[Promise::NothingLost]);
}

#[test]
fn a_store_that_drops_events_is_found_out() {
    found(Lie::DropsEvents, &[Promise::HistoryIsWhole]);
}

#[test]
fn a_store_that_loses_keys_is_found_out() {
    found(Lie::LosesKeys, &[Promise::KeyNamesOne, Promise::ContentKept]);
}

#[test]
fn a_store_that_denies_its_writes_is_found_out() {
    found(
        Lie::DeniesWrites,
        &[
            Promise::EveryoneEnds,
            Promise::WatchIsWhole,
            Promise::WatchEnds,
            Promise::AnswersAreSound,
        ],
    );
}

#[test]
fn a_store_whose_claims_settle_nothing_is_found_out() {
    found(
        Lie::ClaimsNothing,
        &[
            Promise::EveryoneEnds,
            Promise::WatchIsWhole,
            Promise::WatchEnds,
            Promise::AnswersAreSound,
        ],
    );
}
