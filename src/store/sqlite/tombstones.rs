//! Tombstones: written with a removal, forgotten from the oldest on. Each function is one statement.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::sql::columns::{limit, number};
use super::super::{FORGET_BATCH, Forget, StoreError, Tombstone, codec};
use super::store_error;
use crate::operation::{OperationId, TenantId, Timestamp};

pub(super) fn tombstone(
    connection: &Connection,
    id: OperationId,
) -> Result<Option<Tombstone>, StoreError> {
    let found: Option<(String, i64, i64)> = connection
        .prepare_cached("SELECT tenant, purged_at, forget_at FROM tombstones WHERE id = ?1")
        .and_then(|mut statement| {
            let row = statement
                .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            row.optional()
        })
        .map_err(store_error)?;
    let Some((tenant, purged_at, forget_at)) = found else { return Ok(None) };
    let tenant = TenantId::parse(&tenant)
        .map_err(|rule| codec::corrupt(id, format!("the tenant of its tombstone {rule}")))?;
    let (purged_at, forget_at) =
        (Timestamp::from_micros(purged_at), Timestamp::from_micros(forget_at));
    Ok(Some(Tombstone { tenant, purged_at, forget_at }))
}

/// When the oldest is to be forgotten.
pub(super) fn oldest(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let oldest = connection
        .prepare_cached("SELECT forget_at FROM tombstones ORDER BY n LIMIT 1")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
        .map_err(store_error)?;
    Ok(oldest.map(Timestamp::from_micros))
}

pub(super) fn put(
    transaction: &Transaction<'_>,
    id: OperationId,
    tombstone: &Tombstone,
) -> rusqlite::Result<()> {
    let Tombstone { tenant, purged_at, forget_at } = tombstone;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO tombstones (id, tenant, purged_at, forget_at)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id.as_bytes(), tenant.as_str(), purged_at.micros(), forget_at.micros()])?;
    Ok(())
}

pub(super) fn forget(transaction: &Transaction<'_>, forget: Forget) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM tombstones
             WHERE n IN (SELECT n FROM tombstones ORDER BY n LIMIT ?3)
               AND (forget_at <= ?1 OR n <= (SELECT max(n) FROM tombstones) - ?2)",
        )?
        .execute(params![forget.until.micros(), number(forget.keep), limit(FORGET_BATCH)])?;
    Ok(())
}
