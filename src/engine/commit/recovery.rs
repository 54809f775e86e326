//! What a server that has a store to itself reads at its start: the queue, the leases, and how many there are.

use crate::engine::dispatch::dispatcher::Dispatcher;
use crate::engine::dispatch::queue::QueueKey;
use crate::engine::{EngineConfig, Shared};
use crate::store::{Place, StoreError};

/// How many unfinished operations are read at a time.
const PAGE: usize = 10_000;

/// Reads what is not done. Leases have one lease duration for their workers to come back.
pub(super) async fn recover(
    shared: &Shared,
    config: &EngineConfig,
    dispatcher: &mut Dispatcher,
) -> Result<(), StoreError> {
    let (now, moment) = (shared.clock.now(), shared.clock.moment());
    let mut after = None;
    loop {
        let page = shared.store.unfinished(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for operation in page {
            let (id, tenant) = (operation.id, operation.tenant);
            let key = QueueKey { tenant: tenant.clone(), kind: operation.kind };
            shared.counts().found(key.clone());
            match operation.place {
                Place::Queued { not_before } => {
                    dispatcher.queue_mut().add(key, operation.priority, id, not_before, now);
                }
                Place::Leased { session, worker, attempt } => {
                    // The store is one process's: a worker within an earlier one cannot come back.
                    let expires_at = match session.is_in_process() {
                        true => moment,
                        false => moment.after(session.lease(config.lease_duration)),
                    };
                    let lease = (id, attempt);
                    dispatcher.sessions_mut().restore(session, tenant, worker, lease, expires_at);
                }
            }
        }
    }
}
