//! A manual clock that also tells who waits for which time.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use longrun::engine::{Clock, ManualClock};
use longrun::operation::Timestamp;

/// When it starts: 2026-01-01.
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Stands still until it is told to go on.
#[derive(Debug)]
pub struct TestClock {
    time: ManualClock,
    /// Every time that somebody has waited for.
    awaited: watch::Sender<BTreeSet<Timestamp>>,
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

    /// Returns once somebody waits for the time that is `from_now` away.
    pub async fn is_awaited_in(&self, from_now: Duration) {
        let at = self.now().after(from_now);
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.awaited.subscribe().wait_for(|awaited| awaited.contains(&at)).await;
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.time.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.awaited.send_if_modified(|awaited| awaited.insert(at));
        self.time.sleep_until(at).await;
    }
}
