//! The catalogue's rows.

use std::sync::Arc;

use bytes::Bytes;

use super::super::sql::columns::number;
use super::super::{CatalogueChange, CatalogueSpace, CatalogueVersions, StoreError};
use super::session::Session;

pub(super) async fn versions(session: Arc<Session>) -> Result<CatalogueVersions, StoreError> {
    let found = session.query("SELECT space, version FROM catalogue_versions", &[]).await?;
    found.iter().map(|row| Ok((row.try_get(0)?, version(row.try_get(1)?)))).collect()
}

pub(super) async fn space(
    session: Arc<Session>,
    space: String,
) -> Result<CatalogueSpace, StoreError> {
    // One statement, so that the version matches the entries. A space without entries still has a version.
    let sql = "SELECT v.version, c.name, c.value FROM catalogue_versions AS v
               LEFT JOIN catalogue AS c ON c.space = v.space WHERE v.space = $1";
    let found = session.query(sql, &[&space]).await?;
    let mut read = CatalogueSpace::default();
    for row in &found {
        read.version = version(row.try_get(0)?);
        if let Some(name) = row.try_get(1)? {
            read.entries.insert(name, Bytes::from(row.try_get::<_, Vec<u8>>(2)?));
        }
    }
    Ok(read)
}

/// One statement, because several callers share a connection. It locks the row of the version first: changes of a space
/// are serial, and one that has waited sees the version of the one before.
pub(super) async fn change(
    session: Arc<Session>,
    change: CatalogueChange,
) -> Result<u64, StoreError> {
    let CatalogueChange { space, expected, put, delete } = change;
    let (names, values): (Vec<&str>, Vec<&[u8]>) =
        put.iter().map(|(name, value)| (name.as_str(), &value[..])).unzip();
    let sql = "WITH changed AS (
           INSERT INTO catalogue_versions AS v (space, version)
             SELECT $1, 1 WHERE coalesce($2::bigint, 0) = 0
               OR EXISTS (SELECT FROM catalogue_versions WHERE space = $1)
           ON CONFLICT (space) DO UPDATE SET version = v.version + 1
             WHERE $2::bigint IS NULL OR v.version = $2
           RETURNING version),
         deleted AS (
           DELETE FROM catalogue WHERE space = $1 AND name = ANY($3::text[])
             AND EXISTS (SELECT FROM changed)),
         put AS (
           INSERT INTO catalogue AS c (space, name, value)
             SELECT $1, new.name, new.value FROM unnest($4::text[], $5::bytea[]) AS new (name, value)
             WHERE EXISTS (SELECT FROM changed)
           ON CONFLICT (space, name) DO UPDATE SET value = EXCLUDED.value)
         SELECT version FROM changed";
    let expected = expected.map(number);
    let changed = session.query(sql, &[&space, &expected, &delete, &names, &values]).await?;
    let row = changed.first().ok_or_else(|| StoreError::Conflict(Vec::new()))?;
    Ok(version(row.try_get(0)?))
}

/// Only this program writes this number.
fn version(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
