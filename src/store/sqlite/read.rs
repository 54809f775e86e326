//! Reads other than lists. Each function is one statement's worth of work.

use bytes::Bytes;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::sql::columns::{OPERATION, at_revision, limit, number, role_number};
use super::super::{
    HistoryEntry, HistoryQuery, LogEntry, Lookup, PayloadRole, Place, StoreError, Unfinished, codec,
};
use super::{store_error, tombstones};
use crate::operation::id::InvalidName;
use crate::operation::log::LogBook;
use crate::operation::{
    Attempt, Event, EventType, IdempotencyKey, Kind, Operation, OperationId, Revision, SessionId,
    TenantId, Timestamp, WorkerId,
};

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
            rows(connection, &sql, [id.as_bytes()], operation)?
        }
        Lookup::Key(tenant, key) => {
            let sql = format!("{from} o.tenant = ?1 AND o.idempotency_key = ?2");
            rows(connection, &sql, [tenant.as_str(), key.as_str()], operation)?
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
    let mut entries: Vec<HistoryEntry> = rows(
        connection,
        "SELECT type, life FROM events WHERE id = ?1 AND revision > ?2 ORDER BY revision LIMIT ?3",
        params![id.as_bytes(), number(after.revision.0), limit],
        |row| event(id, row).map(HistoryEntry::Transition),
    )?;
    if query.include_log {
        // Revisions rise with the numbers of lines, so numbers alone give the order.
        let lines: Vec<HistoryEntry> = rows(
            connection,
            "SELECT number, revision, attempt, worker, at, text,
               IIF(number = (SELECT MIN(number) FROM log_lines WHERE id = ?1), number - 1, 0)
             FROM log_lines
             WHERE id = ?1 AND number > ?3 AND (revision, number) > (?2, ?3)
             ORDER BY number LIMIT ?4",
            params![id.as_bytes(), number(after.revision.0), number(after.log_number), limit],
            |row| log_line(id, row).map(HistoryEntry::Log),
        )?;
        entries.extend(lines);
        entries.sort_by_key(HistoryEntry::position);
        entries.truncate(query.limit);
    }
    Ok(entries)
}

pub(super) fn log_book(connection: &Connection, id: OperationId) -> Result<LogBook, StoreError> {
    let lines: Vec<(i64, i64)> = rows(
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
    rows(connection, &sql, params![beginning(after), limit(page)], operation)
}

/// What ids are compared to: a blob sorts behind the empty one, whatever its bytes.
pub(super) fn beginning(after: Option<OperationId>) -> Vec<u8> {
    after.map_or_else(Vec::new, |id| id.as_bytes().to_vec())
}

pub(super) fn unfinished(
    connection: &Connection,
    after: Option<OperationId>,
    page: usize,
) -> Result<Vec<Unfinished>, StoreError> {
    rows(
        connection,
        "SELECT id, tenant, kind, priority, not_before, session, worker, attempt
         FROM operations INDEXED BY operations_unfinished
         WHERE state < 4 AND id > ?1 ORDER BY id LIMIT ?2",
        params![beginning(after), limit(page)],
        one_unfinished,
    )
}

pub(super) fn due(
    connection: &Connection,
    now: Timestamp,
    most: usize,
) -> Result<Vec<OperationId>, StoreError> {
    rows(
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

/// All rows of a statement, each made into something.
pub(super) fn rows<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    make: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement.query(params).map_err(store_error)?;
    let mut made = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        made.push(make(row)?);
    }
    Ok(made)
}

/// An operation of a row of [`OPERATION`].
pub(super) fn operation(row: &Row<'_>) -> Result<Operation, StoreError> {
    operation_at(row, 0)
}

/// The same where it begins at a later column.
pub(super) fn operation_at(row: &Row<'_>, at: usize) -> Result<Operation, StoreError> {
    let id = OperationId::from_bytes(get(row, at)?);
    let key: Option<String> = get(row, at + 5)?;
    let columns = codec::Columns {
        id,
        tenant: name(id, row, at + 1, TenantId::parse)?,
        kind: name(id, row, at + 2, Kind::parse)?,
        priority: get(row, at + 3)?,
        created_at: Timestamp::from_micros(get(row, at + 4)?),
        idempotency_key: key
            .map(|key| IdempotencyKey::parse(&key))
            .transpose()
            .map_err(|rule| codec::corrupt(id, format!("its idempotency key {rule}")))?,
    };
    let (submission, life) = (blob(id, row, at + 6)?, blob(id, row, at + 7)?);
    at_revision(codec::decode_operation(columns, submission, life)?, get(row, at + 8)?)
}

fn blob<'a>(id: OperationId, row: &'a Row<'_>, at: usize) -> Result<&'a [u8], StoreError> {
    let value = row.get_ref(at).map_err(store_error)?;
    value.as_blob().map_err(|error| codec::corrupt(id, error))
}

/// An event of its type and life.
pub(super) fn event(id: OperationId, row: &Row<'_>) -> Result<Event, StoreError> {
    let event_type = EventType::from_number(get(row, 0)?)
        .ok_or_else(|| codec::corrupt(id, "it has an event of no known type"))?;
    let life: Vec<u8> = get(row, 1)?;
    Ok(Event { event_type, life: codec::decode_life(id, &life)? })
}

fn log_line(id: OperationId, row: &Row<'_>) -> Result<LogEntry, StoreError> {
    let count = |at| {
        let stored: i64 = get(row, at)?;
        u64::try_from(stored).map_err(|error| codec::corrupt(id, error))
    };
    let worker: Option<String> = get(row, 3)?;
    Ok(LogEntry {
        number: count(0)?,
        revision: Revision(count(1)?),
        attempt: Attempt(get(row, 2)?),
        worker: worker
            .map(|worker| WorkerId::parse(&worker))
            .transpose()
            .map_err(|rule| codec::corrupt(id, format!("the worker of a log line {rule}")))?,
        at: Timestamp::from_micros(get(row, 4)?),
        text: get(row, 5)?,
        dropped_before: count(6)?,
    })
}

fn one_unfinished(row: &Row<'_>) -> Result<Unfinished, StoreError> {
    let id = OperationId::from_bytes(get(row, 0)?);
    let not_before: Option<i64> = get(row, 4)?;
    let place = match not_before {
        Some(at) => Place::Queued { not_before: Timestamp::from_micros(at) },
        None => Place::Leased {
            session: SessionId::from_bytes(get(row, 5)?),
            worker: name(id, row, 6, WorkerId::parse)?,
            attempt: Attempt(get(row, 7)?),
        },
    };
    Ok(Unfinished {
        id,
        tenant: name(id, row, 1, TenantId::parse)?,
        kind: name(id, row, 2, Kind::parse)?,
        priority: get(row, 3)?,
        place,
    })
}

/// A column's value. A value that is not of the type is damage.
pub(super) fn get<T: FromSql>(row: &Row<'_>, at: usize) -> Result<T, StoreError> {
    row.get(at).map_err(|error| {
        let id = row.get("id").map(OperationId::from_bytes);
        match id {
            Ok(id) => codec::corrupt(id, error),
            Err(_) => StoreError::Corrupt(error.to_string()),
        }
    })
}

fn name<T>(
    id: OperationId,
    row: &Row<'_>,
    at: usize,
    parse: fn(&str) -> Result<T, InvalidName>,
) -> Result<T, StoreError> {
    let text = row.get_ref(at).map_err(store_error)?;
    let text = text.as_str().map_err(|error| codec::corrupt(id, error))?;
    parse(text).map_err(|rule| codec::corrupt(id, format!("a name in its row {rule}")))
}
