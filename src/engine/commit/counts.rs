//! Counts of operations that are not done, in total and by queue, and of those that ended recently. They decide
//! whether there is room for new ones, and show operators each kind. A transition's cost does not depend on the number
//! of operations.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::recent::{Percentiles, Recent, Seen};
use crate::engine::clock::Moment;
use crate::engine::dispatch::queue::QueueKey;
use crate::engine::request::{EngineError, ServerLimit};
use crate::engine::round::transition::Transition;
use crate::operation::limits::{LimitName, LimitTable};
use crate::operation::{Kind, NewOperation, Operation, TenantId};
use crate::store::shared::Outstanding;

#[derive(Debug)]
pub(crate) struct Counts {
    most: u64,
    all: u64,
    of: HashMap<QueueKey, Live>,
    of_tenant: HashMap<TenantId, Live>,
    recent: Recent,
}

/// Operations that are not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// All of them.
    pub(crate) all: u64,
    /// Those with a running attempt.
    pub(crate) running: u64,
}

/// The submissions that a draft has accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Added {
    all: u64,
    of: HashMap<QueueKey, u64>,
    of_tenant: HashMap<TenantId, u64>,
}

impl Counts {
    /// Allows at most `most` operations that are not done.
    pub(crate) fn new(most: u64) -> Self {
        let (of, of_tenant) = (HashMap::new(), HashMap::new());
        Self { most, all: 0, of, of_tenant, recent: Recent::default() }
    }

    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// How many more operations are allowed.
    pub(crate) fn room(&self) -> u64 {
        self.most.saturating_sub(self.all)
    }

    /// Accepts one more submission, if the limits allow it.
    pub(crate) fn submit(
        &self,
        new: &NewOperation,
        added: &mut Added,
        table: &LimitTable,
    ) -> Result<(), EngineError> {
        if self.all + added.all >= self.most {
            let what = ServerLimit::Outstanding;
            return Err(EngineError::Full { what, limit: self.most });
        }
        let key = QueueKey { tenant: new.tenant.clone(), kind: new.kind.clone() };
        let of_kind = self.live(&key).all;
        let added_of_kind = added.of.entry(key).or_default();
        if let Some(limit) = new.capacity
            && of_kind + *added_of_kind >= limit
        {
            let what = ServerLimit::Capacity;
            return Err(EngineError::Full { what, limit });
        }
        let of_tenant = self.live_of_tenant(&new.tenant).all;
        let added_of_tenant = added.of_tenant.entry(new.tenant.clone()).or_default();
        let counts =
            [(None, of_tenant + *added_of_tenant), (Some(&new.kind), of_kind + *added_of_kind)];
        for (kind, count) in counts {
            let most = table.get(LimitName::Outstanding, &new.tenant, kind);
            if let Some(most) = most.filter(|most| count >= *most) {
                let (tenant, kind) = (new.tenant.clone(), kind.cloned());
                return Err(EngineError::Limited {
                    tenant,
                    kind,
                    name: LimitName::Outstanding,
                    most,
                });
            }
        }
        added.all += 1;
        *added_of_tenant += 1;
        *added_of_kind += 1;
        Ok(())
    }

    /// A queue's operations that are not done.
    pub(crate) fn live(&self, key: &QueueKey) -> Live {
        self.of.get(key).copied().unwrap_or_default()
    }

    /// A tenant's operations that are not done.
    pub(crate) fn live_of_tenant(&self, tenant: &TenantId) -> Live {
        self.of_tenant.get(tenant).copied().unwrap_or_default()
    }

    /// The tenant's kinds with operations that are not done or that have ended recently, by name.
    pub(crate) fn kinds(&self, tenant: &TenantId, now: Moment) -> BTreeMap<Kind, Live> {
        let mut kinds: BTreeMap<Kind, Live> = BTreeMap::new();
        for (key, live) in self.of.iter().filter(|(key, _)| key.tenant == *tenant) {
            kinds.insert(key.kind.clone(), *live);
        }
        for kind in self.recent.ended_of(tenant, now) {
            kinds.entry(kind.clone()).or_default();
        }
        kinds
    }

    /// A queue's recent numbers.
    pub(crate) fn seen(&self, key: &QueueKey, now: Moment) -> Seen {
        self.recent.seen(key, now)
    }

    /// Counts a commit.
    pub(crate) fn commit_took(&mut self, took: Duration) {
        self.recent.commit_took(took);
    }

    /// How long the latest commits took.
    pub(crate) fn commits(&self) -> Option<Percentiles> {
        self.recent.commits()
    }

    /// Whether any kind that matches has operations that are not done.
    pub(crate) fn has_kind(&self, is_it: impl Fn(&Kind) -> bool) -> bool {
        self.of.iter().any(|(key, live)| live.all > 0 && is_it(&key.kind))
    }

    /// Operations that are not done by kind, over all tenants.
    pub(crate) fn by_kind(&self) -> BTreeMap<Kind, Live> {
        let mut kinds: BTreeMap<Kind, Live> = BTreeMap::new();
        for (key, live) in &self.of {
            match kinds.get_mut(&key.kind) {
                Some(sum) => {
                    *sum = Live { all: sum.all + live.all, running: sum.running + live.running };
                }
                None => _ = kinds.insert(key.kind.clone(), *live),
            }
        }
        kinds
    }

    /// The queues with the most waiting operations, at most `most` of them.
    pub(crate) fn longest_queues(&self, most: usize) -> Vec<QueueKey> {
        let waiting = |live: &Live| live.all.saturating_sub(live.running);
        let mut queues: Vec<(u64, &QueueKey)> =
            self.of.iter().map(|(key, live)| (waiting(live), key)).collect();
        queues.retain(|(waiting, _)| *waiting > 0);
        queues.sort_unstable_by(|a, b| b.cmp(a));
        queues.into_iter().take(most).map(|(_, key)| key.clone()).collect()
    }

    /// Counts an unfinished operation that was found at start.
    pub(crate) fn found(&mut self, key: QueueKey, is_running: bool) {
        self.all += 1;
        self.change(key, |live| {
            live.all += 1;
            live.running += u64::from(is_running);
        });
    }

    /// Counts a committed transition.
    pub(crate) fn committed(&mut self, transition: &Transition, now: Moment) {
        let Transition { before, after, event_type, .. } = transition;
        let key = QueueKey::of(after);
        let runs = |operation: &Operation| operation.life.state.lease().is_some();
        let (ran, runs) = (before.as_ref().is_some_and(|before| runs(before)), runs(after));
        if before.is_none() {
            self.all += 1;
        }
        if after.is_done() {
            self.all = self.all.saturating_sub(1);
        }
        self.recent.add(&key, (before.as_deref(), after), *event_type, now);
        let (is_new, is_done) = (before.is_none(), after.is_done());
        self.change(key, |live| {
            live.all = (live.all + u64::from(is_new)).saturating_sub(u64::from(is_done));
            live.running = (live.running + u64::from(runs)).saturating_sub(u64::from(ran));
        });
    }

    fn change(&mut self, key: QueueKey, change: impl Fn(&mut Live)) {
        change_entry(self.of_tenant.entry(key.tenant.clone()), &change);
        change_entry(self.of.entry(key), &change);
    }

    /// Replaces the counts by the store's.
    pub(crate) fn set(&mut self, counts: Vec<Outstanding>) {
        self.all = counts.iter().map(|of| of.count).sum();
        self.of.clear();
        self.of_tenant.clear();
        for Outstanding { tenant, kind, count, running } in counts {
            self.change(QueueKey { tenant, kind }, |live| {
                live.all += count;
                live.running += running;
            });
        }
    }
}

/// Entries that become empty are removed.
fn change_entry<K>(entry: Entry<'_, K, Live>, change: impl Fn(&mut Live)) {
    let mut entry = match entry {
        Entry::Occupied(entry) => entry,
        Entry::Vacant(entry) => entry.insert_entry(Live::default()),
    };
    change(entry.get_mut());
    if *entry.get() == Live::default() {
        entry.remove();
    }
}

#[cfg(test)]
mod tests;
