//! Commits by name: which were written, what each changed, and how long records are kept.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::super::log::{SigningKey, Stamp};
use super::super::sql::columns::number;
use super::super::{Batch, Removal, StoreError, TrimLog};
use super::rows::unsigned;
use super::store_error;
use crate::operation::{OperationId, Revision};

/// The maximum number of commits that are kept per writer; changes of older ones can no longer be read.
const KEEP_COMMITS: u64 = 4_000_000;
/// The maximum number of a writer's commits that are deleted at a time, because no other write runs meanwhile.
const DELETE_COMMITS: u64 = 100_000;
/// The size of a change: the operation's id, and its revision after the change, big-endian.
const CHANGE_BYTES: usize = 16 + 8;

/// The names of the commits of this opening of the file.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Its number as a writer; 0 before its first write, because a start writes nothing.
    writer: u64,
    /// The last used sequence number.
    last: u64,
    /// The name of a commit whose outcome is unknown.
    in_doubt: Option<Stamp>,
}

impl Names {
    /// The name of the next commit. The first call makes this opening of the file a writer; earlier writers have ended,
    /// because the file is locked.
    pub(super) fn next(&mut self, connection: &mut Connection) -> Result<Stamp, StoreError> {
        if self.writer == 0 {
            self.writer = register(connection).map_err(store_error)?;
        }
        Ok(Stamp { writer: self.writer, sequence: self.last + 1 })
    }

    /// Notes that the commit of that name was written.
    pub(super) fn used(&mut self, stamp: Stamp) {
        self.last = stamp.sequence;
    }

    /// Notes that the outcome of the commit of that name is unknown.
    pub(super) fn doubt(&mut self, stamp: Stamp) {
        self.in_doubt = Some(stamp);
    }

    /// Resolves the last commit; returns its name if it was written.
    pub(super) fn settle(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<Stamp>, StoreError> {
        let stamp = match self.in_doubt {
            Some(stamp) => stamp,
            None => self.next(connection)?,
        };
        let was_committed = !void(connection, stamp)? && is_of_commit(connection, stamp)?;
        self.last = self.last.max(stamp.sequence);
        if was_committed {
            // A later durable commit makes it durable too; until then it stays in doubt. Each try uses a new name, so
            // that it writes.
            let next = self.next(connection)?;
            self.used(next);
            void(connection, next)?;
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

/// The key that signs positions.
pub(super) fn key(connection: &Connection) -> rusqlite::Result<SigningKey> {
    connection.query_row("SELECT key FROM log_state", [], |row| row.get(0)).map(SigningKey)
}

/// Takes the name of a commit, with its changes; false if the name was taken before.
pub(super) fn claim(
    connection: &Connection,
    stamp: Stamp,
    batch: &Batch,
) -> Result<bool, StoreError> {
    take(connection, stamp, false, encode(batch).as_deref())
}

/// Takes a name so that no commit can have it; false if it was taken before. A failed commit of that name, whose end is
/// in the write-ahead log, can no longer come back, because this takes its place there.
pub(super) fn void(connection: &Connection, stamp: Stamp) -> Result<bool, StoreError> {
    take(connection, stamp, true, None)
}

fn take(
    connection: &Connection,
    stamp: Stamp,
    is_void: bool,
    changes: Option<&[u8]>,
) -> Result<bool, StoreError> {
    let taken = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO commits (writer, sequence, is_void, changes)
             VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut statement| {
            let Stamp { writer, sequence } = stamp;
            statement.execute(params![number(writer), number(sequence), is_void, changes])
        })
        .map_err(store_error)?;
    Ok(taken == 1)
}

/// The transitions of a commit as stored in its row. Removals have rows of their own.
fn encode(batch: &Batch) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(batch.events.len() * CHANGE_BYTES);
    for (id, event) in &batch.events {
        let Revision(revision) = event.life.revision;
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&revision.to_be_bytes());
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// The transitions in a commit's row.
pub(super) fn decode(changes: &[u8]) -> impl Iterator<Item = (OperationId, Revision)> {
    changes.chunks_exact(CHANGE_BYTES).filter_map(|change| {
        let (id, revision) = change.split_first_chunk()?;
        let revision = u64::from_be_bytes(revision.try_into().ok()?);
        Some((OperationId::from_bytes(*id), Revision(revision)))
    })
}

/// Whether a taken name was taken by its commit.
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
    removal: &Removal,
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

/// Deletes commits that are no longer looked up, unless a commit is in doubt, because its name shows the outcome.
pub(super) fn trim(
    connection: &mut Connection,
    names: &Names,
    trim: &TrimLog,
) -> Result<(), StoreError> {
    if names.in_doubt.is_some() {
        return Ok(());
    }
    let run = |connection: &mut Connection| -> rusqlite::Result<()> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change.execute(
            "UPDATE writers SET ended_at = ?1 WHERE is_ended = 1 AND ended_at IS NULL",
            [trim.now.micros()],
        )?;
        let writers: Vec<(i64, Option<i64>)> = change
            .prepare_cached("SELECT id, ended_at FROM writers")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (writer, ended_at) in writers {
            trim_writer(&change, writer, ended_at, trim)?;
        }
        change.commit()
    };
    run(connection).map_err(store_error)
}

fn trim_writer(
    change: &Transaction<'_>,
    writer: i64,
    ended_at: Option<i64>,
    trim: &TrimLog,
) -> rusqlite::Result<()> {
    let before = trim.now.before(trim.keep_for).micros();
    // A writer's removals rise with time, if its clock does.
    let old_removals = "SELECT max(sequence) FROM removals WHERE writer = ?1 AND (removed_at < ?2
         OR sequence <= (SELECT sequence FROM removals WHERE writer = ?1
                         ORDER BY sequence DESC LIMIT 1 OFFSET ?3))";
    let values = params![writer, before, number(trim.keep)];
    let removed = find(change, old_removals, values)?;
    change
        .prepare_cached("DELETE FROM removals WHERE writer = ?1 AND sequence <= ?2")?
        .execute(params![writer, removed])?;
    let last = find(change, "SELECT max(sequence) FROM commits WHERE writer = ?1", [writer])?;
    let is_over = ended_at.is_some_and(|ended_at| ended_at < before)
        && find(change, "SELECT 1 FROM removals WHERE writer = ?1 LIMIT 1", [writer])?.is_none();
    let last = last.unwrap_or_default();
    let old = if is_over { last } else { last.saturating_sub(number(KEEP_COMMITS)) };
    change
        .prepare_cached("UPDATE writers SET trimmed = max(trimmed, ?2) WHERE id = ?1")?
        .execute([writer, old.max(removed.unwrap_or_default())])?;
    // The last one stays: a reader that has read up to it has missed nothing.
    change
        .prepare_cached(
            "DELETE FROM commits WHERE writer = ?1 AND sequence < ?2
               AND sequence <= (SELECT trimmed FROM writers WHERE id = ?1)
               AND sequence < ?3 + (SELECT min(sequence) FROM commits WHERE writer = ?1)",
        )?
        .execute([writer, last, number(DELETE_COMMITS)])?;
    let first = find(change, "SELECT min(sequence) FROM commits WHERE writer = ?1", [writer])?;
    if is_over && first.unwrap_or_default() == last {
        change.execute("DELETE FROM commits WHERE writer = ?1", [writer])?;
        change.execute("DELETE FROM writers WHERE id = ?1", [writer])?;
    }
    Ok(())
}

fn find(
    change: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Option<i64>> {
    change.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional().map(Option::flatten)
}

#[cfg(test)]
mod tests;
