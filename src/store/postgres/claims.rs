//! Operations that this replica has found: queued and due ones, locked until its next commit.

use super::super::StoreError;
use super::super::shared::{Claimed, Wanted};
use super::super::sql::columns::{OPERATION, limit};
use super::rows::{self, uuid};
use super::running::Running;
use super::step::Step;
use super::writer::Writer;
use crate::operation::{OperationId, Timestamp};

/// Claims what is wanted, as far as limits allow.
pub(super) async fn claimed(
    writer: &Writer,
    mut wanted: Vec<Wanted>,
    except: &[OperationId],
    now: Timestamp,
) -> Result<Claimed, StoreError> {
    let mut claimed = Claimed::default();
    let mut running = Running::count(writer, &mut wanted, &mut claimed).await?;
    let full = running.full().to_vec();
    let claim = claim(&wanted, except, &full, now);
    let steps = [claim, next_start(&wanted, now)];
    let answers = writer.query(&steps).await?;
    let [found, next] = answers.as_slice() else { return Ok(claimed) };
    let next: Option<i64> = next.first().map(|row| row.try_get(0)).transpose()?.flatten();
    claimed.next_at = next.map(Timestamp::from_micros);
    for row in found {
        match rows::operation(row) {
            Ok(operation) if running.take(&operation, &mut claimed) => {
                claimed.operations.push(operation);
            }
            Ok(_) => {}
            Err(StoreError::Corrupt(_)) => claimed.damaged.push(rows::id(row, 0)?),
            Err(error) => return Err(error),
        }
    }
    Ok(claimed)
}

/// Queued operations that may start, of each queue in its order. What others have locked is passed over.
/// Operations with one of the labels that are `full` are passed over as well: tenant, kind, key and value of each.
fn claim<'a>(
    wanted: &'a [Wanted],
    except: &[OperationId],
    full: &'a [(String, String, String, String)],
    now: Timestamp,
) -> Step<'a> {
    let without = match full {
        [] => "",
        _ => {
            "AND NOT EXISTS (
               SELECT 1 FROM unnest($6::text[], $7::text[], $8::text[], $9::text[])
                 AS f (tenant, kind, key, value)
               JOIN labels AS l ON l.id = o.id AND l.key = f.key AND l.value = f.value
               WHERE f.tenant = w.tenant AND f.kind = w.kind)"
        }
    };
    let sql = format!(
        "SELECT {OPERATION}
         FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY
           AS w (tenant, kind, most, place)
         CROSS JOIN LATERAL (
           SELECT * FROM operations AS o
           WHERE o.state = 1 AND o.tenant = w.tenant AND o.kind = w.kind AND o.not_before <= $4
             AND NOT o.id = ANY ($5) {without}
           ORDER BY o.priority DESC, o.id LIMIT w.most FOR UPDATE SKIP LOCKED) AS o
         ORDER BY w.place, o.priority DESC, o.id"
    );
    let step = Step::new(sql)
        .with(wanted.iter().map(|it| it.tenant.as_str()).collect::<Vec<_>>())
        .with(wanted.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>())
        .with(wanted.iter().map(|it| limit(it.limit)).collect::<Vec<_>>())
        .with(now.micros())
        .with(except.iter().map(|id| uuid(*id)).collect::<Vec<_>>());
    if full.is_empty() {
        return step;
    }
    step.with(full.iter().map(|it| it.0.as_str()).collect::<Vec<_>>())
        .with(full.iter().map(|it| it.1.as_str()).collect::<Vec<_>>())
        .with(full.iter().map(|it| it.2.as_str()).collect::<Vec<_>>())
        .with(full.iter().map(|it| it.3.as_str()).collect::<Vec<_>>())
}

/// When the next operation of these queues may start that may not start yet.
fn next_start<'a>(wanted: &'a [Wanted], now: Timestamp) -> Step<'a> {
    Step::new(
        "SELECT min(o.not_before) FROM unnest($1::text[], $2::text[]) AS w (tenant, kind)
         CROSS JOIN LATERAL (
           SELECT o.not_before FROM operations AS o
           WHERE o.state = 1 AND o.tenant = w.tenant AND o.kind = w.kind AND o.not_before > $3
           ORDER BY o.not_before LIMIT 1) AS o",
    )
    .with(wanted.iter().map(|it| it.tenant.as_str()).collect::<Vec<_>>())
    .with(wanted.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>())
    .with(now.micros())
}

/// Operations whose time has come, earliest first.
pub(super) fn due<'a>(now: Timestamp, most: usize) -> Step<'a> {
    Step::new(
        "SELECT id FROM operations WHERE wake_at <= $1
         ORDER BY wake_at LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .with(now.micros())
    .with(limit(most))
}
