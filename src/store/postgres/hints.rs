//! A bounded queue of hints for one reader; on overflow it reports that some were missed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::super::shared::Hint;

/// The maximum number of waiting hints.
const WAITING: usize = 1_024;

/// The queue.
#[derive(Default)]
pub(super) struct Hints {
    waiting: Mutex<VecDeque<Hint>>,
    came: Notify,
}

impl Hints {
    pub(super) fn push(&self, hint: Hint) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // After `Missed` the reader needs no other hints.
        if hint == Hint::Missed || waiting.len() >= WAITING {
            waiting.clear();
            waiting.push_back(Hint::Missed);
        } else if hint != Hint::Queued || waiting.back() != Some(&Hint::Queued) {
            waiting.push_back(hint);
        }
        drop(waiting);
        self.came.notify_one();
    }

    /// Returns the next hint. Dropping the future loses nothing.
    pub(super) async fn next(&self) -> Hint {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(hint) = next {
                return hint;
            }
            self.came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hints_come_in_order_and_too_many_become_one() {
        let hints = Hints::default();
        hints.push(Hint::Leases(Vec::new()));
        hints.push(Hint::Queued);
        hints.push(Hint::Queued);
        assert_eq!(hints.next().await, Hint::Leases(Vec::new()));
        assert_eq!(hints.next().await, Hint::Queued);
        for _ in 0..=WAITING {
            hints.push(Hint::Leases(Vec::new()));
        }
        hints.push(Hint::Queued);
        assert_eq!(hints.next().await, Hint::Missed);
        assert_eq!(hints.next().await, Hint::Queued);
    }
}
