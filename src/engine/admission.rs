//! Limits the memory of requests that wait for the committer, in total and for each tenant.
//!
//! A tenant may take three times as much as is free: alone it can take three quarters of the total, and however many
//! tenants take their share, some room is left for the next.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::operation::TenantId;

/// A tenant may take this many times the free room.
const TIMES_FREE: u64 = 3;

/// The admission limit. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    most_requests: u64,
    most_kib: u32,
    /// In KiB.
    memory: Arc<Semaphore>,
    shares: Arc<Mutex<Shares>>,
}

#[derive(Debug, Default)]
struct Shares {
    requests: u64,
    of: HashMap<TenantId, Share>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    requests: u64,
    kib: u64,
}

/// Room that a request takes until this value is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    _memory: OwnedSemaphorePermit,
    _share: Option<Held>,
}

/// A request's part in its tenant's share.
#[derive(Debug)]
struct Held {
    shares: Arc<Mutex<Shares>>,
    tenant: TenantId,
    kib: u64,
}

impl Admission {
    pub(super) fn new(requests: usize, bytes: usize) -> Self {
        let most_kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
        Self {
            most_requests: requests as u64,
            most_kib,
            memory: Arc::new(Semaphore::new(most_kib as usize)),
            shares: Arc::default(),
        }
    }

    /// Reserves room for a tenant's request; `None` if the total or the tenant's share does not allow it.
    pub(super) fn try_admit(&self, tenant: &TenantId, bytes: usize) -> Option<Admitted> {
        let kib = kib(bytes);
        let free_kib = self.memory.available_permits() as u64;
        let held = {
            let mut shares = lock(&self.shares);
            let own = shares.of.get(tenant).copied().unwrap_or_default();
            let free = self.most_requests.saturating_sub(shares.requests);
            if own.requests >= TIMES_FREE * free || own.kib > TIMES_FREE * free_kib {
                return None;
            }
            shares.requests += 1;
            let share = shares.of.entry(tenant.clone()).or_default();
            share.requests += 1;
            share.kib += u64::from(kib);
            let shares = Arc::clone(&self.shares);
            Held { shares, tenant: tenant.clone(), kib: kib.into() }
        };
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(kib).ok()?;
        Some(Admitted { _memory: memory, _share: Some(held) })
    }

    /// The maximum number of waiting requests.
    pub(super) fn most_requests(&self) -> u64 {
        self.most_requests
    }

    /// Waits for room for a request that must not be refused. `None` once closed. One beyond the total passes alone.
    pub(super) async fn admit(&self, bytes: usize) -> Option<Admitted> {
        let kib = kib(bytes).min(self.most_kib);
        let memory = Arc::clone(&self.memory).acquire_many_owned(kib).await.ok()?;
        Some(Admitted { _memory: memory, _share: None })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut shares = lock(&self.shares);
        shares.requests = shares.requests.saturating_sub(1);
        if let Entry::Occupied(mut entry) = shares.of.entry(self.tenant.clone()) {
            let share = entry.get_mut();
            share.requests = share.requests.saturating_sub(1);
            share.kib = share.kib.saturating_sub(self.kib);
            if share.requests == 0 {
                entry.remove();
            }
        }
    }
}

fn lock(shares: &Mutex<Shares>) -> MutexGuard<'_, Shares> {
    shares.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes as semaphore permits, one a KiB.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("a tenant")
    }

    fn fill(admission: &Admission, name: &str, bytes: usize) -> Vec<Admitted> {
        std::iter::from_fn(|| admission.try_admit(&tenant(name), bytes)).collect()
    }

    #[test]
    fn whoever_comes_finds_room_beside_those_that_take_what_they_can() {
        let admission = Admission::new(4_096, 256 << 20);
        let mut held = vec![fill(&admission, "a", 100)];
        assert_eq!(held[0].len(), 3_072);
        for name in ["b", "c", "d"] {
            held.push(fill(&admission, name, 100));
            assert!(held.last().is_some_and(|of| of.len() >= 10), "{name}");
        }
        assert!(fill(&admission, "a", 100).is_empty());
        held.clear();
        assert!(lock(&admission.shares).of.is_empty());
        assert_eq!(fill(&admission, "a", 100).len(), 3_072, "all of it is free again");
    }

    #[test]
    fn bytes_are_shared_as_well_and_the_largest_request_passes() {
        let admission = Admission::new(4_096, 100 << 10);
        let large = admission.try_admit(&tenant("a"), 100 << 10).expect("the room is empty");
        assert!(admission.try_admit(&tenant("b"), 1).is_none(), "there is none left");
        drop(large);
        let many = fill(&admission, "a", 10 << 10);
        assert_eq!(many.len(), 8);
        assert!(admission.try_admit(&tenant("b"), 10 << 10).is_some());
    }

    #[test]
    fn what_is_over_counts_no_more_and_what_lasts_still_does() {
        let admission = Admission::new(4_096, 100 << 10);
        let _lasting = admission.try_admit(&tenant("a"), 10 << 10).expect("the room is empty");
        for number in 0..100 {
            assert!(admission.try_admit(&tenant("a"), 50 << 10).is_some(), "{number}");
        }
        let share = lock(&admission.shares).of.get(&tenant("a")).copied();
        assert_eq!(share.map(|share| (share.requests, share.kib)), Some((1, 10)));
    }
}
