//! A store is one thing under all its names.

use std::fs;

use rustix::process::{Signal, kill_process};

use crate::program::{Setup, submission};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_link_is_the_same_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let mut server = Setup::new(&path).start();
    let taken = server.client().submit(submission("first", 100)).await.unwrap();
    fs::create_dir(directory.path().join("other")).unwrap();
    let other = directory.path().join("other").join("linked.db");
    fs::hard_link(&path, &other).unwrap();
    let (code, said) = Setup::new(&other).refusal();
    assert!(code == 1 && said.contains("linked.db is in use"), "{said}");

    // Its log is beside the other name.
    server.kill();
    let (code, said) = Setup::new(&other).refusal();
    assert!(code == 1 && said.contains("linked.db-wal is missing"), "{said}");
    server = Setup::new(&path).start();
    kill_process(server.pid(), Signal::TERM).unwrap();
    assert!(server.child.wait().unwrap().success());
    Setup::new(&other).start().has_all(&[taken]).await;
}

/// Links are followed and `..` is resolved; lock, log and objects are beside the file itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_a_store_is_beside_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir_all(root.join("data/deep")).unwrap();
    std::os::unix::fs::symlink("data/longrun.db", root.join("link.db")).unwrap();
    let large = |key: &str| submission(key, 400_000);
    let mut taken = Vec::new();
    for name in ["link.db", "data/deep/../longrun.db", "./data/longrun.db"] {
        let server = Setup::new(&root.join(name)).start();
        server.has_all(&taken).await;
        taken.push(server.client().submit(large(name)).await.unwrap());
        let (status, input) = server.get(&format!("/v1/{}/input", taken[0].name));
        assert_eq!((status, input.len()), (200, 400_000), "{name}");
        let (_, said) = Setup::new(&root.join("link.db")).refusal();
        assert!(said.contains("in use"), "{said}");
        server.kill();
    }
    assert_eq!(fs::read_dir(root.join("data/longrun.db.objects")).unwrap().count(), 3);
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    assert_eq!(names, ["data", "link.db"]);
    assert_eq!(fs::read_dir(root.join("data/deep")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_may_be_above() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir(root.join("data")).unwrap();
    let objects = root.join("data/../objects").display().to_string();
    let setup = Setup::new(&root.join("data/longrun.db")).with(&["--objects", &objects]);
    let server = setup.start();
    server.client().submit(submission("first", 400_000)).await.unwrap();
    assert_eq!(fs::read_dir(root.join("objects")).unwrap().count(), 1);
}
