//! Turns: of one tenant, few calls that need much of a processor go on at once; its others wait for them, in their order.
//! So other tenants, and short calls, find a processor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::operation::TenantId;

/// The turns of all tenants. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<All>);

#[derive(Debug)]
struct All {
    /// How many calls of one tenant have a turn at once.
    at_once: usize,
    /// The tenants that have calls or waiting calls.
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
    // Dropped after the permit.
    _place: Place,
}

/// A call's place with its tenant, waiting or not.
#[derive(Debug)]
struct Place {
    all: Arc<All>,
    tenant: TenantId,
    turns: Arc<Semaphore>,
}

impl Turns {
    /// As many turns for each tenant as leave half of the processors to others.
    pub(super) fn for_this_machine() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new((processors / 2).max(1))
    }

    pub(super) fn new(at_once: usize) -> Self {
        Self(Arc::new(All { at_once, tenants: Mutex::default() }))
    }

    /// Waits for a turn of the tenant.
    pub(super) async fn take(&self, tenant: &TenantId) -> Turn {
        let place = self.place(tenant);
        // It is never closed.
        let permit = Arc::clone(&place.turns).acquire_owned().await.ok();
        Turn { _permit: permit, _place: place }
    }

    fn place(&self, tenant: &TenantId) -> Place {
        let mut tenants = self.0.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = tenants.entry(tenant.clone());
        let turns = turns.or_insert_with(|| Arc::new(Semaphore::new(self.0.at_once)));
        let turns = Arc::clone(turns);
        Place { all: Arc::clone(&self.0), tenant: tenant.clone(), turns }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tenants = self.all.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        // Besides this place only the map has it: places are made under the lock.
        if Arc::strong_count(&self.turns) <= 2 {
            tenants.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn calls_of_a_tenant_wait_for_each_other_and_for_nobody_else() {
        let turns = Turns::new(1);
        let [a, b] = ["a", "b"].map(|name| TenantId::parse(name).unwrap());
        let known = || turns.0.tenants.lock().unwrap().len();
        let first = turns.take(&a).await;
        let mut second = Box::pin(turns.take(&a));
        assert!((&mut second).now_or_never().is_none());
        let mut third = Box::pin(turns.take(&a));
        assert!((&mut third).now_or_never().is_none());
        let other = turns.take(&b).now_or_never().expect("another tenant's turn");
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "it came later");
        let second = second.await;
        drop(third);
        assert_eq!(known(), 2);
        drop(second);
        drop(other);
        assert_eq!(known(), 0, "nobody waits");
        let mut given_up = Box::pin(turns.take(&a));
        let held = (&mut given_up).now_or_never().expect("a turn");
        let mut waits = Box::pin(turns.take(&a));
        assert!((&mut waits).now_or_never().is_none());
        drop(held);
        drop(waits);
        assert_eq!(known(), 0, "it was given up while it waited");
    }
}
