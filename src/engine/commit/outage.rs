//! The time from a failed commit until the store accepts writes again: when to retry. Pure.

use std::time::Duration;

use crate::engine::clock::Moment;

/// The pause after the first failure; doubled after each further failure without a commit in between.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Outage {
    /// The next try; `None` while the store accepts writes.
    try_at: Option<Moment>,
    longest: Duration,
    /// Failures since the last commit.
    failures: u32,
}

impl Outage {
    /// `longest` limits every pause, however many tries have failed.
    pub(crate) fn new(longest: Option<Duration>) -> Self {
        let longest = longest.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        Self { try_at: None, longest, failures: 0 }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.try_at.is_some()
    }

    /// When to try the store again.
    pub(crate) fn next_try(&self) -> Option<Moment> {
        self.try_at
    }

    /// A commit failed. A commit in doubt is resolved `at_once`.
    pub(crate) fn begin(&mut self, now: Moment, at_once: bool) {
        let pause = self.next_pause();
        self.try_at = Some(if at_once { now } else { now.after(pause) });
    }

    /// A try failed.
    pub(crate) fn failed_again(&mut self, now: Moment) {
        self.begin(now, false);
    }

    /// The store accepts writes again.
    pub(crate) fn end(&mut self) {
        self.try_at = None;
    }

    /// A commit succeeded.
    pub(crate) fn committed(&mut self) {
        self.failures = 0;
    }

    fn next_pause(&mut self) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        pause.min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(outage: &mut Outage, count: usize) -> Vec<u64> {
        (0..count).map(|_| outage.next_pause().as_secs()).collect()
    }

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew_with_a_commit() {
        let mut outage = Outage::new(None);
        assert_eq!(pauses(&mut outage, 7), [1, 2, 4, 8, 16, 30, 30]);
        outage.failures = u32::MAX;
        assert_eq!(pauses(&mut outage, 2), [30, 30]);
        outage.committed();
        assert_eq!(pauses(&mut outage, 2), [1, 2]);
        assert_eq!(pauses(&mut Outage::new(Some(Duration::from_secs(5))), 4), [1, 2, 4, 5]);
    }

    #[test]
    fn no_pause_is_longer_than_the_longest_whatever_is_wanted() {
        let minute = Duration::from_secs(60);
        assert_eq!(pauses(&mut Outage::new(Some(minute)), 7), [1, 2, 4, 8, 16, 30, 30]);
        let millis = Duration::from_millis(500);
        assert_eq!(Outage::new(Some(millis)).next_pause(), millis);
    }

    #[test]
    fn a_store_that_fails_again_before_a_commit_is_left_alone_for_longer() {
        let at = |seconds| Moment::new(Duration::from_secs(seconds));
        let mut outage = Outage::new(None);
        outage.begin(at(0), true);
        outage.end();
        // The store claimed a name, but then no commit succeeded.
        outage.begin(at(10), false);
        assert_eq!(outage.next_try(), Some(at(12)));
        outage.end();
        outage.committed();
        outage.begin(at(20), false);
        assert_eq!(outage.next_try(), Some(at(21)));
    }

    #[test]
    fn it_lasts_from_a_failure_until_it_is_ended() {
        let at = |seconds| Moment::new(Duration::from_secs(seconds));
        let mut outage = Outage::new(None);
        assert!(!outage.is_on());
        outage.begin(at(10), true);
        assert_eq!(outage.next_try(), Some(at(10)), "what is in doubt cannot wait");
        outage.failed_again(at(10));
        assert_eq!(outage.next_try(), Some(at(12)));
        outage.end();
        assert!(!outage.is_on());
    }
}
