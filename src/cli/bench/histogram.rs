//! Latencies, counted in buckets of 1.6 % width: bounded memory however long a run is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets per doubling, as a power of two.
const PRECISION: u32 = 6;
const PER_DOUBLING: usize = 1 << PRECISION;
/// Up to 2^40 microseconds, which is 12 days; longer latencies count as that.
const DOUBLINGS: usize = 40;
const BUCKETS: usize = (DOUBLINGS - PRECISION as usize + 1) * PER_DOUBLING;

/// Takes latencies from any number of tasks.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Vec<AtomicU64>,
    micros: AtomicU64,
}

/// The contents of a histogram at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Latencies {
    buckets: Vec<u64>,
    micros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub(super) fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
            self.micros.fetch_add(micros, Ordering::Relaxed);
        }
    }

    pub(super) fn latencies(&self) -> Latencies {
        Latencies {
            buckets: self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            micros: self.micros.load(Ordering::Relaxed),
        }
    }
}

impl Latencies {
    /// The latencies that were added since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&earlier.buckets);
        Self {
            buckets: pairs.map(|(now, before)| now.saturating_sub(*before)).collect(),
            micros: self.micros.saturating_sub(earlier.micros),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The latency that `share` of them do not exceed, from 0 to 1; zero if there are none.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_micros(at.map_or(0, highest_of))
    }

    /// The longest.
    pub(super) fn max(&self) -> Duration {
        let at = self.buckets.iter().rposition(|count| *count > 0);
        Duration::from_micros(at.map_or(0, highest_of))
    }

    /// The mean, of the latencies as they were measured.
    pub(super) fn mean(&self) -> Duration {
        Duration::from_micros(self.micros.checked_div(self.count()).unwrap_or(0))
    }
}

/// Below [`PER_DOUBLING`] each microsecond has its bucket, above that the highest bits decide.
fn bucket_of(micros: u64) -> usize {
    let exponent = micros.max(1).ilog2();
    let Some(shift) = exponent.checked_sub(PRECISION) else { return micros as usize };
    let bucket = (shift as usize) * PER_DOUBLING + (micros >> shift) as usize;
    bucket.min(BUCKETS - 1)
}

/// The highest latency of a bucket, in microseconds.
fn highest_of(bucket: usize) -> u64 {
    let Some(shift) = (bucket / PER_DOUBLING).checked_sub(1) else { return bucket as u64 };
    let leading = (bucket - shift * PER_DOUBLING) as u64;
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_the_bucket_that_names_it() {
        for micros in (0..100_000).chain((0..39).map(|power| (1 << power) + 12_345)) {
            let bucket = bucket_of(micros);
            let highest = highest_of(bucket);
            assert!(micros <= highest && highest - micros <= micros / 64, "{micros}: {highest}");
            assert!(bucket == 0 || highest_of(bucket - 1) < micros, "{micros}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded_in_between() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(9));
        let before = histogram.latencies();
        (1..=100).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        let added = histogram.latencies().since(&before);
        assert_eq!(added.count(), 100);
        let near = |found: Duration, ms: f64| (found.as_secs_f64() * 1e3 / ms - 1.0).abs() < 0.02;
        assert!(near(added.quantile(0.5), 50.0), "{:?}", added.quantile(0.5));
        assert!(near(added.quantile(0.99), 99.0) && near(added.max(), 100.0));
        assert_eq!(added.mean(), Duration::from_micros(50_500));
        let none = before.since(&before);
        assert_eq!((none.quantile(0.5), none.mean()), (Duration::ZERO, Duration::ZERO));
    }
}
