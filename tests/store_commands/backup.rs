//! Backups of stores that are being served.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use longrun::objects::Objects;
use longrun::operation::OperationId;
use longrun::store::HistoryEntry;
use longrun::transfer::{Progress, Stage, TransferError, back_up};
use serde_json::Value;

use crate::copy::copy;
use crate::served::{names, serve, until};
use crate::stored::{everything, fill, store_in};
use crate::support::{run, stderr, stdout};

fn backup(args: &[&str]) -> Value {
    let output = run(&[&["store", "backup", "--json"], args].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// A program that works until it is dropped.
struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As many submissions, lives and deletions as there is room for go on meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_all_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let live = store_in(directory.path(), "live.db");
    let server = serve(&live, &["shout=tr a-z A-Z"]);
    let bench = ["bench", "--clients", "8", "--duration", "60s", "--retention", "3s"];
    let mut load = Load(server.command(&bench).stdout(Stdio::null()).spawn().unwrap());
    until(|| (names(&server).len() > 50).then_some(()));
    let kept: Vec<String> = (0..10).map(|_| server.submit(&["keep"])).collect();
    let done = server.submit(&["shout", "hello", "--wait"]);

    let file = directory.path().join("backup.db");
    let summary = backup(&["--store", &live, file.to_str().unwrap()]);
    assert_eq!(load.0.try_wait().unwrap(), None, "the load had ended");
    assert_eq!(summary["sizeBytes"], fs::metadata(&file).unwrap().len());
    let later = server.submit(&["keep"]);
    drop(load);

    // Of one moment: nobody's history ends before or behind its state.
    let stored = store_in(directory.path(), "backup.db");
    let all = everything(&stored).await;
    assert!(all.operations.len() > 11);
    for (operation, history) in all.operations.iter().zip(&all.histories) {
        let revisions = history.iter().filter_map(|entry| match entry {
            HistoryEntry::Transition(event) => Some(event.life.revision),
            HistoryEntry::Log(_) => None,
        });
        assert!(revisions.map(|it| it.0).eq(1..=operation.life.revision.0));
    }
    copy(&[&stored, &store_in(directory.path(), "copy.db")]);

    let restored = serve(&stored, &[]);
    for name in &kept {
        assert_eq!(restored.json(&["get", name])["state"], "STATE_QUEUED");
    }
    assert_eq!(restored.expect(0, &["result", &done]), "HELLO");
    assert_eq!(restored.command(&["get", &later]).output().unwrap().status.code(), Some(1));
}

#[test]
fn objects_are_backed_up_with_their_store() {
    let directory = tempfile::tempdir().unwrap();
    let live = store_in(directory.path(), "live.db");
    let server = serve(&live, &["noise=head -c 400000 /dev/zero"]);
    let name = server.submit(&["noise", "--wait"]);
    let file = directory.path().join("backup.db");
    let to = file.to_str().unwrap();
    // What an earlier one left when it was killed is no hindrance.
    fs::write(directory.path().join("backup.db.partial"), "half").unwrap();
    let summary = backup(&["--store", &live, to]);
    assert_eq!(summary["objects"], 1);
    assert_eq!(summary["objectsAt"], format!("{to}.objects"));
    let header = fs::read(&file).unwrap();
    assert_eq!(header[18..20], [1, 1], "it needs no log beside it");
    let again = run(&["store", "backup", "--store", &live, to]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("backup.db exists already"), "{}", stderr(&again));
    assert_eq!(fs::read(&file).unwrap(), header);
    drop(server);

    fs::remove_dir_all(directory.path().join("live.db.objects")).unwrap();
    let restored = serve(&format!("sqlite:{to}"), &[]);
    assert_eq!(restored.expect(0, &["result", &name]).len(), 400_000);
    let found: Vec<PathBuf> =
        fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(found.iter().all(|path| !path.to_str().unwrap().contains("partial")), "{found:?}");
}

/// Paths with `..`, for the store, its objects, the backup, and copies.
#[tokio::test(flavor = "multi_thread")]
async fn paths_may_lead_up() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for name in ["data", "backups"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let live = store_in(root, "data/../data/live.db");
    fill(&live, &root.join("objects")).await;
    let up = |name: &str| root.join("data/..").join(name).display().to_string();
    let (to, objects) = (up("backups/../backups/monday.db"), up("objects"));
    let summary = backup(&["--store", &live, "--objects", &objects, &to]);
    assert!(summary["objects"].as_u64().unwrap() > 3);
    assert!(root.join("backups/monday.db").exists());
    assert!(root.join("backups/monday.db.objects").exists());

    let copied = store_in(root, "data/../copied.db");
    copy(&[&format!("sqlite:{to}"), &copied]);
    assert!(root.join("copied.db.objects").exists());
    assert!(everything(&copied).await == everything(&live).await);
}

/// It would be taken for the backup's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_not_put_beside_a_log_of_another_file() {
    let directory = tempfile::tempdir().unwrap();
    let live = store_in(directory.path(), "live.db");
    fill(&live, &directory.path().join("live.db.objects")).await;
    let to = directory.path().join("to.db");
    fs::write(directory.path().join("to.db-wal"), "of another").unwrap();
    let output = run(&["store", "backup", "--store", &live, to.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("to.db-wal exists already"), "{}", stderr(&output));
    assert!(!to.exists());
}

#[test]
fn what_cannot_be_backed_up_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let refused = |code, store: &str, to: &str| {
        let output = run(&["store", "backup", "--store", store, to]);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(fs::read_dir(directory.path()).unwrap().count() <= 1, "nothing was made");
        stderr(&output)
    };
    let missing = format!("sqlite:{}", path("missing.db"));
    assert!(refused(1, &missing, &path("to.db")).contains("missing.db"));
    let said = refused(2, "postgres://me@host/jobs", &path("to.db"));
    assert!(said.contains("pg_dump"), "{said}");
    fs::write(path("diary"), "dear diary, ".repeat(100)).unwrap();
    let diary = format!("sqlite:{}", path("diary"));
    assert!(refused(1, &diary, &path("to.db")).contains("is not a longrun store"));
    let here = refused(1, &diary, &path("no/such/directory"));
    assert!(!here.is_empty());
}

/// An object that is missing is no harm if its operation has been deleted since the snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn objects_that_went_with_their_operations_are_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let (live, objects) = (directory.path().join("live.db"), directory.path().join("objects"));
    fill(&store_in(directory.path(), "live.db"), &objects).await;
    let all = everything(&store_in(directory.path(), "live.db")).await;
    let has_object = |it: &&longrun::operation::Operation| {
        it.submission.input.as_ref().is_some_and(|info| info.object.is_some())
    };
    let mut with_objects = all.operations.iter().filter(has_object);
    let (first, second) = (with_objects.next().unwrap(), with_objects.next().unwrap());

    let (from, to) = (Objects::in_directory(&objects).unwrap(), directory.path().join("copies"));
    let to = Objects::in_directory(&to).unwrap();
    let lose = |operation: &longrun::operation::Operation| {
        for info in [operation.submission.input.as_ref(), operation.result()] {
            if let Some(object) = info.and_then(|info| info.object) {
                fs::remove_file(objects.join(object.id.to_string())).unwrap();
            }
        }
    };
    // At the moment that all pages are copied.
    let deletes = |progress: Progress| {
        let is_copied = progress.stage == Stage::BackingUp && progress.done == progress.total;
        if is_copied && is_there(&live, first.id()) {
            delete(&live, first.id());
            lose(first);
        }
    };
    let file = directory.path().join("first.db");
    let backed_up = back_up(live.clone(), file.clone(), Some((&from, &to)), &deletes).await;
    let backed_up = backed_up.unwrap();
    assert_eq!(backed_up.gone, 1);
    assert!(backed_up.objects > 3);
    assert!(is_there(&file, first.id()) && !is_there(&live, first.id()));

    // But if the operation is there, its object should be.
    lose(second);
    let file = directory.path().join("second.db");
    let copies = Objects::in_directory(&directory.path().join("others")).unwrap();
    let refused = back_up(live.clone(), file.clone(), Some((&from, &copies)), &|_| {}).await;
    match refused {
        Err(TransferError::Object { id, .. }) => assert_eq!(id, second.id()),
        other => panic!("{other:?}"),
    }
    assert!(!file.exists() && !directory.path().join("second.db.partial").exists());
}

fn is_there(path: &Path, id: OperationId) -> bool {
    let store = rusqlite::Connection::open(path).unwrap();
    let mut find = store.prepare("SELECT 1 FROM operations WHERE id = ?1").unwrap();
    find.exists([id.as_bytes()]).unwrap()
}

fn delete(path: &Path, id: OperationId) {
    let store = rusqlite::Connection::open(path).unwrap();
    store.execute("DELETE FROM operations WHERE id = ?1", [id.as_bytes()]).unwrap();
}
