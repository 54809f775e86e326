//! What is not copied, and what is noticed.

use std::path::Path;

use longrun::operation::{Command, Decision, Operation, SessionId, Timestamp, WorkerId, decide};
use longrun::store::{Batch, Removal, Write};

use crate::copy::copy;
use crate::stored::{everything, fill, fill_with, open, store_in};
use crate::support::{run, stderr, stdout};

/// Fails, and answers what is said on stderr.
fn refused(code: i32, args: &[&str]) -> String {
    let output = run(&[&["store"], args].concat());
    assert_eq!(output.status.code(), Some(code), "{}", stdout(&output));
    stderr(&output)
}

async fn commit(url: &str, batch: Batch) {
    let store = open(url).await;
    store.commit(batch).await.unwrap();
    store.close().await;
}

/// An operation of a new store, and a copy of it.
async fn copied(directory: &Path) -> (String, String, Vec<Operation>) {
    let [from, to] = ["from.db", "to.db"].map(|name| store_in(directory, name));
    fill_with(&from, 3).await;
    copy(&[&from, &to]);
    let operations = everything(&from).await.operations;
    (from, to, operations)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_on_at_the_source_is_not_mixed_with_an_older_copy() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to, operations) = copied(directory.path()).await;
    let queued = &operations[1];
    let worker = WorkerId::parse("worker-1").unwrap();
    let acquire = Command::Acquire { session: SessionId::from_bytes([1; 16]), worker };
    let decision = decide(queued, &acquire, None, queued.submission.start_at).unwrap();
    let Decision::Change(event) = decision else { panic!("{decision:?}") };
    let operation = Operation { submission: queued.submission.clone(), life: event.life.clone() };
    let expected = Some(queued.life.revision);
    let write = Write { operation, expected, input: None, result: None };
    let events = vec![(queued.id(), *event)];
    commit(&from, Batch { writes: vec![write], events, ..Batch::default() }).await;

    let before = everything(&to).await;
    let said = refused(1, &["copy", &from, &to]);
    assert!(
        said.contains(&format!("operation {} is at revision 1, and at 2 in", queued.id())),
        "{said}"
    );
    assert!(before == everything(&to).await, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_its_own_is_not_copied_over() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to, operations) = copied(directory.path()).await;
    let id = operations[2].id();
    let (expected, at) = (operations[2].life.revision, Timestamp::default());
    let removal = Removal { id, expected, tombstone: None, at };
    commit(&from, Batch { removals: vec![removal], ..Batch::default() }).await;
    let said = refused(1, &["copy", &from, &to]);
    assert!(said.contains(&format!("operation {id} is not in {from}")), "{said}");
}

/// The comparison at the end finds what the same revision hides.
#[tokio::test(flavor = "multi_thread")]
async fn contents_that_are_not_the_same_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to, operations) = copied(directory.path()).await;
    let damaging = rusqlite::Connection::open(directory.path().join("to.db")).unwrap();
    damaging.execute("UPDATE operations SET input = x'00' WHERE n = 2", []).unwrap();
    damaging
        .execute("UPDATE events SET type = 2 WHERE id = ?1", [operations[2].id().as_bytes()])
        .unwrap();
    drop(damaging);
    let said = refused(1, &["copy", &from, &to]);
    assert!(said.contains("is not the same as") && said.contains("2 differences"), "{said}");
    assert!(
        said.contains(&format!("operation {}: not the same: its payloads\n", operations[1].id())),
        "{said}"
    );
    assert!(
        said.contains(&format!("operation {}: not the same: its history\n", operations[2].id())),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_checked_at_both_ends() {
    let directory = tempfile::tempdir().unwrap();
    let [from, to] = ["from.db", "to.db"].map(|name| store_in(directory.path(), name));
    let [objects, copies] =
        ["from.db.objects", "to.db.objects"].map(|name| directory.path().join(name));
    fill(&from, &objects).await;
    copy(&[&from, &to]);
    let some = std::fs::read_dir(&copies).unwrap().next().unwrap().unwrap();
    let good = std::fs::read(some.path()).unwrap();
    std::fs::write(some.path(), vec![b'x'; good.len()]).unwrap();
    let said = refused(1, &["copy", &from, &to]);
    assert!(said.contains("does not have the SHA-256 that was recorded"), "{said}");
    // Once it is removed the copy brings it back.
    std::fs::remove_file(some.path()).unwrap();
    let said = refused(1, &["copy", &from, &to]);
    assert!(said.contains("is missing"), "{said}");

    let other = store_in(directory.path(), "other.db");
    std::fs::write(objects.join(some.file_name()), vec![b'x'; good.len()]).unwrap();
    let said = refused(1, &["copy", &from, &other]);
    assert!(said.contains("does not have the SHA-256 that was recorded"), "{said}");
    std::fs::remove_file(objects.join(some.file_name())).unwrap();
    let said = refused(1, &["copy", &from, &other]);
    assert!(said.contains("operation ") && said.contains("is missing"), "{said}");
    let database = crate::postgres_support::database().await;
    let said = refused(1, &["copy", &from, &database.url]);
    assert!(said.contains("--to-objects"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_cannot_be_copied_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let [from, to] = ["from.db", "to.db"].map(|name| store_in(directory.path(), name));
    let said = refused(1, &["copy", &from, &to]);
    assert!(said.contains("there is no store") && said.contains("from.db"), "{said}");
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none(), "nothing was made");
    assert!(refused(2, &["copy", &from, &from]).contains("both"));
    assert!(refused(2, &["copy", "mysql:x", &to]).contains("FROM"));
    fill_with(&from, 1).await;
    let used = open(&from).await;
    let said = refused(1, &["copy", &from, &to]);
    assert!(said.contains("from.db is in use by another longrun server"), "{said}");
    used.close().await;
    let used = open(&to).await;
    let said = refused(1, &["copy", &from, &to]);
    assert!(said.contains("to.db is in use by another longrun server"), "{said}");
    used.close().await;
}

/// Without a lock, servers are found by what they say to each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_store_tells_who_uses_it() {
    let database = crate::postgres_support::database().await;
    let (first, second) = (open(&database.url).await, open(&database.url).await);
    assert_eq!(first.shared().unwrap().others().await.unwrap(), 1);
    second.close().await;
    assert_eq!(first.shared().unwrap().others().await.unwrap(), 0);
    first.close().await;
}

/// One store under two names is not copied onto itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_not_copied_to_itself() {
    let directory = tempfile::tempdir().unwrap();
    let from = store_in(directory.path(), "from.db");
    fill_with(&from, 3).await;
    let [linked, above] =
        ["linked.db", "no/../from.db"].map(|name| store_in(directory.path(), name));
    std::fs::create_dir(directory.path().join("no")).unwrap();
    std::fs::hard_link(directory.path().join("from.db"), directory.path().join("linked.db"))
        .unwrap();
    for same in [&linked, &above] {
        let said = refused(2, &["copy", &from, same]);
        assert!(said.contains("are the same file"), "{said}");
    }
}
