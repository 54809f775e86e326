//! Decodes rows, and converts ids.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::super::sql::columns::at_revision;
use super::super::{LogEntry, Place, StoreError, Unfinished, codec};
use crate::operation::id::InvalidName;
use crate::operation::{
    Attempt, Event, EventType, IdempotencyKey, Kind, Operation, OperationId, Revision, SessionId,
    TenantId, Timestamp, WorkerId,
};

/// An id as a column value.
pub(super) fn uuid(id: OperationId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// Decodes a row of [`OPERATION`](super::super::sql::columns::OPERATION).
pub(super) fn operation(row: &Row) -> Result<Operation, StoreError> {
    let id = id(row, 0)?;
    let key: Option<&str> = get(id, row, 5)?;
    let columns = codec::Columns {
        id,
        tenant: name(id, row, 1, TenantId::parse)?,
        kind: name(id, row, 2, Kind::parse)?,
        priority: small(id, get::<i16>(id, row, 3)?)?,
        created_at: Timestamp::from_micros(get(id, row, 4)?),
        idempotency_key: key
            .map(IdempotencyKey::parse)
            .transpose()
            .map_err(|rule| codec::corrupt(id, format!("its idempotency key {rule}")))?,
    };
    let operation = codec::decode_operation(columns, get(id, row, 6)?, get(id, row, 7)?)?;
    at_revision(operation, get(id, row, 8)?)
}

/// Decodes an event from its type and life.
pub(super) fn event(id: OperationId, row: &Row) -> Result<Event, StoreError> {
    event_at(id, row, 0)
}

/// Like [`event`], beginning at a later column.
pub(super) fn event_at(id: OperationId, row: &Row, at: usize) -> Result<Event, StoreError> {
    let event_type = EventType::from_number(small(id, get::<i16>(id, row, at)?)?)
        .ok_or_else(|| codec::corrupt(id, "it has an event of no known type"))?;
    Ok(Event { event_type, life: codec::decode_life(id, get(id, row, at + 1)?)? })
}

pub(super) fn log_line(id: OperationId, row: &Row) -> Result<LogEntry, StoreError> {
    let count = |at| small::<i64, u64>(id, get(id, row, at)?);
    let worker: Option<&str> = get(id, row, 3)?;
    let text: Vec<u8> = get(id, row, 5)?;
    Ok(LogEntry {
        number: count(0)?,
        revision: Revision(count(1)?),
        attempt: attempt(id, row, 2)?,
        worker: worker
            .map(WorkerId::parse)
            .transpose()
            .map_err(|rule| codec::corrupt(id, format!("the worker of a log line {rule}")))?,
        at: Timestamp::from_micros(get(id, row, 4)?),
        text: String::from_utf8(text).map_err(|error| codec::corrupt(id, error))?,
        dropped_before: count(6)?,
    })
}

pub(super) fn unfinished(row: &Row) -> Result<Unfinished, StoreError> {
    let id = id(row, 0)?;
    let not_before: Option<i64> = get(id, row, 4)?;
    let place = match not_before {
        Some(at) => Place::Queued { not_before: Timestamp::from_micros(at) },
        None => Place::Leased {
            session: session(row, 5)?,
            worker: name(id, row, 6, WorkerId::parse)?,
            attempt: attempt(id, row, 7)?,
        },
    };
    Ok(Unfinished {
        id,
        tenant: name(id, row, 1, TenantId::parse)?,
        kind: name(id, row, 2, Kind::parse)?,
        priority: small(id, get::<i16>(id, row, 3)?)?,
        place,
    })
}

pub(super) fn id(row: &Row, at: usize) -> Result<OperationId, StoreError> {
    row.try_get(at).map(OperationId::from_uuid).map_err(|error| corrupt(&error))
}

pub(super) fn session(row: &Row, at: usize) -> Result<SessionId, StoreError> {
    let id: Uuid = row.try_get(at).map_err(|error| corrupt(&error))?;
    Ok(SessionId::from_uuid(id))
}

pub(super) fn attempt(id: OperationId, row: &Row, at: usize) -> Result<Attempt, StoreError> {
    small::<i64, u32>(id, get(id, row, at)?).map(Attempt)
}

fn corrupt(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

/// A column's value. A value of another type is damage.
fn get<'a, T: FromSql<'a>>(id: OperationId, row: &'a Row, at: usize) -> Result<T, StoreError> {
    row.try_get(at).map_err(|error| codec::corrupt(id, error))
}

fn small<T, S: TryFrom<T>>(id: OperationId, number: T) -> Result<S, StoreError>
where
    S::Error: std::fmt::Display,
{
    S::try_from(number).map_err(|error| codec::corrupt(id, error))
}

pub(super) fn name<T>(
    id: OperationId,
    row: &Row,
    at: usize,
    parse: fn(&str) -> Result<T, InvalidName>,
) -> Result<T, StoreError> {
    let text: &str = get(id, row, at)?;
    parse(text).map_err(|rule| codec::corrupt(id, format!("a name in its row {rule}")))
}
