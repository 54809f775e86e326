//! When to try again, and when to pause a receiver: pure functions of numbers.

use std::time::Duration;

use crate::engine::Moment;

/// The pause after the first failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(8 * 3_600);
/// After this many failures in a row, the receiver gets one request at a time, with pauses between them.
const FAILURES: u32 = 5;
/// The first of these pauses, and the longest.
const FIRST_REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// The longest `Retry-After` that is obeyed.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// The pause after this many attempts, a fifth more or less.
pub(super) fn pause(attempts: u32, chance: f64) -> Duration {
    let times = 4_u32.saturating_pow(attempts.saturating_sub(1).min(12));
    let pause = FIRST_PAUSE.saturating_mul(times).min(LONGEST_PAUSE);
    pause.mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0))
}

/// A receiver's circuit breaker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// The receiver gets no requests until then.
    until: Option<Moment>,
}

impl Breaker {
    /// The number of concurrent requests at `now`, if `most` are allowed otherwise.
    pub(super) fn places(&self, now: Moment, most: usize) -> usize {
        match self.until {
            Some(until) if now < until => 0,
            Some(_) => 1,
            None => most,
        }
    }

    /// When the pause ends, if there is one.
    pub(super) fn until(&self, now: Moment) -> Option<Moment> {
        self.until.filter(|until| now < *until)
    }

    /// Whether the receiver has not failed since it last succeeded.
    pub(super) fn is_new(&self) -> bool {
        self.failures == 0
    }

    /// Notes a success.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        if let Some(more) = self.failures.checked_sub(FAILURES) {
            let rest = FIRST_REST.saturating_mul(2_u32.saturating_pow(more.min(16)));
            self.until = Some(now.after(rest.min(LONGEST_REST)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_hours() {
        let seconds: Vec<u64> = (1..=9).map(|it| pause(it, 0.5).as_secs()).collect();
        assert_eq!(seconds, [5, 20, 80, 320, 1_280, 5_120, 20_480, 28_800, 28_800]);
        assert_eq!(pause(1, 0.0), Duration::from_secs(4));
        assert_eq!(pause(u32::MAX, 1.0), LONGEST_PAUSE.mul_f64(1.2));
    }

    #[test]
    fn who_fails_again_and_again_is_left_in_peace_for_longer_each_time() {
        let (mut breaker, mut now) = (Breaker::default(), Moment::default());
        for _ in 0..4 {
            breaker.failed(now);
        }
        assert_eq!(breaker.places(now, 8), 8);
        for rest in [10, 20, 40, 80, 160, 300, 300] {
            breaker.failed(now);
            let just_before = now.after(Duration::from_secs(rest - 1));
            assert_eq!((breaker.places(now, 8), breaker.places(just_before, 8)), (0, 0));
            now = now.after(Duration::from_secs(rest));
            assert_eq!(breaker.places(now, 8), 1);
        }
        breaker.succeeded();
        assert_eq!(breaker.places(now, 8), 8);
    }
}
