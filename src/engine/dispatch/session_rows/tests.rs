//! When to read, how long to wait, and which sessions are this replica's.

use uuid::Uuid;

use super::*;
use crate::operation::{Attempt, OperationId, TenantId, WorkerId};

const LEASE: Duration = Duration::from_secs(9);

fn at(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

fn rows() -> SessionRows {
    SessionRows::new(at(0), LEASE)
}

fn committed(rows: &mut SessionRows, changes: &SessionChanges, now: u64) {
    rows.committed(changes, &sessions([1, 2, 3, 4]), at(now));
}

/// Sessions, each with a lease.
fn sessions<const N: usize>(numbers: [u128; N]) -> Sessions {
    let mut sessions = Sessions::default();
    for number in numbers {
        let lease = (OperationId::from_uuid(Uuid::from_u128(number)), Attempt(1));
        let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("a name"));
        sessions.restore(session(number), tenant, worker, lease, at(9_000));
    }
    sessions
}

/// Kept and ended sessions.
fn changes(kept: &[u128], ended: &[u128]) -> SessionChanges {
    let kept = kept.iter().map(|number| KeptSession {
        session: session(*number),
        scope: TenantId::default_tenant().into(),
        worker: WorkerId::parse("w").expect("a name"),
        kinds: std::sync::Arc::from([]),
        places: 0,
        lease: LEASE,
    });
    let ended = ended.iter().map(|number| session(*number)).collect();
    SessionChanges { kept: kept.collect(), ended, ..SessionChanges::default() }
}

#[test]
fn lost_sessions_are_looked_for_more_often_where_leases_are_short() {
    let sweep = |seconds| SessionRows::new(at(0), Duration::from_secs(seconds)).sweep().as_secs();
    assert_eq!([3, 6, 30].map(sweep), [1, 2, 2]);
}

#[test]
fn a_slow_answer_or_a_long_silence_makes_patient() {
    let makes_patient = |asked_at: u64, now: u64| {
        let mut rows = rows();
        rows.grace_until = at(0);
        rows.answered(at(asked_at), at(now));
        assert_eq!(rows.last_answer_at, at(now));
        rows.grace_until == at(now).after(LEASE)
    };
    assert!(!makes_patient(2_000, 3_500));
    assert!(makes_patient(2_000, 3_501), "a sixth of a lease is slow");
    assert!(!makes_patient(4_000, 4_000));
    assert!(makes_patient(4_001, 4_001), "two sweeps are long");

    let mut rows = rows();
    rows.grace_until = at(60_000);
    rows.answered(at(0), at(10_000));
    assert_eq!(rows.grace_until, at(60_000), "it is never shortened");
}

#[test]
fn an_outage_makes_patient_for_one_lease_from_its_end() {
    let mut rows = rows();
    rows.after_outage(at(20_000));
    assert_eq!(rows.grace_until, at(29_000));
}

#[test]
fn a_replica_without_workers_wakes_for_others_only() {
    let mut rows = rows();
    (rows.sweep_at, rows.poll_at, rows.renew_at) = (at(2), at(3), at(4));
    assert_eq!((rows.next(false), rows.next(true)), (at(2), at(2)));
    rows.sweep_at = at(10);
    assert_eq!((rows.next(false), rows.next(true)), (at(10), at(3)));
    rows.poll_at = at(11);
    assert_eq!(rows.next(true), at(4));
}

#[test]
fn what_was_looked_for_is_looked_for_again_after_its_interval() {
    let mut rows = rows();
    assert_eq!(rows.looks(at(0), 1.0), Looks { polls: true, sweeps: true });
    assert_eq!(rows.looks(at(1_999), 1.0), Looks { polls: false, sweeps: false });
    assert_eq!(rows.looks(at(2_000), 1.25), Looks { polls: true, sweeps: true });
    assert_eq!(rows.looks(at(4_499), 1.0), Looks { polls: false, sweeps: false });
    assert_eq!(rows.looks(at(4_500), 1.0), Looks { polls: true, sweeps: true });
}

#[test]
fn a_fresh_session_that_has_gone_needs_no_row() {
    let mut rows = rows();
    rows.connected(session(1), false);
    rows.committed(&changes(&[], &[]), &Sessions::default(), at(0));
    assert!(!rows.is_ours(session(1)));
}

#[test]
fn a_session_is_ours_from_its_start_to_its_end_or_until_it_is_taken_over() {
    let mut rows = rows();
    assert!(!rows.is_ours(session(1)) && !rows.is_fresh(session(1)));
    rows.connected(session(1), false);
    rows.connected(session(2), false);
    rows.connected(session(3), true);
    assert!((1..=3).all(|number| rows.is_ours(session(number))));
    assert_eq!([1, 2, 3].map(|number| rows.is_fresh(session(number))), [true, true, false]);

    committed(&mut rows, &changes(&[1], &[]), 0);
    assert!((1..=3).all(|number| rows.is_ours(session(number))));
    assert_eq!([1, 2, 3].map(|number| rows.is_fresh(session(number))), [false, true, false]);
    // It resumes by another stream.
    rows.connected(session(1), false);
    assert!(!rows.is_fresh(session(1)));

    rows.taken_over(session(2));
    assert!(!rows.is_ours(session(2)) && !rows.is_fresh(session(2)));
    rows.taken_over(session(3));
    assert!(!rows.is_ours(session(3)) && rows.is_ours(session(1)));
    rows.connected(session(4), false);
    rows.taken_over(session(3));
    assert!(rows.is_fresh(session(4)));
    committed(&mut rows, &changes(&[], &[1]), 0);
    assert!(!rows.is_ours(session(1)) && rows.is_ours(session(4)));
}

#[test]
fn sessions_are_kept_again_after_a_third_of_a_lease() {
    let mut rows = rows();
    committed(&mut rows, &changes(&[], &[]), 1_000);
    assert_eq!(rows.renew_at, at(4_000));
    committed(&mut rows, &changes(&[], &[]), 3_999);
    assert_eq!(rows.renew_at, at(4_000), "they were not kept by that");
    committed(&mut rows, &changes(&[], &[]), 4_000);
    assert_eq!(rows.renew_at, at(7_000));
}
