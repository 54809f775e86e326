//! The objects that hold payloads of stored operations.

use rusqlite::{Connection, Transaction, params};

use super::super::{StoreError, Write};
use super::store_error;
use crate::operation::ObjectId;

/// Stores the objects of a write: the input's with a new operation, the result's with its end.
pub(super) fn put(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    let operation = &write.operation;
    let input = operation.submission.input.as_ref().filter(|_| write.expected.is_none());
    for object in [input, operation.result()].into_iter().flatten().filter_map(|it| it.object) {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO objects (id, operation) VALUES (?1, ?2)")?
            .execute(params![object.id.as_bytes(), operation.id().as_bytes()])?;
    }
    Ok(())
}

pub(super) fn known(connection: &Connection, ids: &[ObjectId]) -> Result<Vec<bool>, StoreError> {
    let known = || -> rusqlite::Result<Vec<bool>> {
        let mut find = connection.prepare_cached("SELECT 1 FROM objects WHERE id = ?1")?;
        ids.iter().map(|id| find.exists([id.as_bytes()])).collect()
    };
    known().map_err(store_error)
}
