//! Numbers to which many threads add, and which a scrape reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A rising number.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters by name, for a fixed set of names.
#[derive(Debug)]
pub struct CounterSet(Vec<(&'static str, Counter)>);

impl CounterSet {
    /// A set with all counters at zero.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self(names.into_iter().map(|name| (name, Counter::default())).collect())
    }

    /// Adds one to a name's counter; names outside the set are ignored.
    pub fn one(&self, name: &str) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == name) {
            counter.one();
        }
    }

    /// The counts by name.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(name, counter)| (*name, counter.get()))
    }
}

/// A present number.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// Counts in a gauge until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<Gauge>);

impl Gauge {
    /// Adds one until the returned value is dropped.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        self.0.fetch_add(1, Relaxed);
        Held(Arc::clone(self))
    }

    /// The present number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// Counts values below each of some bounds, and their sum. Durations are stored in microseconds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: the last one is for values above all of them.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// The factor from the stored unit to the shown one.
    scale: f64,
}

/// The state of a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The sum of all values.
    pub sum: f64,
    /// The upper bounds, each with the number of values between the previous bound and it.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// A histogram of durations, with bounds in microseconds.
    pub fn of_durations(bounds: &'static [u64]) -> Self {
        Self { scale: 1e-6, ..Self::of_numbers(bounds) }
    }

    /// A histogram of numbers.
    pub fn of_numbers(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0), scale: 1.0 }
    }

    /// Adds a value.
    pub fn add(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    /// Adds a duration.
    pub fn add_duration(&self, duration: Duration) {
        self.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// The present state.
    pub fn read(&self) -> Reading {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 * self.scale);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        Reading {
            sum: self.sum.load(Relaxed) as f64 * self.scale,
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
        }
    }
}

impl Reading {
    /// The number of values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_within_its_bucket() {
        let histogram = Histogram::of_numbers(&[1, 10]);
        [0, 1, 2, 10, 11].into_iter().for_each(|value| histogram.add(value));
        let buckets = vec![(1.0, 2), (10.0, 2), (f64::INFINITY, 1)];
        assert_eq!(histogram.read(), Reading { sum: 24.0, buckets });
        let durations = Histogram::of_durations(&[1_000]);
        durations.add_duration(Duration::from_millis(1));
        let buckets = vec![(0.001, 1), (f64::INFINITY, 0)];
        assert_eq!(durations.read(), Reading { sum: 0.001, buckets });
    }

    #[test]
    fn what_is_held_counts_until_it_is_dropped() {
        let gauge = Arc::new(Gauge::default());
        let held = [gauge.hold(), gauge.hold()];
        assert_eq!(gauge.get(), 2);
        drop(held);
        assert_eq!(gauge.get(), 0);
    }
}
