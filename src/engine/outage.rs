//! The time from a failed commit until the store takes writes again: nothing is decided, the store is
//! tried now and then, and the name of a commit in doubt is claimed before anything rests on it.
//!
//! While there is doubt the draft is neither settled nor undone: what it took from the queue stays
//! taken, its leases are not given out, nobody is told of it. Sessions may come and go meanwhile.

use std::time::Duration;

use super::committer::Committer;
use super::dispatch::{Message, Resumed};
use super::draft::Draft;
use super::health::not_writable;
use super::request::EngineError;
use crate::operation::Timestamp;
use crate::store::{Committed, StoreError};

/// How long after a failure the store is tried again; twice as long after each further failure
/// without a commit in between.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A commit that takes longer than so many steps makes the store count as failing until it is over. In
/// steps, because a clock that is set ahead is no slow store.
const STALLED_STEPS: u32 = 10;
const STALLED_STEP: Duration = Duration::from_secs(1);

/// Such a time.
#[derive(Debug)]
pub(super) struct Outage {
    doubt: Option<Doubt>,
    try_at: Timestamp,
    pause: Duration,
}

/// A commit of which it is not known whether it happened.
#[derive(Debug)]
pub(super) struct Doubt {
    draft: Draft,
    messages: Vec<Message>,
    /// Those whom the messages tell what they missed.
    resumed: Vec<Resumed>,
}

impl Outage {
    /// When to try the store again.
    pub(super) fn next_try(&self, now: Timestamp) -> Timestamp {
        // A clock that was set back must not make the pause longer.
        if self.try_at.since(now) > self.pause { now } else { self.try_at.max(now) }
    }
}

impl Committer {
    /// Returns when a commit that was begun before takes too long, which everybody may know by then.
    pub(super) async fn stalled(&self) {
        let clock = &self.shared.clock;
        for _ in 0..STALLED_STEPS {
            clock.sleep_until(clock.now().after(STALLED_STEP)).await;
        }
        let reason = format!("a commit takes longer than {:?}", STALLED_STEP * STALLED_STEPS);
        self.shared.health.failing(reason, clock.now());
    }

    /// The draft's commit may or may not have happened.
    pub(super) fn doubt(&mut self, draft: Draft, messages: Vec<Message>) -> Doubt {
        Doubt { draft, messages, resumed: std::mem::take(&mut self.resumed) }
    }

    /// A commit failed: nothing more is decided until the store takes writes again. Answers what the
    /// callers are told.
    pub(super) fn begin_outage(
        &mut self,
        error: &StoreError,
        doubt: Option<Doubt>,
        now: Timestamp,
    ) -> EngineError {
        self.shared.health.failing(error.to_string(), now);
        let pause = self.next_pause();
        // What is in doubt is cleared up as soon as can be.
        let try_at = if doubt.is_some() { now } else { now.after(pause) };
        self.outage = Some(Outage { doubt, try_at, pause });
        match error {
            StoreError::Corrupt(_) => EngineError::damaged(),
            _ => not_writable(),
        }
    }

    /// Whether anything can be decided now. Tries the store when it is time to.
    pub(super) async fn is_up(&mut self, now: Timestamp) -> bool {
        let Some(outage) = &self.outage else { return true };
        if outage.next_try(now) > now {
            return false;
        }
        if let Err(error) = self.end_outage().await {
            self.shared.health.failing(error.to_string(), now);
            let pause = self.next_pause();
            if let Some(outage) = &mut self.outage {
                (outage.pause, outage.try_at) = (pause, now.after(pause));
            }
            return false;
        }
        self.shared.health.writable(now);
        true
    }

    /// Until the next try: the longer, the more has failed. Others that are back before us take our sessions for
    /// lost after one lease duration.
    fn next_pause(&mut self) -> Duration {
        let longest =
            self.replicas.as_ref().map_or(LONGEST_PAUSE, |_| self.config.lease_duration / 6);
        let pause = pause_after(self.failures).min(longest);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    async fn end_outage(&mut self) -> Result<(), StoreError> {
        let committed = self.shared.store.settle().await?;
        if let Some(Outage { doubt: Some(doubt), .. }) = self.outage.take() {
            tracing::warn!(was_committed = committed.is_some(), "a commit in doubt was settled");
            self.clear_up(doubt, committed.as_ref());
        }
        let now = self.shared.clock.now();
        if let Some(replicas) = &mut self.replicas {
            replicas.after_outage(now);
        }
        self.stock_all();
        Ok(())
    }

    /// Does what would have been done, had the outcome been known at once.
    fn clear_up(&mut self, doubt: Doubt, committed: Option<&Committed>) {
        let Doubt { draft, mut messages, mut resumed } = doubt;
        let since = std::mem::take(&mut self.resumed);
        if let Some(committed) = committed {
            let touched: Vec<_> = draft.touched().collect();
            // A session resumed since then learned everything when it resumed.
            messages.retain(|message| since.iter().all(|other| other.session != message.session));
            self.settle(draft, messages, committed);
            // Another replica may have gone on from there.
            touched.into_iter().for_each(|id| self.shared.cache.remove(id));
            self.resumed = since;
        } else {
            self.abandon(draft);
            resumed.retain(|earlier| since.iter().all(|other| other.session != earlier.session));
            resumed.extend(since);
            self.resumed = resumed;
        }
    }
}

/// The pause after so many failures before.
fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::super::sample::at;
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest() {
        let pauses: Vec<u64> = (0..7).map(|failures| pause_after(failures).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn the_next_try_comes_when_its_time_has_or_the_clock_was_set_back() {
        let outage = Outage { doubt: None, try_at: at(100), pause: Duration::from_secs(8) };
        assert_eq!(outage.next_try(at(92)), at(100));
        assert_eq!(outage.next_try(at(99)), at(100));
        assert_eq!(outage.next_try(at(100)), at(100));
        assert_eq!(outage.next_try(at(101)), at(101));
        assert_eq!(outage.next_try(at(50)), at(50), "set back by far more than the pause");
    }
}
