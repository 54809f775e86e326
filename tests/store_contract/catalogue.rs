//! What administrators keep beside operations.

use std::collections::BTreeMap;

use bytes::Bytes;
use longrun::store::{CatalogueChange, CatalogueSpace, Store, StoreError};

fn entries(entries: &[(&str, &'static [u8])]) -> BTreeMap<String, Bytes> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from_static(value))).collect()
}

fn putting(space: &str, expected: Option<u64>, put: &[(&str, &'static [u8])]) -> CatalogueChange {
    let space = space.to_owned();
    CatalogueChange { space, expected, put: entries(put), delete: Vec::new() }
}

fn is_refused(changed: &Result<u64, StoreError>) -> bool {
    matches!(changed, Err(StoreError::Conflict(ids)) if ids.is_empty())
}

pub async fn entries_are_written_and_deleted_by_space_and_name(store: &dyn Store) {
    assert_eq!(store.catalogue("keys").await.unwrap(), CatalogueSpace::default());
    assert!(store.catalogue_versions().await.unwrap().is_empty());

    let first = [("b", &b"\0\xff"[..]), ("a", b"1"), ("A", b"")];
    assert_eq!(store.change_catalogue(putting("keys", None, &first)).await.unwrap(), 1);
    assert_eq!(store.change_catalogue(putting("limits", None, &[("a", b"9")])).await.unwrap(), 1);
    let found = store.catalogue("keys").await.unwrap();
    assert_eq!(found, CatalogueSpace { version: 1, entries: entries(&first) });

    let change = CatalogueChange {
        delete: vec!["b".to_owned(), "never there".to_owned()],
        ..putting("keys", None, &[("a", b"2"), ("ü", b"3")])
    };
    assert_eq!(store.change_catalogue(change).await.unwrap(), 2);
    let left = entries(&[("A", b""), ("a", b"2"), ("ü", b"3")]);
    assert_eq!(store.catalogue("keys").await.unwrap().entries, left);
    assert_eq!(store.catalogue("limits").await.unwrap().entries, entries(&[("a", b"9")]));
    let versions = store.catalogue_versions().await.unwrap();
    assert_eq!(versions, BTreeMap::from([("keys".to_owned(), 2), ("limits".to_owned(), 1)]));

    // An empty space still has its version.
    let delete = ["A", "a", "ü"].map(str::to_owned).to_vec();
    let change = CatalogueChange { delete, ..putting("keys", None, &[]) };
    assert_eq!(store.change_catalogue(change).await.unwrap(), 3);
    let found = store.catalogue("keys").await.unwrap();
    assert_eq!(found, CatalogueSpace { version: 3, entries: BTreeMap::new() });
}

pub async fn a_space_of_another_version_is_left_as_it_is(store: &dyn Store) {
    assert!(is_refused(&store.change_catalogue(putting("keys", Some(1), &[("a", b"1")])).await));
    let change = store.change_catalogue(putting("keys", Some(0), &[("a", b"1")])).await;
    assert_eq!(change.unwrap(), 1);
    for expected in [0, 2] {
        let change = CatalogueChange {
            delete: vec!["a".to_owned()],
            ..putting("keys", Some(expected), &[("b", b"2")])
        };
        assert!(is_refused(&store.change_catalogue(change).await));
    }
    let found = store.catalogue("keys").await.unwrap();
    assert_eq!(found, CatalogueSpace { version: 1, entries: entries(&[("a", b"1")]) });

    // Of many that expect the same version one is written.
    let changes = (0..20).map(|_| store.change_catalogue(putting("keys", Some(1), &[("b", b"2")])));
    let changed = futures_util::future::join_all(changes).await;
    assert_eq!(changed.iter().filter(|changed| changed.is_ok()).count(), 1);
    assert_eq!(changed.iter().filter(|changed| is_refused(changed)).count(), 19);
    // Of many that expect none all are.
    let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    let changes =
        names.iter().map(|name| store.change_catalogue(putting("keys", None, &[(name, b"3")])));
    let changed = futures_util::future::join_all(changes).await;
    let mut versions: Vec<u64> = changed.into_iter().map(Result::unwrap).collect();
    versions.sort_unstable();
    assert_eq!(versions, (3..23).collect::<Vec<u64>>());
    assert_eq!(store.catalogue("keys").await.unwrap().entries.len(), 22);
}
