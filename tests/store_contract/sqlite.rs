//! What only the SQLite store does: the file it lives in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use longrun::operation::{StateName, TenantId};
use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use longrun::store::{Lookup, OpenError, PayloadRole, Store as _, Tombstone};

use crate::log;
use crate::support::*;

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path, &SqliteOptions::default())
}

fn refusal(path: &Path) -> OpenError {
    open(path).err().expect("it should not open")
}

#[tokio::test]
async fn everything_is_there_after_closing_and_after_dropping() {
    let (_directory, path) = directory();
    let store = open(&path).unwrap();
    let first = stored(&store, with_key(submission(1), "order-1")).await;
    store.close().await;
    assert!(!path.with_extension("db-wal").exists(), "closing folds the log into the file");
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(load(&store, id(1)).await, Some(first));
    let second = stored(&store, submission(2)).await;
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(load(&store, id(2)).await, Some(second));
}

/// Files as a killed process leaves them: the log not folded, the lock file there.
#[tokio::test]
async fn what_was_committed_survives_a_kill() {
    let (_directory, path) = directory();
    let store = open(&path).unwrap();
    let first = stored(&store, submission(1)).await;
    let (_other, copy) = directory();
    for name in ["longrun.db", "longrun.db-wal", "longrun.db.lock"] {
        fs::copy(path.with_file_name(name), copy.with_file_name(name)).unwrap();
    }
    let survivor = open(&copy).unwrap();
    assert_eq!(load(&survivor, id(1)).await, Some(first));
}

#[tokio::test]
async fn one_file_has_one_server() {
    let (_directory, path) = directory();
    let store = open(&path).unwrap();
    assert!(matches!(refusal(&path), OpenError::InUse { .. }));
    store.close().await;
    open(&path).unwrap();
}

#[test]
fn one_file_has_one_server_under_all_its_names() {
    let (_directory, path) = directory();
    let _store = open(&path).unwrap();
    let (other, _) = directory();
    let (file, folder) = (other.path().join("file.db"), other.path().join("folder"));
    symlink(&path, &file).unwrap();
    symlink(path.parent().unwrap(), &folder).unwrap();
    for name in [file, folder.join("longrun.db")] {
        assert!(matches!(refusal(&name), OpenError::InUse { .. }), "{}", name.display());
    }
}

/// A pipe would keep its reader waiting for ever.
#[test]
fn what_is_no_file_is_refused_and_gets_no_company() {
    let (directory, path) = directory();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert!(refusal(&path).to_string().ends_with("it is not a regular file"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// A slip in the path would begin an empty store.
#[test]
fn missing_directories_are_not_made() {
    let (_directory, path) = directory();
    let missing = path.with_file_name("a");
    let OpenError::Failed { reason, .. } = refusal(&missing.join("longrun.db")) else {
        panic!("it was opened")
    };
    assert!(reason.contains(missing.to_str().unwrap()), "{reason}");
    assert!(!missing.exists());
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let (_directory, path) = directory();
    fs::write(&path, "").unwrap();
    let error = refusal(&path.join("longrun.db"));
    assert!(matches!(&error, OpenError::Failed { .. }), "{error:?}");
    assert!(error.to_string().contains("longrun.db"), "{error}");
    let (directory, _) = directory();
    assert!(matches!(refusal(directory.path()), OpenError::Failed { .. }));
}

#[test]
fn foreign_files_are_refused_and_untouched() {
    let (_directory, path) = directory();
    fs::write(&path, "dear diary").unwrap();
    assert!(matches!(refusal(&path), OpenError::NotAStore { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"dear diary");

    let (_directory, path) = directory();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE diary (page TEXT)").unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    assert!(matches!(refusal(&path), OpenError::NotAStore { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_untouched() {
    let (_directory, path) = directory();
    let store = open(&path).unwrap();
    stored(&store, submission(1)).await;
    store.close().await;
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let before = fs::read(&path).unwrap();
    assert!(matches!(refusal(&path), OpenError::NewerSchema { found: 99, known: 11, .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// The newer version is in the log only, because its process was killed.
#[tokio::test]
async fn a_newer_schema_in_the_log_is_refused_and_untouched() {
    let (_directory, path) = directory();
    let _store = open(&path).unwrap();
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let (_other, copy) = directory();
    for name in ["longrun.db", "longrun.db-wal"] {
        fs::copy(path.with_file_name(name), copy.with_file_name(name)).unwrap();
    }
    let files = ["longrun.db", "longrun.db-wal"].map(|name| copy.with_file_name(name));
    let before = files.clone().map(|file| fs::read(file).unwrap());
    assert!(matches!(refusal(&copy), OpenError::NewerSchema { found: 99, known: 11, .. }));
    assert_eq!(files.map(|file| fs::read(file).unwrap()), before);
}

/// A name that means something else to SQLite is a file's name here.
#[test]
fn names_are_the_names_of_files() {
    let (_directory, path) = directory();
    for name in [":memory:", "file:x?mode=memory"] {
        let path = path.with_file_name(name);
        drop(open(&path).unwrap());
        assert!(path.exists(), "{name}");
    }
}

/// A file that an older longrun wrote is brought up to date as it is opened, and nothing in it is lost.
#[tokio::test]
async fn an_older_schema_is_brought_up_to_date() {
    let (_directory, path) = directory();
    let older = rusqlite::Connection::open(&path).unwrap();
    older.execute_batch(include_str!("schema_1.sql")).unwrap();
    drop(older);

    let store = open(&path).unwrap();
    let key = Lookup::Key(TenantId::default_tenant(), key("monday"));
    let done = store.load(vec![key]).await.unwrap().remove(0).unwrap();
    assert_eq!((done.state_name(), done.life.revision.0), (StateName::Succeeded, 3));
    assert_eq!(done.submission.labels["team"], "maps");
    let result = store.payload(done.id(), PayloadRole::Result).await.unwrap();
    assert_eq!(result.as_deref(), Some(&b"HI"[..]));
    let unfinished = store.unfinished(None, 10).await.unwrap();
    assert_eq!(unfinished.len(), 1);

    // What is new works on what is old.
    let tenant = done.submission.tenant.clone();
    let tombstone = Tombstone { tenant, purged_at: at(1), forget_at: at(2) };
    let mut batch = removing(&done);
    batch.removals[0].tombstone = Some(tombstone.clone());
    store.commit(batch).await.unwrap();
    store.close().await;
    let store = open(&path).unwrap();
    assert_eq!(store.tombstone(done.id()).await.unwrap(), Some(tombstone));
    assert_eq!(load(&store, done.id()).await, None);
    assert!(load(&store, unfinished[0].id).await.is_some());
}

/// Each opening is a writer of its own; what they did to one operation is told together, in pages of any size.
#[tokio::test]
async fn the_log_goes_on_over_openings() {
    let (_directory, path) = directory();
    let store = open(&path).unwrap();
    let beginning = log::frontier(&store).await;
    let first = stored(&store, submission(1)).await;
    stored(&store, submission(2)).await;
    store.close().await;
    let store = open(&path).unwrap();
    changed(&store, &first, &acquire(1)).await;
    for page in [1, 2, 9] {
        let read = log::read(&store, beginning.clone(), page).await;
        let told: Vec<_> = read.iter().map(log::brief).collect();
        assert_eq!(told, [(1, 1, None), (1, 2, Some(1)), (2, 1, None)], "pages of {page}");
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_left_out_of_the_log() {
    let (_directory, path) = directory();
    let store = open(&path).unwrap();
    let beginning = log::frontier(&store).await;
    for number in 1..=3 {
        stored(&store, submission(number)).await;
    }
    store.close().await;
    let file = rusqlite::Connection::open(&path).unwrap();
    let damaged = file.execute("UPDATE events SET life = x'ff' WHERE id = ?1", [id(2).as_bytes()]);
    assert_eq!(damaged, Ok(1));
    drop(file);
    let store = open(&path).unwrap();
    for page in [1, 9] {
        let read = log::read(&store, beginning.clone(), page).await;
        let told: Vec<_> = read.iter().map(log::brief).collect();
        assert_eq!(told, [(1, 1, None), (3, 1, None)], "pages of {page}");
    }
}
