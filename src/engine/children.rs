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
    board: Mutex<Board>,
    /// Notified when a batch is submitted here.
    submitted: Notify,
}

#[derive(Debug)]
struct Board {
    counts: LruCache<OperationId, (Moment, ChildCounts)>,
    /// How many children have come.
    arrivals: u64,
}

/// When a count began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    at: Moment,
    arrivals: u64,
}

impl Default for ChildrenBoard {
    fn default() -> Self {
        let board = Board { counts: LruCache::new(KEPT), arrivals: 0 };
        Self { board: Mutex::new(board), submitted: Notify::new() }
    }
}

impl ChildrenBoard {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch's count, if it is recent.
    pub(super) fn fresh(&self, batch: OperationId, now: Moment) -> Option<ChildCounts> {
        let mut board = self.lock();
        let (at, found) = board.counts.get(&batch)?;
        (now.since(*at) < FRESH).then_some(*found)
    }

    /// A count begins.
    pub(super) fn begin(&self, now: Moment) -> Begun {
        Begun { at: now, arrivals: self.lock().arrivals }
    }

    /// Stores a count, unless a child has come since it began, which it may lack.
    pub(super) fn put(&self, batch: OperationId, begun: Begun, counts: ChildCounts) {
        let mut board = self.lock();
        if board.arrivals == begun.arrivals {
            board.counts.insert(batch, (begun.at, counts));
        }
    }

    /// Drops the count of a batch that has got a child, so that the child's submitter sees it in the next count.
    pub(super) fn committed(&self, transition: &Transition) {
        if transition.before.is_some() {
            return;
        }
        let submission = &transition.after.submission;
        if let Some(parent) = &submission.parent {
            let mut board = self.lock();
            board.arrivals += 1;
            board.counts.remove(parent);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::sample;
    use crate::operation::{EventType, StateName};

    #[test]
    fn a_count_that_may_lack_a_child_is_not_kept() {
        let (board, batch, now) = (ChildrenBoard::default(), sample::id(1), Moment::default());
        let mut counts = ChildCounts::default();
        counts.add_stored(StateName::Queued, 1);
        board.put(batch, board.begin(now), counts);
        assert_eq!(board.fresh(batch, now), Some(counts));
        assert_eq!(board.fresh(batch, now.after(FRESH)), None, "it is old");

        let begun = board.begin(now);
        let mut child = sample::operation(2, sample::at(0));
        Arc::make_mut(&mut child.submission).parent = Some(batch);
        let (after, event_type) = (Arc::new(child), EventType::Submitted);
        board.committed(&Transition { before: None, after, event_type, by_report: false });
        assert_eq!(board.fresh(batch, now), None, "it lacks the child");
        board.put(batch, begun, counts);
        assert_eq!(board.fresh(batch, now), None, "so may what was counted meanwhile");
    }
}
