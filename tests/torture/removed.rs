//! A store's files taken away under the server: noticed although nothing is written, and nothing is acknowledged that goes
//! to files that nobody will find again.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::program::{Program, Setup, submission};

/// Within seconds.
async fn until_noticed(server: &Program, why: &str) {
    let begun = Instant::now();
    loop {
        let (status, problem) = server.get("/readyz");
        if status == 503 {
            assert!(problem.contains(why), "{problem}");
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it is not noticed: {}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_removed_or_replaced_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let server = Setup::new(&path).start();
    let mut taken = vec![server.client().submit(submission("first", 10)).await.unwrap()];
    let aside = directory.path().join("aside");
    for name in ["longrun.db", "longrun.db-wal"] {
        let file = directory.path().join(name);
        fs::rename(&file, &aside).unwrap();
        until_noticed(&server, "was removed").await;
        server.refuses_writes_and_serves_reads(&taken, name).await;
        fs::copy(&aside, &file).unwrap();
        until_noticed(&server, "was re").await;
        let refused = server.client().submit(submission("other", 10)).await.unwrap_err();
        assert!(refused.is_transient(), "{refused:?}");
        // The same file again.
        fs::rename(&aside, &file).unwrap();
        server.until_ready().await;
        taken.push(server.client().submit(submission(name, 10)).await.unwrap());
    }
    server.kill();
    Setup::new(&path).start().has_all(&taken).await;
}

/// A commit finds out by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_that_goes_to_a_removed_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let server = Setup::new(&path).start();
    server.client().submit(submission("first", 10)).await.unwrap();
    fs::remove_file(&path).unwrap();
    let refused = server.client().submit(submission("second", 10)).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
}

/// A backup copied over the file of a running server: the server's log does not get into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_overwritten_is_noticed_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = crate::damage::filled(directory.path(), true).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let saved = elsewhere.path().join("saved");
    fs::copy(&path, &saved).unwrap();
    let mut server = Setup::new(&path).start();
    server.client().submit(submission("later", 10)).await.unwrap();
    fs::copy(&saved, &path).unwrap();
    until_noticed(&server, "was replaced by other contents").await;
    let refused = server.client().submit(submission("other", 10)).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    kill_process(server.pid(), Signal::TERM).unwrap();
    server.child.wait().unwrap();
    assert!(fs::read(&path).unwrap() == fs::read(&saved).unwrap());
    crate::damage::refused(&path, "longrun.db-wal is not of this file");
    fs::remove_file(path.with_extension("db-wal")).unwrap();
    Setup::new(&path).start().has_all(&taken).await;
}
