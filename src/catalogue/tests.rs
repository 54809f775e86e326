//! Two replicas over one store.

use serde::Deserialize;

use super::*;
use crate::store::sqlite::{SqliteOptions, SqliteStore};

#[derive(Debug, Serialize, Deserialize)]
struct Note(String);

impl Entry for Note {
    const SPACE: &'static str = "notes";
}

fn add(name: &str) -> impl Fn(&Snapshot<Note>) -> Result<(Change<Note>, usize), ChangeError> {
    move |before| {
        Ok((Change::put(name, Note(before.iter().count().to_string())), before.iter().count()))
    }
}

#[tokio::test]
async fn others_changes_are_noticed_and_decided_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longrun.db");
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&path, &SqliteOptions::default()).unwrap());
    let mut ours = Catalogue::new(Arc::clone(&store));
    let here = ours.open::<Note>().await.unwrap();
    let there = Space::<Note>::open(Arc::clone(&store)).await.unwrap();

    assert_eq!(there.change(add("b")).await.unwrap(), 0);
    assert!(here.snapshot().is_empty());
    // Decided again on what the other has written.
    assert_eq!(here.change(add("a")).await.unwrap(), 1);
    assert_eq!(here.snapshot().get("a").unwrap().0, "1");

    // One that cannot be read is left out.
    let put = [("c".to_owned(), "{}".into()), ("d".to_owned(), "\"x\"".into())];
    let change = CatalogueChange {
        space: "notes".to_owned(),
        put: put.into(),
        ..CatalogueChange::default()
    };
    store.change_catalogue(change).await.unwrap();
    let stop = CancellationToken::new();
    let mut news = here.subscribe();
    news.mark_unchanged();
    let (heard, ()) = tokio::join!(
        async {
            news.changed().await.unwrap();
            stop.cancel();
            here.snapshot()
        },
        ours.run(stop.clone()),
    );
    let names: Vec<&str> = heard.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "d"]);
    assert_eq!(heard.after("a").next().unwrap().0, "b");

    let delete = |_: &Snapshot<Note>| Ok::<_, ChangeError>((Change::delete("d"), ()));
    here.change(delete).await.unwrap();
    assert!(here.snapshot().get("d").is_none());
    let large = here.change(add(&"n".repeat(600))).await;
    assert!(matches!(large, Err(ChangeError::TooLarge { .. })), "{large:?}");
    store.close().await;
    assert!(matches!(here.change(add("e")).await, Err(ChangeError::Store(_))));
}
