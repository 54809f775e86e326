//! The log: names of this opening's commits, and reading by name.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::super::log::{
    Change, Cursor, Head, LogPage, LogQuery, Logged, PAGE_BYTES, Range, SigningKey, Stamp,
    WriterState,
};
use super::super::sql::columns::{OPERATION, OPERATION_COLUMNS, limit, number};
use super::super::{StoreError, TrimLog, codec};
use super::rows::{self, get};
use super::store_error;
use crate::operation::{Operation, OperationId, Revision};

/// The names that this opening of the file gives to its commits.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Its number as a writer, 0 before its first write: a start writes nothing.
    writer: u64,
    /// The last that was given.
    last: u64,
    /// That of a commit of which it is not known whether it happened.
    in_doubt: Option<Stamp>,
}

impl Names {
    /// The name of the next commit. The first makes this opening of the file a writer; those before it have ended,
    /// because the file is locked.
    pub(super) fn next(&mut self, connection: &mut Connection) -> Result<Stamp, StoreError> {
        if self.writer == 0 {
            self.writer = register(connection).map_err(store_error)?;
        }
        Ok(Stamp { writer: self.writer, sequence: self.last + 1 })
    }

    /// The commit of that name has happened.
    pub(super) fn used(&mut self, stamp: Stamp) {
        self.last = stamp.sequence;
    }

    /// It is not known whether the commit of that name has happened.
    pub(super) fn doubt(&mut self, stamp: Stamp) {
        self.in_doubt = Some(stamp);
    }

    /// Ends the doubt about the last commit, and answers its name if it has happened.
    pub(super) fn settle(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Stamp>, StoreError> {
        let stamp = match self.in_doubt {
            Some(stamp) => stamp,
            None => self.next(connection)?,
        };
        let was_committed = !claim(connection, stamp, true)? && is_of_commit(connection, stamp)?;
        self.last = self.last.max(stamp.sequence);
        if was_committed {
            // What is durable behind it makes it so; until then there is doubt. Each try takes a name of its own, so
            // that it writes.
            let next = self.next(connection)?;
            self.used(next);
            claim(connection, next, true)?;
        }
        self.in_doubt = None;
        Ok(was_committed.then_some(stamp))
    }
}

fn register(connection: &mut Connection) -> rusqlite::Result<u64> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    change.execute("UPDATE writers SET is_ended = 1 WHERE is_ended = 0", [])?;
    let writer: i64 = change.query_row(
        "UPDATE log_state SET last_writer = last_writer + 1 RETURNING last_writer",
        [],
        |row| row.get(0),
    )?;
    change.execute(
        "INSERT INTO writers (id, nonce, trimmed, is_ended) VALUES (?1, random(), 0, 0)",
        [writer],
    )?;
    change.commit()?;
    Ok(unsigned(writer))
}

/// What positions are signed with.
pub(super) fn key(connection: &Connection) -> rusqlite::Result<SigningKey> {
    connection.query_row("SELECT key FROM log_state", [], |row| row.get(0)).map(SigningKey)
}

/// Takes a name, for its commit or so that it can never be; false if it was taken before. A commit of that name which
/// failed, but whose end is in the write-ahead log, can no longer come back: this takes its place there.
pub(super) fn claim(
    connection: &Connection,
    stamp: Stamp,
    is_void: bool,
) -> Result<bool, StoreError> {
    let claimed = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO commits (writer, sequence, is_void) VALUES (?1, ?2, ?3)",
        )
        .and_then(|mut statement| {
            statement.execute(params![number(stamp.writer), number(stamp.sequence), is_void])
        })
        .map_err(store_error)?;
    Ok(claimed == 1)
}

/// Whether a name that is taken was taken by its commit.
fn is_of_commit(connection: &Connection, stamp: Stamp) -> Result<bool, StoreError> {
    connection
        .prepare_cached("SELECT 1 FROM commits WHERE writer = ?1 AND sequence = ?2 AND is_void = 0")
        .and_then(|mut find| find.exists(params![number(stamp.writer), number(stamp.sequence)]))
        .map_err(store_error)
}

/// Records an operation that is about to be removed.
pub(super) fn record_removal(
    transaction: &Transaction<'_>,
    stamp: Stamp,
    removal: &super::super::Removal,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO removals (writer, sequence, id, revision, removed_at, tenant, kind, priority,
               created_at, idempotency_key, submission, life)
             SELECT ?1, ?2, id, revision, ?3, tenant, kind, priority, created_at, idempotency_key,
               submission, life
             FROM operations WHERE id = ?4",
        )?
        .execute(params![
            number(stamp.writer),
            number(stamp.sequence),
            removal.at.micros(),
            removal.id.as_bytes()
        ])?;
    Ok(())
}

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

/// Numbers that only this program has written.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// An entry's place in its page, and how to find it.
struct Place {
    cursor: Cursor,
    stamp: Stamp,
    is_removal: bool,
}

pub(super) fn log(connection: &Connection, query: &LogQuery) -> Result<LogPage, StoreError> {
    let head = head(connection)?;
    let has_lost = |range: &Range| {
        let found = head.writers().iter().find(|state| state.writer == range.writer);
        found.is_none_or(|state| state.trimmed > range.after)
    };
    if query.ranges.iter().any(has_lost) {
        return Ok(LogPage { is_gone: true, ..LogPage::default() });
    }
    let mut places = Vec::new();
    for range in &query.ranges {
        places.extend(find(connection, *range, query)?);
    }
    places.sort_unstable_by_key(|place| place.cursor);
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
    Ok(LogPage { entries, next, is_gone: false })
}

/// The first places of a range, one more than are wanted.
fn find(connection: &Connection, range: Range, query: &LogQuery) -> Result<Vec<Place>, StoreError> {
    let (id, revision) =
        query.after.map_or((Vec::new(), 0), |(id, revision)| (id.as_bytes().to_vec(), revision.0));
    let Range { writer, after, up_to } = range;
    rows::all(
        connection,
        "SELECT * FROM (
           SELECT id, revision AS place, sequence, 0 FROM events INDEXED BY events_commit
           WHERE writer = ?1 AND sequence > ?2 AND sequence <= ?3
           UNION ALL
           SELECT id, revision + 1, sequence, 1 FROM removals
           WHERE writer = ?1 AND sequence > ?2 AND sequence <= ?3)
         WHERE (id, place) > (?4, ?5) ORDER BY id, place LIMIT ?6",
        params![
            number(writer),
            number(after),
            number(up_to),
            id,
            number(revision),
            limit(query.limit.saturating_add(1))
        ],
        |row| {
            let id = OperationId::from_bytes(get(row, 0)?);
            Ok(Place {
                cursor: (id, Revision(unsigned(get(row, 1)?))),
                stamp: Stamp { writer, sequence: unsigned(get(row, 2)?) },
                is_removal: get(row, 3)?,
            })
        },
    )
}

/// A change, and how many bytes of lives it has.
fn read(connection: &Connection, place: &Place) -> Result<Option<(Change, usize)>, StoreError> {
    let (id, Revision(revision)) = place.cursor;
    if place.is_removal {
        let sql = format!(
            "SELECT {OPERATION} FROM removals AS o WHERE writer = ?1 AND sequence = ?2 AND id = ?3"
        );
        let Stamp { writer, sequence } = place.stamp;
        let values = params![number(writer), number(sequence), id.as_bytes()];
        let removed = rows::all(connection, &sql, values, rows::operation)?;
        let removed = removed.into_iter().next();
        return Ok(removed.map(|removed| {
            let size = codec::encode_life(&removed.life).len();
            (Change::Removed(Arc::new(removed)), size)
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

/// Deletes what nobody asks for any more, unless a commit is in doubt: its name tells what became of it.
pub(super) fn trim(
    connection: &mut Connection,
    names: &Names,
    trim: &TrimLog,
) -> Result<(), StoreError> {
    if names.in_doubt.is_some() {
        return Ok(());
    }
    let TrimLog { now, keep_for, keep } = *trim;
    let before =
        now.micros().saturating_sub(i64::try_from(keep_for.as_micros()).unwrap_or(i64::MAX));
    let run = |connection: &mut Connection| -> rusqlite::Result<()> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let writers: Vec<i64> = change
            .prepare_cached("SELECT id FROM writers")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for writer in writers {
            // Removals of a writer rise with time, if its clock does.
            let last: Option<i64> = change
                .prepare_cached(
                    "SELECT max(sequence) FROM removals WHERE writer = ?1 AND (removed_at < ?2
                       OR sequence <= (SELECT sequence FROM removals WHERE writer = ?1
                                       ORDER BY sequence DESC LIMIT 1 OFFSET ?3))",
                )?
                .query_row(params![writer, before, number(keep)], |row| row.get(0))
                .optional()?
                .flatten();
            if let Some(last) = last {
                change
                    .prepare_cached("DELETE FROM removals WHERE writer = ?1 AND sequence <= ?2")?
                    .execute([writer, last])?;
                change
                    .prepare_cached("UPDATE writers SET trimmed = max(trimmed, ?2) WHERE id = ?1")?
                    .execute([writer, last])?;
            }
            change
                .prepare_cached(
                    "DELETE FROM commits WHERE writer = ?1
                       AND sequence < (SELECT max(sequence) FROM commits WHERE writer = ?1)",
                )?
                .execute([writer])?;
        }
        change.execute(
            "UPDATE writers SET ended_at = ?1 WHERE is_ended = 1 AND ended_at IS NULL",
            [now.micros()],
        )?;
        change.execute(
            "DELETE FROM writers WHERE ended_at < ?1
               AND NOT EXISTS (SELECT 1 FROM removals AS r WHERE r.writer = writers.id)",
            [before],
        )?;
        change.execute("DELETE FROM commits WHERE writer NOT IN (SELECT id FROM writers)", [])?;
        change.commit()
    };
    run(connection).map_err(store_error)
}

#[cfg(test)]
mod tests;
