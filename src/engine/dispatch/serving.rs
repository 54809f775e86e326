//! The workers of a queue, in turns: of those with a free slot, the one whose last turn is longest ago is next.
//!
//! Adding, removing and taking a turn cost about the same however many workers there are, because thousands of workers
//! come and go, each with many kinds, while commits wait.

use std::collections::{BTreeMap, HashMap};

use crate::operation::SessionId;

#[derive(Debug, Default)]
pub(super) struct Serving {
    /// By the number of the last turn, or of the arrival.
    by_turn: BTreeMap<u64, SessionId>,
    turns: HashMap<SessionId, u64>,
    last_turn: u64,
}

impl Serving {
    /// Adds a worker at the end.
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

    /// The first worker that `can_take` more; it then moves to the end.
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
