//! The catalogue's rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::super::sql::columns::number;
use super::super::{CatalogueChange, CatalogueSpace, CatalogueVersions, StoreError};
use super::rows::{self, get, unsigned};
use super::store_error;

pub(super) fn versions(connection: &Connection) -> Result<CatalogueVersions, StoreError> {
    let sql = "SELECT space, version FROM catalogue_versions";
    let found = rows::all(connection, sql, [], |row| Ok((get(row, 0)?, unsigned(get(row, 1)?))))?;
    Ok(found.into_iter().collect())
}

pub(super) fn space(connection: &Connection, space: &str) -> Result<CatalogueSpace, StoreError> {
    let version = version(connection, space).map_err(store_error)?;
    let sql = "SELECT name, value FROM catalogue WHERE space = ?1";
    let entries = rows::all(connection, sql, [space], |row| {
        Ok((get(row, 0)?, Bytes::from(get::<Vec<u8>>(row, 1)?)))
    })?;
    Ok(CatalogueSpace { version, entries: BTreeMap::from_iter(entries) })
}

pub(super) fn change(
    connection: &mut Connection,
    change: &CatalogueChange,
) -> Result<u64, StoreError> {
    let CatalogueChange { space, expected, put, delete } = change;
    let run = |connection: &mut Connection| -> rusqlite::Result<Option<u64>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = version(&transaction, space)?;
        if expected.is_some_and(|expected| expected != found) {
            return Ok(None);
        }
        for name in delete {
            transaction
                .prepare_cached("DELETE FROM catalogue WHERE space = ?1 AND name = ?2")?
                .execute([space, name])?;
        }
        for (name, value) in put {
            let sql = "INSERT OR REPLACE INTO catalogue (space, name, value) VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(sql)?.execute(params![space, name, &value[..]])?;
        }
        let version = found + 1;
        transaction
            .prepare_cached("INSERT OR REPLACE INTO catalogue_versions VALUES (?1, ?2)")?
            .execute(params![space, number(version)])?;
        transaction.commit()?;
        Ok(Some(version))
    };
    run(connection).map_err(store_error)?.ok_or_else(|| StoreError::Conflict(Vec::new()))
}

fn version(connection: &Connection, space: &str) -> rusqlite::Result<u64> {
    let found = connection
        .prepare_cached("SELECT version FROM catalogue_versions WHERE space = ?1")?
        .query_row([space], |row| row.get(0))
        .optional()?;
    Ok(unsigned(found.unwrap_or_default()))
}
