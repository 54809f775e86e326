//! Attempts that their workers have missed, and rows that others have locked, step by step.

use longrun::engine::EngineError;
use longrun::operation::{Attempt, StateName};

use super::stage::{Heard, LEASE, play};
use crate::store::Weather;

const LEASE_SECONDS: u32 = LEASE.as_secs() as u32;

/// An answer that was long in coming tells of an attempt that is over; the worker has another by then.
#[test]
fn the_end_of_an_attempt_that_is_learned_late_ends_no_later_one() {
    play(2, |stage| async move {
        let mut first = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(first.heard(), [Heard::Assigned(id, 1)]);
        stage.set_weather(0, Weather::Mute);
        let released = stage.release(0, first.session, id, 1).await;
        assert!(matches!(released, Err(EngineError::Unavailable(_))), "{released:?}");
        let running = [(id, Attempt(1))];
        let mut moved = stage.work(1, 1, Some(first.session), &running).await;
        stage.wait_alive(1, moved.session, 3).await;
        let again = [Heard::NotCurrent(id, 1), Heard::Assigned(id, 2)];
        assert_eq!(moved.heard(), again);
        // Which did not arrive, and it comes back to where it was.
        let mut back = stage.work(0, 1, Some(first.session), &running).await;
        assert!(back.is_resumed);
        stage.rest().await;
        stage.set_weather(0, Weather::Still);
        stage.wait_alive(0, back.session, LEASE_SECONDS).await;
        assert_eq!(back.heard(), again);
        stage.report(0, back.session, id, 2).await.unwrap();
    });
}

#[test]
fn what_a_worker_missed_it_is_told_even_while_the_row_is_locked() {
    play(1, |stage| async move {
        let mut lost = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(lost.heard(), [Heard::Assigned(id, 1)]);
        // Its lease is up, and cannot be ended.
        stage.replicas[0].store.store.lock(Some(id));
        stage.wait(LEASE_SECONDS + 2).await;
        assert!(lost.messages.is_closed());
        let mut back = stage.work(0, 1, Some(lost.session), &[]).await;
        assert!(back.is_resumed);
        stage.wait_alive(0, back.session, LEASE_SECONDS).await;
        stage.replicas[0].store.store.lock(None);
        stage.wait_alive(0, back.session, 4 * LEASE_SECONDS).await;
        assert_eq!(back.heard(), [Heard::Assigned(id, 1)]);
        stage.report(0, back.session, id, 1).await.unwrap();
    });
}

#[test]
fn a_row_that_is_locked_costs_its_own_operation_a_delay_and_nobody_else() {
    play(1, |stage| async move {
        let mut work = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(work.heard(), [Heard::Assigned(id, 1)]);
        let store = &stage.replicas[0].store.store;
        store.lock(Some(id));
        for tries in 1..=10 {
            let (reported, _) = tokio::join!(stage.report(0, work.session, id, 1), stage.submit(0));
            let Err(EngineError::Unavailable(why)) = reported else { panic!("{reported:?}") };
            assert!(why.contains("other writers"), "{why}");
            // Each wait is one for everybody.
            let waits = store.lock(Some(id));
            assert!(waits <= 4 * tries, "{waits} waits for {tries} reports");
        }
        store.lock(None);
        stage.report(0, work.session, id, 1).await.unwrap();
        assert_eq!(stage.get(0, id).await.state_name(), StateName::Succeeded);
    });
}

/// What starts is written together: of three operations that could start, the one that is locked stays behind.
#[test]
fn a_row_that_is_locked_keeps_no_other_from_starting() {
    play(1, |stage| async move {
        let mut queued = Vec::new();
        for _ in 0..3 {
            queued.push(stage.submit(0).await);
        }
        stage.rest().await;
        let store = &stage.replicas[0].store.store;
        store.lock(Some(queued[1]));
        let mut work = stage.work(0, 3, None, &[]).await;
        stage.rest().await;
        assert_eq!(work.heard(), [Heard::Assigned(queued[0], 1), Heard::Assigned(queued[2], 1)]);
        assert_eq!(store.lock(None), 1, "each wait is one for everybody");
        stage.wait_alive(0, work.session, 62).await;
        assert_eq!(work.heard(), [Heard::Assigned(queued[1], 1)]);
    });
}
