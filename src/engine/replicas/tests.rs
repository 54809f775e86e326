//! When to look, whom to be patient with, and whose sessions are whose.

use uuid::Uuid;

use super::*;
use crate::operation::{Attempt, TenantId, WorkerId};

const LEASE: Duration = Duration::from_secs(9);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis * 1_000)
}

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

fn replicas() -> Replicas {
    Replicas::new(at(0), LEASE)
}

/// Sessions kept, and sessions ended.
fn changes(kept: &[u128], ended: &[u128]) -> SessionChanges {
    let kept = kept.iter().map(|number| KeptSession {
        session: session(*number),
        tenant: TenantId::default_tenant(),
        worker: WorkerId::parse("w").expect("a name"),
        expires_at: at(9_000),
    });
    let ended = ended.iter().map(|number| session(*number)).collect();
    SessionChanges { kept: kept.collect(), ended, ..SessionChanges::default() }
}

#[test]
fn a_time_has_come_also_where_the_clock_was_set_back_since_it_was_set() {
    let has_come = |time| is_time(at(time), at(100_000), Duration::from_secs(4));
    assert!(has_come(99_999) && has_come(100_000));
    assert!(!has_come(100_001) && !has_come(104_000));
    assert!(has_come(104_001));
}

#[test]
fn lost_sessions_are_looked_for_more_often_where_leases_are_short() {
    let sweep = |seconds| Replicas::new(at(0), Duration::from_secs(seconds)).sweep().as_secs();
    assert_eq!([3, 6, 30].map(sweep), [1, 2, 2]);
}

#[test]
fn a_slow_answer_or_a_long_silence_makes_patient() {
    let makes_patient = |asked_at, now| {
        let mut replicas = replicas();
        replicas.patient_until = at(0);
        replicas.heard(at(asked_at), at(now));
        assert_eq!(replicas.heard_at, at(now));
        replicas.patient_until == at(now).after(LEASE)
    };
    assert!(!makes_patient(2_000, 3_500));
    assert!(makes_patient(2_000, 3_501), "a sixth of a lease is slow");
    assert!(!makes_patient(4_000, 4_000));
    assert!(makes_patient(4_001, 4_001), "two sweeps are long");

    let mut replicas = replicas();
    replicas.patient_until = at(60_000);
    replicas.heard(at(0), at(10_000));
    assert_eq!(replicas.patient_until, at(60_000), "it is never shortened");
}

#[test]
fn an_outage_makes_patient_for_one_lease_from_its_end() {
    let mut replicas = replicas();
    replicas.after_outage(at(20_000));
    assert_eq!(replicas.patient_until, at(29_000));
}

#[test]
fn who_serves_nobody_wakes_for_others_only() {
    let (none, mut one) = (Sessions::default(), Sessions::default());
    let lease = (OperationId::from_uuid(Uuid::from_u128(1)), Attempt(1));
    let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("a name"));
    one.restore(session(1), tenant, worker, lease, at(9_000));
    let mut replicas = replicas();
    replicas.next_start = Some(at(1));
    (replicas.sweep_at, replicas.poll_at, replicas.keep_at) = (at(2), at(3), at(4));
    assert_eq!((replicas.next(&none), replicas.next(&one)), (at(2), at(1)));
    replicas.next_start = None;
    assert_eq!(replicas.next(&one), at(2));
    replicas.sweep_at = at(10);
    assert_eq!((replicas.next(&none), replicas.next(&one)), (at(10), at(3)));
    replicas.poll_at = at(11);
    assert_eq!(replicas.next(&one), at(4));
}

#[test]
fn a_session_is_ours_from_its_start_to_its_end_or_until_it_is_taken_over() {
    let mut replicas = replicas();
    assert!(!replicas.is_ours(session(1)) && !replicas.is_fresh(session(1)));
    replicas.connected(session(1), false);
    replicas.connected(session(2), false);
    replicas.connected(session(3), true);
    assert!((1..=3).all(|number| replicas.is_ours(session(number))));
    assert_eq!([1, 2, 3].map(|number| replicas.is_fresh(session(number))), [true, true, false]);

    replicas.committed(&changes(&[1], &[]), at(0));
    assert!((1..=3).all(|number| replicas.is_ours(session(number))));
    assert_eq!([1, 2, 3].map(|number| replicas.is_fresh(session(number))), [false, true, false]);
    // It comes back by another stream.
    replicas.connected(session(1), false);
    assert!(!replicas.is_fresh(session(1)));

    replicas.taken_over(session(2));
    assert!(!replicas.is_ours(session(2)) && !replicas.is_fresh(session(2)));
    replicas.taken_over(session(3));
    assert!(!replicas.is_ours(session(3)) && replicas.is_ours(session(1)));
    replicas.connected(session(4), false);
    replicas.taken_over(session(3));
    assert!(replicas.is_fresh(session(4)));
    replicas.committed(&changes(&[], &[1]), at(0));
    assert!(!replicas.is_ours(session(1)) && replicas.is_ours(session(4)));
}

#[test]
fn sessions_are_kept_again_after_a_third_of_a_lease() {
    let mut replicas = replicas();
    replicas.committed(&changes(&[], &[]), at(1_000));
    assert_eq!(replicas.keep_at, at(4_000));
    replicas.committed(&changes(&[], &[]), at(3_999));
    assert_eq!(replicas.keep_at, at(4_000), "they were not kept by that");
    replicas.committed(&changes(&[], &[]), at(4_000));
    assert_eq!(replicas.keep_at, at(7_000));
}
