//! What several replicas do together, step by step.

use longrun::engine::{Clock as _, EngineError};
use longrun::operation::log::LogBook;
use longrun::operation::{Attempt, Rejection, Settings, StateName};

use super::stage::{Heard, LEASE, Stage, play, revisions};
use crate::clock::TICK;
use crate::store::Weather;

#[test]
fn what_is_submitted_here_is_started_there_at_once() {
    play(2, |stage| async move {
        let mut work = stage.work(1, 1, None, &[]).await;
        stage.rest().await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(work.heard(), [Heard::Assigned(id, 1)], "a hint suffices, time does not pass");
    });
}

#[test]
fn what_is_submitted_here_is_started_there_without_a_hint() {
    play(2, |stage| async move {
        let mut work = stage.work(1, 1, None, &[]).await;
        stage.rest().await;
        stage.replicas[1].store.mailbox.deafen(10_000);
        let id = stage.submit(0).await;
        stage.wait_alive(1, work.session, 4).await;
        assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
    });
}

#[test]
fn work_is_looked_for_without_a_hint_or_a_sign_of_life() {
    play(2, |stage| async move {
        let mut work = stage.work(1, 1, None, &[]).await;
        stage.rest().await;
        stage.replicas[1].store.mailbox.deafen(10_000);
        for _ in 0..5 {
            let id = stage.submit(0).await;
            stage.wait(3).await;
            assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
            stage.report(1, work.session, id, 1).await.unwrap();
        }
    });
}

#[test]
fn a_cancel_there_reaches_the_worker_here() {
    for is_deaf in [false, true] {
        play(2, |stage| async move {
            let mut work = stage.work(0, 1, None, &[]).await;
            let id = stage.submit(0).await;
            stage.rest().await;
            assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
            if is_deaf {
                stage.replicas[0].store.mailbox.deafen(16);
            }
            let cancelled = stage.cancel(1, id).await.unwrap();
            assert_eq!(cancelled.operation.state_name(), StateName::Cancelling);
            stage.rest().await;
            if is_deaf {
                assert_eq!(work.heard(), []);
                stage.wait(2).await;
            }
            assert_eq!(work.heard(), [Heard::Cancel(id)]);
        });
    }
}

#[test]
fn a_worker_that_moves_is_heard_there_and_its_place_here_is_gone() {
    play(2, |stage| async move {
        let mut first = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(first.heard(), [Heard::Assigned(id, 1)]);
        let mut moved = stage.work(1, 1, Some(first.session), &[(id, Attempt(1))]).await;
        stage.rest().await;
        assert!(moved.is_resumed);
        assert_eq!(moved.session, first.session);
        assert!(first.messages.is_closed(), "it is not the first replica's any more");
        // Its only place is taken.
        let second = stage.submit(0).await;
        stage.wait_alive(1, moved.session, 5).await;
        assert_eq!(moved.heard(), []);
        let mut other = stage.work(0, 1, None, &[]).await;
        stage.rest().await;
        assert_eq!(other.heard(), [Heard::Assigned(second, 1)]);
        stage.report(1, moved.session, id, 1).await.unwrap();
        assert_eq!(stage.get(0, id).await.state_name(), StateName::Succeeded);
        let third = stage.submit(0).await;
        stage.wait_alive(0, other.session, 5).await;
        assert_eq!(moved.heard(), [Heard::Assigned(third, 1)]);
        assert_eq!(other.heard(), []);
    });
}

#[test]
fn a_lease_that_the_former_replica_ends_unknowing_is_a_free_place_at_the_new_one() {
    play(2, |stage| async move {
        let mut first = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(first.heard(), [Heard::Assigned(id, 1)]);
        // It does not hear that it has lost the session.
        stage.replicas[0].store.mailbox.deafen(10_000);
        let mut moved = stage.work(1, 1, Some(first.session), &[(id, Attempt(1))]).await;
        stage.rest().await;
        assert!(moved.is_resumed);
        // What the worker had sent there before comes through at last.
        stage.report(0, first.session, id, 1).await.unwrap();
        let second = stage.submit(1).await;
        stage.wait_alive(1, moved.session, 1).await;
        assert_eq!(moved.heard(), [Heard::NotCurrent(id, 1), Heard::Assigned(second, 1)]);
        assert!(first.messages.is_closed(), "the store has told");
    });
}

#[test]
fn who_has_lost_a_worker_unknowing_gives_it_nothing() {
    play(2, |stage| async move {
        let mut first = stage.work(0, 1, None, &[]).await;
        stage.rest().await;
        stage.replicas[0].store.mailbox.deafen(10_000);
        let mut moved = stage.work(1, 1, Some(first.session), &[]).await;
        assert!(moved.is_resumed);
        stage.replicas[1].store.mailbox.deafen(10_000);
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(first.heard(), []);
        assert!(first.messages.is_closed(), "the store has told");
        stage.wait_alive(1, moved.session, 3).await;
        assert_eq!(moved.heard(), [Heard::Assigned(id, 1)]);
    });
}

#[test]
fn what_a_replica_knows_of_a_session_that_it_lost_unheard_is_not_told_to_its_worker() {
    play(2, |stage| async move {
        let first = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        stage.replicas[0].store.mailbox.deafen(10_000);
        let mut moved = stage.work(1, 1, Some(first.session), &[(id, Attempt(1))]).await;
        stage.report(1, moved.session, id, 1).await.unwrap();
        let second = stage.submit(1).await;
        stage.rest().await;
        assert_eq!(moved.heard(), [Heard::Assigned(second, 1)]);
        // Whose the session is cannot be asked now.
        stage.replicas[0].store.store.set_weather(Weather::Down);
        let running = [(second, Attempt(1))];
        let refused = stage.connect(0, &["sim.a"], 1, Some(first.session), &running).await;
        assert!(matches!(refused, Err(EngineError::Unavailable(_))), "it does not know of that");
        stage.replicas[0].store.store.set_weather(Weather::Still);
        stage.wait(1).await;
        let mut back = stage.work(0, 1, Some(first.session), &running).await;
        assert!(back.is_resumed);
        stage.wait_alive(0, back.session, 3).await;
        assert_eq!(back.heard(), [Heard::NotCurrent(id, 1)], "what it knew of is over");
        stage.report(0, back.session, second, 1).await.unwrap();
    });
}

#[test]
fn lines_of_a_worker_that_moves_to_and_fro_are_all_kept() {
    play(2, |stage| async move {
        let work = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        let mut session = work.session;
        for (line, at) in ["a", "b", "c", "d"].into_iter().zip([0, 1, 0, 1]) {
            let running = [(id, Attempt(1))];
            let moved = stage.work(at, 1, Some(session), &running).await;
            assert!(moved.is_resumed);
            session = moved.session;
            stage.log(at, session, id, line).await.unwrap();
        }
        let book = stage.house.disk.lock().unwrap().log_book(id);
        assert_eq!(book, LogBook::new(4, [1; 4]));
    });
}

#[test]
fn a_replica_that_was_held_up_is_told_that_its_work_went_on_elsewhere() {
    play(2, |stage| async move {
        let mut lost = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(lost.heard(), [Heard::Assigned(id, 1)]);
        stage.hold_up(0);
        let mut other = stage.work(1, 1, None, &[]).await;
        stage.wait_alive(1, other.session, LEASE.as_secs() as u32 + 10).await;
        assert_eq!(other.heard(), [Heard::Assigned(id, 2)], "once");
        stage.let_go(0);
        stage.wait_alive(1, other.session, 3).await;
        // Its replica could not hear it meanwhile, and so does not take it for lost.
        assert_eq!(lost.heard(), [Heard::NotCurrent(id, 1)]);
        assert!(!lost.messages.is_closed());
        let mut back = stage.work(0, 1, Some(lost.session), &[(id, Attempt(1))]).await;
        stage.rest().await;
        assert_eq!(back.heard(), [Heard::NotCurrent(id, 1)]);
        let late = stage.report(0, back.session, id, 1).await;
        let Err(EngineError::Rejected(Rejection::StaleAttempt { .. })) = late else {
            panic!("{late:?}");
        };
        stage.report(1, other.session, id, 2).await.unwrap();
        assert_eq!(stage.get(0, id).await.life.attempt, Attempt(2));
    });
}

#[test]
fn what_a_crashed_replica_had_given_out_is_given_out_once_more() {
    play(3, |stage| async move {
        let mut lost = stage.work(0, 2, None, &[]).await;
        let ids = [stage.submit(0).await, stage.submit(1).await];
        // The clocks differ by a little.
        stage.wait(1).await;
        assert_eq!(lost.heard(), ids.map(|id| Heard::Assigned(id, 1)));
        stage.crash(0).await;
        let mut other = stage.work(1, 5, None, &[]).await;
        stage.wait_alive(1, other.session, LEASE.as_secs() as u32 - 5).await;
        assert_eq!(other.heard(), [], "the worker may come back");
        stage.wait_alive(1, other.session, 14).await;
        let again = ids.map(|id| Heard::Assigned(id, 2));
        assert_eq!(other.heard(), again);
        assert_eq!(stage.house.sessions().len(), 1, "that of the lost one has ended");
    });
}

#[test]
fn a_worker_of_a_crashed_replica_goes_on_at_another() {
    play(2, |stage| async move {
        let mut work = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
        stage.crash(0).await;
        stage.wait(5).await;
        let mut moved = stage.work(1, 1, Some(work.session), &[(id, Attempt(1))]).await;
        assert!(moved.is_resumed);
        stage.wait_alive(1, moved.session, 30).await;
        assert_eq!(moved.heard(), []);
        stage.report(1, moved.session, id, 1).await.unwrap();
        assert_eq!(stage.get(1, id).await.life.attempt, Attempt(1));
    });
}

#[test]
fn a_watch_there_sees_what_happens_here_in_order() {
    for is_deaf in [false, true] {
        play(2, |stage| async move {
            let id = stage.submit(0).await;
            let mut watch = stage.watch(1, id).await;
            assert_eq!(revisions(&mut watch).await, [1]);
            if is_deaf {
                // And is not told so before the end.
                stage.replicas[1].store.mailbox.deafen(10_000);
            }
            let work = stage.work(0, 1, None, &[]).await;
            stage.rest().await;
            if !is_deaf {
                assert_eq!(revisions(&mut watch).await, [2]);
            }
            stage.report(0, work.session, id, 1).await.unwrap();
            stage.rest().await;
            if is_deaf {
                assert_eq!(revisions(&mut watch).await, [0_u64; 0]);
                stage.wait(11).await;
                assert_eq!(revisions(&mut watch).await, [2, 3]);
            } else {
                assert_eq!(revisions(&mut watch).await, [3]);
            }
        });
    }
}

#[test]
fn what_is_to_start_later_is_started_there_in_time() {
    for (at, is_deaf) in [(0, false), (0, true), (1, false)] {
        play(2, |stage| async move {
            let mut work = stage.work(1, 1, None, &[]).await;
            stage.rest().await;
            if is_deaf {
                stage.replicas[1].store.mailbox.deafen(10_000);
            }
            for ticks in [170, 203, 256] {
                let start_at = stage.clock.now().after(TICK * ticks);
                let id = stage.submit_with(at, Settings::default(), Some(start_at)).await;
                let mut left = ticks - 1;
                while left > 0 {
                    stage.engine(1).renew(work.session).await.unwrap();
                    let step = left.min(16);
                    stage.clock.advance(step);
                    stage.rest().await;
                    left -= step;
                }
                assert_eq!(work.heard(), []);
                // The clocks differ by a little.
                stage.clock.advance(2);
                stage.rest().await;
                assert_eq!(work.heard(), [Heard::Assigned(id, 1)], "in {ticks} ticks");
                stage.report(1, work.session, id, 1).await.unwrap();
            }
        });
    }
}

#[test]
fn the_most_urgent_goes_first_wherever_it_was_submitted() {
    play(3, |stage| async move {
        let mut ids = Vec::new();
        for (at, priority) in [(0, 1), (1, 5), (2, 3), (0, 9), (1, 3)] {
            let settings = Settings { priority, ..Settings::default() };
            ids.push(stage.submit_with(at, settings, None).await);
            stage.clock.advance(1);
        }
        let mut work = stage.work(2, 1, None, &[]).await;
        stage.rest().await;
        for number in [3, 1, 2, 4, 0] {
            assert_eq!(work.heard(), [Heard::Assigned(ids[number], 1)]);
            stage.report(2, work.session, ids[number], 1).await.unwrap();
            stage.rest().await;
        }
    });
}

#[test]
fn what_is_left_here_is_started_here_as_soon_as_there_is_room() {
    play(2, |stage| async move {
        let mut work = stage.work(1, 1, None, &[]).await;
        let first = stage.submit(1).await;
        let second = stage.submit(1).await;
        stage.rest().await;
        assert_eq!(work.heard(), [Heard::Assigned(first, 1)]);
        stage.report(1, work.session, first, 1).await.unwrap();
        stage.rest().await;
        assert_eq!(work.heard(), [Heard::Assigned(second, 1)]);
    });
}

#[test]
fn hints_come_for_the_kinds_that_are_served_now() {
    play(2, |stage| async move {
        let other = stage.work_for(1, &["sim.b"]).await;
        stage.rest().await;
        stage.engine(1).disconnect(other.connected);
        let mut work = stage.work_for(1, &["sim.a"]).await;
        stage.wait_alive(1, work.session, 1).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
    });
}

#[test]
fn who_has_no_worker_claims_nothing() {
    play(2, |stage| async move {
        let id = stage.submit(0).await;
        stage.wait(30).await;
        let unclaimed = stage.get(1, id).await;
        assert_eq!(unclaimed.state_name(), StateName::Queued);
        assert_eq!([stage.replicas[0].store.claims(), stage.replicas[1].store.claims()], [0, 0]);
    });
}

#[test]
fn who_looks_for_something_commits_at_once_whatever_it_finds() {
    play(2, |stage| async move {
        let works = [stage.work(0, 1, None, &[]).await, stage.work(1, 1, None, &[]).await];
        for second in 0..60 {
            // One replica keeps its worker.
            stage.wait_alive(0, works[0].session, 1).await;
            let is_open = [0, 1].map(|at| stage.replicas[at].store.is_open());
            assert_eq!(is_open, [false; 2], "after {second} seconds");
        }
    });
}

#[test]
fn a_worker_with_room_is_given_all_that_waits_at_once() {
    play(2, |stage| async move {
        let ids = [stage.submit(0).await, stage.submit(0).await, stage.submit(0).await];
        let mut work = stage.work(1, 3, None, &[]).await;
        stage.rest().await;
        assert_eq!(work.heard(), ids.map(|id| Heard::Assigned(id, 1)));
    });
}

#[test]
fn who_has_nothing_to_do_asks_the_store_seldom() {
    play(2, |stage| async move {
        let calls = |stage: &Stage| [0, 1].map(|at| stage.replicas[at].store.calls());
        let before = calls(&stage);
        stage.wait(60).await;
        let idle = calls(&stage);
        let work = stage.work(1, 4, None, &[]).await;
        stage.wait_alive(1, work.session, 60).await;
        let waiting = calls(&stage);
        let alone = [0, 1].map(|at| idle[at] - before[at]);
        println!("a minute without workers: {alone:?}, with one: {}", waiting[1] - idle[1]);
        assert!(alone.iter().all(|calls| (1..=120).contains(calls)), "{alone:?}");
        assert!((1..=200).contains(&(waiting[1] - idle[1])), "{}", waiting[1] - idle[1]);
    });
}

#[test]
fn a_place_that_one_queue_does_not_need_is_another_ones() {
    play(2, |stage| async move {
        // The first of two queues is empty, and is asked first.
        let mut work = stage.work_for(1, &["sim.0", "sim.a"]).await;
        stage.wait_alive(1, work.session, 3).await;
        let id = stage.submit(0).await;
        stage.wait_alive(1, work.session, 3).await;
        assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
    });
}

#[test]
fn a_cancel_of_what_has_ended_elsewhere_is_answered_with_its_end() {
    play(2, |stage| async move {
        let work = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        stage.cancel(1, id).await.unwrap();
        stage.rest().await;
        stage.report(0, work.session, id, 1).await.unwrap();
        let again = stage.cancel(1, id).await.unwrap();
        assert_eq!(again.operation.state_name(), StateName::Succeeded);
    });
}

#[test]
fn the_kinds_of_a_worker_take_turns() {
    for (few, many) in [("sim.a", "sim.b"), ("sim.b", "sim.a")] {
        play(2, |stage| async move {
            let mut waiting = Vec::new();
            for _ in 0..3 {
                waiting.push(stage.submit_as(0, few).await);
            }
            for _ in 0..20 {
                stage.submit_as(0, many).await;
            }
            let mut work = stage.work_for(1, &[many, few]).await;
            let mut order = Vec::new();
            for _ in 0..10 {
                stage.wait_alive(1, work.session, 3).await;
                let [Heard::Assigned(id, attempt)] = work.heard()[..] else { panic!("{order:?}") };
                order.push(id);
                stage.report(1, work.session, id, attempt).await.unwrap();
            }
            for (number, id) in waiting.iter().enumerate() {
                let at = order.iter().position(|given| given == id);
                assert!(at.is_some_and(|at| at <= 2 * number + 1), "{few}: {at:?} of {order:?}");
            }
        });
    }
}
