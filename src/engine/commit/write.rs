//! Waits for the store's response to a commit.

use std::time::Duration;

use crate::engine::Shared;
use crate::store::log::Stamp;
use crate::store::{Batch, StoreError};

/// A commit that takes longer than this many steps makes the store count as failing until it responds. Steps are
/// counted, because a process that was stopped meanwhile does not mean that the store is slow.
const STALLED_STEPS: u32 = 10;
const STALLED_STEP: Duration = Duration::from_secs(1);

/// Commits a batch and counts it; reports the store as failing while the commit takes too long.
pub(super) async fn write(shared: &Shared, batch: Batch) -> Result<Option<Stamp>, StoreError> {
    let (meters, clock) = (&shared.meters.commits, &shared.clock);
    let (size, began) = (batch.writes.len() + batch.removals.len(), clock.moment());
    let committed = in_time(shared, batch).await;
    meters.sizes.add(size as u64);
    let took = clock.moment().since(began);
    meters.durations.add_duration(took);
    shared.counts().commit_took(took);
    if let Err(error) = &committed {
        meters.errors.one(error.name());
    }
    committed
}

async fn in_time(shared: &Shared, batch: Batch) -> Result<Option<Stamp>, StoreError> {
    let mut commit = shared.store.commit(batch);
    let committed = tokio::select! {
        biased;
        committed = &mut commit => return committed,
        () = stalled(shared) => commit.await,
    };
    // The store responds again, unless with one of these errors, which begin an outage.
    let is_up = !matches!(committed, Err(StoreError::Unavailable(_) | StoreError::Unknown(_)));
    if is_up {
        shared.health.writable(shared.clock.moment());
    }
    committed
}

/// Returns when a commit takes too long; then the store is reported as failing.
async fn stalled(shared: &Shared) {
    let clock = &shared.clock;
    for _ in 0..STALLED_STEPS {
        clock.sleep_until_moment(clock.moment().after(STALLED_STEP)).await;
    }
    let reason = format!("a commit takes longer than {:?}", STALLED_STEP * STALLED_STEPS);
    shared.health.failing(reason, (clock.now(), clock.moment()));
}
