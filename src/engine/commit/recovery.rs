//! The state that a server without replicas reads at its start: the queue, the leases, and the counts.

use std::time::Duration;

use crate::engine::clock::Now;
use crate::engine::dispatch::dispatcher::Dispatcher;
use crate::engine::dispatch::queue::QueueKey;
use crate::engine::{EngineConfig, Shared};
use crate::store::{Lookup, Place, StoreError, Unfinished};

/// How many unfinished operations are read at a time.
const PAGE: usize = 10_000;

/// Reads the operations that are not done. Their workers have one lease duration to resume.
pub(super) async fn recover(
    shared: &Shared,
    config: &EngineConfig,
    dispatcher: &mut Dispatcher,
) -> Result<(), StoreError> {
    let now = (shared.clock.now(), shared.clock.moment());
    let mut after = None;
    loop {
        let page = shared.store.unfinished(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some((last.tenant.clone(), last.id));
        let leased = page.iter().filter(|it| matches!(it.place, Place::Leased { .. }));
        let leased: Vec<Lookup> = leased.map(|it| Lookup::Id(it.id)).collect();
        if !leased.is_empty() {
            for operation in shared.store.load(leased).await?.into_iter().flatten() {
                dispatcher.places_mut().add(operation.id(), &operation.submission);
            }
        }
        for operation in page {
            let key = QueueKey { tenant: operation.tenant.clone(), kind: operation.kind.clone() };
            let is_running = matches!(operation.place, Place::Leased { .. });
            shared.counts().found(key, is_running);
            restore(operation, now, config.lease_duration, dispatcher);
        }
    }
}

/// Restores the place of an operation that was found.
fn restore(
    operation: Unfinished,
    (now, moment): Now,
    lease_duration: Duration,
    dispatcher: &mut Dispatcher,
) {
    let Unfinished { id, tenant, kind, priority, place } = operation;
    match place {
        Place::Queued { not_before } => {
            let key = QueueKey { tenant, kind };
            dispatcher.queue_mut().add(key, priority, id, not_before, now);
        }
        Place::Leased { session, worker, attempt } => {
            // Only this process uses the store, so a worker within an earlier process cannot resume.
            let expires_at = match session.is_in_process() {
                true => moment,
                false => moment.after(session.lease(lease_duration)),
            };
            let lease = (id, attempt);
            dispatcher.sessions_mut().restore(session, tenant, worker, lease, expires_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use uuid::Uuid;

    use super::*;
    use crate::engine::clock::Moment;
    use crate::engine::sample::{at, id};
    use crate::operation::{Attempt, Kind, SessionId, TenantId, WorkerId};

    const LEASE: Duration = Duration::from_secs(30);

    fn moment(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    fn key() -> QueueKey {
        let kind = Kind::parse("a").expect("a kind");
        QueueKey { tenant: TenantId::default_tenant(), kind }
    }

    /// A dispatcher that started at 100 s of wall time and 10 s of monotonic time, and found these operations.
    fn started(found: impl IntoIterator<Item = (u128, u8, Place)>) -> Dispatcher {
        let mut dispatcher = Dispatcher::default();
        for (number, priority, place) in found {
            let QueueKey { tenant, kind } = key();
            let operation = Unfinished { id: id(number), tenant, kind, priority, place };
            restore(operation, (at(100), moment(10)), LEASE, &mut dispatcher);
        }
        dispatcher
    }

    fn leased(session: SessionId, attempt: u32) -> Place {
        let worker = WorkerId::parse("w").expect("a name");
        Place::Leased { session, worker, attempt: Attempt(attempt) }
    }

    #[test]
    fn what_waits_waits_again_by_priority_age_and_time() {
        let queued = |number, priority, seconds| {
            (number, priority, Place::Queued { not_before: at(seconds) })
        };
        let found = [queued(1, 4, 0), queued(2, 9, 100), queued(3, 9, 101), queued(4, 4, 50)];
        let mut dispatcher = started(found);
        assert_eq!(dispatcher.next_due(), Some(at(101)));
        let queue = dispatcher.queue_mut();
        let ready = std::iter::from_fn(|| queue.pop(&key())).collect::<Vec<_>>();
        assert_eq!(ready, [(Reverse(9), id(2)), (Reverse(4), id(1)), (Reverse(4), id(4))]);
        assert_eq!(dispatcher.sessions().len(), 0);
    }

    #[test]
    fn a_worker_has_a_lease_duration_to_come_back_unless_it_ended_with_the_server() {
        let uuid = Uuid::from_u128(1);
        let (apart, within) = (SessionId::from_uuid(uuid), SessionId::in_process(uuid));
        let mut dispatcher = started([
            (1, 0, leased(apart, 2)),
            (2, 0, leased(within, 1)),
            (3, 0, leased(apart, 1)),
        ]);
        assert!(!dispatcher.queue_mut().has_ready(&key()), "nothing of it waits");
        let sessions = dispatcher.sessions_mut();
        assert_eq!(sessions.len(), 2);
        assert_eq!(sessions.expired(moment(10)), [(id(2), Attempt(1))]);
        for (number, attempt) in [(1, 2), (3, 1)] {
            assert!(sessions.holds(apart, id(number), Attempt(attempt)), "{number}");
        }
        sessions.forget(id(2));
        assert_eq!(sessions.expired(moment(39)), []);
        assert_eq!(sessions.expired(moment(40)), [(id(1), Attempt(2)), (id(3), Attempt(1))]);
    }
}
