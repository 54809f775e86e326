//! Wakes all who wait, in the order in which they began to: the order of a tokio watch channel is one of chance, and no
//! schedule of the simulation could be played again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Something that happens again and again.
#[derive(Debug, Default)]
pub(super) struct Signal(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    given: AtomicU64,
    notify: Notify,
}

/// Who waits for a signal.
#[derive(Debug)]
pub(super) struct Waiter {
    shared: Arc<Shared>,
    seen: u64,
}

impl Signal {
    pub(super) fn give(&self) {
        self.0.given.fetch_add(1, Ordering::SeqCst);
        self.0.notify.notify_waiters();
    }

    /// What happened until now is not waited for.
    pub(super) fn waiter(&self) -> Waiter {
        let mut waiter = Waiter { shared: Arc::clone(&self.0), seen: 0 };
        waiter.mark_seen();
        waiter
    }
}

impl Waiter {
    /// Waits for no signal that was given until now.
    pub(super) fn mark_seen(&mut self) {
        self.seen = self.shared.given.load(Ordering::SeqCst);
    }

    /// Returns when a signal was given since the last one that was seen.
    pub(super) async fn given(&mut self) {
        loop {
            // Before the look, so that no signal is missed in between.
            let notified = self.shared.notify.notified();
            let given = self.shared.given.load(Ordering::SeqCst);
            if given != self.seen {
                self.seen = given;
                return;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn what_was_given_before_is_seen_once() {
        let signal = Signal::default();
        signal.give();
        let mut waiter = signal.waiter();
        assert_eq!(waiter.given().now_or_never(), None);
        signal.give();
        signal.give();
        assert_eq!(waiter.given().now_or_never(), Some(()));
        assert_eq!(waiter.given().now_or_never(), None);
        signal.give();
        waiter.mark_seen();
        assert_eq!(waiter.given().now_or_never(), None);
    }

    #[test]
    fn all_are_woken_in_the_order_in_which_they_wait() {
        let signal = Signal::default();
        let order = std::cell::RefCell::new(Vec::new());
        let order = &order;
        let wait = |number: usize| {
            let mut waiter = signal.waiter();
            async move {
                waiter.given().await;
                order.borrow_mut().push(number);
            }
        };
        let waiting: futures_util::stream::FuturesUnordered<_> = (0..50).map(wait).collect();
        let mut all = Box::pin(futures_util::StreamExt::collect::<Vec<()>>(waiting));
        assert!((&mut all).now_or_never().is_none());
        signal.give();
        assert!((&mut all).now_or_never().is_some());
        assert_eq!(*order.borrow(), (0..50).collect::<Vec<_>>());
    }
}
