//! The queue in memory: which operations wait for a worker, and in which order.
//!
//! Holds ids and what orders them, never operations, because it must stay small with millions waiting. It is rebuilt
//! from the store at start, follows drafts, and can undo what it did since the last commit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::round::transition::Transition;
use crate::operation::{Kind, Operation, OperationId, Scope, TenantId, Timestamp};

/// A queue's key: nothing crosses tenants, and workers serve kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct QueueKey {
    pub(crate) tenant: TenantId,
    pub(crate) kind: Kind,
}

impl QueueKey {
    pub(crate) fn of(operation: &Operation) -> Self {
        Self {
            tenant: operation.submission.tenant.clone(),
            kind: operation.submission.kind.clone(),
        }
    }
}

/// A lane: a kind, of one tenant or of all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lane {
    pub(crate) scope: Scope,
    pub(crate) kind: Kind,
}

impl QueueKey {
    /// The lanes that serve the queue: its tenant's own first.
    pub(crate) fn lanes(&self) -> [Lane; 2] {
        [self.tenant.clone().into(), Scope::All]
            .map(|scope| Lane { scope, kind: self.kind.clone() })
    }
}

/// A place within a queue: the higher priority first, then the older operation.
pub(crate) type Rank = (Reverse<u8>, OperationId);

/// Changes since the last commit, to be undone.
#[derive(Debug)]
enum Change {
    Added(Arc<Operation>),
    Removed(Arc<Operation>),
    Popped(QueueKey, Rank),
    Deferred(QueueKey, Rank, Timestamp),
}

/// Operations that may start now: by kind, because workers serve kinds, then by tenant.
#[derive(Debug, Default)]
struct Ready(BTreeMap<Kind, BTreeMap<TenantId, BTreeSet<Rank>>>);

impl Ready {
    fn ranks(&self, key: &QueueKey) -> impl Iterator<Item = &Rank> {
        self.0.get(&key.kind).and_then(|of| of.get(&key.tenant)).into_iter().flatten()
    }

    fn first(&self, key: &QueueKey) -> Option<Rank> {
        self.ranks(key).next().copied()
    }

    fn of(&self, kind: &Kind) -> impl Iterator<Item = QueueKey> + '_ {
        let found = self.0.get_key_value(kind).into_iter();
        found.flat_map(|(kind, of)| {
            of.keys().map(|tenant| QueueKey { tenant: tenant.clone(), kind: kind.clone() })
        })
    }

    fn insert(&mut self, key: QueueKey, rank: Rank) {
        self.0.entry(key.kind).or_default().entry(key.tenant).or_default().insert(rank);
    }

    fn remove(&mut self, key: &QueueKey, rank: &Rank) -> bool {
        let Some(of) = self.0.get_mut(&key.kind) else { return false };
        let Some(ranks) = of.get_mut(&key.tenant) else { return false };
        let is_removed = ranks.remove(rank);
        if ranks.is_empty() {
            of.remove(&key.tenant);
        }
        if of.is_empty() {
            self.0.remove(&key.kind);
        }
        is_removed
    }

    fn take_all(&mut self) -> Vec<QueueKey> {
        let kinds = std::mem::take(&mut self.0).into_iter();
        let keys = kinds.flat_map(|(kind, of)| {
            of.into_keys().map(move |tenant| QueueKey { tenant, kind: kind.clone() })
        });
        keys.collect()
    }
}

/// All queues, and operations that are not due yet.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: Ready,
    delayed: BTreeMap<(Timestamp, OperationId), (QueueKey, u8)>,
    journal: Vec<Change>,
}

impl Queue {
    /// Adds an operation that may start at `not_before`.
    pub(crate) fn add(
        &mut self,
        key: QueueKey,
        priority: u8,
        id: OperationId,
        not_before: Timestamp,
        now: Timestamp,
    ) {
        if not_before > now {
            self.delayed.insert((not_before, id), (key, priority));
        } else {
            self.ready.insert(key, (Reverse(priority), id));
        }
    }

    /// Applies a transition that is to be committed.
    pub(crate) fn follow(&mut self, transition: &Transition, now: Timestamp) {
        let Transition { before, after, .. } = transition;
        if let Some(before) = before
            && self.take_out(before)
        {
            self.journal.push(Change::Removed(Arc::clone(before)));
        }
        self.put(after, now);
    }

    /// Puts back an operation that an earlier commit popped and that was held since.
    pub(crate) fn put_back(&mut self, key: QueueKey, rank: Rank) {
        self.ready.insert(key, rank);
    }

    /// A held operation leaves with a transition to be committed: if that is undone, it returns to this queue.
    pub(crate) fn left(&mut self, operation: &Arc<Operation>) {
        self.journal.push(Change::Removed(Arc::clone(operation)));
    }

    /// Removes an operation that was claimed from the store, so that it is not assigned twice.
    pub(crate) fn claimed(&mut self, operation: &Arc<Operation>) {
        if self.take_out(operation) {
            self.journal.push(Change::Removed(Arc::clone(operation)));
        }
    }

    /// Puts an operation that was popped but not started where it belongs.
    pub(crate) fn put(&mut self, operation: &Arc<Operation>, now: Timestamp) {
        if self.enqueue(operation, now) {
            self.journal.push(Change::Added(Arc::clone(operation)));
        }
    }

    /// Makes the changes final.
    pub(crate) fn commit(&mut self) {
        self.journal.clear();
    }

    /// Undoes the changes. Returns the queues that got operations back.
    pub(crate) fn roll_back(&mut self, now: Timestamp) -> Vec<QueueKey> {
        let mut grown = Vec::new();
        for change in std::mem::take(&mut self.journal).into_iter().rev() {
            match change {
                Change::Added(operation) => {
                    self.take_out(&operation);
                }
                Change::Removed(operation) => {
                    self.enqueue(&operation, now);
                    grown.push(QueueKey::of(&operation));
                }
                Change::Popped(key, rank) => {
                    self.ready.insert(key.clone(), rank);
                    grown.push(key);
                }
                Change::Deferred(key, rank, until) => {
                    self.delayed.remove(&(until, rank.1));
                    self.ready.insert(key.clone(), rank);
                    grown.push(key);
                }
            }
        }
        grown
    }

    fn enqueue(&mut self, operation: &Operation, now: Timestamp) -> bool {
        let Some(may_start_at) = operation.may_start_at() else { return false };
        let priority = operation.submission.settings.priority;
        self.add(QueueKey::of(operation), priority, operation.id(), may_start_at, now);
        true
    }

    /// Removes an operation that was queued as `operation` says. Returns whether it was there.
    fn take_out(&mut self, operation: &Operation) -> bool {
        let Some(may_start_at) = operation.may_start_at() else { return false };
        if self.delayed.remove(&(may_start_at, operation.id())).is_some() {
            return true;
        }
        let rank = (Reverse(operation.submission.settings.priority), operation.id());
        self.ready.remove(&QueueKey::of(operation), &rank)
    }

    /// Makes operations that are due at `now` ready; returns the queues that grew.
    pub(crate) fn release_due(&mut self, now: Timestamp) -> Vec<QueueKey> {
        let mut grown = Vec::new();
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((_, id), (key, priority)) = entry.remove_entry();
            self.ready.insert(key.clone(), (Reverse(priority), id));
            grown.push(key);
        }
        grown
    }

    /// When the next operation becomes due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Pops the first operation of a queue.
    pub(crate) fn pop(&mut self, key: &QueueKey) -> Option<Rank> {
        let rank = self.ready.first(key)?;
        self.ready.remove(key, &rank);
        self.journal.push(Change::Popped(key.clone(), rank));
        Some(rank)
    }

    /// Defers the operation that was just popped until `until`.
    pub(crate) fn defer(&mut self, key: &QueueKey, rank: Rank, until: Timestamp) {
        self.journal.pop();
        self.delayed.insert((until, rank.1), (key.clone(), rank.0.0));
        self.journal.push(Change::Deferred(key.clone(), rank, until));
    }

    /// Empties everything; returns the queues that had ready operations, and when the next one becomes due.
    pub(crate) fn take_all(&mut self) -> (Vec<QueueKey>, Option<Timestamp>) {
        let next_due = self.next_due();
        self.delayed.clear();
        (self.ready.take_all(), next_due)
    }

    /// Whether the queue has ready operations.
    pub(crate) fn has_ready(&self, key: &QueueKey) -> bool {
        self.ready.first(key).is_some()
    }

    /// The queues of the kind with ready operations.
    pub(crate) fn ready_of(&self, kind: &Kind) -> impl Iterator<Item = QueueKey> + '_ {
        self.ready.of(kind)
    }
}

#[cfg(test)]
mod tests;
