//! Manual clocks that also tell who waits for which time.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use longrun::engine::{Clock, ManualClock, Moment};
use longrun::operation::Timestamp;

/// When it starts: 2026-01-01.
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Stands still until it is told to go on.
#[derive(Debug)]
pub struct TestClock {
    time: ManualClock,
    /// Every time that was waited for.
    awaited: watch::Sender<Awaited>,
}

/// Times of both clocks.
#[derive(Debug, Default)]
struct Awaited {
    times: BTreeSet<Timestamp>,
    moments: BTreeSet<Moment>,
}

impl Default for TestClock {
    fn default() -> Self {
        Self { time: ManualClock::new(START), awaited: watch::Sender::default() }
    }
}

impl TestClock {
    /// Goes on, and wakes whoever waited for a time that has come.
    pub fn advance(&self, by: Duration) {
        self.time.advance(by);
    }

    /// Sets the wall time, forward or back. No time passes.
    pub fn set(&self, to: Timestamp) {
        self.time.set(to);
    }

    /// What was waited for before this does not count.
    pub fn forget_awaited(&self) {
        self.awaited.send_modify(|awaited| *awaited = Awaited::default());
    }

    /// Returns once somebody waits for the time that is `from_now` away, by either clock.
    pub async fn is_awaited_in(&self, from_now: Duration) {
        let (at, moment) = (self.now().after(from_now), self.moment().after(from_now));
        let is_awaited =
            |awaited: &Awaited| awaited.times.contains(&at) || awaited.moments.contains(&moment);
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.awaited.subscribe().wait_for(is_awaited).await;
    }

    /// Returns once somebody waits for a moment that is to come, and not further away than that.
    pub async fn is_awaited_within(&self, most: Duration) {
        let now = self.moment();
        let soon = (Bound::Excluded(now), Bound::Included(now.after(most)));
        let is_awaited = |awaited: &Awaited| awaited.moments.range(soon).next().is_some();
        let _ = self.awaited.subscribe().wait_for(is_awaited).await;
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.time.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.awaited.send_if_modified(|awaited| awaited.times.insert(at));
        self.time.sleep_until(at).await;
    }

    fn moment(&self) -> Moment {
        self.time.moment()
    }

    async fn sleep_until_moment(&self, at: Moment) {
        self.awaited.send_if_modified(|awaited| awaited.moments.insert(at));
        self.time.sleep_until_moment(at).await;
    }
}
