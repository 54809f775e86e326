//! Opens the configured store and objects.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::StoreUrl;
use crate::objects::Objects;
use crate::store::Store;
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::{SqliteOptions, SqliteStore};

/// Opens the store at a URL.
pub(crate) async fn open_store(url: StoreUrl) -> anyhow::Result<Arc<dyn Store>> {
    match url {
        StoreUrl::Sqlite(path) => {
            let open = move || SqliteStore::open(&path, &SqliteOptions::default());
            let store = tokio::task::spawn_blocking(open).await.context("opening was cut off")?;
            Ok(Arc::new(store?))
        }
        StoreUrl::Postgres(url) => {
            let options = PostgresOptions::default();
            Ok(Arc::new(PostgresStore::open(url.secret(), &options).await?))
        }
    }
}

/// The files of a file store: the database and its log.
pub(super) fn files_of(url: &StoreUrl) -> Option<Vec<PathBuf>> {
    let StoreUrl::Sqlite(path) = url else { return None };
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    Some(vec![path.clone(), log.into()])
}

/// Opens the objects in a directory or at a URL; `None`: no objects.
pub(crate) fn open_objects(place: Option<&str>) -> anyhow::Result<Objects> {
    let Some(place) = place else { return Ok(Objects::nowhere()) };
    Ok(match place.split_once("://") {
        None => Objects::in_directory(Path::new(place))?,
        Some(("file", path)) => Objects::in_directory(Path::new(path))?,
        Some(_) => Objects::at_url(place, std::env::vars())?,
    })
}
