//! A store's file and its log, one without the other: refused in words that say what to do. Nothing is undone or lost
//! silently, and a kill alone never makes such a pair.

use std::fs;
use std::path::Path;
use std::time::Duration;

use longrun::proto::v1::{ListOperationsRequest, Operation};
use rustix::process::Signal;
use tokio_stream::StreamExt as _;

use crate::damage::{filled, refused};
use crate::program::{Setup, submission};

/// Serves the store until an operation more is stored, and kills the server.
async fn one_more(path: &Path, key: &str) -> Operation {
    let server = Setup::new(path).start();
    let taken = server.client().submit(submission(key, 100)).await.unwrap();
    server.kill();
    taken
}

async fn stored(path: &Path) -> usize {
    let server = Setup::new(path).start();
    let client = server.client();
    let list = client.list_all(ListOperationsRequest::default());
    let listed: Vec<Operation> = list.map(Result::unwrap).collect().await;
    server.kill();
    listed.len()
}

fn move_log_away(path: &Path) {
    fs::remove_file(path.with_extension("db-wal")).unwrap();
    fs::remove_file(path.with_extension("db-shm")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_put_back_is_not_undone_by_the_log_of_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = filled(directory.path(), true).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (clean, unclean) = (elsewhere.path().join("clean"), elsewhere.path().join("unclean"));
    fs::copy(&path, &clean).unwrap();
    one_more(&path, "first").await;
    fs::copy(&path, &unclean).unwrap();
    one_more(&path, "second").await;
    let latest = elsewhere.path().join("latest");
    fs::copy(&path, &latest).unwrap();
    for saved in [&clean, &unclean] {
        fs::copy(saved, &path).unwrap();
        refused(&path, "longrun.db-wal is not of this file");
    }
    fs::copy(&latest, &path).unwrap();
    assert_eq!(stored(&path).await, taken.len() + 2);

    one_more(&path, "third").await;
    fs::copy(&clean, &path).unwrap();
    refused(&path, "move the log");
    move_log_away(&path);
    assert_eq!(stored(&path).await, taken.len());
}

/// Without SQLite's header of a file that has a log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_a_backup() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = filled(directory.path(), false).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let saved = elsewhere.path().join("saved.db");
    let backup = |to: &Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_longrun"));
        let store = format!("sqlite:{}", path.display());
        command.args(["store", "backup", "--store", &store]).arg(to).output().unwrap()
    };
    assert!(backup(&saved).status.success());
    one_more(&path, "later").await;
    fs::copy(&saved, &path).unwrap();
    refused(&path, "longrun.db-wal is not of this file");
    // What the pair would be read as is not backed up either.
    let output = backup(&elsewhere.path().join("another.db"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("is not of this file"), "{said}");
    move_log_away(&path);
    assert_eq!(stored(&path).await, taken.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_its_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = filled(directory.path(), false).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved");
    fs::copy(&path, &moved).unwrap();
    fs::remove_file(&path).unwrap();
    refused(&path, "the file is missing or empty");
    fs::write(&path, "").unwrap();
    refused(&path, "longrun.db-wal is not");
    fs::copy(&moved, &path).unwrap();
    assert_eq!(stored(&path).await, taken.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_its_log_is_refused_unless_that_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = filled(directory.path(), false).await;
    let log = path.with_extension("db-wal");
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved");
    fs::copy(&log, &moved).unwrap();
    fs::remove_file(&log).unwrap();
    refused(&path, "longrun.db-wal is missing");
    fs::copy(&moved, &log).unwrap();
    assert_eq!(stored(&path).await, taken.len());

    // Another program has taken the log into the file: nothing is missing.
    rusqlite::Connection::open(&path).unwrap().execute_batch("SELECT 1 FROM operations").unwrap();
    assert!(!log.exists());
    refused(&path, "make an empty file");
    fs::write(&log, "").unwrap();
    assert_eq!(stored(&path).await, taken.len());
}

/// Killed while it starts, works or stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_makes_a_store_that_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let mut stored = Vec::new();
    for number in 0..24 {
        let setup = Setup::new(&path);
        // How far it comes is different each time.
        let delay = Duration::from_millis(number * 2);
        let mut starting = setup.spawn();
        tokio::time::sleep(delay).await;
        starting.kill().unwrap();
        starting.wait().unwrap();

        let server = setup.start();
        server.has_all(&stored).await;
        let key = format!("key-{number}");
        stored.push(server.client().submit(submission(&key, 100)).await.unwrap());
        rustix::process::kill_process(server.pid(), Signal::TERM).unwrap();
        tokio::time::sleep(delay).await;
        server.kill();
    }
    Setup::new(&path).start().has_all(&stored).await;
}
