//! The operations of each queue that ended within the last minute, as this server committed them.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::clock::Moment;
use crate::engine::dispatch::queue::QueueKey;
use crate::operation::{Kind, TenantId};

/// The time that is looked back over.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// Ends are counted together over this time.
const STEP: Duration = Duration::from_secs(5);
/// Queues that may be remembered before those without recent ends are looked for.
const SPARE: usize = 1_024;

/// Operations that have ended within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// All of them.
    pub(crate) all: u64,
    /// Those that FAILED.
    pub(crate) failed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Of each queue the steps with ends, oldest first: at most a window of them.
    of: HashMap<QueueKey, VecDeque<(Moment, Ended)>>,
    forget_above: usize,
}

impl Ends {
    /// One more operation has ended.
    pub(crate) fn add(&mut self, key: &QueueKey, has_failed: bool, now: Moment) {
        if self.of.len() > self.forget_above.max(SPARE) {
            self.of.retain(|_, steps| within(steps, now).next().is_some());
            self.forget_above = 2 * self.of.len();
        }
        let steps = self.of.entry(key.clone()).or_default();
        while steps.front().is_some_and(|(began, _)| now.since(*began) > WINDOW) {
            steps.pop_front();
        }
        if steps.back().is_none_or(|(began, _)| now.since(*began) > STEP) {
            steps.push_back((now, Ended::default()));
        }
        if let Some((_, ended)) = steps.back_mut() {
            ended.all += 1;
            ended.failed += u64::from(has_failed);
        }
    }

    /// The tenant's operations that ended, by kind.
    pub(crate) fn of_tenant(
        &self,
        tenant: &TenantId,
        now: Moment,
    ) -> impl Iterator<Item = (Kind, Ended)> {
        let of = self.of.iter().filter(move |(key, _)| key.tenant == *tenant);
        of.filter_map(move |(key, steps)| {
            let sum = within(steps, now).fold(Ended::default(), |sum, (_, step)| Ended {
                all: sum.all + step.all,
                failed: sum.failed + step.failed,
            });
            (sum.all > 0).then(|| (key.kind.clone(), sum))
        })
    }
}

fn within(
    steps: &VecDeque<(Moment, Ended)>,
    now: Moment,
) -> impl Iterator<Item = &(Moment, Ended)> {
    steps.iter().filter(move |(began, _)| now.since(*began) <= WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_count_for_a_minute_and_queues_without_any_are_forgotten() {
        let at = |seconds| Moment::new(Duration::from_secs(seconds));
        let tenant = TenantId::default_tenant();
        let key = |kind: &str| QueueKey {
            tenant: tenant.clone(),
            kind: Kind::parse(kind).expect("a kind"),
        };
        let mut ends = Ends::default();
        for (second, has_failed) in [(0, true), (1, false), (30, false), (59, true)] {
            ends.add(&key("a"), has_failed, at(second));
        }
        let sum = |ends: &Ends, now| ends.of_tenant(&tenant, at(now)).next().map(|it| it.1);
        assert_eq!(sum(&ends, 59), Some(Ended { all: 4, failed: 2 }));
        assert_eq!(sum(&ends, 61), Some(Ended { all: 2, failed: 1 }));
        assert_eq!(sum(&ends, 120), None);
        for number in 0..=SPARE {
            ends.add(&key(&format!("k{number}")), false, at(200));
        }
        assert!(!ends.of.contains_key(&key("a")) && ends.of.len() > SPARE);
    }
}
