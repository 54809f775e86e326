//! Tombstones: written with a removal or by a copy, deleted oldest first. Each function is one statement.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::super::sql::columns::{limit, number};
use super::super::{FORGET_BATCH, Forget, StoreError, Tombstone, codec};
use super::rows::{self, beginning};
use super::store_error;
use crate::operation::{OperationId, TenantId, Timestamp};

pub(super) fn tombstone(
    connection: &Connection,
    id: OperationId,
) -> Result<Option<Tombstone>, StoreError> {
    let sql = "SELECT id, tenant, purged_at, forget_at FROM tombstones WHERE id = ?1";
    let found = rows::all(connection, sql, [id.as_bytes()], one)?;
    Ok(found.into_iter().next().map(|(_, tombstone)| tombstone))
}

pub(super) fn page(
    connection: &Connection,
    after: Option<OperationId>,
    most: usize,
) -> Result<Vec<(OperationId, Tombstone)>, StoreError> {
    rows::all(
        connection,
        "SELECT id, tenant, purged_at, forget_at FROM tombstones
         WHERE n > coalesce((SELECT n FROM tombstones WHERE id = ?1), 0) ORDER BY n LIMIT ?2",
        params![beginning(after), limit(most)],
        one,
    )
}

fn one(row: &Row<'_>) -> Result<(OperationId, Tombstone), StoreError> {
    let id = row.get(0).map(OperationId::from_bytes).map_err(store_error)?;
    let read = || Ok((row.get::<_, String>(1)?, row.get(2)?, row.get(3)?));
    let (tenant, purged_at, forget_at) =
        read().map_err(|error: rusqlite::Error| codec::corrupt(id, error))?;
    let tenant = TenantId::parse(&tenant)
        .map_err(|rule| codec::corrupt(id, format!("the tenant of its tombstone {rule}")))?;
    let (purged_at, forget_at) =
        (Timestamp::from_micros(purged_at), Timestamp::from_micros(forget_at));
    Ok((id, Tombstone { tenant, purged_at, forget_at }))
}

/// When the oldest tombstone expires.
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
