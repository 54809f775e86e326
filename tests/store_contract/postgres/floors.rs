//! Reads that begin behind rows that a transaction of others keeps from being vacuumed: what is below is found, later.

use std::time::Duration;

use longrun::operation::{Submission, TenantId};
use longrun::store::postgres::{PostgresOptions, PostgresStore};
use longrun::store::shared::Wanted;
use longrun::store::{Batch, Forget, Store};

use super::*;

/// A store for which every read is slow that takes longer than the fastest.
async fn open_slow(database: &Database) -> PostgresStore {
    let options = PostgresOptions { slow_read: Duration::ZERO, ..PostgresOptions::default() };
    PostgresStore::open(&database.url, &options).await.unwrap()
}

/// Numbers of the operations that are due at 100 s.
async fn due(store: &PostgresStore) -> Vec<u64> {
    let ids = store.due(at(100_000), 9).await.unwrap();
    store.commit(Batch::default()).await.unwrap();
    ids.iter().map(|due| (1..1_000).find(|number| id(*number) == *due).unwrap()).collect()
}

/// Due at this millisecond.
fn ending(number: u64, millis: u64) -> Submission {
    let mut submission = submission(number);
    submission.settings.deadline = Some(Duration::from_millis(millis - number));
    submission
}

#[tokio::test]
async fn a_queued_operation_below_a_floor_is_claimed() {
    let database = database().await;
    let store = open_slow(&database).await;
    store.commit(submitting([submission(950)])).await.unwrap();
    let claimed = async || {
        let claimed = shared(&store).claim(wanted(999), Vec::new(), at(100_000)).await.unwrap();
        store.commit(Batch::default()).await.unwrap();
        claimed.operations.iter().map(number).collect::<Vec<_>>()
    };
    // Each is earlier than what a look may have seen; until one comes late, below a floor.
    let mut late = 800;
    loop {
        store.commit(submitting([submission(late)])).await.unwrap();
        if !claimed().await.contains(&late) {
            break;
        }
        store.commit(removing(&load(&store, id(late)).await.unwrap())).await.unwrap();
        late -= 1;
    }
    // One that was put off is claimed by its time.
    let mut put_off = submission(8);
    put_off.start_at = at(900);
    store.commit(submitting([put_off])).await.unwrap();
    assert!(claimed().await.contains(&8));
    while !claimed().await.contains(&late) {}
    store.close().await;
}

#[tokio::test]
async fn queues_are_found_past_floors() {
    let database = database().await;
    let store = open_slow(&database).await;
    let tenants = ["a", "b-2", "b1", "c", "d"].map(|name| TenantId::parse(name).unwrap());
    let kind = submission(1).kind;
    let of = |tenant: &TenantId, number: u64| Submission {
        tenant: tenant.clone(),
        ..submission(number)
    };
    let queued = [of(&tenants[0], 1), of(&tenants[1], 2), of(&tenants[2], 3), of(&tenants[4], 5)];
    store.commit(submitting(queued)).await.unwrap();
    let wanted = |tenant: &TenantId| Wanted {
        tenant: tenant.clone(),
        kind: kind.clone(),
        limit: 9,
        limits: Vec::new(),
    };
    for _ in 0..50 {
        // The fourth has floors, and nothing is queued there.
        let wanted = [1, 2, 3].map(|at: usize| wanted(&tenants[at])).to_vec();
        shared(&store).claim(wanted, Vec::new(), at(100_000)).await.unwrap();
        store.commit(Batch::default()).await.unwrap();
        let found = shared(&store).queues(vec![kind.clone()], None, 9).await.unwrap();
        let found: Vec<&str> = found.found.iter().map(|(tenant, _)| tenant.as_str()).collect();
        assert_eq!(found, ["a", "b-2", "b1", "d"]);
    }
    store.close().await;
}

#[tokio::test]
async fn an_operation_that_is_due_below_a_floor_is_told() {
    let database = database().await;
    let store = open_slow(&database).await;
    store.commit(submitting([ending(9, 50_000)])).await.unwrap();
    let mut late = 800;
    loop {
        store.commit(submitting([ending(late, 1_000 + late)])).await.unwrap();
        let due = due(&store).await;
        assert!(due.contains(&9), "{due:?}");
        if !due.contains(&late) {
            break;
        }
        store.commit(removing(&load(&store, id(late)).await.unwrap())).await.unwrap();
        late -= 1;
    }
    let then = at(1_000 + late as i64);
    // A clock that was set back behind the floor makes it void.
    assert_eq!(store.due(then, 9).await.unwrap(), [id(late)]);
    store.commit(Batch::default()).await.unwrap();
    assert_eq!(store.next_wake(then).await.unwrap(), Some(then));
    // Who only asks when something is due is told as well.
    while store.next_wake(at(100_000)).await.unwrap() != Some(then) {}
    while due(&store).await != [late, 9] {}
    store.close().await;
}

#[tokio::test]
async fn tombstones_below_a_floor_are_deleted() {
    let database = database().await;
    let store = open_slow(&database).await;
    let forget = async || {
        let forget = Some(Forget { until: at(100), keep: 1_000 });
        store.commit(Batch { forget, ..Batch::default() }).await.unwrap();
    };
    let admin = database.connect().await;
    let put = async |n: i64, forget_at: i64| {
        let sql = "INSERT INTO tombstones (n, id, tenant, purged_at, forget_at)
                   VALUES ($1, gen_random_uuid(), 'default', 0, $2)";
        admin.execute(sql, &[&n, &at(forget_at).micros()]).await.unwrap();
    };
    let oldest = async || {
        let sql = "SELECT min(n) FROM tombstones";
        admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
    };
    put(900, 500).await;
    let mut late = 800;
    loop {
        put(late, 50).await;
        forget().await;
        if oldest().await == late {
            break;
        }
        late -= 1;
    }
    while oldest().await != 900 {
        forget().await;
    }
    store.close().await;
}
