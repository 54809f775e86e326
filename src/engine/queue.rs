//! The queue in memory: which operations wait for a worker, in which order.
//!
//! Holds ids and what orders them, never operations: it must stay small with millions waiting. It
//! is fed by commits and rebuilt from the store at start.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::operation::{Kind, Operation, OperationId, State, TenantId, Timestamp};

/// One queue's name: nothing crosses tenants, and workers serve kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct QueueKey {
    pub(super) tenant: TenantId,
    pub(super) kind: Kind,
}

impl QueueKey {
    pub(super) fn of(operation: &Operation) -> Self {
        Self {
            tenant: operation.submission.tenant.clone(),
            kind: operation.submission.kind.clone(),
        }
    }
}

/// A place within a queue: the higher priority first, then the older operation.
pub(super) type Rank = (Reverse<u8>, OperationId);

/// All queues, and what is not due yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: HashMap<QueueKey, BTreeSet<Rank>>,
    delayed: BTreeMap<(Timestamp, OperationId), (QueueKey, u8)>,
}

impl Queue {
    /// Adds an operation that may start at `not_before`.
    pub(super) fn add(
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
            self.ready.entry(key).or_default().insert((Reverse(priority), id));
        }
    }

    /// Takes out an operation that was queued as `operation` says.
    pub(super) fn remove(&mut self, operation: &Operation) {
        let State::Queued { not_before } = operation.life.state else { return };
        if self.delayed.remove(&(not_before, operation.id())).is_some() {
            return;
        }
        let key = QueueKey::of(operation);
        if let Some(ready) = self.ready.get_mut(&key) {
            ready.remove(&(Reverse(operation.submission.settings.priority), operation.id()));
            if ready.is_empty() {
                self.ready.remove(&key);
            }
        }
    }

    /// Makes ready what is due at `now`; answers the queues that grew.
    pub(super) fn release_due(&mut self, now: Timestamp) -> Vec<QueueKey> {
        let mut grown = Vec::new();
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((_, id), (key, priority)) = entry.remove_entry();
            self.ready.entry(key.clone()).or_default().insert((Reverse(priority), id));
            grown.push(key);
        }
        grown
    }

    /// When the next operation becomes due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the first of a queue.
    pub(super) fn pop(&mut self, key: &QueueKey) -> Option<Rank> {
        let ready = self.ready.get_mut(key)?;
        let first = ready.pop_first();
        if ready.is_empty() {
            self.ready.remove(key);
        }
        first
    }

    /// Puts back what [`Queue::pop`] took.
    pub(super) fn put_back(&mut self, key: QueueKey, rank: Rank) {
        self.ready.entry(key).or_default().insert(rank);
    }

    /// Empties everything; answers the queues in which something could start, and when more can.
    pub(super) fn take_all(&mut self) -> (Vec<QueueKey>, Option<Timestamp>) {
        let next_due = self.next_due();
        self.delayed.clear();
        (self.ready.drain().map(|(key, _)| key).collect(), next_due)
    }

    /// Whether something waits in that queue now.
    pub(super) fn has_ready(&self, key: &QueueKey) -> bool {
        self.ready.contains_key(key)
    }
}

/// Queues that may have both work and capacity, in the order in which they became so, each once.
#[derive(Debug, Default)]
pub(super) struct DirtyQueues {
    turns: VecDeque<QueueKey>,
    members: HashSet<QueueKey>,
}

impl DirtyQueues {
    /// Adds a queue at the end, unless it is there.
    pub(super) fn mark(&mut self, key: QueueKey) {
        if !self.members.contains(&key) {
            self.members.insert(key.clone());
            self.turns.push_back(key);
        }
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<QueueKey> {
        let key = self.turns.pop_front()?;
        self.members.remove(&key);
        Some(key)
    }

    /// Those that are in it.
    pub(super) fn iter(&self) -> impl Iterator<Item = &QueueKey> {
        self.turns.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}
