//! The pause after which a client should read an operation again: estimated from how long the latest attempts of its
//! queue waited and took, as this server saw them.
//!
//! A client that pauses for a tenth of the probable remaining time learns of the end at most about a tenth late, and
//! its number of reads does not grow with the duration of the work.

use std::time::Duration;

use super::Service;
use crate::engine::Percentiles;
use crate::operation::{Operation, State, Timestamp};

/// A pause is the remaining time divided by this.
const PART: u32 = 10;
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);
/// The longest pause if nothing is known of the kind.
const MOST_UNKNOWN: Duration = Duration::from_secs(30);

impl Service {
    /// How long a polling client should pause, in whole seconds, from 1 to 60.
    pub fn poll_after(&self, operation: &Operation) -> Duration {
        let now = self.now();
        let (waits, attempts) = self.engine.latest_durations(operation);
        match likely_left(operation, waits, attempts, now) {
            Some(left) => Duration::from_secs((left / PART).clamp(LEAST, MOST).as_secs()),
            None => by_age(now.since(operation.submission.created_at)),
        }
    }
}

/// The operation's probable remaining time; `None` if there were no attempts before, or it takes longer than nearly all
/// of them.
fn likely_left(
    operation: &Operation,
    waits: Option<Percentiles>,
    attempts: Option<Percentiles>,
    now: Timestamp,
) -> Option<Duration> {
    let entered = operation.life.updated_at;
    match &operation.life.state {
        State::Queued { not_before } if *not_before > now => {
            let took = attempts.map(|attempts| attempts.p50).unwrap_or_default();
            Some(not_before.since(now).saturating_add(took))
        }
        State::Queued { not_before } => {
            let waited = now.since(entered.max(*not_before));
            Some(left_of(waits?, waited)?.saturating_add(attempts?.p50))
        }
        State::Running { .. } => left_of(attempts?, now.since(entered)),
        State::Cancelling { .. } | State::Done { .. } => None,
    }
}

/// The time left after `gone`: until the median, or the next percentile that is still ahead.
fn left_of(usual: Percentiles, gone: Duration) -> Option<Duration> {
    let ends = [usual.p50, usual.p95, usual.p99];
    ends.into_iter().find(|end| *end >= gone).map(|end| end - gone)
}

/// 1, 2, 4, … up to 30 seconds, by the operation's age. A client that follows this learns of the end late by at most
/// the duration of the operation.
fn by_age(age: Duration) -> Duration {
    let age = age.clamp(LEAST, MOST_UNKNOWN);
    if age == MOST_UNKNOWN { age } else { Duration::from_secs(1 << age.as_secs().ilog2()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::{at, operation};
    use crate::operation::{Command, Decision, SessionId, WorkerId, decide};

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn usually(p50: u64, p95: u64, p99: u64) -> Option<Percentiles> {
        Some(Percentiles { p50: seconds(p50), p95: seconds(p95), p99: seconds(p99) })
    }

    fn running(queued: &Operation, now: Timestamp) -> Operation {
        let acquire = Command::Acquire {
            session: SessionId::in_process(uuid::Uuid::from_u128(1)),
            worker: WorkerId::parse("w").unwrap(),
        };
        match decide(queued, &acquire, None, now) {
            Ok(Decision::Change(event)) => {
                Operation { submission: queued.submission.clone(), life: event.life }
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_left_follows_from_what_others_took() {
        let queued = operation(1, at(0));
        let (waits, attempts) = (usually(20, 40, 60), usually(600, 900, 1_000));
        let left = |operation: &Operation, now| likely_left(operation, waits, attempts, at(now));
        assert_eq!(left(&queued, 0), Some(seconds(620)));
        assert_eq!(left(&queued, 15), Some(seconds(605)));
        assert_eq!(left(&queued, 30), Some(seconds(610)), "it waits longer than half of them");
        assert_eq!(left(&queued, 61), None, "longer than nearly all");
        let running = running(&queued, at(100));
        assert_eq!(left(&running, 100), Some(seconds(600)));
        assert_eq!(left(&running, 699), Some(seconds(1)));
        assert_eq!(left(&running, 750), Some(seconds(250)));
        assert_eq!(left(&running, 1_101), None);
        assert_eq!(likely_left(&running, None, None, at(100)), None);
        assert_eq!(likely_left(&queued, waits, None, at(0)), None);
    }

    #[test]
    fn what_is_unknown_is_asked_for_by_its_age() {
        let after = [0, 1, 2, 3, 4, 7, 8, 15, 16, 29, 30, 31, 10_000]
            .map(|age| by_age(seconds(age)).as_secs());
        assert_eq!(after, [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 30, 30, 30]);
        assert_eq!(by_age(Duration::MAX), seconds(30));
    }
}
