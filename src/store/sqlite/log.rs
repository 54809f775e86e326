//! Reads the log by name.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::super::log::{
    Change, Cursor, Head, LogPage, LogQuery, Logged, PAGE_BYTES, Range, Stamp, WriterState,
};
use super::super::sql::columns::{OPERATION, OPERATION_COLUMNS, number};
use super::super::{StoreError, codec};
use super::commits;
use super::rows::{self, get, unsigned};
use super::store_error;
use crate::operation::{Operation, OperationId, Revision};

pub(super) fn head(connection: &Connection) -> Result<Head, StoreError> {
    let writers = rows::all(
        connection,
        "SELECT w.id, w.nonce, w.trimmed, w.is_ended,
           (SELECT max(c.sequence) FROM commits AS c WHERE c.writer = w.id)
         FROM writers AS w ORDER BY w.id",
        [],
        |row| {
            Ok(WriterState {
                writer: unsigned(get(row, 0)?),
                nonce: get::<i64>(row, 1)?.cast_unsigned(),
                trimmed: unsigned(get(row, 2)?),
                is_ended: get(row, 3)?,
                sequence: unsigned(get::<Option<i64>>(row, 4)?.unwrap_or_default()),
            })
        },
    )?;
    Ok(Head::new(writers))
}

/// An entry's place in its page, and where to find it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    cursor: Cursor,
    stamp: Stamp,
    /// For a removal: whether it is the only notice of the last transition.
    removal: Option<bool>,
}

pub(super) fn log(connection: &Connection, query: &LogQuery) -> Result<LogPage, StoreError> {
    let head = head(connection)?;
    if head.lacks(&query.ranges) {
        return Ok(LogPage { head, ..LogPage::default() });
    }
    let mut places = find(connection, query)?;
    let is_full = places.len() > query.limit;
    places.truncate(query.limit);
    let mut next = places.last().filter(|_| is_full).map(|place| place.cursor);
    let mut entries = Vec::with_capacity(places.len());
    let mut bytes = 0;
    let count = places.len();
    for (number, place) in places.into_iter().enumerate() {
        match read(connection, &place) {
            Ok(read) => {
                if let Some((change, size)) = read {
                    bytes += size;
                    entries.push(Logged { stamp: place.stamp, change });
                }
            }
            Err(StoreError::Corrupt(error)) => {
                tracing::error!(operation.id = %place.cursor.0, error, "a change cannot be read");
            }
            Err(error) => return Err(error),
        }
        if bytes >= PAGE_BYTES && number + 1 < count {
            next = Some(place.cursor);
            break;
        }
    }
    Ok(LogPage { entries, next, head })
}

/// The first places of the ranges in order, one more than wanted. Reads all of the ranges.
fn find(connection: &Connection, query: &LogQuery) -> Result<Vec<Place>, StoreError> {
    let wanted = query.limit.saturating_add(1);
    let mut first = BinaryHeap::new();
    let mut add = |place: Place| {
        if query.after.is_none_or(|after| place.cursor > after) {
            first.push(place);
            if first.len() > wanted {
                first.pop();
            }
        }
    };
    let mut removed = BTreeMap::new();
    for Range { writer, after, up_to } in &query.ranges {
        let sql = "SELECT id, revision, sequence FROM removals
             WHERE writer = ?1 AND sequence > ?2 AND sequence <= ?3";
        let range = params![number(*writer), number(*after), number(*up_to)];
        removed.extend(rows::all(connection, sql, range, |row| {
            let last = (OperationId::from_bytes(get(row, 0)?), Revision(unsigned(get(row, 1)?)));
            let stamp = Stamp { writer: *writer, sequence: unsigned(get(row, 2)?) };
            Ok((last, (stamp, false)))
        })?);
    }
    changes(connection, &query.ranges, |cursor, stamp| {
        add(Place { cursor, stamp, removal: None });
    })?;
    if !removed.is_empty() {
        changes(connection, &query.unsure, |cursor, _| {
            if let Some((_, is_only_word)) = removed.get_mut(&cursor) {
                *is_only_word = true;
            }
        })?;
    }
    for ((id, revision), (stamp, is_only_word)) in removed {
        let cursor = (id, revision.next());
        add(Place { cursor, stamp, removal: Some(is_only_word) });
    }
    Ok(first.into_sorted_vec())
}

/// Finds the place of each change in the commits of these ranges.
fn changes(
    connection: &Connection,
    ranges: &[Range],
    mut tell: impl FnMut(Cursor, Stamp),
) -> Result<(), StoreError> {
    for Range { writer, after, up_to } in ranges {
        let range = params![number(*writer), number(*after), number(*up_to)];
        let mut statement = connection
            .prepare_cached(
                "SELECT sequence, changes FROM commits
                 WHERE writer = ?1 AND sequence > ?2 AND sequence <= ?3 AND changes IS NOT NULL",
            )
            .map_err(store_error)?;
        let mut rows = statement.query(range).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let stamp = Stamp { writer: *writer, sequence: unsigned(get(row, 0)?) };
            let changes = row.get_ref(1).map_err(store_error)?.as_blob().map_err(|error| {
                StoreError::Corrupt(format!("what commit {} changed: {error}", stamp.sequence))
            })?;
            commits::decode(changes).for_each(|cursor| tell(cursor, stamp));
        }
    }
    Ok(())
}

/// Reads a change; also returns the size of its lives in bytes.
fn read(connection: &Connection, place: &Place) -> Result<Option<(Change, usize)>, StoreError> {
    let (id, Revision(revision)) = place.cursor;
    if let Some(is_only_word) = place.removal {
        let sql = format!(
            "SELECT {OPERATION} FROM removals AS o WHERE writer = ?1 AND sequence = ?2 AND id = ?3"
        );
        let Stamp { writer, sequence } = place.stamp;
        let values = params![number(writer), number(sequence), id.as_bytes()];
        let removed = rows::all(connection, &sql, values, rows::operation)?;
        let removed = removed.into_iter().next();
        return Ok(removed.map(|removed| {
            let size = codec::encode_life(&removed.life).len();
            (Change::Removed { last: Arc::new(removed), is_only_word }, size)
        }));
    }
    let sql = format!(
        "SELECT e.type, e.life, {OPERATION}, p.life
         FROM events AS e JOIN operations AS o ON o.id = e.id
         LEFT JOIN events AS p ON p.id = e.id AND p.revision = e.revision - 1
         WHERE e.id = ?1 AND e.revision = ?2"
    );
    let values = params![id.as_bytes(), number(revision)];
    let found = rows::all(connection, &sql, values, |row| transition(id, row))?;
    Ok(found.into_iter().next())
}

fn transition(id: OperationId, row: &Row<'_>) -> Result<(Change, usize), StoreError> {
    let event = rows::event(id, row)?;
    let submission = rows::operation_at(row, 2)?.submission;
    let with = |life| Arc::new(Operation { submission: Arc::clone(&submission), life });
    let before: Option<Vec<u8>> = get(row, 2 + OPERATION_COLUMNS)?;
    let size =
        |at| row.get_ref(at).ok().and_then(|life| life.as_blob().ok()).map_or(0, <[u8]>::len);
    let size = size(1) + size(2 + OPERATION_COLUMNS);
    let before = before.map(|life| codec::decode_life(id, &life)).transpose()?.map(with);
    let event_type = event.event_type;
    Ok((Change::Transition { before, after: with(event.life), event_type }, size))
}
