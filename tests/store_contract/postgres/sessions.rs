//! Workers' sessions: whose they are, and who ends them. And what their workers say of progress.

use std::time::Instant;

use longrun::operation::{Attempt, Progress, SessionId};
use longrun::store::log::Stamp;
use longrun::store::shared::{AttemptProgress, ExpiredSession, Hint, Lease, TakeOver};
use longrun::store::{Batch, Store, StoreError};

use super::*;

fn taking(number: u8) -> TakeOver {
    TakeOver {
        session: session(number),
        scope: submission(1).tenant.into(),
        lease: Duration::from_secs(3_600),
    }
}

fn taken(committed: Result<Option<Stamp>, StoreError>) -> bool {
    match committed {
        Ok(_) => false,
        Err(StoreError::SessionsTaken(sessions)) => !sessions.is_empty(),
        other => panic!("{other:?}"),
    }
}

fn lease(number: u64) -> Lease {
    Lease { id: id(number), attempt: Attempt(1) }
}

async fn expired(store: &PostgresStore) -> Vec<SessionId> {
    expired_with_leases(store).await.iter().map(|it| it.session).collect()
}

async fn expired_with_leases(store: &PostgresStore) -> Vec<ExpiredSession> {
    shared(store).expired(10, 2).await.unwrap()
}

#[tokio::test]
async fn a_session_taken_over_is_no_longer_ones_own() {
    let (_database, a, b) = two().await;
    let queued = stored(&a, submission(1)).await;
    // A session that is not there cannot be used, or taken over.
    assert!(taken(a.commit(leasing(&queued, 1).1).await));
    assert_eq!(shared(&b).take_over(taking(1)).await.unwrap(), None);
    a.commit(keeping(1)).await.unwrap();
    let (running, batch) = leasing(&queued, 1);
    a.commit(batch).await.unwrap();

    let mut of_another = taking(1);
    of_another.scope = longrun::operation::TenantId::parse("other").unwrap().into();
    assert_eq!(shared(&b).take_over(of_another).await.unwrap(), None);
    assert_eq!(shared(&b).take_over(taking(1)).await.unwrap(), Some(vec![lease(1)]));
    assert_eq!(next_news(&a).await, Hint::TakenOver(vec![session(1)]));
    assert!(taken(a.commit(keeping(1)).await));
    let second = stored(&a, submission(2)).await;
    assert!(taken(a.commit(leasing(&second, 1).1).await));
    assert_eq!(load(&a, id(2)).await, Some(second.clone()));
    let (second, batch) = leasing(&second, 1);
    b.commit(batch).await.unwrap();
    // It is not ended by whom it was taken from, but by its owner.
    let mut batch = Batch::default();
    batch.sessions.ended = vec![session(1)];
    a.commit(batch.clone()).await.unwrap();
    b.commit(keeping(1)).await.unwrap();
    // Others may change a lease, and say so.
    let (_, mut told) = changing(&running, &complete(&running), at(700));
    told.sessions.told = vec![(session(1), id(1))];
    a.commit(told).await.unwrap();
    assert_eq!(next_news(&b).await, Hint::Leases(vec![id(1)]));
    // It stays while it holds the other.
    b.commit(batch.clone()).await.unwrap();
    assert_eq!(shared(&b).take_over(taking(1)).await.unwrap(), Some(vec![lease(2)]));
    b.commit(changing(&second, &complete(&second), at(800)).1).await.unwrap();
    b.commit(batch).await.unwrap();
    assert_eq!(shared(&a).take_over(taking(1)).await.unwrap(), None);
    a.close().await;
    b.close().await;
}

/// Either the lease is there before the session is taken over, and is told; or it is refused.
#[tokio::test]
async fn no_lease_slips_through_a_take_over() {
    let (_database, a, b) = two().await;
    let (mut told, mut refused) = (0, 0);
    for round in 1..=40 {
        let number = round as u8;
        let queued = stored(&a, submission(round)).await;
        a.commit(keeping(number)).await.unwrap();
        let later = Duration::from_micros(round * 40);
        let (leased, took) = tokio::join!(a.commit(leasing(&queued, number).1), async {
            tokio::time::sleep(later).await;
            shared(&b).take_over(taking(number)).await
        });
        match took.unwrap().unwrap().as_slice() {
            [] => {
                assert!(taken(leased));
                refused += 1;
            }
            [one] => {
                assert_eq!(*one, lease(round));
                leased.unwrap();
                told += 1;
            }
            more => panic!("{more:?}"),
        }
    }
    println!("{told} leases were told, {refused} refused");
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn expired_sessions_are_told_to_one_and_ended_by_it() {
    let (_database, a, b) = two().await;
    for number in 1..=3 {
        a.commit(keeping(number)).await.unwrap();
    }
    for number in 1..=3 {
        let queued = stored(&a, submission(number)).await;
        a.commit(leasing(&queued, 2).1).await.unwrap();
    }
    assert_eq!(expired(&b).await, [], "each is kept for an hour");
    for number in 1..=2 {
        a.commit(keeping_for(number, Duration::ZERO)).await.unwrap();
    }
    let told = expired_with_leases(&b).await;
    assert_eq!(told.iter().map(|it| it.session).collect::<Vec<_>>(), [session(1), session(2)]);
    assert_eq!(told[0].leases, []);
    assert_eq!(told[1].leases, [lease(1), lease(2)]);
    a.commit(keeping_for(3, Duration::ZERO)).await.unwrap();
    assert_eq!(expired(&a).await, [session(3)], "the others are locked");
    a.commit(Batch::default()).await.unwrap();
    // Of what was asked for, one is ended; another's that was not is left alone.
    let mut batch = Batch::default();
    batch.sessions.ended = vec![session(1), session(3)];
    b.commit(batch).await.unwrap();
    assert_eq!(expired(&a).await, [session(2), session(3)]);
    // Kept again, it is not expired.
    a.commit(keeping(3)).await.unwrap();
    assert_eq!(expired(&b).await, [session(2)]);
    a.close().await;
    b.close().await;
}

/// Replicas' clocks may differ by hours. What is kept is judged by the database's.
#[tokio::test]
async fn how_long_a_session_is_kept_is_counted_by_the_database() {
    let (database, a, b) = two().await;
    a.commit(keeping(1)).await.unwrap();
    let client = database.connect().await;
    let left = "SELECT (expires_at / 1000000.0 - extract(epoch FROM clock_timestamp()))::float8
        FROM sessions";
    let left: f64 = client.query_one(left, &[]).await.unwrap().get(0);
    assert!((3_590.0..=3_600.0).contains(&left), "{left} s");
    let take = TakeOver { lease: Duration::MAX, ..taking(1) };
    assert!(shared(&b).take_over(take).await.unwrap().is_some(), "it may be as long as can be");
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn progress_is_left_for_others_and_the_latest_stays() {
    let (_database, a, b) = two().await;
    let percent = |number: u64, attempt: u32, percent: f64, reported: i64| AttemptProgress {
        id: id(number),
        attempt: Attempt(attempt),
        progress: Progress {
            percent: Some(percent),
            done_units: Some(3),
            total_units: None,
            message: "half\0way".to_owned(),
            at: at(reported),
        },
    };
    let left = async |store: &PostgresStore| {
        let mut found = shared(store).progress((1..=3).map(id).collect()).await.unwrap();
        let mut recent = shared(store).recent_progress(10).await.unwrap();
        found.sort_by_key(|it| it.id);
        recent.sort_by_key(|it| it.id);
        assert_eq!(found, recent);
        found
    };
    let (first, second) = (percent(1, 1, 50.0, 10), percent(2, 1, 10.0, 10));
    let news = vec![first.clone(), second.clone()];
    // Who has not heard of anybody leaves nothing.
    let deadline = Instant::now() + Duration::from_secs(20);
    while left(&b).await != news {
        assert!(Instant::now() < deadline, "the first replica does not hear of the second");
        shared(&a).leave_progress(news.clone(), Vec::new()).await.unwrap();
    }
    assert_eq!(left(&a).await, [], "one's own is known already");
    assert_eq!(shared(&b).recent_progress(1).await.unwrap().len(), 1);
    // What is older, or of an earlier attempt, changes nothing.
    let later = percent(1, 2, 5.0, 5);
    shared(&a).leave_progress(vec![later.clone()], vec![id(2)]).await.unwrap();
    shared(&a).leave_progress(vec![first, percent(1, 2, 1.0, 4)], Vec::new()).await.unwrap();
    assert_eq!(left(&b).await, std::slice::from_ref(&later));
    // Only who has left it takes it away.
    shared(&b).leave_progress(Vec::new(), vec![id(1)]).await.unwrap();
    assert_eq!(left(&b).await, [later]);
    shared(&a).leave_progress(Vec::new(), vec![id(1)]).await.unwrap();
    assert_eq!(left(&b).await, []);
    a.close().await;
    b.close().await;
}
