//! What watches over filters were told: of each operation the latest, as long as there is room.

use std::sync::Arc;
use std::time::Duration;

use hashlink::LruCache;

use crate::operation::{Operation, OperationId, Revision, Timestamp};

/// Of how many operations it is remembered.
const MOST: usize = 16_384;
/// What is older than this was told, or watches over filters began with it.
const RECENT: Duration = Duration::from_secs(60);

/// What was told.
pub(super) struct Told {
    by_id: LruCache<OperationId, Arc<Operation>>,
    most: usize,
    /// What has happened since then, and is not in `by_id`, was not told.
    forgotten: Timestamp,
}

impl Default for Told {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Told {
    fn new(most: usize) -> Self {
        Self { by_id: LruCache::new(most), most, forgotten: Timestamp::from_micros(0) }
    }

    /// Nothing was told; from now on it is known what is.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.most);
    }

    /// The latest transition of an operation that was told.
    pub(super) fn revision(&self, id: OperationId) -> Option<Revision> {
        self.by_id.peek(&id).map(|told| told.life.revision)
    }

    /// The operation was told as it is.
    pub(super) fn remember(&mut self, operation: Arc<Operation>) {
        let id = operation.id();
        if !self.by_id.contains_key(&id)
            && self.by_id.len() == self.most
            && let Some((_, forgotten)) = self.by_id.remove_lru()
        {
            self.forgotten = self.forgotten.max(forgotten.life.updated_at);
        }
        self.by_id.insert(id, operation);
    }

    /// The operation is no more; answers how it was told last.
    pub(super) fn forget(&mut self, id: OperationId) -> Option<Arc<Operation>> {
        self.by_id.remove(&id)
    }

    /// Whether an operation that is not known here was not told as of that time. It may be so that watches over
    /// filters began with it; they know that themselves.
    pub(super) fn lacks(&self, updated_at: Timestamp, now: Timestamp) -> bool {
        updated_at > self.forgotten && updated_at.after(RECENT) > now
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{at, id, operation};
    use super::*;

    fn remember(told: &mut Told, number: u128, updated_at: i64, revision: u64) {
        let mut operation = operation(number, at(updated_at));
        operation.life.revision = Revision(revision);
        told.remember(Arc::new(operation));
    }

    #[test]
    fn the_latest_is_known_until_it_is_forgotten() {
        let mut told = Told::default();
        assert_eq!(told.revision(id(1)), None);
        remember(&mut told, 1, 10, 1);
        remember(&mut told, 1, 11, 2);
        remember(&mut told, 2, 11, 1);
        assert_eq!(told.revision(id(1)), Some(Revision(2)));
        assert_eq!(told.forget(id(1)).map(|told| told.life.revision), Some(Revision(2)));
        assert_eq!((told.revision(id(1)), told.revision(id(2))), (None, Some(Revision(1))));
        told.clear();
        assert_eq!(told.revision(id(2)), None);
    }

    #[test]
    fn what_is_not_known_is_lacking_if_it_is_recent() {
        let told = Told::default();
        assert!(told.lacks(at(100), at(100)) && told.lacks(at(100), at(159)));
        assert!(!told.lacks(at(100), at(160)));
    }

    #[test]
    fn what_is_older_than_what_was_forgotten_may_have_been_told() {
        let mut told = Told::new(2);
        remember(&mut told, 1, 120, 3);
        remember(&mut told, 2, 110, 1);
        remember(&mut told, 2, 111, 2);
        assert!(told.lacks(at(1), at(2)), "nothing is forgotten");
        remember(&mut told, 3, 130, 1);
        assert_eq!(told.revision(id(1)), None, "the one that was told first");
        assert!(told.lacks(at(121), at(130)) && !told.lacks(at(120), at(130)));
        remember(&mut told, 4, 131, 1);
        assert_eq!(told.revision(id(2)), None);
        assert!(!told.lacks(at(120), at(130)), "that of an earlier time changes nothing");
        told.clear();
        assert!(told.lacks(at(1), at(2)));
    }
}
