//! Recent numbers, as this server committed them: of each queue the counts of the last minute, and how long the latest
//! attempts waited and took; and how long the latest commits took.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::engine::clock::Moment;
use crate::engine::dispatch::queue::QueueKey;
use crate::metrics::Times;
use crate::operation::{EventType, Kind, Operation, StateName, TenantId};

/// The window of the counts.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// Events within this time are counted together.
const STEP: Duration = Duration::from_secs(5);
/// The number of latest attempts or commits whose durations are kept.
const LATEST: usize = 100;
/// The number of queues that are kept before those without recent events are removed.
const SPARE: usize = 1_024;

/// Events within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Happened {
    /// Submitted operations.
    pub(crate) submitted: u64,
    /// Started attempts.
    pub(crate) started: u64,
    /// Operations that ended.
    pub(crate) ended: u64,
    /// Operations that ended as FAILED.
    pub(crate) failed: u64,
}

/// The median, the 95th and the 99th percentile of the latest durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of the durations are at most this.
    pub p50: Duration,
    /// 95 % of the durations are at most this.
    pub p95: Duration,
    /// 99 % of the durations are at most this.
    pub p99: Duration,
}

/// A queue's recent numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) happened: Happened,
    /// How long the latest attempts waited since they became due.
    pub(crate) waits: Option<Percentiles>,
    /// How long the latest attempts took.
    pub(crate) attempts: Option<Percentiles>,
}

#[derive(Debug, Default)]
pub(crate) struct Recent {
    of: HashMap<QueueKey, Queue>,
    commits: Latest,
    forget_above: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// The steps with events, oldest first: at most a window of them.
    steps: VecDeque<(Moment, Happened)>,
    waits: Latest,
    attempts: Latest,
}

/// The latest durations, in microseconds.
#[derive(Debug, Default)]
struct Latest(VecDeque<u64>);

impl Latest {
    fn add(&mut self, duration: Duration) {
        if self.0.len() == LATEST {
            self.0.pop_front();
        }
        self.0.push_back(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn percentiles(&self) -> Option<Percentiles> {
        let mut all: Vec<u64> = self.0.iter().copied().collect();
        let last = all.len().checked_sub(1)?;
        let mut at = |percent: usize| {
            let (_, micros, _) = all.select_nth_unstable((last * percent).div_ceil(100));
            Duration::from_micros(*micros)
        };
        Some(Percentiles { p50: at(50), p95: at(95), p99: at(99) })
    }
}

impl Happened {
    fn plus(self, other: Self) -> Self {
        Self {
            submitted: self.submitted + other.submitted,
            started: self.started + other.started,
            ended: self.ended + other.ended,
            failed: self.failed + other.failed,
        }
    }
}

impl Queue {
    fn add(&mut self, happened: Happened, now: Moment) {
        while self.steps.front().is_some_and(|(began, _)| now.since(*began) > WINDOW) {
            self.steps.pop_front();
        }
        if self.steps.back().is_none_or(|(began, _)| now.since(*began) > STEP) {
            self.steps.push_back((now, Happened::default()));
        }
        if let Some((_, step)) = self.steps.back_mut() {
            *step = step.plus(happened);
        }
    }

    fn within(&self, now: Moment) -> Happened {
        let within = self.steps.iter().filter(|(began, _)| now.since(*began) <= WINDOW);
        within.fold(Happened::default(), |sum, (_, step)| sum.plus(*step))
    }
}

impl Recent {
    /// Counts a committed transition.
    pub(crate) fn add(
        &mut self,
        key: &QueueKey,
        (before, after): (Option<&Operation>, &Operation),
        event_type: EventType,
        now: Moment,
    ) {
        if self.of.len() > self.forget_above.max(SPARE) {
            self.of.retain(|_, queue| queue.within(now) != Happened::default());
            self.forget_above = 2 * self.of.len();
        }
        let queue = match self.of.get_mut(key) {
            Some(queue) => queue,
            None => self.of.entry(key.clone()).or_default(),
        };
        let times = before.map(|before| Times::of(before, after)).unwrap_or_default();
        if let Some(waited) = times.waited {
            queue.waits.add(waited);
        }
        if let Some(took) = times.attempt {
            queue.attempts.add(took);
        }
        let happened = Happened {
            submitted: (event_type == EventType::Submitted).into(),
            started: (event_type == EventType::Started).into(),
            ended: after.is_done().into(),
            failed: (after.state_name() == StateName::Failed).into(),
        };
        queue.add(happened, now);
    }

    /// Counts a commit.
    pub(crate) fn commit_took(&mut self, took: Duration) {
        self.commits.add(took);
    }

    /// How long the latest commits took.
    pub(crate) fn commits(&self) -> Option<Percentiles> {
        self.commits.percentiles()
    }

    /// A queue's recent numbers.
    pub(crate) fn seen(&self, key: &QueueKey, now: Moment) -> Seen {
        let Some(queue) = self.of.get(key) else { return Seen::default() };
        let (waits, attempts) = (queue.waits.percentiles(), queue.attempts.percentiles());
        Seen { happened: queue.within(now), waits, attempts }
    }

    /// The tenant's kinds whose operations have ended recently.
    pub(crate) fn ended_of(&self, tenant: &TenantId, now: Moment) -> impl Iterator<Item = &Kind> {
        let of = self.of.iter().filter(move |(key, _)| key.tenant == *tenant);
        of.filter(move |(_, queue)| queue.within(now).ended > 0).map(|(key, _)| &key.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::{at as timestamp, cancelled, operation};
    use crate::operation::state::Outcome;
    use crate::operation::{OperationError, State};

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    fn key(kind: &str) -> QueueKey {
        QueueKey { tenant: TenantId::default_tenant(), kind: Kind::parse(kind).expect("a kind") }
    }

    #[test]
    fn what_happens_counts_for_a_minute_and_quiet_queues_are_forgotten() {
        let queued = operation(1, timestamp(0));
        let done = cancelled(&queued);
        let mut recent = Recent::default();
        let end = |key: &QueueKey, second, recent: &mut Recent| {
            recent.add(key, (Some(&queued), &done), EventType::Finished, at(second));
        };
        recent.add(&key("a"), (None, &queued), EventType::Submitted, at(0));
        [0, 1, 30, 59].into_iter().for_each(|second| end(&key("a"), second, &mut recent));
        let seen = |recent: &Recent, second| recent.seen(&key("a"), at(second)).happened;
        let all = Happened { submitted: 1, ended: 4, ..Happened::default() };
        assert_eq!(seen(&recent, 59), all);
        assert_eq!(seen(&recent, 61), Happened { ended: 2, ..Happened::default() });
        assert_eq!(seen(&recent, 120), Happened::default());
        let kinds = |second| recent.ended_of(&TenantId::default_tenant(), at(second)).count();
        assert_eq!((kinds(61), kinds(120)), (1, 0));
        end(&key("b"), 200, &mut recent);
        assert!(recent.of.contains_key(&key("a")), "there are few");
        for number in 0..=SPARE {
            end(&key(&format!("k{number}")), 200, &mut recent);
        }
        assert!(!recent.of.contains_key(&key("a")) && recent.of.len() > SPARE);
    }

    #[test]
    fn attempts_that_start_and_operations_that_fail_are_counted_in_every_step() {
        let queued = operation(1, timestamp(0));
        let mut failed = queued.clone();
        let outcome = Outcome::Failed { error: OperationError::service("BROKEN", 9, "broken") };
        failed.life.state = State::Done { outcome, at: timestamp(1), purge_at: timestamp(9) };
        let mut recent = Recent::default();
        for second in [0, 10, 20] {
            recent.add(&key("a"), (Some(&queued), &queued), EventType::Started, at(second));
            recent.add(&key("a"), (Some(&queued), &failed), EventType::Finished, at(second));
        }
        let expected = Happened { submitted: 0, started: 3, ended: 3, failed: 3 };
        assert_eq!(recent.seen(&key("a"), at(20)).happened, expected);
        assert_eq!(recent.seen(&key("b"), at(20)), Seen::default());
        assert_eq!(recent.commits(), None);
        recent.commit_took(Duration::from_millis(7));
        assert_eq!(recent.commits().map(|it| it.p50), Some(Duration::from_millis(7)));
    }

    #[test]
    fn percentiles_are_those_of_the_latest() {
        let mut latest = Latest::default();
        assert_eq!(latest.percentiles(), None);
        latest.add(Duration::from_millis(7));
        let millis = |p50, p95, p99| {
            let [p50, p95, p99] = [p50, p95, p99].map(Duration::from_millis);
            Some(Percentiles { p50, p95, p99 })
        };
        assert_eq!(latest.percentiles(), millis(7, 7, 7));
        (1..=1_000).for_each(|milli| latest.add(Duration::from_millis(milli)));
        assert_eq!(latest.percentiles(), millis(951, 996, 1_000));
        assert_eq!(latest.0.len(), LATEST);
    }
}
