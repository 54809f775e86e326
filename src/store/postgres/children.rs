//! Children of batches: their counts, and whether a batch accepts them.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::super::{StoreError, codec};
use super::rows::{self, uuid};
use super::session::Session;
use crate::operation::{ChildCounts, OperationId, StateName, TenantId};

/// The number of each batch's children. One statement, so that a child that is being removed is counted exactly once.
pub(super) async fn count(
    session: Arc<Session>,
    batches: Vec<(TenantId, OperationId)>,
) -> Result<Vec<ChildCounts>, StoreError> {
    let (tenants, ids): (Vec<&str>, Vec<Uuid>) =
        batches.iter().map(|(tenant, id)| (tenant.as_str(), uuid(*id))).unzip();
    let sql = "SELECT b.id, c.state, c.count, c.is_removed
         FROM unnest($1::text[], $2::uuid[]) AS b (tenant, id)
         CROSS JOIN LATERAL (
           SELECT o.state, count(*) AS count, FALSE AS is_removed FROM operations AS o
           WHERE o.tenant = b.tenant AND o.parent = b.id AND o.parent IS NOT NULL GROUP BY o.state
         UNION ALL
           SELECT r.state, count(*), TRUE FROM removed_children AS r
           WHERE r.parent = b.id GROUP BY r.state) AS c";
    let found = session.query(sql, &[&tenants, &ids]).await?;
    let mut counts: HashMap<OperationId, ChildCounts> = HashMap::new();
    for row in &found {
        let batch = rows::id(row, 0)?;
        let state = u8::try_from(row.try_get::<_, i16>(1)?).ok().and_then(StateName::from_number);
        let state = state.ok_or_else(|| codec::corrupt(batch, "a child has no known state"))?;
        let count = u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default();
        let of = counts.entry(batch).or_default();
        if row.try_get(3)? {
            of.add_removed(state, count);
        } else {
            of.add_stored(state, count);
        }
    }
    Ok(batches.iter().map(|(_, id)| counts.get(id).copied().unwrap_or_default()).collect())
}
