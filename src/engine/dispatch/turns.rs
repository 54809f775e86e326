//! Whose turn it is: queues that may have both work and a free worker slot, the one that was served longest ago
//! first. So a queue with work is served within one round of the others, whatever their names and their workers'
//! order, and however much waits in them.

use std::collections::{BTreeSet, HashMap};

use super::queue::QueueKey;

/// So many queues may be remembered beyond those that are served.
const SPARE: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// By the number of their last turn; 0 is none yet.
    open: BTreeSet<(u64, QueueKey)>,
    last_turn: HashMap<QueueKey, u64>,
    turns: u64,
}

impl Turns {
    fn turn(&self, key: &QueueKey) -> u64 {
        self.last_turn.get(key).copied().unwrap_or_default()
    }

    /// The queue may have work and a slot.
    pub(crate) fn mark(&mut self, key: QueueKey) {
        self.open.insert((self.turn(&key), key));
    }

    /// Takes the queue whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<QueueKey> {
        self.open.pop_first().map(|(_, key)| key)
    }

    /// The queue has had a turn.
    pub(crate) fn served(&mut self, key: &QueueKey) {
        let was_open = self.open.remove(&(self.turn(key), key.clone()));
        self.turns += 1;
        self.last_turn.insert(key.clone(), self.turns);
        if was_open {
            self.mark(key.clone());
        }
    }

    /// The queues whose turn may come, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueueKey> {
        self.open.iter().map(|(_, key)| key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Forgets the turns of queues that no worker serves, when there are many. `served` says how many are.
    pub(crate) fn forget(&mut self, served: usize, is_served: impl Fn(&QueueKey) -> bool) {
        if self.last_turn.len() > served + SPARE {
            let Self { open, last_turn, .. } = self;
            last_turn.retain(|key, turn| is_served(key) || open.contains(&(*turn, key.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Kind, TenantId};

    fn key(kind: &str) -> QueueKey {
        let kind = Kind::parse(kind).expect("a kind");
        QueueKey { tenant: TenantId::default_tenant(), kind }
    }

    #[test]
    fn the_queue_that_was_served_longest_ago_is_next() {
        let mut turns = Turns::default();
        let mut served = Vec::new();
        for _ in 0..3 {
            // Always marked in the same order, as by a worker with one slot.
            for kind in ["a", "b", "c"] {
                turns.mark(key(kind));
            }
            let next = turns.pop().expect("a queue");
            turns.served(&next);
            served.push(next);
        }
        assert_eq!(served, ["a", "b", "c"].map(key));
        turns.served(&key("b"));
        assert_eq!(turns.iter().cloned().collect::<Vec<_>>(), ["a", "b"].map(key));
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
        assert_eq!(turns.last_turn.keys().collect::<Vec<_>>(), [&key("k7")]);
    }
}
