//! Queued operations that this replica has claimed: locked until its next commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::StoreError;
use super::super::shared::{Claimed, Wanted};
use super::super::sql::columns::{OPERATION, limit};
use super::floors::Floors;
use super::looks::Looks;
use super::rows::{self, uuid};
use super::running::Running;
use super::session::Session;
use super::step::Step;
use super::writer::Writer;
use crate::operation::{Kind, OperationId, TenantId, Timestamp};

/// Ids younger than this are above every floor, because a recent submission may still be uncommitted.
const YOUNG: Duration = Duration::from_secs(5);

/// The least queued id of each queue. Deferred operations are claimed by their time instead, also below it.
pub(super) type QueueFloors = Floors<(TenantId, Kind), Uuid>;

/// Claims the wanted operations, as far as limits allow.
pub(super) async fn claimed(
    (writer, floors, looks): (&Writer, &Arc<QueueFloors>, &Looks),
    mut wanted: Vec<Wanted>,
    except: &[OperationId],
    now: Timestamp,
) -> Result<Claimed, StoreError> {
    let mut claimed = Claimed::default();
    let mut running = Running::count(writer, &mut wanted, &mut claimed).await?;
    let full = running.full().to_vec();
    let begin = Instant::now();
    let from: Vec<Option<Uuid>> = wanted.iter().map(|it| floors.of(&queue(it))).collect();
    let has_floors = from.iter().any(Option::is_some);
    let from: Vec<Uuid> = from.into_iter().map(Option::unwrap_or_default).collect();
    let claim = |below| claim(&wanted, (from.clone(), below), except, &full, now);
    let mut steps = vec![claim(false), next_start(&wanted, now)];
    steps.extend(has_floors.then(|| claim(true)));
    let answers = writer.query(&steps).await?;
    let look = floors.used(wanted.iter().map(queue), begin.elapsed(), Instant::now());
    looks.make(floors, look, move |session, from| least(session, from, now));
    let [found, next, below @ ..] = answers.as_slice() else { return Ok(claimed) };
    let next: Option<i64> = next.first().map(|row| row.try_get(0)).transpose()?.flatten();
    claimed.next_at = next.map(Timestamp::from_micros);
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

fn queue(wanted: &Wanted) -> (TenantId, Kind) {
    (wanted.tenant.clone(), wanted.kind.clone())
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

/// The least queued id of each queue, but never a young one, through the only index with this order.
async fn least(
    session: Arc<Session>,
    from: Vec<((TenantId, Kind), Option<Uuid>)>,
    now: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    let sql = "SELECT (
           SELECT o.id FROM operations AS o
           WHERE o.state = 1 AND o.revision > 0
             AND (o.tenant, o.kind, o.id) >= (w.tenant, w.kind, w.floor)
             AND (o.tenant, o.kind) <= (w.tenant, w.kind)
           ORDER BY o.tenant, o.kind, o.id LIMIT 1)
         FROM unnest($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY
           AS w (tenant, kind, floor, place)
         ORDER BY w.place";
    let tenants: Vec<&str> = from.iter().map(|((tenant, _), _)| tenant.as_str()).collect();
    let kinds: Vec<&str> = from.iter().map(|((_, kind), _)| kind.as_str()).collect();
    let floors: Vec<Uuid> = from.iter().map(|(_, floor)| floor.unwrap_or_default()).collect();
    let rows = session.query(sql, &[&tenants, &kinds, &floors]).await?;
    let young = young(now);
    let least =
        |row: &Row| Ok(row.try_get::<_, Option<Uuid>>(0)?.map_or(young, |id| id.min(young)));
    rows.iter().map(least).collect()
}

/// The least young id: ids begin with the milliseconds of their time.
fn young(now: Timestamp) -> Uuid {
    let millis = u128::try_from(now.before(YOUNG).micros().max(0) / 1_000).unwrap_or_default();
    Uuid::from_u128(millis << 80)
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
