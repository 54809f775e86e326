//! How long workers' sessions live, and who may end them, step by step.

use longrun::operation::{Attempt, SessionId, StateName};

use super::stage::{Heard, LEASE, Stage, play};
use crate::clock::TICK;
use crate::store::Weather;

const LEASE_SECONDS: u32 = LEASE.as_secs() as u32;

/// Lets so many seconds pass in which nothing happens but that the worker's session must stand.
async fn stands(stage: &Stage, at: usize, session: SessionId, seconds: u32) {
    for _ in 0..seconds {
        stage.wait_alive(at, session, 1).await;
        let left = stage.row(session).expect("the session has a row");
        assert!(left > LEASE / 2, "it is kept thrice in a lease: {left:?} are left");
    }
}

#[test]
fn a_session_is_kept_in_good_time_and_not_more_often() {
    play(1, |stage| async move {
        let work = stage.work(0, 1, None, &[]).await;
        stage.rest().await;
        let [before, ..] = stage.replicas[0].store.store.counts();
        stands(&stage, 0, work.session, 40).await;
        let [after, ..] = stage.replicas[0].store.store.counts();
        // Of which most are because it looks for what others have lost.
        let commits = after - before;
        assert!((12..=30).contains(&commits), "{commits} commits");
    });
}

#[test]
fn a_session_is_kept_without_being_asked() {
    play(1, |stage| async move {
        let work = stage.work(0, 1, None, &[]).await;
        for _ in 0..9 {
            stage.engine(0).renew(work.session).await.unwrap();
            for _ in 0..8 {
                stage.wait(1).await;
                assert!(stage.row(work.session).unwrap() > LEASE / 2);
            }
        }
        assert!(!work.messages.is_closed());
    });
}

#[test]
fn a_worker_that_falls_silent_has_no_session_any_more() {
    play(1, |stage| async move {
        let work = stage.work(0, 1, None, &[]).await;
        stage.wait(LEASE_SECONDS - 1).await;
        assert!(!work.messages.is_closed());
        assert!(stage.row(work.session).is_some());
        stage.wait(2).await;
        assert!(work.messages.is_closed());
        stage.wait(LEASE_SECONDS / 3 + 1).await;
        assert_eq!(stage.row(work.session), None);
    });
}

#[test]
fn a_worker_that_leaves_has_no_session_any_more() {
    play(1, |stage| async move {
        let work = stage.work(0, 1, None, &[]).await;
        stage.rest().await;
        stage.engine(0).disconnect(work.connected);
        stage.wait(LEASE_SECONDS * 2 / 3).await;
        assert_eq!(stage.row(work.session), None);
    });
}

#[test]
fn a_worker_that_comes_back_before_its_session_is_stored_keeps_it() {
    play(1, |stage| async move {
        stage.set_weather(0, Weather::ReadOnly);
        let first = stage.in_time(stage.work(0, 1, None, &[])).await;
        stage.wait(1).await;
        assert_eq!(stage.row(first.session), None);
        stage.set_weather(0, Weather::Still);
        let again = stage.in_time(stage.work(0, 1, Some(first.session), &[])).await;
        assert!(again.is_resumed);
        assert_eq!(again.session, first.session);
        stage.wait_alive(0, again.session, 5).await;
        assert!(stage.row(again.session).is_some());
        assert!(!again.messages.is_closed());
    });
}

#[test]
fn a_session_that_another_replica_has_ended_is_not_resumed() {
    play(2, |stage| async move {
        let lost = stage.work(0, 1, None, &[]).await;
        stage.rest().await;
        stage.hold_up(0);
        stage.wait(LEASE_SECONDS + 10).await;
        assert_eq!(stage.row(lost.session), None);
        let back = stage.work(1, 1, Some(lost.session), &[]).await;
        assert!(!back.is_resumed);
        assert_ne!(back.session, lost.session);
    });
}

#[test]
fn a_replica_that_was_held_up_keeps_its_workers_and_their_rows_again() {
    play(2, |stage| async move {
        let held_up = stage.work(0, 1, None, &[]).await;
        stage.rest().await;
        stage.hold_up(0);
        stage.wait(LEASE_SECONDS + 10).await;
        assert_eq!(stage.row(held_up.session), None);
        stage.let_go(0);
        stage.wait(LEASE_SECONDS - 2).await;
        assert!(!held_up.messages.is_closed(), "it has one lease to be heard in");
        assert!(stage.row(held_up.session).is_some());
        stage.wait(4).await;
        assert!(held_up.messages.is_closed());
    });
}

/// Wall clocks are set, of all replicas at once; no time passes by that.
#[test]
fn clocks_that_are_set_end_no_session_and_keep_none() {
    for ticks in [100_000_u32, 60_000] {
        play(2, |stage| async move {
            let mut work = stage.work(0, 1, None, &[]).await;
            let id = stage.submit(0).await;
            stage.rest().await;
            assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
            stage.clock.set_ahead(ticks);
            stage.wait_alive(0, work.session, 2 * LEASE_SECONDS).await;
            stage.clock.set_back(ticks);
            stage.wait_alive(0, work.session, 2 * LEASE_SECONDS).await;
            assert_eq!(work.heard(), []);
            assert_eq!(stage.get(0, id).await.life.attempt, Attempt(1));
            // One that is gone is missed in time, by the other replica.
            stage.crash(0).await;
            stage.clock.set_back(ticks);
            let mut other = stage.work(1, 1, None, &[]).await;
            stage.wait_alive(1, other.session, LEASE_SECONDS + 6).await;
            assert_eq!(other.heard(), [Heard::Assigned(id, 2)]);
        });
    }
}

#[test]
fn all_that_a_crashed_replica_leaves_is_cleared_away() {
    play(2, |stage| async move {
        let mut works = Vec::new();
        for _ in 0..70 {
            works.push(stage.work(0, 1, None, &[]).await);
        }
        stage.rest().await;
        assert_eq!(stage.house.sessions().len(), 70);
        stage.crash(0).await;
        stage.wait(LEASE_SECONDS - 4).await;
        assert_eq!(stage.house.sessions().len(), 70);
        // More than one look finds.
        stage.wait(14).await;
        assert_eq!(stage.house.sessions().len(), 0);
    });
}

#[test]
fn an_outage_that_all_notice_ends_no_session() {
    for first in [0, 1] {
        play(2, |stage| async move {
            let mut work = stage.work(0, 1, None, &[]).await;
            let mut other = stage.work(1, 1, None, &[]).await;
            let id = stage.submit(0).await;
            stage.wait(1).await;
            let (holder, waiting) = if work.heard() == [Heard::Assigned(id, 1)] {
                (&mut work, &mut other)
            } else {
                (&mut other, &mut work)
            };
            for at in [0, 1] {
                stage.set_weather(at, Weather::Down);
            }
            let alive = async |seconds| {
                for _ in 0..seconds {
                    stage.engine(0).renew(holder.session).await.unwrap();
                    stage.engine(1).renew(holder.session).await.unwrap();
                    stage.engine(0).renew(waiting.session).await.unwrap();
                    stage.engine(1).renew(waiting.session).await.unwrap();
                    stage.wait(1).await;
                }
            };
            alive(2 * LEASE_SECONDS).await;
            stage.set_weather(first, Weather::Still);
            alive(3).await;
            stage.set_weather(1 - first, Weather::Still);
            alive(2 * LEASE_SECONDS).await;
            assert_eq!(stage.get(0, id).await.life.attempt, Attempt(1), "back first: {first}");
            assert!(!holder.messages.is_closed() && !waiting.messages.is_closed());
            assert_eq!((holder.heard(), waiting.heard()), (vec![], vec![]));
        });
    }
}

#[test]
fn a_pause_of_all_ends_no_session() {
    play(2, |stage| async move {
        let mut work = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
        // As where a machine sleeps that all run on.
        for at in [0, 1] {
            stage.hold_up(at);
        }
        stage.wait(2 * LEASE_SECONDS).await;
        stage.let_go(1);
        stage.wait(3).await;
        stage.engine(0).renew(work.session).await.unwrap();
        stage.let_go(0);
        stage.wait_alive(0, work.session, 2 * LEASE_SECONDS).await;
        assert_eq!(work.heard(), []);
        stage.report(0, work.session, id, 1).await.unwrap();
    });
}

#[test]
fn a_replica_that_comes_to_be_waits_for_workers_of_others() {
    play(1, |mut stage| async move {
        let mut lost = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(lost.heard(), [Heard::Assigned(id, 1)]);
        stage.crash(0).await;
        stage.wait(3 * LEASE_SECONDS).await;
        let replica = stage.open(1).await;
        stage.replicas.push(replica);
        let mut other = stage.work(1, 1, None, &[]).await;
        stage.wait_alive(1, other.session, LEASE_SECONDS - 2).await;
        assert_eq!(other.heard(), []);
        let back = stage.work(1, 1, Some(lost.session), &[(id, Attempt(1))]).await;
        assert!(back.is_resumed);
        stage.report(1, back.session, id, 1).await.unwrap();
    });
}

#[test]
fn who_was_lost_in_an_outage_is_missed_one_lease_after_it() {
    play(2, |stage| async move {
        let mut lost = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(lost.heard(), [Heard::Assigned(id, 1)]);
        let mut other = stage.work(1, 1, None, &[]).await;
        stage.set_weather(1, Weather::Down);
        stage.crash(0).await;
        stage.wait_alive(1, other.session, 2 * LEASE_SECONDS).await;
        stage.set_weather(1, Weather::Still);
        stage.wait_alive(1, other.session, LEASE_SECONDS - 2).await;
        assert_eq!(other.heard(), []);
        stage.wait_alive(1, other.session, 8).await;
        assert_eq!(other.heard(), [Heard::Assigned(id, 2)]);
    });
}

#[test]
fn who_comes_back_before_its_end_was_stored_stays() {
    // It is found to be lost, which cannot be written: by the first look after its time or in one before.
    for ticks in [0, 8, 16, 24, 32] {
        play(2, |stage| async move {
            let lost = stage.work(0, 1, None, &[]).await;
            stage.rest().await;
            stage.crash(0).await;
            while stage.row(lost.session).unwrap() > TICK * ticks {
                stage.clock.advance(1);
                stage.rest().await;
            }
            stage.set_weather(1, Weather::ReadOnly);
            stage.wait(4).await;
            stage.set_weather(1, Weather::Still);
            let mut back = stage.work(1, 1, Some(lost.session), &[]).await;
            assert!(back.is_resumed);
            for _ in 0..LEASE_SECONDS {
                stage.wait_alive(1, back.session, 1).await;
                assert!(stage.row(back.session).is_some(), "{ticks} ticks before");
            }
            let id = stage.submit(1).await;
            stage.rest().await;
            assert!(!back.messages.is_closed());
            assert_eq!(back.heard(), [Heard::Assigned(id, 1)]);
        });
    }
}

#[test]
fn a_cancel_that_is_heard_of_in_an_outage_reaches_the_worker_after_it() {
    for is_known in [false, true] {
        play(2, |stage| async move {
            let mut work = stage.work(0, 1, None, &[]).await;
            let id = stage.submit(0).await;
            stage.rest().await;
            assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
            stage.set_weather(0, Weather::Down);
            if is_known {
                stage.wait_alive(0, work.session, 3).await;
            }
            let cancelled = stage.cancel(1, id).await.unwrap();
            assert_eq!(cancelled.operation.state_name(), StateName::Cancelling);
            stage.wait_alive(0, work.session, 2).await;
            assert_eq!(work.heard(), []);
            stage.set_weather(0, Weather::Still);
            stage.wait_alive(0, work.session, 3).await;
            assert_eq!(work.heard(), [Heard::Cancel(id)], "known before: {is_known}");
        });
    }
}

/// What its replica knows of the operation is of the time before the worker went to another.
#[test]
fn a_lease_that_is_lost_is_looked_up_before_it_is_ended() {
    play(3, |stage| async move {
        let first = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        stage.replicas[0].store.mailbox.deafen(100_000);
        let mut moved = stage.work(1, 1, Some(first.session), &[(id, Attempt(1))]).await;
        stage.release(1, moved.session, id, 1).await.unwrap();
        stage.wait_alive(1, moved.session, 3).await;
        assert_eq!(moved.heard(), [Heard::Assigned(id, 2)]);
        for lost in [1, 2] {
            stage.crash(lost).await;
        }
        let mut other = stage.work(0, 1, None, &[]).await;
        stage.wait_alive(0, other.session, 3 * LEASE_SECONDS).await;
        assert_eq!(other.heard(), [Heard::Assigned(id, 3)]);
    });
}
