//! Finds the operations of a batch that other transactions have locked.

use uuid::Uuid;

use super::super::{Batch, StoreError};
use super::link::Pool;
use super::rows;
use crate::operation::OperationId;

/// After a lock timeout, names the operations of the batch that other transactions have locked now; none if they cannot
/// be found.
pub(super) async fn name(lookups: &Pool, batch: &Batch, error: StoreError) -> StoreError {
    match error {
        StoreError::Locked(_) => {
            StoreError::Locked(locked(lookups, batch).await.unwrap_or_default())
        }
        error => error,
    }
}

async fn locked(lookups: &Pool, batch: &Batch) -> Result<Vec<OperationId>, StoreError> {
    let changed = batch.writes.iter().filter(|write| write.expected.is_some());
    let mut ids: Vec<OperationId> = changed.map(|write| write.operation.id()).collect();
    ids.extend(batch.removals.iter().map(|removal| removal.id));
    ids.extend(batch.logs.iter().map(|append| append.id));
    let asked: Vec<Uuid> = ids.iter().map(|id| Uuid::from_bytes(*id.as_bytes())).collect();
    let free = "SELECT id FROM operations WHERE id = ANY($1) FOR UPDATE SKIP LOCKED";
    let found = lookups.run(async |session| Ok(session.query(free, &[&asked]).await?)).await?;
    let free = found.iter().map(|row| rows::id(row, 0)).collect::<Result<Vec<_>, _>>()?;
    ids.retain(|id| !free.contains(id));
    Ok(ids)
}
