//! Reads other than lists. Each function is about one statement.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::sql::columns::{OPERATION, UNFINISHED, limit, number, role_number};
use super::super::{
    HistoryEntry, HistoryQuery, Lookup, PayloadRole, StoreError, Unfinished, codec,
};
use super::rows::{self, beginning, get};
use super::{store_error, tombstones};
use crate::operation::log::LogBook;
use crate::operation::{ChildCounts, Operation, OperationId, StateName, TenantId, Timestamp};

pub(super) fn load(
    connection: &Connection,
    lookups: &[Lookup],
) -> Result<Vec<Option<Operation>>, StoreError> {
    lookups.iter().map(|lookup| load_one(connection, lookup)).collect()
}

fn load_one(connection: &Connection, lookup: &Lookup) -> Result<Option<Operation>, StoreError> {
    let from = format!("SELECT {OPERATION} FROM operations AS o WHERE");
    let operations = match lookup {
        Lookup::Id(id) => {
            let sql = format!("{from} o.id = ?1");
            rows::all(connection, &sql, [id.as_bytes()], rows::operation)?
        }
        Lookup::Key(tenant, key) => {
            let sql = format!("{from} o.tenant = ?1 AND o.idempotency_key = ?2");
            rows::all(connection, &sql, [tenant.as_str(), key.as_str()], rows::operation)?
        }
    };
    Ok(operations.into_iter().next())
}

pub(super) fn payload(
    connection: &Connection,
    id: OperationId,
    role: PayloadRole,
) -> Result<Option<Bytes>, StoreError> {
    let inline = match role {
        PayloadRole::Input => "SELECT input FROM operations WHERE id = ?1",
        PayloadRole::Result => "SELECT result FROM operations WHERE id = ?1",
    };
    let read = || -> rusqlite::Result<Option<Vec<u8>>> {
        let mut inline = connection.prepare_cached(inline)?;
        let found = inline.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
        if let Some(Some(data)) = found {
            return Ok(Some(data));
        }
        connection
            .prepare_cached("SELECT data FROM payloads WHERE id = ?1 AND role = ?2")?
            .query_row(params![id.as_bytes(), role_number(role)], |row| row.get(0))
            .optional()
    };
    Ok(read().map_err(store_error)?.map(Bytes::from))
}

pub(super) fn history(
    connection: &Connection,
    query: &HistoryQuery,
) -> Result<Vec<HistoryEntry>, StoreError> {
    let limit = limit(query.limit);
    let (id, after) = (query.id, query.after);
    let mut entries: Vec<HistoryEntry> = rows::all(
        connection,
        "SELECT type, life FROM events WHERE id = ?1 AND revision > ?2 ORDER BY revision LIMIT ?3",
        params![id.as_bytes(), number(after.revision.0), limit],
        |row| rows::event(id, row).map(HistoryEntry::Transition),
    )?;
    if query.include_log {
        // Revisions rise with the numbers of lines, so numbers alone give the order.
        let lines: Vec<HistoryEntry> = rows::all(
            connection,
            "SELECT number, revision, attempt, worker, at, text,
               IIF(number = (SELECT MIN(number) FROM log_lines WHERE id = ?1), number - 1, 0)
             FROM log_lines
             WHERE id = ?1 AND number > ?3 AND (revision, number) > (?2, ?3)
             ORDER BY number LIMIT ?4",
            params![id.as_bytes(), number(after.revision.0), number(after.log_number), limit],
            |row| rows::log_line(id, row).map(HistoryEntry::Log),
        )?;
        entries.extend(lines);
        entries.sort_by_key(HistoryEntry::position);
        entries.truncate(query.limit);
    }
    Ok(entries)
}

pub(super) fn log_book(connection: &Connection, id: OperationId) -> Result<LogBook, StoreError> {
    let lines: Vec<(i64, i64)> = rows::all(
        connection,
        "SELECT number, octet_length(text) FROM log_lines WHERE id = ?1 ORDER BY number",
        [id.as_bytes()],
        |row| Ok((get(row, 0)?, get(row, 1)?)),
    )?;
    let last = lines.last().map_or(0, |(number, _)| *number);
    let last = u64::try_from(last).map_err(|error| codec::corrupt(id, error))?;
    let sizes = lines.into_iter().map(|(_, size)| u32::try_from(size).unwrap_or(u32::MAX));
    Ok(LogBook::new(last, sizes))
}

/// For each batch, reads a range of one index: a few rows.
pub(super) fn children(
    connection: &Connection,
    batches: &[(TenantId, OperationId)],
) -> Result<Vec<ChildCounts>, StoreError> {
    let each = |(tenant, batch): &(TenantId, OperationId)| {
        let mut counts = ChildCounts::default();
        let state_and_count = |row: &rusqlite::Row<'_>| {
            let state = StateName::from_number(get(row, 0)?)
                .ok_or_else(|| codec::corrupt(*batch, "a child has no known state"))?;
            Ok((state, rows::unsigned(get(row, 1)?)))
        };
        let stored = "SELECT o.state, count(*) FROM operations AS o INDEXED BY operations_children
                      WHERE o.tenant = ?1 AND o.parent = ?2 AND o.parent IS NOT NULL GROUP BY o.state";
        let of = params![tenant.as_str(), batch.as_bytes()];
        for (state, count) in rows::all(connection, stored, of, state_and_count)? {
            counts.add_stored(state, count);
        }
        let removed = "SELECT state, count FROM removed_children WHERE parent = ?1";
        for (state, count) in rows::all(connection, removed, [batch.as_bytes()], state_and_count)? {
            counts.add_removed(state, count);
        }
        Ok(counts)
    };
    batches.iter().map(each).collect()
}

pub(super) fn count(connection: &Connection) -> Result<u64, StoreError> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM operations")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(store_error)?;
    Ok(u64::try_from(count).unwrap_or_default())
}

pub(super) fn scan(
    connection: &Connection,
    after: Option<OperationId>,
    page: usize,
) -> Result<Vec<Operation>, StoreError> {
    let sql =
        format!("SELECT {OPERATION} FROM operations AS o WHERE o.id > ?1 ORDER BY o.id LIMIT ?2");
    rows::all(connection, &sql, params![beginning(after), limit(page)], rows::operation)
}

pub(super) fn unfinished(
    connection: &Connection,
    after: Option<(TenantId, OperationId)>,
    page: usize,
) -> Result<Vec<Unfinished>, StoreError> {
    let (tenant, id) = after.unzip();
    let sql = format!(
        "SELECT {UNFINISHED} FROM operations AS o INDEXED BY operations_active
         WHERE o.state < 4 AND o.revision > 0 AND (o.tenant, o.id) > (?1, ?2) ORDER BY o.tenant, o.id LIMIT ?3"
    );
    let tenant = tenant.as_ref().map_or("", TenantId::as_str);
    rows::all(connection, &sql, params![tenant, beginning(id), limit(page)], rows::unfinished)
}

pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    most: usize,
) -> Result<Vec<OperationId>, StoreError> {
    rows::all(
        connection,
        "SELECT id FROM operations WHERE wake_at <= ?1 ORDER BY wake_at LIMIT ?2",
        params![now.micros(), limit(most)],
        |row| get::<[u8; 16]>(row, 0).map(OperationId::from_bytes),
    )
}

pub(super) fn next_wake(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let earliest: Option<i64> = connection
        .prepare_cached("SELECT min(wake_at) FROM operations WHERE wake_at IS NOT NULL")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(store_error)?;
    let earliest = earliest.map(Timestamp::from_micros);
    Ok([earliest, tombstones::oldest(connection)?].into_iter().flatten().min())
}
