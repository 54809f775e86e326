//! Recent counts of batches' children, so that many concurrent requests cost one count.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use tokio::sync::Notify;

use super::clock::Moment;
use super::round::transition::Transition;
use crate::operation::{ChildCounts, OperationId};

/// How long a count is used.
const FRESH: Duration = Duration::from_millis(250);
/// The maximum number of batches whose counts are kept.
const KEPT: usize = 1_024;

#[derive(Debug)]
pub(super) struct ChildrenBoard {
    counts: Mutex<LruCache<OperationId, (Moment, ChildCounts)>>,
    /// Notified when a batch is submitted here.
    submitted: Notify,
}

impl Default for ChildrenBoard {
    fn default() -> Self {
        Self { counts: Mutex::new(LruCache::new(KEPT)), submitted: Notify::new() }
    }
}

impl ChildrenBoard {
    fn lock(&self) -> MutexGuard<'_, LruCache<OperationId, (Moment, ChildCounts)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch's count, if it is recent.
    pub(super) fn fresh(&self, batch: OperationId, now: Moment) -> Option<ChildCounts> {
        let mut counts = self.lock();
        let (at, found) = counts.get(&batch)?;
        (now.since(*at) < FRESH).then_some(*found)
    }

    /// Stores a count of the children that existed at `at` or later.
    pub(super) fn put(&self, batch: OperationId, at: Moment, counts: ChildCounts) {
        self.lock().insert(batch, (at, counts));
    }

    /// Drops the count of a batch that has got a child, so that the child's submitter sees it in the next count.
    pub(super) fn committed(&self, transition: &Transition) {
        if transition.before.is_some() {
            return;
        }
        let submission = &transition.after.submission;
        if let Some(parent) = &submission.parent {
            self.lock().remove(parent);
        }
        if submission.kind.is_of_batches() {
            self.submitted.notify_one();
        }
    }

    /// Returns when a batch has been submitted here since the last call.
    pub(super) async fn submitted(&self) {
        self.submitted.notified().await;
    }
}
