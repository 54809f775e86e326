//! The operations that are not done, counted in all and by queue. The committer alone counts; whoever is about to
//! submit may look.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::queue::QueueKey;
use super::request::EngineError;

#[derive(Debug, Default)]
pub(super) struct Backlog(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: u64,
    of: HashMap<QueueKey, u64>,
}

impl Backlog {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In all.
    pub(super) fn all(&self) -> u64 {
        self.counts().all
    }

    /// One has come to be.
    pub(super) fn add(&self, key: QueueKey) {
        let mut counts = self.counts();
        counts.all += 1;
        *counts.of.entry(key).or_default() += 1;
    }

    /// One has come to its end.
    pub(super) fn remove(&self, key: QueueKey) {
        let mut counts = self.counts();
        counts.all = counts.all.saturating_sub(1);
        if let Entry::Occupied(mut entry) = counts.of.entry(key) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// As the store has counted them.
    pub(super) fn set(&self, of: HashMap<QueueKey, u64>) {
        *self.counts() = Counts { all: of.values().sum(), of };
    }

    /// Refuses one more of the queue `key`: beyond `limit` in all, or beyond `capacity` of the queue. `added` counts
    /// what the caller has let in already and nobody has counted, in all and of the queue.
    pub(super) fn check(
        &self,
        limit: u64,
        key: &QueueKey,
        capacity: Option<u64>,
        added: (u64, u64),
    ) -> Result<(), EngineError> {
        let counts = self.counts();
        if counts.all + added.0 >= limit {
            return Err(EngineError::Full { what: "operations that are not done", limit });
        }
        let of_queue = counts.of.get(key).copied().unwrap_or_default() + added.1;
        match capacity {
            Some(limit) if of_queue >= limit => {
                let what = "operations of this kind that are not done";
                Err(EngineError::Full { what, limit })
            }
            _ => Ok(()),
        }
    }
}
