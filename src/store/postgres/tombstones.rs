//! Tombstones: written with a removal or by a copy, deleted oldest first.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Row;

use super::super::sql::columns::{limit, number};
use super::super::{Batch, FORGET_BATCH, Forget, StoreError, Tombstone, codec};
use super::floors::Floors;
use super::looks::{self, Looks};
use super::rows::{self, uuid};
use super::session::Session;
use super::step::Step;
use crate::operation::{OperationId, TenantId, Timestamp};

pub(super) async fn tombstone(
    session: Arc<Session>,
    id: OperationId,
) -> Result<Option<Tombstone>, StoreError> {
    let sql = "SELECT id, tenant, purged_at, forget_at FROM tombstones WHERE id = $1";
    let found = session.query(sql, &[&uuid(id)]).await?;
    Ok(found.first().map(one).transpose()?.map(|(_, tombstone)| tombstone))
}

pub(super) async fn page(
    session: Arc<Session>,
    after: Option<OperationId>,
    most: usize,
) -> Result<Vec<(OperationId, Tombstone)>, StoreError> {
    let sql = "SELECT id, tenant, purged_at, forget_at FROM tombstones
               WHERE n > coalesce((SELECT n FROM tombstones WHERE id = $1), 0)
               ORDER BY n LIMIT $2";
    let found = session.query(sql, &[&after.map(uuid), &limit(most)]).await?;
    found.iter().map(one).collect()
}

fn one(row: &Row) -> Result<(OperationId, Tombstone), StoreError> {
    let id = rows::id(row, 0)?;
    let tenant = TenantId::parse(row.try_get(1)?)
        .map_err(|rule| codec::corrupt(id, format!("the tenant of its tombstone {rule}")))?;
    let purged_at = Timestamp::from_micros(row.try_get(2)?);
    let forget_at = Timestamp::from_micros(row.try_get(3)?);
    Ok((id, Tombstone { tenant, purged_at, forget_at }))
}

/// Writes the tombstones of removals, and those of a copy; each replaces an earlier one and counts as the latest.
pub(super) fn put(batch: &Batch) -> Option<Step<'_>> {
    let of_removals =
        batch.removals.iter().filter_map(|removal| Some((removal.id, removal.tombstone.as_ref()?)));
    let brought = batch.tombstones.iter().map(|(id, tombstone)| (*id, tombstone));
    let left: Vec<(OperationId, &Tombstone)> = of_removals.chain(brought).collect();
    if left.is_empty() {
        return None;
    }
    let step = Step::new(
        "INSERT INTO tombstones (id, tenant, purged_at, forget_at)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[])
         ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n, tenant = EXCLUDED.tenant,
           purged_at = EXCLUDED.purged_at, forget_at = EXCLUDED.forget_at",
    );
    Some(
        step.with(left.iter().map(|(id, _)| uuid(*id)).collect::<Vec<_>>())
            .with(left.iter().map(|(_, stone)| stone.tenant.as_str()).collect::<Vec<_>>())
            .with(left.iter().map(|(_, stone)| stone.purged_at.micros()).collect::<Vec<_>>())
            .with(left.iter().map(|(_, stone)| stone.forget_at.micros()).collect::<Vec<_>>()),
    )
}

/// Where the oldest tombstone is. Every commit that deletes tombstones uses the floor: one statement of many cannot tell
/// how long it took.
pub(super) struct Tombstones {
    floors: Arc<Floors<(), i64>>,
}

impl Tombstones {
    pub(super) fn new() -> Self {
        Self { floors: Arc::new(Floors::new(None)) }
    }

    pub(super) fn floor(&self) -> i64 {
        self.floors.of(&()).unwrap_or(i64::MIN)
    }

    /// Notes that a commit has deleted tombstones.
    pub(super) fn used(&self, looks: &Looks) {
        let look = self.floors.used([()], Duration::ZERO, Instant::now());
        looks.make(&self.floors, look, |session, from| async move {
            let sql = "SELECT min(n) FROM tombstones WHERE n >= $1";
            Ok(vec![looks::least(&session, sql, &from).await?.unwrap_or(i64::MIN)])
        });
    }
}

/// Skips tombstones that another replica is deleting.
pub(super) fn forget<'a>(forget: Forget, floor: i64) -> Step<'a> {
    Step::new(
        "WITH oldest AS (
           SELECT n, forget_at FROM tombstones WHERE n >= $4 ORDER BY n LIMIT $3),
         old AS (
           SELECT t.n FROM oldest CROSS JOIN LATERAL (
             SELECT k.n FROM tombstones AS k WHERE k.n = oldest.n FOR UPDATE SKIP LOCKED) AS t
           WHERE oldest.forget_at <= $1 OR oldest.n <= (SELECT max(n) FROM tombstones) - $2)
         DELETE FROM tombstones AS t USING old WHERE t.n = old.n",
    )
    .with(forget.until.micros())
    .with(number(forget.keep))
    .with(limit(FORGET_BATCH))
    .with(floor)
}
