//! When another attempt follows a failed one.

use std::time::Duration;

/// The policy for retries. Valid by construction in [`super::settings`].
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The maximum number of attempts, including the first; at least 1.
    pub max_attempts: u32,
    /// The wait before the second attempt.
    pub initial_backoff: Duration,
    /// The factor of each further wait; at least 1.
    pub multiplier: f64,
    /// The longest wait.
    pub max_backoff: Duration,
    /// The random part of a wait, from 0 to 1.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            initial_backoff: Duration::from_secs(1),
            multiplier: 2.0,
            max_backoff: Duration::from_secs(60),
            jitter: 0.2,
        }
    }
}

impl RetryPolicy {
    /// The wait after `attempts_used` attempts (at least 1). `chance`, from 0 to 1, is drawn by the caller and shortens
    /// the wait by that part of `jitter`.
    pub fn backoff(&self, attempts_used: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(attempts_used.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = self.initial_backoff.as_secs_f64() * self.multiplier.powi(exponent);
        let capped = full.min(self.max_backoff.as_secs_f64());
        let wait = capped * (1.0 - self.jitter * chance.clamp(0.0, 1.0));
        Duration::try_from_secs_f64(wait).unwrap_or(self.max_backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_maximum() {
        let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::default() };
        let waits: Vec<u64> = (1..9).map(|used| policy.backoff(used, 0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy.backoff(u32::MAX, 0.0), policy.max_backoff);
    }

    #[test]
    fn jitter_only_shortens_and_only_by_its_share() {
        let policy = RetryPolicy { jitter: 0.5, ..RetryPolicy::default() };
        assert_eq!(policy.backoff(1, 0.0), Duration::from_secs(1));
        assert_eq!(policy.backoff(1, 1.0), Duration::from_millis(500));
    }
}
