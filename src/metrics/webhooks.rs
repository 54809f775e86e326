//! The outcomes of webhooks' deliveries.

use std::sync::atomic::{AtomicU64, Ordering};

use super::values::{Counter, CounterSet};

/// The outcomes of attempts to deliver, and of deliveries that are not attempted any more.
const OUTCOMES: [&str; 4] = ["delivered", "failed", "dead", "dropped"];

/// The outcomes of webhooks' deliveries.
#[derive(Debug)]
pub struct WebhookMeters {
    /// Attempts and dropped deliveries, by outcome.
    pub outcomes: CounterSet,
    /// How often changes were no longer kept when they should have been read.
    pub gaps: Counter,
    /// Pending deliveries at the last count; only at the replica that sends.
    pending: AtomicU64,
}

impl Default for WebhookMeters {
    fn default() -> Self {
        let (gaps, pending) = (Counter::default(), AtomicU64::new(0));
        Self { outcomes: CounterSet::new(OUTCOMES), gaps, pending }
    }
}

impl WebhookMeters {
    /// Adds to an outcome.
    pub fn add(&self, outcome: &str, count: u64) {
        (0..count).for_each(|_| self.outcomes.one(outcome));
    }

    /// Sets the number of pending deliveries.
    pub fn set_pending(&self, count: u64) {
        self.pending.store(count, Ordering::Relaxed);
    }

    /// The number of pending deliveries.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }
}
