//! The workers of a queue, in turns: of those with a free slot, the one that got work longest ago is next.
//!
//! Joining, leaving and a turn cost about the same however many workers there are: thousands of workers come and
//! go, each with many kinds, while commits wait.

use std::collections::{BTreeMap, HashMap};

use crate::operation::SessionId;

#[derive(Debug, Default)]
pub(super) struct Serving {
    /// By the number of their last turn, or of when they came.
    by_turn: BTreeMap<u64, SessionId>,
    turns: HashMap<SessionId, u64>,
    last_turn: u64,
}

impl Serving {
    /// Comes last.
    pub(super) fn add(&mut self, id: SessionId) {
        self.remove(id);
        self.last_turn += 1;
        self.by_turn.insert(self.last_turn, id);
        self.turns.insert(id, self.last_turn);
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        if let Some(turn) = self.turns.remove(&id) {
            self.by_turn.remove(&turn);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_turn.is_empty()
    }

    /// The first that can take more, which has had its turn then.
    pub(super) fn next(&mut self, can_take: impl Fn(SessionId) -> bool) -> Option<SessionId> {
        let id = self.by_turn.values().copied().find(|id| can_take(*id))?;
        self.add(id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round_among_those_that_can_take_more() {
        let id = |number| SessionId::from_bytes([number; 16]);
        let mut serving = Serving::default();
        (1..=3).for_each(|number| serving.add(id(number)));
        assert_eq!(serving.next(|_| true), Some(id(1)));
        assert_eq!(serving.next(|it| it != id(2)), Some(id(3)));
        assert_eq!(serving.next(|_| true), Some(id(2)), "it has waited longest");
        serving.remove(id(1));
        assert_eq!(
            [(); 3].map(|()| serving.next(|_| true)),
            [Some(id(3)), Some(id(2)), Some(id(3))]
        );
        assert_eq!(serving.next(|_| false), None);
        [2, 3, 3].into_iter().for_each(|number| serving.remove(id(number)));
        assert!(serving.is_empty());
    }
}
