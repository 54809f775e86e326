//! Numbers that many threads add to and a scrape reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters by name, of a closed set of names.
#[derive(Debug)]
pub struct CounterSet(Vec<(&'static str, Counter)>);

impl CounterSet {
    /// All at zero.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self(names.into_iter().map(|name| (name, Counter::default())).collect())
    }

    /// One more of a name; a name outside the set is not counted.
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

/// How many there are at the moment.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// One that counts in a gauge until it is dropped.
#[derive(Debug)]
pub struct Held(Arc<Gauge>);

impl Gauge {
    /// One more until the answer is dropped.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        self.0.fetch_add(1, Relaxed);
        Held(Arc::clone(self))
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// How often values fell below each of some bounds, and their sum. Durations are kept in microseconds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than bounds: the last is for what is above all of them.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    /// How much of the shown unit one is.
    scale: f64,
}

/// What a histogram has at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The sum of all values.
    pub sum: f64,
    /// The upper bounds, each with the values between it and the one before.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Of durations, by bounds in microseconds.
    pub fn of_durations(bounds: &'static [u64]) -> Self {
        Self { scale: 1e-6, ..Self::of_numbers(bounds) }
    }

    /// Of numbers.
    pub fn of_numbers(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0), scale: 1.0 }
    }

    /// One more value.
    pub fn add(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    /// One more duration.
    pub fn add_duration(&self, duration: Duration) {
        self.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// What there is.
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
    /// How many values there were.
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
