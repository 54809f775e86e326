//! No room: a small file system that is full, and a limit on the size of files.

use std::fs;

use rustix::process::{Resource, Rlimit, prlimit};

use crate::program::{PATIENCE, Setup, require, submission, without, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_new_work_only_and_is_recovered_from() {
    if without("mounts") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // A mount that nobody else sees, and that goes with the process.
    let wrapper = words("unshare --user --map-root-user --mount");
    let mount = format!("mount -t tmpfs -o size=3m tmpfs '{}'", path.display());
    require(&wrapper, &mount, "user namespaces with mounts are needed (unshare -Urm)");
    let filler = path.join("filler");
    let before = format!("{mount} && head -c 1000000 /dev/zero > '{}'", filler.display());
    let setup = Setup { wrapper, before, ..Setup::new(&path.join("longrun.db")) };
    let server = setup.start();

    let (taken, refusal) = server.submit_until_refused(1_500).await;
    assert!(taken.len() > 20, "{refusal}");
    server.refuses_writes_and_serves_reads(&taken, "full").await;

    // Room again, and nobody tells the server.
    fs::remove_file(server.sees(&filler)).unwrap();
    server.until_ready().await;
    let more = server.client().submit(submission("more", 10)).await.unwrap();
    // What was refused can be submitted under its key.
    let key = format!("key-{}", taken.len());
    let again = server.client().submit(submission(&key, 1_500)).await.unwrap();
    let all = [&taken[..], &[more, again]].concat();
    server.has_all(&all).await;
    assert!(server.log().contains("takes writes again"), "{}", server.log());

    // And as a crash would leave it.
    let copy = tempfile::tempdir().unwrap();
    for name in ["longrun.db", "longrun.db-wal"] {
        fs::copy(server.sees(&path.join(name)), copy.path().join(name)).unwrap();
    }
    server.kill();
    let server = Setup::new(&copy.path().join("longrun.db")).start();
    server.has_all(&all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_on_the_size_of_files_is_recovered_from() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    // Without a handler the signal ends the program; ignored, the write fails.
    let setup = Setup { before: "trap '' XFSZ".to_owned(), ..Setup::new(&path) };
    let server = setup.start();
    let limit = |current| {
        let new = Rlimit { current, maximum: None };
        prlimit(Some(server.pid()), Resource::Fsize, new).unwrap()
    };
    limit(Some(1_000_000));
    let (taken, refusal) = server.submit_until_refused(1_500).await;
    assert!(taken.len() > 10, "{refusal}");
    server.refuses_writes_and_serves_reads(&taken, "I/O error").await;
    limit(None);
    server.until_ready().await;
    let more = server.client().submit(submission("more", 10)).await.unwrap();
    let all = [&taken[..], &[more]].concat();
    server.has_all(&all).await;
    server.kill();
    let server = setup.start();
    tokio::time::timeout(PATIENCE, server.has_all(&all)).await.unwrap();
}

/// A server that was killed, and for which there is no room when it starts, serves what is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_room_serves_reads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let server = Setup::new(&path).start();
    let mut taken = Vec::new();
    for number in 0..50 {
        let submission = submission(&format!("key-{number}"), 1_500);
        taken.push(server.client().submit(submission).await.unwrap());
    }
    server.kill();
    // In units of 512 bytes: less than the file and the log have.
    let before = "trap '' XFSZ && ulimit -f 64".to_owned();
    let limited = Setup { before, ..Setup::new(&path) };
    for _ in 0..2 {
        let server = limited.start();
        server.has_all(&taken).await;
        let refused = server.client().submit(submission("more", 1_500)).await.unwrap_err();
        assert!(refused.is_transient(), "{refused:?}");
        server.refuses_writes_and_serves_reads(&taken, "store").await;
        server.kill();
    }
    let server = Setup::new(&path).start();
    server.has_all(&taken).await;
    server.client().submit(submission("more", 1_500)).await.unwrap();
}
