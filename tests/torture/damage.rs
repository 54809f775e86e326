//! Files that were damaged: refused at the start with words that name the file, left as they are, and
//! never taken for empty ones; found out while running, told to those who ask for what is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use longrun::proto::v1::{Operation, OperationView};
use tonic::Code;

use crate::program::{Setup, submission};

/// A store with operations in it, as after a graceful stop (`closed`) or after a kill.
pub async fn filled(directory: &Path, closed: bool) -> (PathBuf, Vec<Operation>) {
    let path = directory.join("longrun.db");
    let mut server = Setup::new(&path).start();
    let client = server.client();
    let mut taken = Vec::new();
    for number in 0..200 {
        taken.push(client.submit(submission(&format!("key-{number}"), 1_000)).await.unwrap());
    }
    if closed {
        rustix::process::kill_process(server.pid(), rustix::process::Signal::TERM).unwrap();
        assert!(server.child.wait().unwrap().success());
        assert!(!path.with_extension("db-wal").exists());
    } else {
        server.kill();
    }
    (path, taken)
}

/// All files of a directory with their contents, the lock apart.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|end| end != "lock" && end != "db-shm"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    files.sort_unstable();
    files
}

/// The server does not start, says why in words that name the file, and leaves everything as it is.
#[track_caller]
pub fn refused(path: &Path, why: &str) {
    let before = contents(path.parent().unwrap());
    let (code, said) = Setup::new(path).refusal();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("longrun.db") && said.contains(why), "{said}");
    assert!(contents(path.parent().unwrap()) == before, "the files were touched: {said}");
}

fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    edit(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_file_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = filled(directory.path(), true).await;
    let whole = fs::read(&path).unwrap();
    for length in [whole.len() / 2, whole.len() - 4_096, whole.len() - 1, 8_192, 100] {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&path, "is cut off");
    }
    fs::write(&path, &whole[..60]).unwrap();
    refused(&path, "is not a longrun store");
    edit(&path, |bytes| *bytes = whole.iter().map(|byte| !byte).collect());
    refused(&path, "is not a longrun store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = filled(directory.path(), false).await;
    let log = path.with_extension("db-wal");
    let whole = fs::read(&log).unwrap();
    assert!(whole.len() > 100_000, "the log has {} bytes", whole.len());
    // Its first page, one in the middle, the header of a frame, its own header.
    for place in [500, whole.len() / 2, 32 + 4_120 * 7 + 2, 9] {
        edit(&log, |bytes| bytes[place] ^= 0x40);
        refused(&path, "write-ahead log");
        fs::write(&log, &whole).unwrap();
    }
    let server = Setup::new(&path).start();
    server.has_all(&taken).await;
}

/// A commit that was under way when the machine stopped is cut off, and was never acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_ends_within_a_commit_is_what_a_crash_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = filled(directory.path(), false).await;
    let log = path.with_extension("db-wal");
    edit(&log, |bytes| bytes.truncate(bytes.len() - 10));
    let server = Setup::new(&path).start();
    server.has_all(&taken[..taken.len() - 1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_page_is_told_to_who_asks_and_nothing_is_taken_for_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = filled(directory.path(), true).await;
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4_096;
    let (mut found, mut damaged, mut refused) = (0, 0, 0);
    for page in (1..pages).step_by(pages / 8) {
        fs::write(&path, &whole).unwrap();
        edit(&path, |bytes| bytes[page * 4_096..(page + 1) * 4_096].fill(0));
        let output = std::panic::catch_unwind(|| Setup::new(&path).start());
        let Ok(server) = output else {
            // What is read at the start is damaged.
            let (code, said) = Setup::new(&path).refusal();
            assert!(code == 1 && said.contains("malformed"), "page {page}: {said}");
            refused += 1;
            continue;
        };
        let client = server.client();
        for operation in &taken {
            match client.get(&operation.name, OperationView::Full).await {
                Ok(_) => found += 1,
                Err(error) => {
                    assert_eq!(error.code(), Code::Internal, "page {page}: {error:?}");
                    assert!(error.message().contains("damaged"), "{error:?}");
                    damaged += 1;
                }
            }
        }
    }
    assert!(found > 0 && damaged + refused > 0, "{found} {damaged} {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_damaged_operation_harms_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = filled(directory.path(), true).await;
    let file = rusqlite::Connection::open(&path).unwrap();
    // Time is to change it, a worker is to be given it, and nobody can read it.
    let damaged = file
        .execute("UPDATE operations SET life = x'ff', wake_at = 1 WHERE n = (SELECT min(n) FROM operations)", [])
        .unwrap();
    assert_eq!(damaged, 1);
    drop(file);
    let server = Setup::new(&path).with(&["--handler", "torture=cat"]).start();
    let client = server.client();
    for operation in &taken[1..20] {
        assert!(client.wait(&operation.name, None).await.unwrap().done);
    }
    for refused in [
        client.get(&taken[0].name, OperationView::Full).await.unwrap_err(),
        client.cancel(&taken[0].name, "").await.unwrap_err(),
        client.submit(submission("key-0", 1_000)).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::Internal, "{refused:?}");
        assert!(refused.message().contains("damaged"), "{refused:?}");
    }
    client.submit(submission("another", 10)).await.unwrap();
    assert_eq!(server.get("/readyz").0, 200);
}

/// Its pages are a chain, of which one link is broken: its row can be read, its input cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_input_keeps_nobody_else_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let mut server = Setup::new(&path).start();
    let mut damaged = submission("damaged", 0);
    let lines: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
    let content = Some(longrun::proto::v1::payload::Content::Text(lines));
    damaged.input = Some(longrun::proto::v1::Payload { content, ..Default::default() });
    let damaged = server.client().submit(damaged).await.unwrap();
    let fine = server.client().submit(submission("fine", 1_000)).await.unwrap();
    rustix::process::kill_process(server.pid(), rustix::process::Signal::TERM).unwrap();
    assert!(server.child.wait().unwrap().success());
    edit(&path, |bytes| {
        let needle = b"line 5000\n";
        let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
        let page = at / 4_096 * 4_096;
        bytes[page..page + 4].copy_from_slice(&0x7fff_fff0_u32.to_be_bytes());
    });
    let server = Setup::new(&path).with(&["--handler", "torture=cat"]).start();
    let client = server.client();
    assert!(client.wait(&fine.name, None).await.unwrap().done);
    for number in 0..5 {
        let another = client.submit(submission(&format!("later-{number}"), 10)).await.unwrap();
        assert!(client.wait(&another.name, None).await.unwrap().done);
    }
    assert!(!client.get(&damaged.name, OperationView::Basic).await.unwrap().done);
    assert_eq!(server.get("/readyz").0, 200);
}

/// More of them are due than are looked for at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_damaged_operations_that_are_due_hide_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (path, taken) = filled(directory.path(), true).await;
    let file = rusqlite::Connection::open(&path).unwrap();
    let damage = "UPDATE operations SET life = x'ff', wake_at = n WHERE n <= 150";
    assert_eq!(file.execute(damage, []).unwrap(), 150);
    drop(file);
    let server = Setup::new(&path).start();
    let client = server.client();
    let deadline = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let settings = longrun::proto::v1::Settings { deadline, ..Default::default() };
    let late = longrun::proto::v1::SubmitRequest {
        settings: Some(settings),
        ..submission("with a deadline", 10)
    };
    let late = client.submit(late).await.unwrap();
    let ended = client.wait(&late.name, None).await.unwrap();
    assert_eq!(ended.error.unwrap().code, "DEADLINE_EXCEEDED");
    assert!(!client.get(&taken[199].name, OperationView::Basic).await.unwrap().done);
}
