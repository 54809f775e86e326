//! Watches over more operations than are read at once, and where they go on: each change once, whatever comes between.

use longrun::engine::{Feed, FeedStart};
use longrun::operation::filter::Filter;
use longrun::operation::{OperationId, TenantId};

use super::stage::{Stage, play};
use super::told::{Told, brief, delete, feed, resume, told};

/// More than are listed at first.
const MANY: usize = 40;

/// The next item of a watch that has one.
async fn next(stage: &Stage, feed: &mut Feed) -> Told {
    tokio::select! {
        biased;
        next = feed.next() => brief(next.unwrap()),
        () = stage.rest() => panic!("nothing is told"),
    }
}

/// As they are listed, but for one of them, which has been cancelled.
fn current(ids: &[OperationId], cancelled: OperationId) -> Vec<Told> {
    let revision = |id| if id == cancelled { 2 } else { 1 };
    ids.iter().map(|id| Told::Current(*id, revision(*id))).collect()
}

#[test]
fn what_changes_while_it_is_listed_is_told_once() {
    play(2, |stage| async move {
        let ids = stage.submit_many(0, MANY).await;
        let mut feed = feed(&stage, 1);
        let mut all = Vec::new();
        // Fewer than are read at first.
        for _ in 0..3 {
            all.push(next(&stage, &mut feed).await);
        }
        // One that is listed, and one that is not yet.
        let (listed, later) = (ids[2], ids[30]);
        stage.cancel(0, listed).await.unwrap();
        stage.cancel(0, later).await.unwrap();
        all.extend(told(&stage, &mut feed).await);
        let page = all.iter().position(|told| *told == Told::Changed(listed, 2)).unwrap();
        assert!((3..MANY).contains(&page), "before what comes next is listed");
        all.remove(page);
        assert_eq!(all.pop(), Some(Told::Synced));
        assert_eq!(all, current(&ids, later));
        stage.wait(4).await;
        assert_eq!(told(&stage, &mut feed).await, []);
    });
}

#[test]
fn a_list_goes_on_behind_every_item() {
    play(2, |stage| async move {
        let ids = stage.submit_many(0, MANY).await;
        let (listed, later) = (ids[2], ids[30]);
        let mut feed = feed(&stage, 1);
        let mut all = Vec::new();
        while all.last() != Some(&Told::Synced) {
            all.push(next(&stage, &mut feed).await);
            if all.len() == 20 {
                stage.cancel(0, listed).await.unwrap();
                stage.cancel(0, later).await.unwrap();
            }
            feed = resume(&stage, all.len() % 2, &feed);
        }
        assert_eq!(all.remove(20), Told::Changed(listed, 2));
        assert_eq!(all.pop(), Some(Told::Synced));
        assert_eq!(all, current(&ids, later));
        assert_eq!(told(&stage, &mut feed).await, []);
    });
}

#[test]
fn of_a_commit_with_several_changes_the_rest_is_told_to_who_goes_on() {
    play(2, |stage| async move {
        let mut feed = feed(&stage, 0);
        assert_eq!(told(&stage, &mut feed).await, [Told::Synced]);
        let first = stage.submit(0).await;
        let second = stage.submit(0).await;
        let both = [Told::Changed(first, 1), Told::Changed(second, 1)];
        assert_eq!(told(&stage, &mut feed).await, both);
        let (cancelled, third) = tokio::join!(stage.cancel(0, first), stage.submit(0));
        cancelled.unwrap();
        assert_eq!(next(&stage, &mut feed).await, Told::Changed(first, 2));
        for at in [0, 1] {
            let mut rest = resume(&stage, at, &feed);
            assert_eq!(told(&stage, &mut rest).await, [Told::Changed(third, 1)], "at {at}");
        }
    });
}

#[test]
fn what_is_committed_before_a_list_is_read_is_not_told_again_behind_it() {
    play(2, |stage| async move {
        let mut early = feed(&stage, 0);
        assert_eq!(told(&stage, &mut early).await, [Told::Synced]);
        let mut late = feed(&stage, 0);
        let ids = [stage.submit(0).await, stage.submit(0).await];
        let current = ids.map(|id| Told::Current(id, 1));
        assert_eq!(told(&stage, &mut late).await, [&current[..], &[Told::Synced]].concat());
        stage.cancel(0, ids[0]).await.unwrap();
        assert_eq!(told(&stage, &mut late).await, [Told::Changed(ids[0], 2)]);
    });
}

#[test]
fn a_feed_of_which_nothing_matches_follows_all_the_same() {
    play(2, |stage| async move {
        let others = || Filter::parse("kind=sim.b").unwrap();
        let from = |start| stage.engine(1).feed(TenantId::default_tenant(), others(), false, start);
        let mut early = from(FeedStart::Current);
        assert_eq!(told(&stage, &mut early).await, [Told::Synced]);
        let beginning = early.position().unwrap().clone();
        // One by one, so that each is a link of the chain.
        let ids = [stage.submit(0).await, stage.submit(0).await];
        for id in ids {
            stage.cancel(0, id).await.unwrap();
            delete(&stage, 0, id).await;
            assert_eq!(told(&stage, &mut early).await, []);
        }
        // Another reads the same from the log.
        let mut late = from(FeedStart::After(beginning));
        assert_eq!(told(&stage, &mut late).await, []);
        stage.house.disk.lock().unwrap().log.trim(0);
        for feed in [early, late] {
            let mut again = from(FeedStart::After(feed.position().unwrap().clone()));
            assert_eq!(told(&stage, &mut again).await, [], "its position has moved on");
        }
    });
}

/// More than a link of the chain holds, and more than the log is read of at a time.
#[test]
fn very_much_at_once_is_told_once() {
    play(2, |stage| async move {
        let mut feed = feed(&stage, 1);
        assert_eq!(told(&stage, &mut feed).await, [Told::Synced]);
        stage.hold_up(1);
        let mut all = Vec::new();
        for _ in 0..6 {
            all.extend(stage.submit_many(0, 1_000).await);
        }
        stage.let_go(1);
        stage.wait(3).await;
        let all: Vec<Told> = all.into_iter().map(|id| Told::Changed(id, 1)).collect();
        assert!(told(&stage, &mut feed).await == all, "something is missing, or told twice");
        let last = stage.submit(0).await;
        assert_eq!(told(&stage, &mut feed).await, [Told::Changed(last, 1)]);
    });
}

/// Nobody there has read the log for so long that some of it is gone.
#[test]
fn who_has_slept_through_some_history_begins_again_and_follows() {
    play(2, |stage| async move {
        let mut feed = feed(&stage, 1);
        assert_eq!(told(&stage, &mut feed).await, [Told::Synced]);
        stage.hold_up(1);
        let ids = [stage.submit(0).await, stage.submit(0).await];
        stage.cancel(0, ids[0]).await.unwrap();
        delete(&stage, 0, ids[0]).await;
        stage.house.disk.lock().unwrap().log.trim(0);
        stage.let_go(1);
        stage.wait(3).await;
        let again = [Told::Reset, Told::Current(ids[1], 1), Told::Synced];
        assert_eq!(told(&stage, &mut feed).await, again);
        stage.cancel(0, ids[1]).await.unwrap();
        assert_eq!(told(&stage, &mut feed).await, [Told::Changed(ids[1], 2)]);
    });
}
