//! Decodes rows.

use rusqlite::types::FromSql;
use rusqlite::{Connection, Row};

use super::super::sql::columns::at_revision;
use super::super::{LogEntry, Place, StoreError, Unfinished, codec};
use super::store_error;
use crate::operation::id::InvalidName;
use crate::operation::{
    Attempt, Event, EventType, IdempotencyKey, Kind, Operation, OperationId, Revision, SessionId,
    TenantId, Timestamp, WorkerId,
};

/// The lower bound for ids: every blob sorts after the empty one.
pub(super) fn beginning(after: Option<OperationId>) -> Vec<u8> {
    after.map_or_else(Vec::new, |id| id.as_bytes().to_vec())
}

/// All rows of a statement, each converted by `make`.
pub(super) fn all<T>(
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

/// Decodes a row of `OPERATION`.
pub(super) fn operation(row: &Row<'_>) -> Result<Operation, StoreError> {
    operation_at(row, 0)
}

/// Like [`operation`], beginning at a later column.
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

/// Decodes an event from its type and life.
pub(super) fn event(id: OperationId, row: &Row<'_>) -> Result<Event, StoreError> {
    let event_type = EventType::from_number(get(row, 0)?)
        .ok_or_else(|| codec::corrupt(id, "it has an event of no known type"))?;
    let life: Vec<u8> = get(row, 1)?;
    Ok(Event { event_type, life: codec::decode_life(id, &life)? })
}

pub(super) fn log_line(id: OperationId, row: &Row<'_>) -> Result<LogEntry, StoreError> {
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

pub(super) fn unfinished(row: &Row<'_>) -> Result<Unfinished, StoreError> {
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

/// Only this program writes this number.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A column's value. A value of another type is damage.
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
