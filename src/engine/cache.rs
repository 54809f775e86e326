//! Operations that are likely to be needed soon, as of their last commit: a transition then costs no read, nor does
//! a read of an operation that has just changed or a result that has just been recorded. Bounded in bytes, contents
//! included; everything else is in the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashlink::LruCache;

use crate::operation::{Operation, OperationId};

/// The size of an entry without the operation.
const ENTRY_BYTES: usize = 128;

#[derive(Debug)]
struct Entry {
    operation: Arc<Operation>,
    /// Those of the input; once it is done, those of the result.
    contents: Option<Bytes>,
    /// While a commit changes it: a reader of the store may be ahead of this.
    held: bool,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.operation.size() + self.contents.as_ref().map_or(0, Bytes::len)
    }
}

/// The cache. Its task writes it with each commit, before notifications; other tasks read in between.
#[derive(Debug)]
pub(super) struct Cache(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    by_id: LruCache<OperationId, Entry>,
    most: usize,
    bytes: usize,
}

impl Cache {
    /// Keeps at most that many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self(Mutex::new(Entries { by_id: LruCache::new_unbounded(), most, bytes: 0 }))
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
        self.contents(id, false)
    }

    /// The result's contents, if they are still here. They never change.
    pub(super) fn result(&self, id: OperationId) -> Option<Bytes> {
        self.contents(id, true)
    }

    fn contents(&self, id: OperationId, of_done: bool) -> Option<Bytes> {
        let mut entries = self.lock();
        let entry = entries.by_id.get(&id).filter(|entry| entry.operation.is_done() == of_done)?;
        entry.contents.clone()
    }

    /// Keeps an operation as committed with the contents of its input, which stay until it is done, or with those of its
    /// result from then on. Those that were used longest ago make room.
    pub(super) fn put(
        &self,
        operation: Arc<Operation>,
        input: Option<Bytes>,
        result: Option<Bytes>,
    ) {
        let mut entries = self.lock();
        let id = operation.id();
        let before = entries.take_out(id).filter(|entry| {
            // The result of one that was done before is its result still.
            entry.operation.is_done() == operation.is_done()
        });
        let before = before.and_then(|entry| entry.contents);
        let new = if operation.is_done() { result } else { input };
        let contents = before.or(new);
        let mut entry = Entry { operation, contents, held: false };
        if entry.bytes() > entries.most / 16 {
            // One must not push out all the others.
            entry.contents = None;
        }
        if entry.bytes() > entries.most / 16 {
            return;
        }
        entries.bytes += entry.bytes();
        entries.by_id.insert(id, entry);
        while entries.bytes > entries.most
            && let Some((_, evicted)) = entries.by_id.remove_lru()
        {
            entries.bytes -= evicted.bytes();
        }
    }

    /// Forgets an operation.
    pub(super) fn remove(&self, id: OperationId) {
        self.lock().take_out(id);
    }
}

impl Entries {
    fn take_out(&mut self, id: OperationId) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{at, cancelled, id, operation};
    use super::*;
    use crate::operation::Revision;

    const MOST: usize = 1 << 20;

    fn put(cache: &Cache, number: u128, input: Option<usize>) {
        let input = input.map(|length| Bytes::from(vec![0; length]));
        cache.put(Arc::new(operation(number, at(0))), input, None);
    }

    fn end(cache: &Cache, number: u128) {
        let input = Some(Bytes::from_static(b"not wanted any more"));
        let result = Some(Bytes::from_static(b"result"));
        cache.put(Arc::new(cancelled(&operation(number, at(0)))), input, result);
    }

    fn lengths<const N: usize>(cache: &Cache) -> [Option<usize>; N] {
        std::array::from_fn(|index| cache.input(id(index as u128 + 1)).map(|input| input.len()))
    }

    fn is_exact(cache: &Cache) -> bool {
        let entries = cache.lock();
        entries.bytes == entries.by_id.iter().map(|(_, entry)| entry.bytes()).sum::<usize>()
    }

    #[test]
    fn what_a_commit_is_changing_is_for_that_commit_only() {
        let cache = Cache::new(MOST);
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
    fn those_that_were_used_longest_ago_make_room() {
        let cache = Cache::new(MOST);
        // Sixteen of them do not fit.
        let length = MOST / 16 - 2_000;
        for number in 1..=16 {
            put(&cache, number, Some(length));
        }
        assert!(cache.get(id(1)).is_some());
        put(&cache, 17, Some(length));
        assert_eq!(lengths(&cache), [Some(length), None, Some(length)]);
        assert!(cache.lock().bytes <= MOST && is_exact(&cache));
    }

    #[test]
    fn an_input_is_kept_until_its_operation_is_done_and_then_its_result() {
        let cache = Cache::new(MOST);
        for number in [1, 2] {
            put(&cache, number, Some(10));
        }
        put(&cache, 1, None);
        assert_eq!(lengths(&cache), [Some(10), Some(10)]);
        assert_eq!(cache.result(id(1)), None);
        end(&cache, 1);
        assert_eq!(lengths(&cache), [None, Some(10)]);
        assert_eq!(cache.result(id(1)).as_deref(), Some(&b"result"[..]));
        // Looked at by a commit that changes nothing of it.
        cache.put(Arc::new(cancelled(&operation(1, at(0)))), None, None);
        assert_eq!(cache.result(id(1)).as_deref(), Some(&b"result"[..]));
        cache.remove(id(2));
        end(&cache, 3);
        assert!(cache.get(id(3)).is_some() && cache.input(id(3)).is_none());
        assert!(is_exact(&cache));
    }

    #[test]
    fn what_is_too_large_pushes_out_nothing() {
        let cache = Cache::new(MOST);
        put(&cache, 1, Some(10));
        put(&cache, 2, Some(MOST / 16));
        assert!(cache.get(id(2)).is_some(), "the operation is kept without");
        let mut large = cancelled(&operation(3, at(0)));
        large.life.cancel.as_mut().expect("a cancel").reason = "r".repeat(MOST / 16);
        cache.put(Arc::new(large), None, None);
        assert!(cache.get(id(3)).is_none(), "errors and texts count as well");
        assert_eq!(lengths(&cache), [Some(10), None]);
        assert!(is_exact(&cache));
    }
}
