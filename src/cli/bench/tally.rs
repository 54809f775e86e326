//! Counts and measurements, and the part of them that belongs to a span of time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::histogram::{Histogram, Latencies};

/// Counts the calls and ends of all clients and workers.
#[derive(Debug)]
pub(super) struct Tally {
    /// The zero of the times in inputs.
    began: Instant,
    /// From the call of submit to its response.
    pub(super) submit: Histogram,
    /// From the call of submit to the worker's handler.
    pub(super) push: Histogram,
    /// From the call of submit to the moment at which the watcher learns of the end.
    pub(super) end: Histogram,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

/// All of it at some moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    at: Instant,
    submit: Latencies,
    push: Latencies,
    end: Latencies,
    failed: u64,
}

/// What happened between two moments.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) time: Duration,
    pub(super) submit: Latencies,
    pub(super) push: Latencies,
    pub(super) end: Latencies,
    pub(super) failed: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            submit: Histogram::default(),
            push: Histogram::default(),
            end: Histogram::default(),
            failed: AtomicU64::new(0),
            first_failure: Mutex::default(),
        }
    }

    /// A time as the first bytes of an input.
    pub(super) fn encode(&self, at: Instant) -> [u8; 8] {
        let micros = at.saturating_duration_since(self.began).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX).to_be_bytes()
    }

    /// The time that an input begins with.
    pub(super) fn decode(&self, input: &[u8]) -> Option<Instant> {
        let micros = u64::from_be_bytes(*input.first_chunk()?);
        self.began.checked_add(Duration::from_micros(micros))
    }

    /// A call failed, or work did not end well.
    pub(super) fn fail(&self, why: impl FnOnce() -> String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(why);
    }

    pub(super) fn first_failure(&self) -> Option<String> {
        self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            at: Instant::now(),
            submit: self.submit.latencies(),
            push: self.push.latencies(),
            end: self.end.latencies(),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

impl Moment {
    pub(super) fn since(&self, earlier: &Self) -> Measured {
        Measured {
            time: self.at.saturating_duration_since(earlier.at),
            submit: self.submit.since(&earlier.submit),
            push: self.push.since(&earlier.push),
            end: self.end.since(&earlier.end),
            failed: self.failed.saturating_sub(earlier.failed),
        }
    }
}

impl Measured {
    /// The rate per second of a count.
    pub(super) fn rate(&self, latencies: &Latencies) -> f64 {
        latencies.count() as f64 / self.time.as_secs_f64().max(1e-9)
    }
}
