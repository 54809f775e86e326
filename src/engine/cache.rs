//! Operations that are likely to be needed again soon, as of their last commit: a transition then
//! costs no read, and neither does a look at an operation that has just changed. Bounded in number and in
//! bytes of input; what is not here is in the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashlink::LruCache;

use crate::operation::{Operation, OperationId};

/// Most inputs' bytes kept.
const MAX_INPUT_BYTES: usize = 64 << 20;

#[derive(Debug)]
struct Entry {
    operation: Arc<Operation>,
    input: Option<Bytes>,
    /// While a commit changes it: who reads the store may be ahead of this.
    held: bool,
}

/// The cache. Its task writes it with each commit, before anybody is told; reads of others come in between.
#[derive(Debug)]
pub(super) struct Cache(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    by_id: LruCache<OperationId, Entry>,
    input_bytes: usize,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Mutex::new(Entries { by_id: LruCache::new(capacity), input_bytes: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operation as everybody may see it: not while a commit changes it.
    pub(super) fn read(&self, id: OperationId) -> Option<Arc<Operation>> {
        let mut entries = self.lock();
        let entry = entries.by_id.get(&id).filter(|entry| !entry.held)?;
        Some(Arc::clone(&entry.operation))
    }

    /// These are about to be changed in the store. What comes next is [`Cache::put`] or [`Cache::remove`].
    pub(super) fn hold(&self, ids: impl Iterator<Item = OperationId>) {
        let mut entries = self.lock();
        for id in ids {
            if let Some(entry) = entries.by_id.get_mut(&id) {
                entry.held = true;
            }
        }
    }

    /// The operation as of its last commit.
    pub(super) fn get(&self, id: OperationId) -> Option<Arc<Operation>> {
        self.lock().by_id.get(&id).map(|entry| Arc::clone(&entry.operation))
    }

    /// The input's contents, if they are still here.
    pub(super) fn input(&self, id: OperationId) -> Option<Bytes> {
        self.lock().by_id.get(&id).and_then(|entry| entry.input.clone())
    }

    /// Keeps an operation as committed, and `input` if there is room; an input kept before stays until the
    /// operation is done.
    pub(super) fn put(&self, operation: Arc<Operation>, input: Option<Bytes>) {
        let mut entries = self.lock();
        let (id, done) = (operation.id(), operation.is_done());
        if let Some(entry) = entries.by_id.get_mut(&id) {
            entry.operation = operation;
            entry.held = false;
            let unused = if done { entry.input.take() } else { None };
            entries.forget_input(unused);
            return;
        }
        if entries.by_id.len() >= entries.by_id.capacity()
            && let Some((_, evicted)) = entries.by_id.remove_lru()
        {
            entries.forget_input(evicted.input);
        }
        let room = MAX_INPUT_BYTES.saturating_sub(entries.input_bytes);
        let input = input.filter(|input| !done && input.len() <= room);
        entries.input_bytes += input.as_ref().map_or(0, Bytes::len);
        entries.by_id.insert(id, Entry { operation, input, held: false });
    }

    /// Forgets an operation.
    pub(super) fn remove(&self, id: OperationId) {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_id.remove(&id) {
            entries.forget_input(entry.input);
        }
    }
}

impl Entries {
    fn forget_input(&mut self, input: Option<Bytes>) {
        self.input_bytes -= input.map_or(0, |input| input.len());
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{at, id, operation};
    use super::*;
    use crate::operation::{Command, Decision, Revision, decide};

    fn put(cache: &Cache, number: u128, input: Option<usize>) {
        let input = input.map(|length| Bytes::from(vec![0; length]));
        cache.put(Arc::new(operation(number, at(0))), input);
    }

    fn end(cache: &Cache, number: u128) {
        let operation = operation(number, at(0));
        let cancel = Command::Cancel { reason: String::new() };
        let Ok(Decision::Change(event)) = decide(&operation, &cancel, None, at(1)) else {
            panic!("{operation:?} cannot be cancelled");
        };
        let input = Some(Bytes::from_static(b"not wanted any more"));
        cache.put(Arc::new(Operation { life: event.life, ..operation }), input);
    }

    fn lengths<const N: usize>(cache: &Cache) -> [Option<usize>; N] {
        std::array::from_fn(|index| cache.input(id(index as u128 + 1)).map(|input| input.len()))
    }

    #[test]
    fn what_a_commit_is_changing_is_for_that_commit_only() {
        let cache = Cache::new(10);
        for number in [1, 2] {
            put(&cache, number, None);
        }
        cache.hold([id(1), id(3)].into_iter());
        assert!(cache.read(id(1)).is_none() && cache.get(id(1)).is_some());
        assert!(cache.read(id(2)).is_some());
        end(&cache, 1);
        let read = cache.read(id(1)).map(|read| read.life.revision);
        assert_eq!(read, Some(Revision(2)));
        cache.remove(id(1));
        assert!(cache.get(id(1)).is_none() && cache.read(id(1)).is_none());
    }

    #[test]
    fn the_one_that_was_used_longest_ago_makes_room() {
        let cache = Cache::new(2);
        for number in [1, 2] {
            put(&cache, number, Some(10));
        }
        assert!(cache.get(id(1)).is_some());
        put(&cache, 3, Some(10));
        assert_eq!(lengths(&cache), [Some(10), None, Some(10)]);
        assert_eq!(cache.lock().input_bytes, 20);
    }

    #[test]
    fn an_input_is_kept_until_its_operation_is_done() {
        let cache = Cache::new(10);
        for number in [1, 2] {
            put(&cache, number, Some(10));
        }
        put(&cache, 1, None);
        assert_eq!(lengths(&cache), [Some(10), Some(10)]);
        end(&cache, 1);
        assert_eq!(lengths(&cache), [None, Some(10)]);
        assert_eq!(cache.lock().input_bytes, 10);
        cache.remove(id(2));
        assert_eq!(cache.lock().input_bytes, 0);
        end(&cache, 3);
        assert!(cache.get(id(3)).is_some() && cache.input(id(3)).is_none());
    }

    #[test]
    fn inputs_are_kept_while_there_is_room_for_their_bytes() {
        let cache = Cache::new(10);
        put(&cache, 1, Some(MAX_INPUT_BYTES - 10));
        put(&cache, 2, Some(11));
        put(&cache, 3, Some(10));
        put(&cache, 4, Some(1));
        let all = [Some(MAX_INPUT_BYTES - 10), None, Some(10), None];
        assert_eq!(lengths(&cache), all);
        assert!(cache.get(id(2)).is_some(), "the operation is kept without");
        cache.remove(id(3));
        put(&cache, 5, Some(10));
        assert_eq!(lengths::<5>(&cache)[4], Some(10));
    }
}
