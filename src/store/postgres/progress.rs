//! Progress of running attempts, published to other replicas.
//!
//! Each replica publishes what its own workers report, and withdraws it when the attempt has ended. The others delete
//! what a dead replica has published when it is old.

use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

use super::super::shared::AttemptProgress;
use super::super::sql::columns::limit;
use super::super::{StoreError, codec};
use super::rows::{self, uuid};
use super::session::Session;
use crate::operation::{OperationId, Progress, Timestamp};

const COLUMNS: &str = "id, attempt, percent, done_units, total_units, message, reported_at";

pub(super) async fn leave(
    session: Arc<Session>,
    ours: Uuid,
    mut news: Vec<AttemptProgress>,
) -> Result<(), StoreError> {
    // All replicas touch rows in the same order.
    news.sort_by_key(|it| it.id);
    let ids: Vec<Uuid> = news.iter().map(|it| uuid(it.id)).collect();
    let attempts: Vec<i64> = news.iter().map(|it| i64::from(it.attempt.0)).collect();
    let percents: Vec<Option<f64>> = news.iter().map(|it| it.progress.percent).collect();
    let done: Vec<Option<i64>> = news.iter().map(|it| it.progress.done_units).collect();
    let total: Vec<Option<i64>> = news.iter().map(|it| it.progress.total_units).collect();
    let messages: Vec<&[u8]> = news.iter().map(|it| it.progress.message.as_bytes()).collect();
    let reported: Vec<i64> = news.iter().map(|it| it.progress.at.micros()).collect();
    // Newer progress of the same attempt by another replica stays.
    let sql = format!(
        "INSERT INTO progress AS p ({COLUMNS}, replica, left_at)
         SELECT n.*, $8::uuid, now()
         FROM unnest($1::uuid[], $2::bigint[], $3::float8[], $4::bigint[], $5::bigint[],
           $6::bytea[], $7::bigint[]) AS n
         ON CONFLICT (id) DO UPDATE SET attempt = EXCLUDED.attempt, percent = EXCLUDED.percent,
           done_units = EXCLUDED.done_units, total_units = EXCLUDED.total_units,
           message = EXCLUDED.message, reported_at = EXCLUDED.reported_at,
           replica = EXCLUDED.replica, left_at = EXCLUDED.left_at
         WHERE (p.attempt, p.reported_at) <= (EXCLUDED.attempt, EXCLUDED.reported_at)"
    );
    session
        .query(&sql, &[&ids, &attempts, &percents, &done, &total, &messages, &reported, &ours])
        .await?;
    Ok(())
}

/// Deletes this replica's progress of these operations, and stale progress of any replica.
pub(super) async fn take_away(
    session: Arc<Session>,
    ours: Uuid,
    ended: Vec<OperationId>,
) -> Result<(), StoreError> {
    let ended: Vec<Uuid> = ended.into_iter().map(uuid).collect();
    let sql = "WITH old AS (
                 SELECT id FROM progress WHERE left_at < now() - interval '15 minutes'
                 ORDER BY left_at LIMIT 1000 FOR UPDATE SKIP LOCKED),
               gone AS (
                 SELECT id FROM progress WHERE id = ANY($1) AND replica = $2
                 ORDER BY id FOR UPDATE SKIP LOCKED)
               DELETE FROM progress
               WHERE id IN (SELECT id FROM old UNION SELECT id FROM gone)";
    session.query(sql, &[&ended, &ours]).await?;
    Ok(())
}

/// Other replicas' progress of these operations.
pub(super) async fn of(
    session: Arc<Session>,
    ours: Uuid,
    ids: Vec<OperationId>,
) -> Result<Vec<AttemptProgress>, StoreError> {
    let ids: Vec<Uuid> = ids.into_iter().map(uuid).collect();
    let sql = format!("SELECT {COLUMNS} FROM progress WHERE id = ANY($1) AND replica <> $2");
    read(&session.query(&sql, &[&ids, &ours]).await?)
}

/// Other replicas' progress of the last few seconds, the latest first.
pub(super) async fn recent(
    session: Arc<Session>,
    ours: Uuid,
    most: usize,
) -> Result<Vec<AttemptProgress>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM progress
         WHERE left_at > now() - interval '5 seconds' AND replica <> $1
         ORDER BY left_at DESC LIMIT $2"
    );
    read(&session.query(&sql, &[&ours, &limit(most)]).await?)
}

fn read(found: &[Row]) -> Result<Vec<AttemptProgress>, StoreError> {
    let progress = found.iter().map(|row| {
        let id = rows::id(row, 0)?;
        let message: Vec<u8> = row.try_get(5)?;
        let progress = Progress {
            percent: row.try_get(2)?,
            done_units: row.try_get(3)?,
            total_units: row.try_get(4)?,
            message: String::from_utf8(message).map_err(|error| codec::corrupt(id, error))?,
            at: Timestamp::from_micros(row.try_get(6)?),
        };
        Ok(AttemptProgress { id, attempt: rows::attempt(id, row, 1)?, progress })
    });
    progress.collect()
}
