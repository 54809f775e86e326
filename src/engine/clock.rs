//! Time and ids, where they enter the program. Nothing else here reads a clock or draws an id.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::{ContextV7, Uuid};

use crate::operation::{OperationId, Timestamp};

/// What time it is, and waiting for a time to come.
#[async_trait]
pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns once it is `at` or later.
    async fn sleep_until(&self, at: Timestamp);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the edge where the clock is read")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    async fn sleep_until(&self, at: Timestamp) {
        // In steps, because the machine's clock may be set while we sleep.
        const STEP: Duration = Duration::from_secs(60);
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            // Rounded up: the timer has millisecond resolution and must not fire early.
            tokio::time::sleep(left.min(STEP)).await;
        }
    }
}

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(watch::Sender::new(start))
    }

    /// Goes on by `by` and wakes whoever waited for a time that has come.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.after(by));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep_until(&self, at: Timestamp) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|now| *now >= at).await;
    }
}

/// Makes UUIDv7s of a given time. They rise in the order in which they are made, unless the clock is
/// set back: an id always shows the millisecond that it was made in.
#[derive(Debug, Default)]
pub struct Ids(Mutex<(u64, ContextV7)>);

impl Ids {
    /// A new id of the time `now`.
    pub fn uuid(&self, now: Timestamp) -> Uuid {
        let micros = now.micros().max(0).unsigned_abs();
        let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000;
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = micros / 1_000;
        if millis < last.0 {
            last.1 = ContextV7::new();
        }
        last.0 = millis;
        Uuid::new_v7(uuid::Timestamp::from_unix(&last.1, micros / 1_000_000, nanos))
    }

    /// A new operation's id.
    pub fn operation(&self, now: Timestamp) -> OperationId {
        OperationId::from_uuid(self.uuid(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_show_their_time_even_when_the_clock_is_set_back() {
        let ids = Ids::default();
        let late = Timestamp::from_micros(1_800_000_000_123_000);
        let made: Vec<OperationId> = (0..1_000).map(|_| ids.operation(late)).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        let early = ids.operation(Timestamp::from_micros(1_700_000_000_456_000));
        assert_eq!(early.as_bytes()[..6], 1_700_000_000_456_u64.to_be_bytes()[2..]);
    }
}
