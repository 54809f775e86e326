//! Progress that workers report to one replica, and what the others make of it, step by step.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use longrun::engine::{FeedItem, FeedStart, WatchItem};
use longrun::operation::filter::Filter;
use longrun::operation::{Attempt, Operation, TenantId};
use longrun::store::shared::AttemptProgress;

use super::stage::play;
use crate::store::Weather;

#[test]
fn progress_that_is_reported_here_is_seen_there_until_the_attempt_is_over() {
    play(2, |stage| async move {
        let percent = |operation: &Operation| operation.life.progress.as_ref()?.percent;
        let work = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        let tenant = TenantId::default_tenant();
        let (mut watch, _) =
            stage.engine(1).watch(&tenant.clone().into(), id, None, true).await.unwrap();
        let mut feed = stage.engine(1).feed(tenant, Filter::default(), true, FeedStart::Now);
        assert!(matches!(feed.next().await, Ok(FeedItem::Synced)));
        assert!(matches!(watch.next().await, Ok(Some(WatchItem::Snapshot(_)))));
        for reported in [20.0, 40.0] {
            stage.progress(0, work.session, id, reported).await;
            stage.wait_alive(0, work.session, 2).await;
            assert_eq!(percent(&stage.get(1, id).await), Some(reported));
            let Ok(Some(WatchItem::Progress(seen))) = watch.next().await else { panic!() };
            assert_eq!(percent(&seen), Some(reported));
            let (seen, ()) = tokio::join!(feed.next(), stage.wait(1));
            let Ok(FeedItem::Progress(seen)) = seen else { panic!("{seen:?}") };
            assert_eq!((seen.id(), percent(&seen)), (id, Some(reported)));
            tokio::select! {
                biased;
                again = feed.next() => panic!("it is told again: {again:?}"),
                () = stage.wait_alive(0, work.session, 3) => {}
            }
        }
        // Its worker goes on elsewhere: what was known here is out of date.
        let moved = stage.work(1, 1, Some(work.session), &[(id, Attempt(1))]).await;
        stage.progress(1, moved.session, id, 60.0).await;
        stage.wait_alive(1, moved.session, 2).await;
        for at in [0, 1] {
            assert_eq!(percent(&stage.get(at, id).await), Some(60.0), "at {at}");
        }
        stage.report(1, moved.session, id, 1).await.unwrap();
        stage.wait(2).await;
        assert_eq!(stage.house.progress_of_others(0), [], "nothing of it is left");
    });
}

#[test]
fn progress_that_is_not_in_the_store_is_left_again() {
    play(2, |stage| async move {
        let percent = |operation: Operation| operation.life.progress?.percent;
        let work = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        stage.set_weather(0, Weather::Down);
        stage.progress(0, work.session, id, 20.0).await;
        stage.wait_alive(0, work.session, 2).await;
        assert_eq!(percent(stage.get(1, id).await), None);
        stage.set_weather(0, Weather::Still);
        stage.wait_alive(0, work.session, 2).await;
        assert_eq!(percent(stage.get(1, id).await), Some(20.0));
        stage.house.forget_progress();
        assert_eq!(percent(stage.get(1, id).await), None);
        stage.wait_alive(0, work.session, 65).await;
        assert_eq!(percent(stage.get(1, id).await), Some(20.0));
    });
}

/// The look that finds it may come after the transition that ended the attempt.
#[test]
fn progress_that_comes_after_its_attempt_is_not_told_and_wakes_nobody() {
    play(2, |stage| async move {
        let work = stage.work(0, 1, None, &[]).await;
        let id = stage.submit(0).await;
        stage.rest().await;
        let tenant = TenantId::default_tenant();
        let (mut watch, _) =
            stage.engine(1).watch(&tenant.clone().into(), id, None, true).await.unwrap();
        assert!(matches!(watch.next().await, Ok(Some(WatchItem::Snapshot(_)))));
        stage.progress(0, work.session, id, 20.0).await;
        stage.wait_alive(0, work.session, 2).await;
        assert!(matches!(watch.next().await, Ok(Some(WatchItem::Progress(_)))));
        // What the first leaves last is found when the attempt is over.
        stage.crash(0).await;
        let late = AttemptProgress { id, attempt: Attempt(1), progress: stage.percent(30.0) };
        let other = stage.work(1, 1, Some(work.session), &[(id, Attempt(1))]).await;
        stage.engine(1).drain(other.session).await.unwrap();
        stage.release(1, other.session, id, 1).await.unwrap();
        assert!(matches!(watch.next().await, Ok(Some(WatchItem::Transition(..)))));
        stage.house.leave_progress(0, vec![late], &[]);
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let next = tokio::task::spawn_local(async move {
            let mut next = pin!(watch.next());
            let next = poll_fn(|context| {
                counted.set(counted.get() + 1);
                next.as_mut().poll(context)
            });
            next.await.is_ok()
        });
        stage.wait(4).await;
        assert!(!next.is_finished());
        assert!((1..20).contains(&polls.get()), "{} times", polls.get());
        next.abort();
    });
}
