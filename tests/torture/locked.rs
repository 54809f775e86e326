//! Another program has the file locked.

use rustix::process::{Signal, kill_process};

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

/// As a backup does: nothing that it reads can be folded, so the log stays and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_keeps_no_server_from_stopping_or_starting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let mut server = Setup::new(&path).start();
    let mut taken = vec![server.client().submit(submission("first", 10)).await.unwrap()];
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM operations").unwrap();
    for key in ["second", "third"] {
        kill_process(server.pid(), Signal::TERM).unwrap();
        assert!(server.child.wait().unwrap().success());
        server = Setup::new(&path).start();
        server.has_all(&taken).await;
        taken.push(server.client().submit(submission(key, 10)).await.unwrap());
    }
    server.kill();
    let server = Setup::new(&path).start();
    server.has_all(&taken).await;
    drop(reader);
    server.kill();
    Setup::new(&path).start().has_all(&taken).await;
}
