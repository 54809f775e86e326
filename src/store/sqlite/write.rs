//! A commit: one transaction, the whole batch or nothing of it.
//!
//! Every statement names the revision that it replaces and expects exactly one row. A conflict rolls back, and the
//! caller decides again.

use std::collections::HashSet;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, ffi, params};

use super::super::log::Stamp;
use super::super::sql::columns::{Changing, apart, inline, number, role_number};
use super::super::{Batch, LogAppend, PayloadRole, Removal, StoreError, Write, codec};
use super::commits::{self, Names};
use super::{objects, store_error, tombstones};
use crate::operation::{Event, Operation, OperationId, Revision};

pub(super) fn commit(
    connection: &mut Connection,
    names: &mut Names,
    batch: &Batch,
) -> Result<Option<Stamp>, StoreError> {
    let stamp = names.next(connection)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(store_error)?;
    apply(&transaction, stamp, batch)?; // On an error the transaction is rolled back as it is dropped.
    match transaction.commit() {
        Ok(()) if batch.is_logged() => {
            names.used(stamp);
            Ok(Some(stamp))
        }
        Ok(()) => Ok(None),
        Err(error) => Err(after_failed_commit(connection, names, stamp, error)),
    }
}

/// Handles a failed commit, which is rolled back. But if writing or syncing the log failed, the commit's end may be in
/// the log all the same, and a crash now would bring it back. Therefore another commit takes its place in the log and
/// its name.
fn after_failed_commit(
    connection: &mut Connection,
    names: &mut Names,
    stamp: Stamp,
    error: rusqlite::Error,
) -> StoreError {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        return store_error(error);
    }
    let may_come_back = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
    if may_come_back {
        names.doubt(stamp);
        // A commit that is known to be written is not undone: the caller asks for the outcome.
        if !matches!(names.settle(connection), Ok(None)) {
            names.doubt(stamp);
            return StoreError::Unknown(error.to_string());
        }
    }
    store_error(error)
}

fn apply(transaction: &Transaction<'_>, stamp: Stamp, batch: &Batch) -> Result<(), StoreError> {
    if batch.is_logged() && !commits::claim(transaction, stamp, batch)? {
        return Err(StoreError::Corrupt(format!("commit {} is there already", stamp.sequence)));
    }
    for removal in &batch.removals {
        commits::record_removal(transaction, stamp, removal).map_err(store_error)?;
        remove(transaction, removal)?;
        if let Some(tombstone) = &removal.tombstone {
            tombstones::put(transaction, removal.id, tombstone).map_err(store_error)?;
        }
    }
    for write in &batch.writes {
        match write.expected {
            None => insert(transaction, write)?,
            Some(_) => update(transaction, write)?,
        }
        put_payloads(transaction, write).map_err(store_error)?;
        objects::put(transaction, write).map_err(store_error)?;
    }
    for (parent, revision) in &batch.parents {
        check_current(transaction, *parent, *revision)?;
    }
    insert_events(transaction, &batch.events)?;
    let written: HashSet<OperationId> = match batch.logs.as_slice() {
        [] => HashSet::new(),
        _ => batch.writes.iter().map(|write| write.operation.id()).collect(),
    };
    for append in &batch.logs {
        // A write has checked the revision; the operation may have a later one than the lines.
        if !written.contains(&append.id) {
            check_current(transaction, append.id, append.revision)?;
        }
        insert_lines(transaction, append).map_err(store_error)?;
    }
    for (id, tombstone) in &batch.tombstones {
        tombstones::put(transaction, *id, tombstone).map_err(store_error)?;
    }
    if let Some(forget) = batch.forget {
        tombstones::forget(transaction, forget).map_err(store_error)?;
    }
    Ok(())
}

fn insert(transaction: &Transaction<'_>, write: &Write) -> Result<(), StoreError> {
    let operation = &write.operation;
    let (submission, id) = (&operation.submission, operation.id());
    let changing = Changing::of(operation);
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO operations (id, tenant, kind, state, priority, attempt, revision,
               created_at, updated_at, started_at, ended_at, not_before, wake_at, session, worker,
               idempotency_key, submission, life, input, result, parent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
               ?18, ?19, ?20, ?21)",
        )
        .map_err(store_error)?
        .execute(params![
            id.as_bytes(),
            submission.tenant.as_str(),
            submission.kind.as_str(),
            changing.state,
            submission.settings.priority,
            changing.attempt,
            changing.revision,
            submission.created_at.micros(),
            changing.updated_at,
            changing.started_at,
            changing.ended_at,
            changing.not_before,
            changing.wake_at,
            changing.session,
            changing.worker,
            submission.idempotency.as_ref().map(|it| it.key.as_str()),
            codec::encode_submission(submission),
            changing.life,
            inline(write.input.as_deref()),
            inline(write.result.as_deref()),
            submission.parent.as_ref().map(OperationId::as_bytes),
        ]);
    match inserted {
        Ok(_) => insert_labels(transaction, operation).map_err(store_error),
        Err(error) if is_taken(&error) => Err(StoreError::Conflict(vec![id])),
        Err(error) => Err(store_error(error)),
    }
}

fn insert_labels(transaction: &Transaction<'_>, operation: &Operation) -> rusqlite::Result<()> {
    let submission = &operation.submission;
    for (key, value) in &submission.labels {
        transaction
            .prepare_cached("INSERT INTO labels (id, key, value, tenant) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![submission.id.as_bytes(), key, value, submission.tenant.as_str()])?;
    }
    Ok(())
}

fn update(transaction: &Transaction<'_>, write: &Write) -> Result<(), StoreError> {
    let id = write.operation.id();
    let changing = Changing::of(&write.operation);
    let updated = transaction
        .prepare_cached(
            "UPDATE operations SET state = ?3, attempt = ?4, revision = ?5, updated_at = ?6,
               started_at = ?7, ended_at = ?8, not_before = ?9, wake_at = ?10, session = ?11,
               worker = ?12, life = ?13, result = coalesce(?14, result)
             WHERE id = ?1 AND revision = ?2",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                id.as_bytes(),
                write.expected.map(|revision| number(revision.0)),
                changing.state,
                changing.attempt,
                changing.revision,
                changing.updated_at,
                changing.started_at,
                changing.ended_at,
                changing.not_before,
                changing.wake_at,
                changing.session,
                changing.worker,
                changing.life,
                inline(write.result.as_deref()),
            ])
        })
        .map_err(store_error)?;
    expect_one(updated, id)
}

/// The large payloads of a write. An input comes only with a new operation.
fn put_payloads(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    let input = write.input.as_deref().filter(|_| write.expected.is_none());
    let payloads = [(PayloadRole::Input, input), (PayloadRole::Result, write.result.as_deref())];
    for (role, data) in payloads {
        if let Some(data) = apart(data) {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO payloads (id, role, data) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![write.operation.id().as_bytes(), role_number(role), data])?;
        }
    }
    Ok(())
}

fn insert_events(
    transaction: &Transaction<'_>,
    events: &[(OperationId, Event)],
) -> Result<(), StoreError> {
    let mut insert = transaction
        .prepare_cached("INSERT INTO events (id, revision, type, life) VALUES (?1, ?2, ?3, ?4)")
        .map_err(store_error)?;
    for (id, Event { event_type, life }) in events {
        let revision = life.revision.0;
        let inserted = insert.execute(params![
            id.as_bytes(),
            number(revision),
            event_type.number(),
            codec::encode_life(life),
        ]);
        inserted.map_err(|error| match is_taken(&error) {
            true => codec::corrupt(*id, format!("it has an event {revision} already")),
            false => store_error(error),
        })?;
    }
    Ok(())
}

fn check_current(
    transaction: &Transaction<'_>,
    id: OperationId,
    revision: Revision,
) -> Result<(), StoreError> {
    let is_current = transaction
        .prepare_cached("SELECT 1 FROM operations WHERE id = ?1 AND revision = ?2")
        .and_then(|mut statement| statement.exists(params![id.as_bytes(), number(revision.0)]))
        .map_err(store_error)?;
    if is_current { Ok(()) } else { Err(StoreError::Conflict(vec![id])) }
}

fn insert_lines(transaction: &Transaction<'_>, append: &LogAppend) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO log_lines (id, number, revision, attempt, worker, at, text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (line, text) in &append.lines {
        insert.execute(params![
            append.id.as_bytes(),
            number(*line),
            number(append.revision.0),
            append.attempt.0,
            append.worker.as_ref().map(|worker| worker.as_str()),
            append.at.micros(),
            text,
        ])?;
    }
    transaction
        .prepare_cached("DELETE FROM log_lines WHERE id = ?1 AND number < ?2")?
        .execute(params![append.id.as_bytes(), number(append.keep_from)])?;
    Ok(())
}

fn remove(transaction: &Transaction<'_>, removal: &Removal) -> Result<(), StoreError> {
    let id = removal.id.as_bytes();
    let removed = transaction
        .prepare_cached("DELETE FROM operations WHERE id = ?1 AND revision = ?2")
        .and_then(|mut statement| statement.execute(params![id, number(removal.expected.0)]))
        .map_err(store_error)?;
    expect_one(removed, removal.id)?;
    for statement in [
        "DELETE FROM labels WHERE id = ?1",
        "DELETE FROM events WHERE id = ?1",
        "DELETE FROM log_lines WHERE id = ?1",
        "DELETE FROM payloads WHERE id = ?1",
        "DELETE FROM objects WHERE operation = ?1",
    ] {
        transaction
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute([id]))
            .map_err(store_error)?;
    }
    Ok(())
}

fn expect_one(rows: usize, id: OperationId) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Conflict(vec![id])) }
}

fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        )
    })
}

#[cfg(test)]
mod tests;
