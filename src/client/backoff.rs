//! The wait before the next try: growing, jittered, bounded. No clock, no sleeping.

use std::time::Duration;

/// A growing wait. Half of each wait is random, so that many clients that lost the same server do not return in step.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `initial` up to `max`.
    pub(crate) fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, next: initial.min(max) }
    }

    /// The wait before the next try; at least `hint`, which the server asked for.
    pub(crate) fn wait(&mut self, hint: Option<Duration>) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.max);
        full.mul_f64(0.5 + 0.5 * fastrand::f64()).max(hint.unwrap_or_default())
    }

    /// Starts again at the initial wait, because the last try succeeded.
    pub(crate) fn reset(&mut self) {
        self.next = self.initial.min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_maximum_and_keep_hints() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        for full in [100, 200, 300, 300] {
            let wait = backoff.wait(None).as_millis();
            assert!((full / 2..=full).contains(&wait), "{wait} of {full}");
        }
        assert_eq!(backoff.wait(Some(Duration::from_secs(9))), Duration::from_secs(9));
        backoff.reset();
        assert!(backoff.wait(None) <= Duration::from_millis(100));
    }
}
