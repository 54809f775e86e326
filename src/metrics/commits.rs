//! Commits, and the store's responses to them.

use super::values::{Counter, CounterSet, Histogram};

/// The names of the store's errors.
const ERRORS: [&str; 7] =
    ["conflict", "locked", "sessions_taken", "corrupt", "unavailable", "unknown", "timed_out"];
/// The bounds in microseconds.
const SECONDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 10_000_000,
];
const SIZES: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// Commits, and the store's responses to them.
#[derive(Debug)]
pub struct Commits {
    /// Operations that a commit wrote or removed.
    pub sizes: Histogram,
    /// The duration of commits, whatever their outcome.
    pub durations: Histogram,
    /// Failed commits by error.
    pub errors: CounterSet,
    /// How often the store stopped accepting writes.
    pub outages: Counter,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            sizes: Histogram::of_numbers(&SIZES),
            durations: Histogram::of_durations(&SECONDS),
            errors: CounterSet::new(ERRORS),
            outages: Counter::default(),
        }
    }
}
