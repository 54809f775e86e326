//! What one replica tells of others' work: to watchers, and to whoever asks how much there is to do, step by step.

use std::time::Duration;

use longrun::engine::{EngineError, Feed, FeedItem, FeedStart};
use longrun::operation::filter::Filter;
use longrun::operation::{Command, OperationId, Settings, TenantId};
use tokio::task::yield_now;

use super::stage::{LEASE, Stage, play, revisions};
use crate::store::Weather;

/// An item, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Current(OperationId, u64),
    Synced,
    Changed(OperationId, u64),
    Left(OperationId, u64),
    Deleted(OperationId),
    Reset,
}

/// A watch over everything, there.
pub fn feed(stage: &Stage, at: usize) -> Feed {
    stage.engine(at).feed(TenantId::default_tenant(), Filter::default(), false, FeedStart::Current)
}

/// What a watch tells within a moment, in which its replica gathers what to read.
pub async fn told(stage: &Stage, feed: &mut Feed) -> Vec<Told> {
    let mut told = told_at_once(feed).await;
    for _ in 0..3 {
        stage.clock.pass(Duration::from_millis(2));
        told.extend(told_at_once(feed).await);
    }
    told
}

/// What a watch tells before any time passes.
async fn told_at_once(feed: &mut Feed) -> Vec<Told> {
    let mut told = Vec::new();
    loop {
        let next = tokio::select! {
            biased;
            next = feed.next() => next.unwrap(),
            () = async { for _ in 0..50 { yield_now().await; } } => return told,
        };
        told.push(brief(next));
    }
}

/// The item, in short.
pub fn brief(item: FeedItem) -> Told {
    match item {
        FeedItem::Current(operation) => Told::Current(operation.id(), operation.life.revision.0),
        FeedItem::Synced => Told::Synced,
        FeedItem::Transition(committed) => {
            let operation = committed.operation;
            Told::Changed(operation.id(), operation.life.revision.0)
        }
        FeedItem::Left(committed) => {
            Told::Left(committed.operation.id(), committed.operation.life.revision.0)
        }
        FeedItem::Deleted(operation) => Told::Deleted(operation.id()),
        FeedItem::Progress(operation) => panic!("{operation:?} was not asked for"),
        FeedItem::Reset => Told::Reset,
    }
}

pub async fn delete(stage: &Stage, at: usize, id: OperationId) {
    stage.apply(at, id, Command::Delete, Vec::new()).await.unwrap();
}

#[test]
fn a_feed_there_tells_what_happens_here_each_once_and_in_order() {
    play(2, |stage| async move {
        let before = stage.submit(0).await;
        let mut feeds = [feed(&stage, 0), feed(&stage, 1)];
        for feed in &mut feeds {
            assert_eq!(told(&stage, feed).await, [Told::Current(before, 1), Told::Synced]);
        }
        let id = stage.submit(0).await;
        for feed in &mut feeds {
            assert_eq!(told(&stage, feed).await, [Told::Changed(id, 1)]);
        }
        for id in [id, before] {
            stage.cancel(1, id).await.unwrap();
            for feed in &mut feeds {
                assert_eq!(told(&stage, feed).await, [Told::Changed(id, 2)]);
            }
        }
        delete(&stage, 0, before).await;
        for feed in &mut feeds {
            assert_eq!(told(&stage, feed).await, [Told::Deleted(before)]);
        }
        drop(feeds);
        let mut later = feed(&stage, 0);
        assert_eq!(told(&stage, &mut later).await, [Told::Current(id, 2), Told::Synced]);
        delete(&stage, 0, id).await;
        assert_eq!(told(&stage, &mut later).await, [Told::Deleted(id)], "known by the list only");
    });
}

#[test]
fn a_feed_tells_in_order_what_is_heard_of_late() {
    play(2, |stage| async move {
        let mut feed = feed(&stage, 1);
        assert_eq!(told(&stage, &mut feed).await, [Told::Synced]);
        let id = stage.submit(0).await;
        assert_eq!(told(&stage, &mut feed).await, [Told::Changed(id, 1)]);
        stage.replicas[1].store.mailbox.delay(32);
        let _work = stage.work(0, 1, None, &[]).await;
        stage.rest().await;
        assert_eq!(told(&stage, &mut feed).await, []);
        stage.cancel(1, id).await.unwrap();
        assert_eq!(told(&stage, &mut feed).await, [Told::Changed(id, 2), Told::Changed(id, 3)]);
        stage.wait(4).await;
        assert_eq!(told(&stage, &mut feed).await, [], "the late hint tells nothing new");
    });
}

#[test]
fn a_feed_tells_what_has_left_its_filter_there() {
    play(2, |stage| async move {
        let filter = Filter::parse("done=false").unwrap();
        let mut feed =
            stage.engine(1).feed(TenantId::default_tenant(), filter, false, FeedStart::Current);
        let id = stage.submit(0).await;
        assert_eq!(told(&stage, &mut feed).await, [Told::Current(id, 1), Told::Synced]);
        stage.cancel(0, id).await.unwrap();
        assert_eq!(told(&stage, &mut feed).await, [Told::Left(id, 2)]);
    });
}

/// A watch over everything that goes on there where `feed` is.
pub fn resume(stage: &Stage, at: usize, feed: &Feed) -> Feed {
    let start = FeedStart::After(feed.position().unwrap().clone());
    stage.engine(at).feed(TenantId::default_tenant(), Filter::default(), false, start)
}

#[test]
fn a_feed_goes_on_anywhere_without_a_gap_or_a_repeat() {
    play(2, |stage| async move {
        let mut feed = feed(&stage, 0);
        assert_eq!(told(&stage, &mut feed).await, [Told::Synced]);
        let ids = [stage.submit(0).await, stage.submit(1).await];
        stage.cancel(0, ids[0]).await.unwrap();
        delete(&stage, 0, ids[0]).await;
        let mut other = resume(&stage, 1, &feed);
        let all = [Told::Deleted(ids[0]), Told::Changed(ids[1], 1)];
        assert_eq!(told(&stage, &mut other).await, all);
        // In the middle of what was read at once.
        let mut one = resume(&stage, 1, &feed);
        let first = tokio::select! {
            biased;
            first = one.next() => first.unwrap(),
            () = stage.rest() => panic!("nothing is told"),
        };
        assert!(matches!(first, FeedItem::Deleted(_)), "{first:?}");
        stage.cancel(1, ids[1]).await.unwrap();
        let rest = [Told::Changed(ids[1], 1), Told::Changed(ids[1], 2)];
        assert_eq!(told(&stage, &mut resume(&stage, 0, &one)).await, rest);
        assert_eq!(told(&stage, &mut other).await, rest[1..]);
        // Its replica is gone, and so is its writer.
        stage.crash(0).await;
        assert_eq!(
            told(&stage, &mut resume(&stage, 1, &feed)).await,
            [Told::Deleted(ids[0]), Told::Changed(ids[1], 1), Told::Changed(ids[1], 2)]
        );
    });
}

#[test]
fn a_feed_whose_history_is_gone_begins_again() {
    play(2, |stage| async move {
        let mut feed = feed(&stage, 0);
        assert_eq!(told(&stage, &mut feed).await, [Told::Synced]);
        let ids = [stage.submit(0).await, stage.submit(0).await];
        stage.cancel(0, ids[0]).await.unwrap();
        delete(&stage, 0, ids[0]).await;
        stage.house.disk.lock().unwrap().log.trim(0);
        let again = [Told::Reset, Told::Current(ids[1], 1), Told::Synced];
        assert_eq!(told(&stage, &mut resume(&stage, 1, &feed)).await, again);
    });
}

#[test]
fn what_is_lost_on_its_way_is_read_soon() {
    play(2, |stage| async move {
        let mut feed = feed(&stage, 1);
        assert_eq!(told(&stage, &mut feed).await, [Told::Synced]);
        stage.replicas[1].store.mailbox.deafen(10_000);
        let id = stage.submit(0).await;
        stage.rest().await;
        assert_eq!(told(&stage, &mut feed).await, []);
        stage.wait(3).await;
        assert_eq!(told(&stage, &mut feed).await, [Told::Changed(id, 1)]);
    });
}

#[test]
fn what_cannot_be_read_now_is_told_when_it_can_be() {
    play(2, |stage| async move {
        let mut feed = feed(&stage, 1);
        assert_eq!(told(&stage, &mut feed).await, [Told::Synced]);
        stage.set_weather(1, Weather::Down);
        let id = stage.submit(0).await;
        stage.rest().await;
        stage.set_weather(1, Weather::Still);
        stage.wait(3).await;
        assert_eq!(told(&stage, &mut feed).await, [Told::Changed(id, 1)]);
    });
}

#[test]
fn nothing_of_the_time_before_is_told_to_a_later_feed() {
    play(2, |stage| async move {
        let mut first = feed(&stage, 1);
        let id = stage.submit(0).await;
        assert_eq!(told(&stage, &mut first).await, [Told::Current(id, 1), Told::Synced]);
        stage.cancel(0, id).await.unwrap();
        assert_eq!(told(&stage, &mut first).await, [Told::Changed(id, 2)]);
        drop(first);
        let other = stage.submit(0).await;
        let mut second = feed(&stage, 1);
        let current = [Told::Current(id, 2), Told::Current(other, 1), Told::Synced];
        assert_eq!(told(&stage, &mut second).await, current);
        delete(&stage, 0, id).await;
        stage.cancel(0, other).await.unwrap();
        stage.rest().await;
        let news = [Told::Deleted(id), Told::Changed(other, 2)];
        assert_eq!(
            told(&stage, &mut second).await,
            news,
            "also of what it was told as current only"
        );
    });
}

#[test]
fn a_watch_goes_on_at_once_when_its_replica_hears_again() {
    play(2, |stage| async move {
        let id = stage.submit(0).await;
        let mut watch = stage.watch(1, id).await;
        assert_eq!(revisions(&mut watch).await, [1]);
        stage.replicas[1].store.mailbox.deafen(32);
        stage.cancel(0, id).await.unwrap();
        stage.rest().await;
        assert_eq!(revisions(&mut watch).await, [0_u64; 0]);
        stage.wait(3).await;
        assert_eq!(revisions(&mut watch).await, [2]);
    });
}

#[test]
fn a_watch_goes_on_soon_where_what_is_heard_of_cannot_be_read() {
    play(2, |stage| async move {
        let id = stage.submit(0).await;
        let mut watch = stage.watch(1, id).await;
        assert_eq!(revisions(&mut watch).await, [1]);
        stage.set_weather(1, Weather::Down);
        stage.cancel(0, id).await.unwrap();
        stage.wait(2).await;
        stage.set_weather(1, Weather::Still);
        stage.wait(2).await;
        assert_eq!(revisions(&mut watch).await, [2]);
    });
}

#[test]
fn a_watch_ends_when_its_operation_was_deleted_elsewhere() {
    for is_deaf in [false, true] {
        play(2, |stage| async move {
            let id = stage.submit(0).await;
            let mut watch = stage.watch(1, id).await;
            assert_eq!(revisions(&mut watch).await, [1]);
            if is_deaf {
                stage.replicas[1].store.mailbox.deafen(10_000);
            }
            // Both before anybody reads what the first has made of it.
            stage.hold_up(1);
            stage.cancel(0, id).await.unwrap();
            delete(&stage, 0, id).await;
            stage.let_go(1);
            if is_deaf {
                stage.wait(11).await;
            }
            stage.rest().await;
            let end = tokio::select! {
                biased;
                end = watch.next() => end,
                () = stage.rest() => panic!("the watch goes on, deaf: {is_deaf}"),
            };
            assert!(matches!(end, Err(EngineError::NotFound)), "{end:?}");
        });
    }
}

#[test]
fn what_is_not_done_is_counted_everywhere() {
    play(2, |stage| async move {
        let ids = [stage.submit(0).await, stage.submit(0).await, stage.submit(1).await];
        stage.wait(6).await;
        assert_eq!([0, 1].map(|at| stage.engine(at).outstanding()), [3, 3]);
        // Where a kind has a limit, it is one for all.
        let full = stage.submit_within(1, 3).await;
        assert!(matches!(full, Err(EngineError::Full { limit: 3, .. })), "{full:?}");
        stage.submit_within(1, 4).await.unwrap();
        for id in ids {
            stage.cancel(0, id).await.unwrap();
        }
        stage.wait(6).await;
        assert_eq!([0, 1].map(|at| stage.engine(at).outstanding()), [1, 1]);
        stage.submit_within(1, 2).await.unwrap();
    });
}

#[test]
fn time_limits_of_a_crashed_replica_are_kept_by_the_others() {
    play(3, |stage| async move {
        let settings = Settings { queue_timeout: Some(LEASE), ..Settings::default() };
        let first = stage.submit_with(0, settings.clone(), None).await;
        let ids = [first, stage.submit_with(0, settings, None).await];
        stage.crash(0).await;
        stage.wait(LEASE.as_secs() as u32 - 1).await;
        for id in ids {
            assert!(!stage.get(1, id).await.is_done());
        }
        stage.wait(5).await;
        for id in ids {
            assert!(stage.get(1, id).await.is_done());
        }
    });
}
