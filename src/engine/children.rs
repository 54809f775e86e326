//! Recent counts of batches' children, so that many concurrent requests cost one count.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use tokio::sync::Notify;

use super::clock::Moment;
use super::round::transition::Transition;
use crate::operation::{ChildCounts, Operation, OperationId};

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
    /// How many children have come or gone.
    changes: u64,
}

/// When a count began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    at: Moment,
    changes: u64,
}

impl Default for ChildrenBoard {
    fn default() -> Self {
        let board = Board { counts: LruCache::new(KEPT), changes: 0 };
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
        Begun { at: now, changes: self.lock().changes }
    }

    /// Stores a count, unless a child has come or gone since it began: it may not say so.
    pub(super) fn put(&self, batch: OperationId, begun: Begun, counts: ChildCounts) {
        let mut board = self.lock();
        if board.changes == begun.changes {
            board.counts.insert(batch, (begun.at, counts));
        }
    }

    /// Notes a new child, and a new batch.
    pub(super) fn committed(&self, transition: &Transition) {
        if transition.before.is_some() {
            return;
        }
        self.changed(&transition.after);
        if transition.after.submission.kind.is_of_batches() {
            self.submitted.notify_one();
        }
    }

    /// Drops the count of a batch whose child has come or gone, so that who did this sees it in the next count.
    pub(super) fn changed(&self, child: &Operation) {
        if let Some(parent) = &child.submission.parent {
            let mut board = self.lock();
            board.changes += 1;
            board.counts.remove(parent);
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
    fn a_count_from_before_a_child_came_or_went_is_not_kept() {
        let (board, batch, now) = (ChildrenBoard::default(), sample::id(1), Moment::default());
        let mut counts = ChildCounts::default();
        counts.add_stored(StateName::Queued, 1);
        board.put(batch, board.begin(now), counts);
        assert_eq!(board.fresh(batch, now), Some(counts));
        assert_eq!(board.fresh(batch, now.after(FRESH)), None, "it is old");

        let mut child = sample::operation(2, sample::at(0));
        Arc::make_mut(&mut child.submission).parent = Some(batch);
        let (after, event_type) = (Arc::new(child), EventType::Submitted);
        let comes = Transition { before: None, after, event_type, by_report: false };
        let changes: [&dyn Fn(); 2] =
            [&|| board.committed(&comes), &|| board.changed(&comes.after)];
        for change in changes {
            board.put(batch, board.begin(now), counts);
            let begun = board.begin(now);
            change();
            assert_eq!(board.fresh(batch, now), None, "it is from before");
            board.put(batch, begun, counts);
            assert_eq!(board.fresh(batch, now), None, "so may be what was counted meanwhile");
        }
    }
}
