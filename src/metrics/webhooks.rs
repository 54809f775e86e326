//! Webhooks: what became of deliveries.

use std::sync::atomic::{AtomicU64, Ordering};

use super::values::{Counter, CounterSet};

/// What becomes of an attempt to deliver, and of what is not attempted any more.
const OUTCOMES: [&str; 4] = ["delivered", "failed", "dead", "dropped"];

/// Webhooks: what became of deliveries.
#[derive(Debug)]
pub struct WebhookMeters {
    /// Attempts and ends, by their outcome.
    pub outcomes: CounterSet,
    /// Times at which changes were no longer kept when they were to be read.
    pub gaps: Counter,
    /// Deliveries that wait, as they were counted last; of the replica that sends.
    pending: AtomicU64,
}

impl Default for WebhookMeters {
    fn default() -> Self {
        let (gaps, pending) = (Counter::default(), AtomicU64::new(0));
        Self { outcomes: CounterSet::new(OUTCOMES), gaps, pending }
    }
}

impl WebhookMeters {
    /// So many more of this outcome.
    pub fn add(&self, outcome: &str, count: u64) {
        (0..count).for_each(|_| self.outcomes.one(outcome));
    }

    /// So many wait.
    pub fn set_pending(&self, count: u64) {
        self.pending.store(count, Ordering::Relaxed);
    }

    /// How many wait.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }
}
