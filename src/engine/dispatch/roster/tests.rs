//! What callers see of workers that come, change and go.

use uuid::Uuid;

use super::*;
use crate::engine::sample::{at, key, kind, tenant};

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

/// A worker of tenant `t` with two places, one of which it uses.
fn seen(worker: &str, kinds: &[&str]) -> Seen {
    Seen {
        scope: tenant("t").into(),
        worker: WorkerId::parse(worker).expect("a name"),
        kinds: kinds.iter().map(|name| kind(name)).collect(),
        places: 2,
        running: 1,
        is_polled: false,
        state: WorkerState::Serving,
    }
}

fn of_all(seen: Seen) -> Seen {
    Seen { scope: Scope::All, ..seen }
}

fn in_state(state: WorkerState, seen: Seen) -> Seen {
    Seen { state, ..seen }
}

fn roster<const N: usize>(sessions: [Seen; N]) -> Roster {
    let mut roster = Roster::default();
    for (number, seen) in (1..).zip(sessions) {
        roster.publish(session(number), Some(seen), at(i64::try_from(number).unwrap_or_default()));
    }
    roster
}

fn names(roster: &Roster, scope: &Scope) -> Vec<String> {
    roster.workers(scope).iter().map(|record| record.worker.as_str().to_owned()).collect()
}

#[test]
fn the_workers_of_a_queue_are_its_tenants_and_everybodys_that_serve() {
    let roster = roster([
        seen("v", &["a", "b"]),
        of_all(seen("w", &["a"])),
        in_state(WorkerState::Draining, seen("x", &["a"])),
        in_state(WorkerState::Away, seen("y", &["a"])),
    ]);
    let workers = |count| Workers { count, places: 2 * count, running: count };
    assert_eq!(roster.workers_for(&key("t", "a")), workers(2));
    assert_eq!(roster.workers_for(&key("t", "b")), workers(1));
    assert_eq!(roster.workers_for(&key("u", "a")), workers(1));
    assert_eq!(roster.workers_for(&key("u", "b")), workers(0));
    let serving = [(kind("a"), 2), (kind("b"), 1)];
    assert_eq!(roster.serving(&tenant("t").into()), serving.into());
    assert_eq!(roster.serving(&tenant("u").into()), [(kind("a"), 1)].into());
    assert_eq!(names(&roster, &tenant("t").into()), ["v", "w", "x", "y"]);
    assert_eq!(names(&roster, &tenant("u").into()), ["w"]);
    let of = |state| roster.sessions().0.get(&state).copied();
    let states = [WorkerState::Serving, WorkerState::Draining, WorkerState::Away];
    assert_eq!(states.map(of), [Some(2), Some(1), Some(1)]);
    assert_eq!(roster.sessions().1, 8);
}

#[test]
fn a_kind_that_nobody_serves_now_is_not_listed() {
    let roster = roster([in_state(WorkerState::Draining, seen("w", &["a"]))]);
    assert!(roster.serving(&tenant("t").into()).is_empty());
}

#[test]
fn a_worker_is_under_the_kinds_that_it_serves_now() {
    let mut roster = roster([seen("w", &["a"])]);
    let count = |roster: &Roster, of| roster.workers_for(&key("t", of)).count;
    roster.publish(session(1), Some(seen("w", &["b"])), at(9));
    assert_eq!((count(&roster, "a"), count(&roster, "b")), (0, 1));
    roster.publish(session(1), Some(of_all(seen("w", &["b"]))), at(9));
    assert_eq!((count(&roster, "b"), roster.workers_for(&key("u", "b")).count), (1, 1));
    let all = roster.workers(&Scope::All);
    assert_eq!(all.iter().map(|record| record.since).collect::<Vec<_>>(), [at(1)]);
    roster.publish(session(1), None, at(9));
    assert_eq!((count(&roster, "b"), roster.sessions().1), (0, 0));
    assert!(roster.lanes.is_empty() && roster.seen.is_empty());
}

#[test]
fn a_worker_that_is_updated_keeps_its_lanes() {
    let mut roster = roster([seen("w", &["a"]), seen("x", &["a"])]);
    roster.publish(session(1), Some(Seen { running: 2, ..seen("w", &["a"]) }), at(9));
    let workers = roster.workers_for(&key("t", "a"));
    assert_eq!(workers, Workers { count: 2, places: 4, running: 3 });
    roster.publish(session(2), None, at(9));
    assert_eq!(roster.workers_for(&key("t", "a")).count, 1);
}

#[test]
fn polls_of_one_worker_are_one_record() {
    let polled = |worker, kinds: &[&str]| Seen { is_polled: true, ..seen(worker, kinds) };
    let mut roster = roster([
        in_state(WorkerState::Away, polled("p", &["a"])),
        polled("p", &["a", "b"]),
        of_all(polled("p", &["c"])),
        seen("p", &["a"]),
    ]);
    // It has connected before, and is published again.
    roster.publish(session(2), Some(polled("p", &["a", "b"])), at(9));
    let records = roster.workers(&tenant("t").into());
    let records: Vec<_> = records
        .iter()
        .map(|it| (it.since, it.is_shared, it.places, it.running, it.kinds.len(), it.state))
        .collect();
    let serving = WorkerState::Serving;
    assert_eq!(
        records,
        [
            (at(1), false, 4, 2, 2, serving),
            (at(3), true, 2, 1, 1, serving),
            (at(4), false, 2, 1, 1, serving),
        ]
    );
}

#[test]
fn a_worker_has_at_least_the_places_that_it_uses() {
    let roster = roster([Seen { places: 0, running: 3, ..seen("w", &["a"]) }]);
    let workers = roster.workers(&tenant("t").into());
    assert_eq!(workers.iter().map(|it| (it.places, it.running)).collect::<Vec<_>>(), [(3, 3)]);
}

#[test]
fn a_count_of_running_attempts_is_the_last_that_was_set() {
    let mut roster = Roster::default();
    let place = Place { tenant: tenant("t"), kind: None, label: None };
    assert_eq!(roster.taken(&place), 0);
    roster.set_taken(place.clone(), 3);
    roster.set_taken(place.clone(), 2);
    assert_eq!(roster.taken(&place), 2);
    roster.set_taken(place.clone(), 0);
    assert_eq!((roster.taken(&place), roster.taken.len()), (0, 0));
}
