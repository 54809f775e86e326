//! Another program has the file locked.

use crate::program::{Setup, submission};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_others_have_locked_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let server = Setup::new(&path).start();
    let taken = vec![server.client().submit(submission("first", 10)).await.unwrap()];

    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = server.client().submit(submission("second", 10)).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    server.refuses_writes_and_serves_reads(&taken, "locked").await;
    other.execute_batch("ROLLBACK").unwrap();

    server.until_ready().await;
    server.client().submit(submission("second", 10)).await.unwrap();
    server.has_all(&taken).await;
}
