//! Operations that this replica has claimed: queued and due ones, locked until its next commit.

use std::sync::Arc;
use tokio::time::Instant;

use uuid::Uuid;

use super::super::StoreError;
use super::super::shared::{Claimed, Wanted};
use super::super::sql::columns::{OPERATION, limit};
use super::floors::Floors;
use super::link::Pool;
use super::rows::{self, uuid};
use super::running::Running;
use super::session::Session;
use super::step::Step;
use super::writer::Writer;
use crate::operation::{OperationId, Timestamp};

/// Claims the wanted operations, as far as limits allow.
pub(super) async fn claimed(
    (writer, lookups, floors): (&Writer, &Pool, &Floors),
    mut wanted: Vec<Wanted>,
    except: &[OperationId],
    now: Timestamp,
) -> Result<Claimed, StoreError> {
    let mut claimed = Claimed::default();
    let mut running = Running::count(writer, &mut wanted, &mut claimed).await?;
    let full = running.full().to_vec();
    let begin = Instant::now();
    let (from, until) = floors.of(&wanted, begin);
    let claim = |below| claim(&wanted, (from.clone(), below), except, &full, now);
    let mut steps = vec![claim(false), next_start(&wanted, now)];
    steps.extend(until.map(|_| claim(true)));
    let answers = writer.query(&steps).await?;
    let took = begin.elapsed();
    if floors.are_wanted(&wanted, took, begin) {
        let least = least(lookups, &wanted, &from).await?;
        floors.raise(wanted.iter().zip(least).collect(), (now, begin));
    }
    let [found, next, below @ ..] = answers.as_slice() else { return Ok(claimed) };
    let next: Option<i64> = next.first().map(|row| row.try_get(0)).transpose()?.flatten();
    // Other operations below a floor may start once the floor is gone.
    let again = until.map(|until| now.after(until.saturating_duration_since(begin)));
    claimed.next_at = next.map(Timestamp::from_micros).into_iter().chain(again).min();
    for row in below.iter().flatten().chain(found) {
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

/// Queued operations that may start: of each queue in its order, from its floor on; or (`is_below`) deferred ones below
/// the floor, by their time. Skips operations that other transactions have locked, and those with a label in `full`
/// (tenant, kind, key and value of each).
fn claim<'a>(
    wanted: &'a [Wanted],
    (floors, is_below): (Vec<Uuid>, bool),
    except: &[OperationId],
    full: &'a [(String, String, String, String)],
    now: Timestamp,
) -> Step<'a> {
    let without = match full {
        [] => "",
        _ => {
            "AND NOT EXISTS (
               SELECT 1 FROM unnest($7::text[], $8::text[], $9::text[], $10::text[])
                 AS f (tenant, kind, key, value)
               JOIN labels AS l ON l.id = o.id AND l.key = f.key AND l.value = f.value
               WHERE f.tenant = w.tenant AND f.kind = w.kind)"
        }
    };
    let (within, order) = match is_below {
        false => ("o.id >= w.floor", "o.priority DESC, o.id"),
        true => ("o.not_before > 0 AND o.id < w.floor", "o.not_before"),
    };
    let sql = format!(
        "SELECT {OPERATION}
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[]) WITH ORDINALITY
           AS w (tenant, kind, most, floor, place)
         CROSS JOIN LATERAL (
           SELECT * FROM operations AS o
           WHERE o.state = 1 AND o.tenant = w.tenant AND o.kind = w.kind AND o.not_before <= $5
             AND {within}
             AND NOT o.id = ANY ($6) {without}
           ORDER BY {order} LIMIT w.most FOR UPDATE SKIP LOCKED) AS o
         ORDER BY w.place, o.priority DESC, o.id"
    );
    let step = Step::new(sql)
        .with(wanted.iter().map(|it| it.tenant.as_str()).collect::<Vec<_>>())
        .with(wanted.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>())
        .with(wanted.iter().map(|it| limit(it.limit)).collect::<Vec<_>>())
        .with(floors)
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

/// The least queued id of each queue from its floor on, through the only index with this order.
async fn least(
    lookups: &Pool,
    wanted: &[Wanted],
    from: &[Uuid],
) -> Result<Vec<Option<Uuid>>, StoreError> {
    let sql = "SELECT (
           SELECT o.id FROM operations AS o
           WHERE o.state = 1 AND o.revision > 0
             AND (o.tenant, o.kind, o.id) >= (w.tenant, w.kind, w.floor)
             AND (o.tenant, o.kind) <= (w.tenant, w.kind)
           ORDER BY o.tenant, o.kind, o.id LIMIT 1)
         FROM unnest($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY
           AS w (tenant, kind, floor, place)
         ORDER BY w.place";
    let tenants: Vec<&str> = wanted.iter().map(|it| it.tenant.as_str()).collect();
    let kinds: Vec<&str> = wanted.iter().map(|it| it.kind.as_str()).collect();
    let rows = lookups.run(async |session: Arc<Session>| {
        Ok(session.query(sql, &[&tenants, &kinds, &from]).await?)
    });
    let rows = rows.await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// When the next operation of these queues becomes due.
fn next_start<'a>(wanted: &'a [Wanted], now: Timestamp) -> Step<'a> {
    Step::new(
        "SELECT min(o.not_before) FROM unnest($1::text[], $2::text[]) AS w (tenant, kind)
         CROSS JOIN LATERAL (
           SELECT o.not_before FROM operations AS o
           WHERE o.state = 1 AND o.tenant = w.tenant AND o.kind = w.kind
             AND o.not_before > 0 AND o.not_before > $3
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
