//! Where claims of a queue begin while dead rows of claimed operations cannot be vacuumed.
//!
//! An open transaction, of a backup or a forgotten `psql`, keeps every version of a row that it may still see. So
//! claimed operations stay at the front of their queue, and each claim reads past all of them, longer every minute.
//! Therefore a slow claim looks up the least queued id, its *floor*, and claims skip smaller ids without reading their
//! rows. Deferred operations are claimed by their time instead, also below the floor.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::super::shared::Wanted;
use crate::operation::{Kind, TenantId, Timestamp};

/// How long a floor is used.
const KEPT: Duration = Duration::from_secs(5);
/// How often it is raised meanwhile.
const RAISED: Duration = Duration::from_millis(500);
/// Ids younger than this are above every floor, because a recent submission may still be uncommitted.
const YOUNG: Duration = Duration::from_secs(5);
/// The maximum number of queues with floors.
const MOST: usize = 1_024;

/// The floors of queues, and the duration of claims.
#[derive(Debug)]
pub(super) struct Floors {
    /// A claim that takes this much longer than the fastest is slow.
    slow: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    of: HashMap<(TenantId, Kind), Floor>,
    fastest: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Floor {
    id: Uuid,
    until: Instant,
    raise_at: Instant,
}

impl Floors {
    pub(super) fn new(slow: Duration) -> Self {
        Self { slow, inner: Mutex::default() }
    }

    /// The floors of these queues, and when the first of them expires, if any.
    pub(super) fn of(&self, wanted: &[Wanted], now: Instant) -> (Vec<Uuid>, Option<Instant>) {
        let mut inner = self.inner();
        inner.of.retain(|_, floor| floor.until > now);
        let found = wanted.iter().map(|it| inner.of.get(&queue(it)).copied());
        let found: Vec<Option<Floor>> = found.collect();
        let until = found.iter().flatten().map(|floor| floor.until).min();
        (found.into_iter().map(|floor| floor.map_or(Uuid::nil(), |it| it.id)).collect(), until)
    }

    /// Whether to look up floors, after a claim of these queues that took `took`.
    pub(super) fn are_wanted(&self, wanted: &[Wanted], took: Duration, now: Instant) -> bool {
        let mut inner = self.inner();
        let fastest = inner.fastest.map_or(took, |it| it.min(took));
        inner.fastest = Some(fastest);
        let is_slow = took > fastest + self.slow;
        is_slow
            || wanted.iter().any(|it| inner.of.get(&queue(it)).is_some_and(|it| it.raise_at <= now))
    }

    /// Sets or raises floors to the least queued ids, but below young ids.
    pub(super) fn raise(
        &self,
        least: Vec<(&Wanted, Option<Uuid>)>,
        (at, now): (Timestamp, Instant),
    ) {
        let mut inner = self.inner();
        let young = young(at);
        for (wanted, least) in least {
            let queue = queue(wanted);
            let known = inner.of.get(&queue).copied();
            if known.is_none() && inner.of.len() >= MOST {
                continue;
            }
            let id = least.map_or(young, |id| id.min(young));
            let id = known.map_or(id, |known| known.id.max(id));
            let until = known.map_or(now + KEPT, |known| known.until);
            inner.of.insert(queue, Floor { id, until, raise_at: now + RAISED });
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn queue(wanted: &Wanted) -> (TenantId, Kind) {
    (wanted.tenant.clone(), wanted.kind.clone())
}

/// The least young id: ids begin with the milliseconds of their time.
fn young(now: Timestamp) -> Uuid {
    let since = now.micros().saturating_sub(i64::try_from(YOUNG.as_micros()).unwrap_or(i64::MAX));
    let millis = u128::try_from(since.max(0) / 1_000).unwrap_or_default();
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(kind: &str) -> Wanted {
        let (tenant, kind) = (TenantId::default_tenant(), Kind::parse(kind).unwrap());
        Wanted { tenant, kind, limit: 1, limits: Vec::new() }
    }

    fn id(millis: u128) -> Uuid {
        Uuid::from_u128(millis << 80 | 7)
    }

    #[test]
    fn a_slow_claim_sets_a_floor_that_rises_and_ends() {
        let (floors, begin) = (Floors::new(Duration::from_millis(3)), Instant::now());
        let (queue, now) = ([wanted("a"), wanted("b")], Timestamp::from_micros(100_000_000));
        let (fast, slow) = (Duration::from_millis(1), Duration::from_millis(9));
        assert!(!floors.are_wanted(&queue, fast, begin));
        assert!(floors.are_wanted(&queue, slow, begin));
        floors.raise(vec![(&queue[0], Some(id(1_000))), (&queue[1], None)], (now, begin));
        let (found, until) = floors.of(&queue, begin);
        assert_eq!(found, [id(1_000), Uuid::from_u128(95_000 << 80)]);
        assert_eq!(until, Some(begin + KEPT));
        assert!(!floors.are_wanted(&queue, fast, begin));
        let later = begin + RAISED;
        assert!(floors.are_wanted(&queue, fast, later));
        // A floor never sinks, and raising it does not extend its life.
        let least = vec![(&queue[0], Some(id(96_000))), (&queue[1], Some(id(2_000)))];
        floors.raise(least, (now, later));
        let young = Uuid::from_u128(95_000 << 80);
        assert_eq!(floors.of(&queue, later), (vec![young, young], Some(begin + KEPT)));
        assert_eq!(floors.of(&queue, begin + KEPT), (vec![Uuid::nil(), Uuid::nil()], None));
    }
}
