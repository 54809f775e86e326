//! Whether the store accepts writes, for all readers. Readers are notified once per change.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::clock::{Moment, Now};
use super::request::EngineError;
use crate::operation::Timestamp;

/// Whether the store accepts writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// The store accepts writes.
    Writable,
    /// The store accepts no writes: new work is refused, stored data can be read, and the store is retried.
    Failing {
        /// The store's error.
        reason: String,
        /// When the store began to fail.
        since: Timestamp,
    },
}

/// The store's health.
#[derive(Debug)]
pub(super) struct HealthBoard {
    health: watch::Sender<StoreHealth>,
    /// When the store began to fail, while it fails.
    failing_since: Mutex<Moment>,
}

impl Default for HealthBoard {
    fn default() -> Self {
        Self { health: watch::Sender::new(StoreHealth::Writable), failing_since: Mutex::default() }
    }
}

impl HealthBoard {
    /// Subscribes to changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<StoreHealth> {
        self.health.subscribe()
    }

    /// Refuses calls that need a write while the store accepts none.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        match *self.health.borrow() {
            StoreHealth::Writable => Ok(()),
            StoreHealth::Failing { .. } => Err(not_writable()),
        }
    }

    /// Records that a write failed, or takes too long.
    pub(super) fn failing(&self, reason: String, (now, moment): Now) {
        self.health.send_if_modified(|health| {
            let since = match health {
                StoreHealth::Failing { reason: known, .. } if *known == reason => return false,
                StoreHealth::Failing { since, .. } => *since,
                StoreHealth::Writable => {
                    *self.failing_since() = moment;
                    now
                }
            };
            tracing::error!(reason, "the store takes no writes: the server refuses new work");
            *health = StoreHealth::Failing { reason, since };
            true
        });
    }

    /// Records that a write succeeded.
    pub(super) fn writable(&self, moment: Moment) {
        self.health.send_if_modified(|health| {
            if *health == StoreHealth::Writable {
                return false;
            }
            let outage_seconds = moment.since(*self.failing_since()).as_secs_f64();
            tracing::warn!(outage_seconds, "the store takes writes again");
            *health = StoreHealth::Writable;
            true
        });
    }

    fn failing_since(&self) -> MutexGuard<'_, Moment> {
        self.failing_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error for calls that need a write.
pub(crate) fn not_writable() -> EngineError {
    let message = "the store takes no writes now; stored operations can be read";
    EngineError::Unavailable(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_an_outage_keeps_its_beginning() {
        let board = HealthBoard::default();
        let mut health = board.subscribe();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let now = |seconds: i64| (at(seconds), Moment::default());
        let failing =
            |reason: &str| StoreHealth::Failing { reason: reason.to_owned(), since: at(1) };
        board.writable(Moment::default());
        assert!(!health.has_changed().unwrap(), "it was writable before");
        assert!(board.check().is_ok());

        board.failing("full".to_owned(), now(1));
        assert_eq!(*health.borrow_and_update(), failing("full"));
        assert!(board.check().is_err());
        board.failing("full".to_owned(), now(2));
        assert!(!health.has_changed().unwrap(), "the same was told before");
        board.failing("gone".to_owned(), now(3));
        assert!(health.has_changed().unwrap());
        assert_eq!(*health.borrow_and_update(), failing("gone"));

        board.writable(Moment::default());
        assert_eq!(*health.borrow_and_update(), StoreHealth::Writable);
        assert!(board.check().is_ok());
    }
}
