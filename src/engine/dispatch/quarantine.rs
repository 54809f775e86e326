//! Operations that timers, dispatch and recovery of leases skip because something about them fails: permanently if
//! they are damaged, for a while if other transactions keep them locked.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::engine::clock::Moment;
use crate::operation::{OperationId, Revision};

/// How long an operation is skipped that lost every race, because each try may wait for a lock.
pub(crate) const SET_ASIDE: Duration = Duration::from_secs(30);
/// After this many lost races without a lock, always at the same revision as read, an operation counts as damaged: its
/// row contradicts itself.
const DAMAGED_AFTER: u32 = 15;

#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    until: HashMap<OperationId, Moment>,
    unwritable: HashSet<OperationId>,
}

impl Quarantine {
    /// Skips a damaged operation until the server restarts; logs it once.
    pub(crate) fn add_damaged(&mut self, id: OperationId) {
        if self.until.insert(id, Moment::MAX) != Some(Moment::MAX) {
            tracing::error!(operation.id = %id, "an operation is damaged: the server does not touch it");
        }
    }

    /// Skips an operation whose damage shows only when it is written: its row contradicts itself.
    pub(crate) fn add_unwritable(&mut self, id: OperationId) {
        self.unwritable.insert(id);
        self.add_damaged(id);
    }

    pub(crate) fn is_unwritable(&self, id: OperationId) -> bool {
        self.unwritable.contains(&id)
    }

    /// Skips the operation for a while.
    pub(crate) fn set_aside(&mut self, id: OperationId, now: Moment) {
        let until = self.until.entry(id).or_insert(now);
        *until = (*until).max(now.after(SET_ASIDE));
        tracing::error!(operation.id = %id, "an operation cannot be written for now: the server waits before it tries again");
    }

    pub(crate) fn is_damaged(&self, id: OperationId) -> bool {
        self.until.get(&id) == Some(&Moment::MAX)
    }

    pub(crate) fn holds(&self, id: OperationId, now: Moment) -> bool {
        self.until.get(&id).is_some_and(|until| *until > now)
    }

    /// Removes operations whose time is over.
    pub(crate) fn release(&mut self, now: Moment) {
        self.until.retain(|_, until| *until > now);
    }

    /// All operations that are skipped.
    pub(crate) fn ids(&self) -> Vec<OperationId> {
        let mut ids: Vec<OperationId> = self.until.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn len(&self) -> usize {
        self.until.len()
    }
}

/// Operations that lost races in one round, with the revision that each had.
#[derive(Debug, Default)]
pub(crate) struct Suspects(HashMap<OperationId, (Revision, u32)>);

impl Suspects {
    /// Counts a lost race of an operation that was read at that revision. Returns whether the operation is damaged.
    pub(crate) fn lost(&mut self, id: OperationId, revision: Revision) -> bool {
        let (before, times) = self.0.entry(id).or_insert((revision, 0));
        if *before != revision {
            (*before, *times) = (revision, 0);
        }
        *times += 1;
        *times >= DAMAGED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::id;

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    #[test]
    fn what_is_damaged_stays_and_what_was_locked_is_tried_again() {
        let mut quarantine = Quarantine::default();
        quarantine.add_damaged(id(1));
        quarantine.set_aside(id(2), at(5));
        quarantine.set_aside(id(1), at(5));
        assert!(quarantine.holds(id(2), at(34)) && !quarantine.is_damaged(id(2)));
        assert!(!quarantine.holds(id(2), at(35)));
        quarantine.release(at(35));
        assert_eq!(quarantine.ids(), [id(1)]);
        assert!(quarantine.is_damaged(id(1)));
    }

    #[test]
    fn a_race_that_is_lost_again_and_again_without_a_change_is_damage() {
        let mut suspects = Suspects::default();
        for _ in 1..DAMAGED_AFTER {
            assert!(!suspects.lost(id(1), Revision(7)));
        }
        assert!(!suspects.lost(id(2), Revision(7)));
        assert!(suspects.lost(id(1), Revision(7)));
        assert!(!suspects.lost(id(1), Revision(8)), "somebody has changed it");
    }
}
