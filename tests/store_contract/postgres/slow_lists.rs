//! Lists that take long.

use std::pin::pin;

use super::*;
use crate::lists::{ORDERS, query};

/// A store in which who looks at a label waits for an hour.
async fn slow(list_time: Duration) -> (Database, PostgresStore) {
    let database = database().await;
    let options = PostgresOptions { list_time, ..PostgresOptions::default() };
    let store = PostgresStore::open(&database.url, &options).await.unwrap();
    stored(&store, with_label(submission(1), "a", "x")).await;
    let view = "ALTER TABLE labels RENAME TO others;
                CREATE VIEW labels AS SELECT others.* FROM others, pg_sleep(3600)";
    database.connect().await.batch_execute(view).await.unwrap();
    (database, store)
}

/// How many statements wait.
async fn sleeping(admin: &tokio_postgres::Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event = 'PgSleep'";
    admin.query_one(sql, &[]).await.unwrap().get(0)
}

async fn until_there_sleep(admin: &tokio_postgres::Client, count: i64) {
    let waiting = async { while sleeping(admin).await != count {} };
    timeout(Duration::from_secs(20), waiting).await.expect("so many in time");
}

#[tokio::test]
async fn a_list_is_stopped_when_its_time_is_up() {
    let (_database, store) = slow(Duration::from_millis(100)).await;
    for _ in 0..3 {
        let listed = store.list(query("labels.a = x", ORDERS[0], 10)).await;
        assert!(matches!(listed, Err(StoreError::TimedOut)), "{listed:?}");
        let listed = store.list_with_head(query("labels.a:*", ORDERS[1], 10)).await;
        assert!(matches!(listed, Err(StoreError::TimedOut)), "{listed:?}");
        assert_eq!(store.list(query("", ORDERS[0], 10)).await.unwrap().len(), 1);
    }
    store.close().await;
}

#[tokio::test]
async fn a_list_is_stopped_when_its_caller_goes_away() {
    let (database, store) = slow(Duration::from_secs(3_600)).await;
    let admin = database.connect().await;
    for _ in 0..3 {
        let list = || store.list(query("labels.a = x", ORDERS[0], 10));
        let mut lists = pin!(async { tokio::join!(list(), list(), list(), list()) });
        let others = async {
            // First among those that are quick, then one at a time.
            until_there_sleep(&admin, 3).await;
            until_there_sleep(&admin, 1).await;
            assert_eq!(store.list(query("", ORDERS[0], 10)).await.unwrap().len(), 1);
            assert!(load(&store, id(1)).await.is_some());
        };
        tokio::select! {
            _ = &mut lists => panic!("they take an hour"),
            () = others => {}
        }
    }
    until_there_sleep(&admin, 0).await;
    store.close().await;
}
