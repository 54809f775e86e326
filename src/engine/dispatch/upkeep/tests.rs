//! When it looks, and what it does with what it finds.

use tokio::sync::mpsc;
use uuid::Uuid;

use super::*;
use crate::engine::request::WorkerHello;
use crate::engine::sample::{at, id};
use crate::operation::{Attempt, TenantId, WorkerId};

fn moment(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds))
}

fn upkeep() -> Upkeep {
    Upkeep::new(moment(0), Duration::from_secs(10))
}

#[test]
fn it_wakes_by_wall_time_for_what_is_stored_and_by_monotonic_time_for_sessions() {
    let mut upkeep = upkeep();
    assert_eq!(upkeep.next(at(0), false), Wake::NEVER);
    upkeep.wake_by(Some(at(20)));
    upkeep.wake_by(Some(at(30)));
    upkeep.wake_by(None);
    assert_eq!(upkeep.next(at(0), false), Wake::at_time(at(20)));
    let both = Wake::at_time(at(20)).or(Wake::at_moment(moment(0)));
    assert_eq!(upkeep.next(at(0), true), both);
    assert!(!upkeep.is_due(at(19), moment(100)) && upkeep.is_due(at(20), moment(0)));
}

#[test]
fn what_expires_soon_after_a_look_that_found_all_is_gathered() {
    let mut upkeep = upkeep();
    upkeep.look_at = moment(5);
    upkeep.wake_by(Some(at(20)));
    assert_eq!(upkeep.next(at(19), false), Wake::at_time(at(20)));
    assert_eq!(upkeep.next(at(20), false), Wake::at_moment(moment(5)));
    assert!(!upkeep.is_due(at(20), moment(4)) && upkeep.is_due(at(20), moment(5)));
}

#[test]
fn a_second_look_waits_for_both_clocks() {
    let mut upkeep = upkeep();
    upkeep.recheck(at(20), moment(5));
    assert_eq!(upkeep.next(at(19), false), Wake::at_time(at(20)));
    assert_eq!(upkeep.next(at(20), false), Wake::at_moment(moment(5)));
    assert!(!upkeep.is_due(at(20), moment(4)) && !upkeep.is_due(at(19), moment(5)));
    assert!(upkeep.is_due(at(20), moment(5)));
}

#[test]
fn where_all_that_is_due_is_skipped_each_look_is_a_pause_after_the_last() {
    let mut upkeep = upkeep();
    upkeep.wake_by(Some(at(20)));
    for second in 5..9 {
        upkeep.look_later(at(20), moment(second));
        assert!(!upkeep.is_due(at(20), moment(second)));
        assert_eq!(upkeep.next(at(20), false), Wake::at_moment(moment(second + 1)));
        assert!(upkeep.is_due(at(20), moment(second + 1)));
    }
}

#[test]
fn a_pause_ends_by_monotonic_time_whatever_the_clock_shows() {
    let mut upkeep = upkeep();
    assert!(!upkeep.is_pausing(moment(0)), "there is none at the start");
    upkeep.pause(moment(3));
    assert!(upkeep.is_pausing(moment(3)) && !upkeep.is_pausing(moment(4)));
    let early = Wake::at_time(at(0));
    assert_eq!(upkeep.after_pause(early, moment(3)), Wake::at_moment(moment(4)));
    assert_eq!(upkeep.after_pause(early, moment(4)), early);
}

#[test]
fn a_stream_that_nobody_reads_ends_when_sessions_are_looked_over() {
    let (mut upkeep, mut sessions) = (upkeep(), Sessions::default());
    let hello = WorkerHello {
        in_process: false,
        scope: TenantId::default_tenant().into(),
        worker: WorkerId::parse("w").expect("a name"),
        kinds: Vec::new(),
        max_in_flight: 1,
        resume: None,
        running: Vec::new(),
    };
    // There was no room for the request that says so.
    let (sender, _) = mpsc::channel(1);
    let session = SessionId::from_uuid(Uuid::from_u128(1));
    sessions.connect(session, &hello, sender, moment(1_000));
    upkeep.ended_leases(&mut sessions, &Quarantine::default(), moment(0));
    assert_eq!(sessions.len(), 0);
}

#[test]
fn what_is_left_alone_keeps_the_lease_of_a_silent_worker() {
    let (mut upkeep, mut sessions) = (upkeep(), Sessions::default());
    let session = SessionId::from_uuid(Uuid::from_u128(1));
    for number in [1, 2] {
        let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("w"));
        sessions.restore(session, tenant, worker, (id(number), Attempt(1)), moment(5));
    }
    let mut quarantine = Quarantine::default();
    quarantine.set_aside(id(1), moment(0));
    assert!(upkeep.ended_leases(&mut sessions, &quarantine, moment(4)).is_empty());
    let lost = upkeep.ended_leases(&mut sessions, &quarantine, moment(5));
    assert_eq!(lost.iter().filter_map(Work::own_id).collect::<Vec<_>>(), [id(2)]);
    let lost = upkeep.ended_leases(&mut sessions, &quarantine, moment(30));
    assert_eq!(lost.len(), 2, "the first is tried again");
}

#[test]
fn sessions_are_looked_over_more_often_where_leases_are_short() {
    for (lease, interval) in [(30, 1_000), (3, 500)] {
        let mut upkeep = Upkeep::new(moment(0), Duration::from_secs(lease) / 3);
        let mut sessions = Sessions::default();
        let none = upkeep.ended_leases(&mut sessions, &Quarantine::default(), moment(0));
        assert!(none.is_empty());
        assert_eq!(
            upkeep.next(at(0), true),
            Wake::at_moment(Moment::new(Duration::from_millis(interval)))
        );
    }
}
