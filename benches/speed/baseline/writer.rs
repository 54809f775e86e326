//! The one writer: whatever has queued up is one durable commit.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::mpsc;

use super::{Job, StepRequest};

/// Most transitions of one commit.
const BATCH: usize = 256;
const OWNERS: u64 = 100;
const TYPES: u64 = 4;

pub(super) fn open(directory: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(directory.join("bare.db"))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;
         CREATE TABLE op(n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, owner TEXT NOT NULL,
           type INT NOT NULL, state INT NOT NULL, priority INT NOT NULL, ready_time INT NOT NULL,
           create_time INT NOT NULL, update_time INT NOT NULL, lease_owner TEXT, lease_until INT,
           attempt INT NOT NULL, progress INT NOT NULL, seq INT NOT NULL, input BLOB NOT NULL,
           result BLOB) STRICT;
         CREATE INDEX op_ots ON op(owner, type, state, create_time);
         CREATE INDEX op_ct ON op(create_time);
         CREATE INDEX op_ready ON op(type, priority, ready_time) WHERE state = 0;
         CREATE TABLE event(op BLOB NOT NULL, seq INT NOT NULL, time INT NOT NULL, kind INT NOT NULL,
           note TEXT, PRIMARY KEY(op, seq)) STRICT, WITHOUT ROWID;",
    )?;
    Ok(connection)
}

pub(super) fn write(
    mut connection: Connection,
    mut queue: mpsc::Receiver<Job>,
) -> anyhow::Result<()> {
    let mut jobs = Vec::with_capacity(BATCH);
    while let Some(first) = queue.blocking_recv() {
        jobs.push(first);
        while jobs.len() < BATCH
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        let steps: Vec<&StepRequest> = jobs.iter().map(|(step, _)| step).collect();
        let answers = commit(&mut connection, &steps)?;
        for ((_, answer), id) in jobs.drain(..).zip(answers) {
            let _ = answer.send(id);
        }
    }
    Ok(())
}

fn micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_micros() as i64
}

/// All of the batch in one durable commit.
fn commit(
    connection: &mut Connection,
    steps: &[&StepRequest],
) -> rusqlite::Result<Vec<Option<Vec<u8>>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = micros();
    let lease = now + 30_000_000;
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        let changed: rusqlite::Result<(Vec<u8>, i64)> = match step.step {
            0 => {
                let id = uuid::Uuid::now_v7().as_bytes().to_vec();
                let owner = format!("projects/owner-{:04}", step.client % OWNERS);
                transaction
                    .prepare_cached(
                        "INSERT INTO op(id, owner, type, state, priority, ready_time, create_time,
                           update_time, attempt, progress, seq, input)
                         VALUES(?, ?, ?, 0, 5, ?, ?, ?, 0, 0, 0, ?)",
                    )?
                    .execute(params![
                        id,
                        owner,
                        (step.client % TYPES) as i64,
                        now,
                        now,
                        now,
                        step.payload
                    ])?;
                Ok((id, 0))
            }
            1 => transaction
                .prepare_cached(
                    "UPDATE op SET state = 1, lease_owner = 'worker-1', lease_until = ?2,
                       attempt = attempt + 1, seq = seq + 1, update_time = ?3
                     WHERE id = ?1 AND state = 0 RETURNING id, seq",
                )?
                .query_row(params![step.id, lease, now], |row| Ok((row.get(0)?, row.get(1)?))),
            2 => transaction
                .prepare_cached(
                    "UPDATE op SET progress = progress + 1, seq = seq + 1, update_time = ?2,
                       lease_until = ?3 WHERE id = ?1 AND state = 1 RETURNING id, seq",
                )?
                .query_row(params![step.id, now, lease], |row| Ok((row.get(0)?, row.get(1)?))),
            _ => transaction
                .prepare_cached(
                    "UPDATE op SET state = 2, result = ?3, seq = seq + 1, update_time = ?2,
                       lease_owner = NULL, lease_until = NULL
                     WHERE id = ?1 AND state = 1 RETURNING id, seq",
                )?
                .query_row(params![step.id, now, step.payload], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                }),
        };
        answers.push(match changed {
            Ok((id, seq)) => {
                transaction
                    .prepare_cached("INSERT INTO event VALUES(?, ?, ?, ?, ?)")?
                    .execute(params![id, seq, now, step.step, "transition by worker-1"])?;
                Some(id)
            }
            Err(rusqlite::Error::QueryReturnedNoRows) => None,
            Err(error) => return Err(error),
        });
    }
    transaction.commit()?;
    Ok(answers)
}
