//! Places for running attempts under a tenant's limits: the taken ones, and the operations that wait for one.
//!
//! They are counted here only without replicas. An operation that finds no place leaves the queue and is held; when
//! places become free, as many operations come back. A queue whose operations cannot have a place is not examined
//! at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::queue::{QueueKey, Rank};
use crate::operation::limits::{LimitTable, Place};
use crate::operation::{OperationId, Submission};

#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Whether this process counts, because there are no replicas.
    counts: bool,
    table: Arc<LimitTable>,
    /// Running attempts, committed or in the draft.
    running: HashMap<OperationId, Arc<Submission>>,
    taken: HashMap<Place, u64>,
    /// Places whose taken count has changed since the roster was updated.
    unpublished: BTreeSet<Place>,
    /// The operations whose attempts the draft starts.
    drafted: Vec<OperationId>,
    /// Operations that wait for a place, by the place.
    held: BTreeMap<Place, BTreeSet<(Rank, QueueKey)>>,
    held_at: HashMap<OperationId, (Place, Rank, QueueKey)>,
    /// Places that have become free and that operations wait for.
    freed: BTreeSet<Place>,
    /// Queues that wait for a place, by the place.
    blocked: BTreeMap<Place, BTreeSet<QueueKey>>,
}

impl Places {
    /// Starts counting.
    pub(crate) fn begin(&mut self) {
        self.counts = true;
    }

    /// Replaces the limits. Returns the queues and the held operations that waited, to be examined again.
    pub(crate) fn set_table(
        &mut self,
        table: Arc<LimitTable>,
    ) -> (Vec<QueueKey>, Vec<(QueueKey, Rank)>) {
        if self.counts {
            self.table = table;
        }
        self.unpublished.extend(self.taken.drain().map(|(place, _)| place));
        for submission in self.running.values() {
            for (place, _) in places(&self.table, submission) {
                *self.taken.entry(place).or_default() += 1;
            }
        }
        self.unpublished.extend(self.taken.keys().cloned());
        let held = self.held_at.drain().map(|(_, (_, rank, key))| (key, rank));
        let held: Vec<_> = held.collect();
        self.held.clear();
        self.freed.clear();
        let blocked = std::mem::take(&mut self.blocked).into_values().flatten();
        (blocked.collect(), held)
    }

    fn has_room(&self, place: &Place, most: u64, planned: u64) -> bool {
        self.taken.get(place).copied().unwrap_or_default() + planned < most
    }

    /// Whether an operation of the queue may find a place beside the planned ones; otherwise the queue waits.
    pub(crate) fn admits(&mut self, key: &QueueKey, planned: &HashMap<QueueKey, u64>) -> bool {
        for limit in self.table.running(&key.tenant, &key.kind) {
            if limit.label.is_some() {
                continue;
            }
            let kind = limit.of_kind.then(|| key.kind.clone());
            let place = Place { tenant: key.tenant.clone(), kind, label: None };
            let counts = |other: &QueueKey| {
                other.tenant == key.tenant && (!limit.of_kind || other.kind == key.kind)
            };
            let planned = planned.iter().filter(|(other, _)| counts(other));
            if !self.has_room(&place, limit.most, planned.map(|(_, count)| count).sum()) {
                self.blocked.entry(place).or_default().insert(key.clone());
                return false;
            }
        }
        true
    }

    /// Takes the operation's places for the draft if all are free. Otherwise returns one that is not.
    pub(crate) fn take(&mut self, id: OperationId, submission: &Arc<Submission>) -> Option<Place> {
        if self.running.contains_key(&id) {
            // Its own earlier attempt ends with the draft, so this attempt takes over its places.
            return None;
        }
        let places = places(&self.table, submission);
        let full = places.iter().find(|(place, most)| !self.has_room(place, *most, 0));
        if let Some((place, _)) = full {
            return Some(place.clone());
        }
        self.add(id, submission);
        self.drafted.push(id);
        None
    }

    /// Counts a running operation.
    pub(crate) fn add(&mut self, id: OperationId, submission: &Arc<Submission>) {
        if self.counts && self.running.insert(id, Arc::clone(submission)).is_none() {
            for (place, _) in places(&self.table, submission) {
                self.unpublished.insert(place.clone());
                *self.taken.entry(place).or_default() += 1;
            }
        }
    }

    /// The places whose taken count has changed since the last call, with that count.
    pub(crate) fn take_unpublished(&mut self) -> impl Iterator<Item = (Place, u64)> + '_ {
        let taken = &self.taken;
        std::mem::take(&mut self.unpublished).into_iter().map(|place| {
            let count = taken.get(&place).copied().unwrap_or_default();
            (place, count)
        })
    }

    /// Holds an operation that has left its queue until the place is free.
    pub(crate) fn hold(&mut self, id: OperationId, place: Place, key: QueueKey, rank: Rank) {
        self.held.entry(place.clone()).or_default().insert((rank, key.clone()));
        self.held_at.insert(id, (place, rank, key));
    }

    /// Stops holding the operation. Returns whether it was held.
    pub(crate) fn let_go(&mut self, id: OperationId) -> bool {
        let Some((place, rank, key)) = self.held_at.remove(&id) else { return false };
        if let Some(held) = self.held.get_mut(&place) {
            held.remove(&(rank, key));
            if held.is_empty() {
                self.held.remove(&place);
            }
        }
        true
    }

    /// Frees the places of an operation whose attempt has ended. Returns the queues that waited for them.
    pub(crate) fn end(&mut self, id: OperationId) -> Vec<QueueKey> {
        let Some(submission) = self.running.remove(&id) else { return Vec::new() };
        let mut unblocked = Vec::new();
        for (place, _) in places(&self.table, &submission) {
            self.unpublished.insert(place.clone());
            if let Some(taken) = self.taken.get_mut(&place) {
                *taken = taken.saturating_sub(1);
                if *taken == 0 {
                    self.taken.remove(&place);
                }
            }
            unblocked.extend(self.blocked.remove(&place).into_iter().flatten());
            if self.held.contains_key(&place) {
                self.freed.insert(place);
            }
        }
        unblocked
    }

    /// Frees the places of the attempts that the draft was to start.
    pub(crate) fn end_drafted(&mut self, id: OperationId) {
        if let Some(at) = self.drafted.iter().position(|drafted| *drafted == id) {
            self.drafted.swap_remove(at);
            self.end(id);
        }
    }

    /// The draft is durable: its places are taken.
    pub(crate) fn committed(&mut self) {
        self.drafted.clear();
    }

    /// The draft was not written: frees its places. Returns the queues that waited for them.
    pub(crate) fn abandoned(&mut self) -> Vec<QueueKey> {
        let drafted = std::mem::take(&mut self.drafted);
        let mut unblocked: Vec<QueueKey> =
            drafted.into_iter().flat_map(|id| self.end(id)).collect();
        unblocked.extend(self.unblock());
        unblocked
    }

    /// Returns the queues that wait, because planned operations did not start.
    pub(crate) fn unblock(&mut self) -> Vec<QueueKey> {
        std::mem::take(&mut self.blocked).into_values().flatten().collect()
    }

    /// Releases the first operations that are held for places with free room: as many as there is room for.
    pub(crate) fn wake(&mut self) -> Vec<(QueueKey, Rank)> {
        let mut woken = Vec::new();
        for place in std::mem::take(&mut self.freed) {
            let taken = self.taken.get(&place).copied().unwrap_or_default();
            let held = self.held.get(&place).into_iter().flatten();
            let most = held.clone().next().and_then(|(_, key)| self.most(&place, key));
            let room = most.map_or(u64::MAX, |most| most.saturating_sub(taken));
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let first: Vec<_> = held.take(room).cloned().collect();
            for (rank, key) in first {
                self.let_go(rank.1);
                woken.push((key, rank));
            }
            if room > 0 && self.held.contains_key(&place) {
                // It is not known yet whether the released operations take the places.
                self.freed.insert(place);
            }
        }
        woken
    }

    fn most(&self, place: &Place, key: &QueueKey) -> Option<u64> {
        let label = place.label.as_ref().map(|(label, _)| label);
        let limits = self.table.running(&key.tenant, &key.kind).into_iter();
        let mut of =
            limits.filter(|it| it.of_kind == place.kind.is_some() && it.label.as_ref() == label);
        of.next().map(|limit| limit.most)
    }
}

/// The places that an operation takes, with the limit of each.
fn places(table: &LimitTable, submission: &Submission) -> Vec<(Place, u64)> {
    let limits = table.running(&submission.tenant, &submission.kind).into_iter();
    limits.filter_map(|limit| Some((limit.place(submission)?, limit.most))).collect()
}

#[cfg(test)]
mod tests;
