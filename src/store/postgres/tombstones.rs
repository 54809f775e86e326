//! Tombstones: written with a removal, forgotten from the oldest on.

use std::sync::Arc;

use super::super::sql::columns::{limit, number};
use super::super::{FORGET_BATCH, Forget, Removal, StoreError, Tombstone, codec};
use super::session::Session;
use super::write::uuid;
use super::writer::Step;
use crate::operation::{OperationId, TenantId, Timestamp};

pub(super) async fn tombstone(
    session: Arc<Session>,
    id: OperationId,
) -> Result<Option<Tombstone>, StoreError> {
    let sql = "SELECT tenant, purged_at, forget_at FROM tombstones WHERE id = $1";
    let rows = session.query(sql, &[&uuid(id)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let tenant = TenantId::parse(row.try_get(0)?)
        .map_err(|rule| codec::corrupt(id, format!("the tenant of its tombstone {rule}")))?;
    let purged_at = Timestamp::from_micros(row.try_get(1)?);
    let forget_at = Timestamp::from_micros(row.try_get(2)?);
    Ok(Some(Tombstone { tenant, purged_at, forget_at }))
}

/// Those of removals that leave one; one that is there already becomes the latest.
pub(super) fn put(removals: &[Removal]) -> Option<Step<'_>> {
    let left: Vec<(OperationId, &Tombstone)> = removals
        .iter()
        .filter_map(|removal| Some((removal.id, removal.tombstone.as_ref()?)))
        .collect();
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

/// Those that another replica is forgetting are left to it.
pub(super) fn forget<'a>(forget: Forget) -> Step<'a> {
    Step::new(
        "WITH oldest AS (SELECT n FROM tombstones ORDER BY n LIMIT $3 FOR UPDATE SKIP LOCKED)
         DELETE FROM tombstones AS t USING oldest
         WHERE t.n = oldest.n
           AND (t.forget_at <= $1 OR t.n <= (SELECT max(n) FROM tombstones) - $2)",
    )
    .with(forget.until.micros())
    .with(number(forget.keep))
    .with(limit(FORGET_BATCH))
}
