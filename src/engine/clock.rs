//! Time and ids. No other module reads a clock or draws an id.
//!
//! There are two clocks. *Wall time* ([`Timestamp`]) is for facts that are stored, shown or promised as instants;
//! it can be set forward and back. *Monotonic time* ([`Moment`]) is for every question of the form "how long
//! since": leases, heartbeats, pauses, polls, ages of streams. No duration is computed from two wall times.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::{ContextV7, Uuid};

use crate::operation::{OperationId, Timestamp};

/// A reading of the monotonic clock: the time since an instant of this process that has no meaning. Arithmetic
/// saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The latest possible moment; "never" where a moment is required.
    pub const MAX: Self = Self(Duration::MAX);

    /// The moment at which the monotonic clock shows `elapsed`.
    pub const fn new(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Later by `by`; at most [`Moment::MAX`].
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// The time from `earlier` until this; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Both clocks at the beginning of a round.
pub(crate) type Now = (Timestamp, Moment);

/// Both clocks, and timers on them.
#[async_trait]
pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    /// The wall time now.
    fn now(&self) -> Timestamp;

    /// Returns once the wall time is `at` or later.
    async fn sleep_until(&self, at: Timestamp);

    /// The monotonic time now.
    fn moment(&self) -> Moment;

    /// Returns once the monotonic time is `at` or later.
    async fn sleep_until_moment(&self, at: Moment);
}

/// The longest single timer, because the runtime's timers do not accept every duration.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The machine's clocks.
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
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            // In steps, because the machine's clock may be set meanwhile.
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the edge where the clock is read")]
    fn moment(&self) -> Moment {
        static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
        Moment(BEGINNING.elapsed())
    }

    async fn sleep_until_moment(&self, at: Moment) {
        loop {
            let left = at.since(self.moment());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

/// A wall clock and a monotonic clock that are set by hand.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<(Timestamp, Moment)>);

impl ManualClock {
    /// A clock whose wall time is `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(watch::Sender::new((start, Moment::default())))
    }

    /// Lets `by` pass on both clocks, and wakes callers that waited for a time that has come.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|(now, moment)| (*now, *moment) = (now.after(by), moment.after(by)));
    }

    /// Sets the wall time, as an operator or a time service does. No time passes.
    pub fn set(&self, to: Timestamp) {
        self.0.send_modify(|(now, _)| *now = to);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.borrow().0
    }

    async fn sleep_until(&self, at: Timestamp) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|(now, _)| *now >= at).await;
    }

    fn moment(&self) -> Moment {
        self.0.borrow().1
    }

    async fn sleep_until_moment(&self, at: Moment) {
        let _ = self.0.subscribe().wait_for(|(_, moment)| *moment >= at).await;
    }
}

/// Makes UUIDv7s of a given time, in rising order unless the clock is set back: an id always shows the millisecond in
/// which it was made.
#[derive(Debug, Default)]
pub struct Ids(Mutex<(u64, ContextV7)>);

impl Ids {
    /// A new id for the time `now`.
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

    /// A new operation id for the time `now`.
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
