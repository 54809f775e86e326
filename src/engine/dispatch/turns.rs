//! Turns among queues that may have both work and a free slot: tenants take turns by their weights, then the kinds of a
//! tenant, the one served longest ago first. So a tenant with work is served within one round of the others, and a kind
//! within one round of its tenant's, whatever their names, their workers' order, and the length of their queues.
//!
//! Among tenants this is start-time fair queueing: each turn moves the tenant back by a stride, which is shorter the
//! greater its weight. A tenant that was idle joins at the present time, without credit.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::queue::QueueKey;
use crate::operation::{Kind, TenantId};

/// The number of queues that are remembered beyond the served ones.
const SPARE: usize = 1_024;
/// How far a turn moves a tenant of weight 1 back.
const STRIDE: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct Turns {
    tenants: HashMap<TenantId, Tenant>,
    /// The tenants with open queues, by the time of their next turn.
    open: BTreeSet<(u64, TenantId)>,
    /// The virtual time at which the last turn began.
    now: u64,
    turns: u64,
    /// Weights other than 1.
    weights: HashMap<TenantId, u64>,
    /// The number of queues that are remembered, and the number above which some are forgotten.
    remembered: usize,
    forget_above: usize,
}

#[derive(Debug, Default)]
struct Tenant {
    /// The virtual time of its next turn.
    next: u64,
    /// Its open queues by the number of their last turn; 0: none yet.
    open: BTreeSet<(u64, Kind)>,
    last_turn: HashMap<Kind, u64>,
}

impl Turns {
    /// Sets the weights other than 1: twice the weight means twice the turns.
    pub(crate) fn set_weights(&mut self, weights: HashMap<TenantId, u64>) {
        self.weights = weights;
    }

    fn stride(&self, tenant: &TenantId) -> u64 {
        let weight = self.weights.get(tenant).copied().unwrap_or(1);
        (STRIDE / weight.max(1)).max(1)
    }

    /// Opens the queue, because it may have work and a slot.
    pub(crate) fn mark(&mut self, key: QueueKey) {
        let tenant = self.tenants.entry(key.tenant.clone()).or_default();
        if tenant.open.is_empty() {
            tenant.next = tenant.next.max(self.now);
            self.open.insert((tenant.next, key.tenant));
        }
        let last = tenant.last_turn.get(&key.kind).copied().unwrap_or_default();
        tenant.open.insert((last, key.kind));
    }

    /// Takes the queue whose turn is next.
    pub(crate) fn pop(&mut self) -> Option<QueueKey> {
        let first = self.open.first()?.clone();
        let tenant = self.tenants.get_mut(&first.1)?;
        let (_, kind) = tenant.open.pop_first()?;
        if tenant.open.is_empty() {
            self.open.remove(&first);
        }
        Some(QueueKey { tenant: first.1, kind })
    }

    /// Records that the queue has had a turn.
    pub(crate) fn served(&mut self, key: &QueueKey) {
        let stride = self.stride(&key.tenant);
        let tenant = self.tenants.entry(key.tenant.clone()).or_default();
        let is_open = self.open.remove(&(tenant.next, key.tenant.clone()));
        self.now = self.now.max(tenant.next);
        tenant.next = self.now + stride;
        if is_open {
            self.open.insert((tenant.next, key.tenant.clone()));
        }
        self.turns += 1;
        let last = tenant.last_turn.insert(key.kind.clone(), self.turns);
        self.remembered += usize::from(last.is_none());
        if tenant.open.remove(&(last.unwrap_or_default(), key.kind.clone())) {
            tenant.open.insert((self.turns, key.kind.clone()));
        }
    }

    /// The open queues that are `wanted`, in the order of their turns.
    pub(crate) fn plan(&self, wanted: impl Fn(&QueueKey) -> bool) -> Plan {
        let mut tenants = BTreeMap::new();
        for (next, name) in &self.open {
            let key = |kind: &Kind| QueueKey { tenant: name.clone(), kind: kind.clone() };
            let open = self.tenants.get(name).into_iter().flat_map(|tenant| &tenant.open);
            let open = open.map(|(_, kind)| key(kind)).filter(&wanted);
            let open: VecDeque<QueueKey> = open.collect();
            if !open.is_empty() {
                tenants.insert((*next, name.clone()), (self.stride(name), open));
            }
        }
        Plan(tenants)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Forgets turns when many queues are remembered: of queues that no worker serves, and of tenants without open
    /// queues that would join at the present time anyway. `served` is the number of served queues.
    pub(crate) fn forget(&mut self, served: usize, is_served: impl Fn(&QueueKey) -> bool) {
        if self.remembered <= (served + SPARE).max(self.forget_above) {
            return;
        }
        let now = self.now;
        self.remembered = 0;
        self.tenants.retain(|name, Tenant { next, open, last_turn }| {
            if open.is_empty() && *next <= now {
                return false;
            }
            last_turn.retain(|kind, turn| {
                let key = QueueKey { tenant: name.clone(), kind: kind.clone() };
                open.contains(&(*turn, key.kind.clone())) || is_served(&key)
            });
            self.remembered += last_turn.len();
            true
        });
        self.forget_above = 2 * self.remembered;
    }
}

/// Open queues in the order of their turns, as long as nothing is served.
#[derive(Debug)]
pub(crate) struct Plan(BTreeMap<(u64, TenantId), (u64, VecDeque<QueueKey>)>);

impl Plan {
    /// The queue whose turn is next.
    pub(crate) fn first(&self) -> Option<&QueueKey> {
        self.0.first_key_value().and_then(|(_, (_, open))| open.front())
    }

    /// Gives that queue a turn if it `is_served`; otherwise removes it.
    pub(crate) fn advance(&mut self, is_served: bool) {
        let Some(((next, name), (stride, mut open))) = self.0.pop_first() else { return };
        let key = open.pop_front();
        if is_served {
            open.extend(key);
        }
        if !open.is_empty() {
            let next = if is_served { next + stride } else { next };
            self.0.insert((next, name), (stride, open));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(tenant: &str, kind: &str) -> QueueKey {
        let (tenant, kind) = (TenantId::parse(tenant), Kind::parse(kind));
        QueueKey { tenant: tenant.expect("a tenant"), kind: kind.expect("a kind") }
    }

    fn key(kind: &str) -> QueueKey {
        key_of("t", kind)
    }

    /// The order of service if all queues always have work, and one slot is free at a time.
    fn order(turns: &mut Turns, keys: &[QueueKey], most: usize) -> Vec<QueueKey> {
        let next = |_| {
            keys.iter().for_each(|key| turns.mark(key.clone()));
            let next = turns.pop().expect("a queue");
            turns.served(&next);
            next
        };
        (0..most).map(next).collect()
    }

    #[test]
    fn the_queue_that_was_served_longest_ago_is_next() {
        let mut turns = Turns::default();
        let keys = ["a", "b", "c"].map(key);
        assert_eq!(order(&mut turns, &keys, 3), keys);
        turns.mark(key("a"));
        turns.mark(key("b"));
        turns.served(&key("b"));
        assert_eq!([turns.pop(), turns.pop()], ["a", "b"].map(|kind| Some(key(kind))));
    }

    #[test]
    fn tenants_take_turns_however_many_kinds_they_have() {
        let mut turns = Turns::default();
        let keys: Vec<_> = ["a", "b", "c"].map(|kind| key_of("many", kind)).into();
        let keys = [keys, vec![key_of("one", "a")]].concat();
        let served = order(&mut turns, &keys, 12);
        let ones = served.iter().filter(|key| key.tenant.as_str() == "one").count();
        assert_eq!(ones, 6, "{served:?}");
        for kind in ["a", "b", "c"] {
            let of_kind = served.iter().filter(|key| **key == key_of("many", kind)).count();
            assert_eq!(of_kind, 2, "{served:?}");
        }
    }

    #[test]
    fn with_thrice_the_weight_a_tenant_has_thrice_the_turns() {
        let mut turns = Turns::default();
        let keys = [key_of("light", "a"), key_of("heavy", "a")];
        turns.set_weights(HashMap::from([(keys[1].tenant.clone(), 3)]));
        let served = order(&mut turns, &keys, 40);
        assert_eq!(served.iter().filter(|key| **key == keys[1]).count(), 30, "{served:?}");
    }

    #[test]
    fn who_was_away_is_next_and_has_saved_nothing_up() {
        let mut turns = Turns::default();
        let keys = [key_of("busy", "a"), key_of("late", "a")];
        order(&mut turns, &keys[..1], 1_000);
        let served = order(&mut turns, &keys, 6);
        assert_eq!(served.iter().position(|key| *key == keys[1]), Some(0), "{served:?}");
        assert_eq!(served.iter().filter(|key| **key == keys[1]).count(), 3, "{served:?}");
    }

    #[test]
    fn a_plan_goes_through_queues_as_turns_would() {
        let mut turns = Turns::default();
        let keys = [key_of("a", "x"), key_of("a", "y"), key_of("b", "x"), key_of("c", "x")];
        keys.iter().for_each(|key| turns.mark(key.clone()));
        let mut plan = turns.plan(|key| *key != keys[3]);
        let mut planned = Vec::new();
        while let Some(key) = plan.first().cloned() {
            plan.advance(planned.len() < 4);
            planned.push(key);
        }
        let expected = [0, 2, 1, 2, 0, 1, 2].map(|at: usize| keys[at].clone());
        assert_eq!(planned, expected);
    }

    #[test]
    fn a_queue_is_there_once_and_turns_of_queues_without_workers_are_forgotten() {
        let mut turns = Turns::default();
        turns.mark(key("a"));
        turns.served(&key("a"));
        turns.mark(key("a"));
        assert_eq!(turns.pop(), Some(key("a")));
        assert!(turns.is_empty());
        for number in 0..=SPARE {
            turns.served(&key(&format!("k{number}")));
        }
        turns.forget(0, |served| *served == key("k7"));
        let kept: Vec<_> = turns.tenants.values().flat_map(|it| it.last_turn.keys()).collect();
        assert_eq!(kept, [&key("k7").kind]);
    }

    #[test]
    fn tenants_that_would_begin_where_the_others_are_are_forgotten() {
        let mut turns = Turns::default();
        for number in 0..=SPARE {
            let key = key_of(&format!("t{number}"), "a");
            turns.mark(key.clone());
            turns.served(&turns.open.first().map(|_| key.clone()).expect("it is open"));
            turns.pop();
        }
        order(&mut turns, &[key("a")], 3);
        turns.forget(1, |_| true);
        assert_eq!(turns.tenants.len(), 1);
    }
}
