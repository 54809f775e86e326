//! Copies, between stores of either sort.

use std::time::{Duration, Instant};

use longrun::operation::{SessionId, StateName};
use longrun::store::CatalogueChange;
use serde_json::Value;

use crate::stored::{everything, fill, fill_with, open, store_in};
use crate::support::{longrun, run, stderr, stdout};

/// Copies, which must succeed, and answers the summary.
pub(crate) fn copy(args: &[&str]) -> Value {
    let output = run(&[&["store", "copy", "--json"], args].concat());
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(summary["same"], true);
    summary
}

/// Over two others and back again, by which nothing must have changed.
#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_over_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let database = crate::postgres_support::database().await;
    let [first, last] = ["first.db", "last.db"].map(|name| store_in(directory.path(), name));
    let (first_objects, last_objects) = (path("first.db.objects"), path("last.db.objects"));
    fill(&first, &first_objects).await;
    let before = everything(&first).await;
    let states = before.operations.iter().map(|it| it.state_name());
    let states: std::collections::HashSet<StateName> = states.collect();
    assert_eq!(states.len(), StateName::ALL.len(), "{states:?}");
    let objects = std::fs::read_dir(&first_objects).unwrap().count();
    assert!(objects > 5);

    let shared_objects = path("shared");
    let there = ["--to-objects", shared_objects.to_str().unwrap()];
    let summary = copy(&[&[&*first, &*database.url], &there[..]].concat());
    let count = before.operations.len();
    assert_eq!(summary["copied"]["operations"], count);
    assert_eq!(summary["copied"]["objects"], objects);
    assert_eq!(summary["copied"]["tombstones"], 4);
    assert_eq!(summary["copied"]["catalogue"], 3);
    assert_eq!(summary["from"]["history"], summary["to"]["history"]);
    assert!(before == everything(&database.url).await);
    leased_are_found(&database.url, &before.operations).await;

    let back = ["--from-objects", shared_objects.to_str().unwrap()];
    copy(&[&[&*database.url, &*last], &back[..]].concat());
    assert!(before == everything(&last).await);
    assert!(before == everything(&first).await, "the source is as it was");
    for entry in std::fs::read_dir(&first_objects).unwrap() {
        let entry = entry.unwrap();
        let copied = std::fs::read(last_objects.join(entry.file_name())).unwrap();
        assert!(copied == std::fs::read(entry.path()).unwrap());
    }

    // Again, there is nothing to do.
    let summary = copy(&[&*first, &*last]);
    assert_eq!(summary["copied"]["operations"], 0);
    assert_eq!(summary["copied"]["objects"], 0);
    assert_eq!(summary["copied"]["catalogue"], 0);
    assert_eq!(summary["alreadyThere"]["operations"], count);

    // A key that the source does not have is somebody else's.
    let store = open(&last).await;
    let put = [("three".to_owned(), "{}".into())].into();
    let space = "keys".to_owned();
    let change = CatalogueChange { space, put, ..CatalogueChange::default() };
    store.change_catalogue(change).await.unwrap();
    store.close().await;
    let refused = run(&["store", "copy", &first, &last]);
    assert!(!refused.status.success() && stderr(&refused).contains("\"three\" of keys"));
}

/// Sessions are rows there: each that holds a lease has one, and is found when nobody comes back.
async fn leased_are_found(url: &str, operations: &[longrun::operation::Operation]) {
    let store = open(url).await;
    let shared = store.shared().unwrap();
    let admin = crate::postgres_support::connect(url).await;
    admin.execute("UPDATE sessions SET expires_at = 0", &[]).await.unwrap();
    let mut expired: Vec<SessionId> = Vec::new();
    for session in shared.expired(1_000, 10).await.unwrap() {
        assert!(!session.leases.is_empty());
        expired.push(session.session);
    }
    store.commit(Default::default()).await.unwrap();
    store.close().await;
    let mut leases: Vec<SessionId> =
        operations.iter().filter_map(|it| Some(it.life.state.lease()?.session)).collect();
    leases.sort_unstable();
    leases.dedup();
    expired.sort_unstable();
    assert_eq!(expired, leases);
}

/// Killed when some of it is there, and once more: the third goes on to the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_killed_goes_on() {
    const COUNT: u64 = 8_000;
    let directory = tempfile::tempdir().unwrap();
    let [from, to] = ["from.db", "to.db"].map(|name| store_in(directory.path(), name));
    fill_with(&from, COUNT).await;
    let mut there = 0;
    for _ in 0..2 {
        let mut copying = longrun(&["store", "copy", &from, &to]).spawn().unwrap();
        let began = Instant::now();
        let arrived = loop {
            assert_eq!(copying.try_wait().unwrap(), None, "it was done before it was killed");
            assert!(began.elapsed() < Duration::from_secs(30));
            let arrived = arrived(&directory.path().join("to.db"));
            if arrived > there {
                break arrived;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        copying.kill().unwrap();
        copying.wait().unwrap();
        assert!(arrived < COUNT);
        there = arrived;
    }
    let summary = copy(&[&from, &to]);
    let skipped = summary["alreadyThere"]["operations"].as_u64().unwrap();
    assert!(skipped >= there);
    assert_eq!(summary["copied"]["operations"].as_u64().unwrap() + skipped, COUNT);
    assert!(everything(&from).await == everything(&to).await);
}

/// How many operations the copy has committed, as another program sees it.
fn arrived(path: &std::path::Path) -> u64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let looked = rusqlite::Connection::open_with_flags(path, flags).and_then(|looking| {
        looking.query_row("SELECT count(*) FROM operations", [], |row| row.get::<_, i64>(0))
    });
    looked.map_or(0, i64::unsigned_abs)
}
