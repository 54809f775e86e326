use std::pin::pin;

use super::super::SqliteOptions;
use super::super::open::open;
use super::super::store_error;
use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn threads(list_time: Duration) -> (tempfile::TempDir, Threads) {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&directory.path().join("longrun.db"), &SqliteOptions::default()).unwrap();
    (directory, Threads::start(opened, list_time).unwrap())
}

/// A statement that never ends by itself.
fn endless(connection: &Connection) -> Result<i64, StoreError> {
    let sql =
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
    connection.query_row(sql, [], |row| row.get(0)).map_err(store_error)
}

fn short(connection: &Connection) -> Result<i64, StoreError> {
    connection.query_row("SELECT 7", [], |row| row.get(0)).map_err(store_error)
}

#[tokio::test]
async fn a_list_is_stopped_when_its_time_is_up_and_its_connection_is_as_before() {
    let (_directory, threads) = threads(Duration::from_millis(300));
    for _ in 0..3 {
        assert!(matches!(threads.list(endless).await, Err(StoreError::TimedOut)));
        assert_eq!(threads.list(short).await.unwrap(), 7);
    }
    threads.close().await;
}

#[tokio::test]
async fn reads_stop_when_their_callers_go_away() {
    let (_directory, threads) = threads(HOUR);
    for _ in 0..3 {
        let (began, mut has_begun) = mpsc::unbounded_channel();
        let told = began.clone();
        let list = move |connection: &Connection| {
            let _ = told.send(());
            endless(connection)
        };
        let look_up = move |connection: &Connection| {
            let _ = began.send(());
            endless(connection)
        };
        let mut reading =
            pin!(async { tokio::join!(threads.list(list), threads.look_up(look_up)) });
        // The list begins among quick lists, then among slow ones; the lookup begins once.
        for _ in 0..3 {
            tokio::select! {
                _ = &mut reading => panic!("there is no end"),
                _ = has_begun.recv() => {}
            }
        }
        assert_eq!(threads.list(short).await.unwrap(), 7, "others are not kept waiting");
        assert_eq!(threads.look_up(short).await.unwrap(), 7);
    }
    // This waits for all threads.
    threads.close().await;
}
