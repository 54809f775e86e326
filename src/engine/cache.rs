//! Operations that are likely to be needed soon, as of their last commit. They save the reads of a transition, of an
//! operation that has just changed, and of a result that has just been recorded. Bounded in bytes, contents included;
//! everything else is in the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashlink::LruCache;

use super::round::transition::Transition;
use super::watch::item::Committed;
use crate::operation::{Operation, OperationId, Revision};
use crate::store::log::Stamp;

/// The size of an entry without the operation, in bytes.
const ENTRY_BYTES: usize = 128;
/// The last transitions that are kept of an operation: enough for a normal life.
const RECENT: usize = 3;

#[derive(Debug)]
struct Entry {
    operation: Arc<Operation>,
    /// Contents of the input; once the operation is done, those of the result.
    contents: Option<Bytes>,
    /// The last transitions, without gaps.
    recent: Vec<Committed>,
    /// The commit that made the operation what it is, if this process made it.
    commit: Option<Stamp>,
    /// Set while a commit changes the operation, because a reader of the store may be ahead of this entry.
    held: bool,
}

impl Entry {
    fn bytes(&self) -> usize {
        let lives: usize = self.recent.iter().map(|it| it.operation.life.size()).sum();
        let contents = self.contents.as_ref().map_or(0, Bytes::len);
        ENTRY_BYTES + self.operation.size() + lives + contents
    }

    fn follow(&mut self, transition: &Transition) {
        let revision = transition.after.life.revision;
        let last = self.recent.last().map(|last| last.operation.life.revision);
        if last.is_some_and(|last| last.next() != revision) {
            self.recent.clear();
        }
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        let (operation, event_type) = (Arc::clone(&transition.after), transition.event_type);
        self.recent.push(Committed { operation, event_type });
    }
}

/// The cache. The committer writes it with each commit, before it notifies; other tasks read it in between.
#[derive(Debug)]
pub(super) struct Cache(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    by_id: LruCache<OperationId, Entry>,
    most: usize,
    bytes: usize,
}

impl Cache {
    /// Keeps at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self(Mutex::new(Entries { by_id: LruCache::new_unbounded(), most, bytes: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operation, unless a commit is changing it.
    pub(super) fn read(&self, id: OperationId) -> Option<Arc<Operation>> {
        let mut entries = self.lock();
        let entry = entries.by_id.get(&id).filter(|entry| !entry.held)?;
        Some(Arc::clone(&entry.operation))
    }

    /// The operation with its transitions after that revision; a commit may be changing it. `None` if the transitions
    /// are not all cached.
    pub(super) fn since(
        &self,
        id: OperationId,
        after: Revision,
    ) -> Option<(Arc<Operation>, Vec<Committed>)> {
        let mut entries = self.lock();
        let Entry { operation, recent, .. } = entries.by_id.get(&id)?;
        let missing = operation.life.revision.0.checked_sub(after.0)?;
        let recent = recent.iter().filter(|it| it.operation.life.revision > after);
        let recent: Vec<Committed> = recent.cloned().collect();
        (recent.len() as u64 == missing).then(|| (Arc::clone(operation), recent))
    }

    /// The commits that made these operations what they are; `None` if one of them is not known.
    pub(super) fn commits<'a>(
        &self,
        operations: impl Iterator<Item = &'a Arc<Operation>>,
    ) -> Option<Vec<Stamp>> {
        let entries = self.lock();
        let commit = |operation: &Arc<Operation>| {
            let entry = entries.by_id.peek(&operation.id())?;
            entry.commit.filter(|_| entry.operation.life.revision == operation.life.revision)
        };
        operations.map(commit).collect()
    }

    /// Adds transitions of a commit to the entries of their operations, which must have been put before.
    pub(super) fn follow(&self, transitions: &[Transition], commit: Option<Stamp>) {
        let mut entries = self.lock();
        let Entries { by_id, most, bytes } = &mut *entries;
        for transition in transitions {
            let Some(entry) = by_id.get_mut(&transition.after.id()) else { continue };
            *bytes -= entry.bytes();
            entry.follow(transition);
            entry.commit = commit;
            if entry.bytes() > *most / 16 {
                entry.recent = Vec::new();
            }
            *bytes += entry.bytes();
        }
        entries.make_room();
    }

    /// Marks operations that a commit is about to change. [`Cache::put`] or [`Cache::remove`] must follow.
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

    /// The input's contents, if they are cached.
    pub(super) fn input(&self, id: OperationId) -> Option<Bytes> {
        self.contents(id, false)
    }

    /// The result's contents, if they are cached. They never change.
    pub(super) fn result(&self, id: OperationId) -> Option<Bytes> {
        self.contents(id, true)
    }

    fn contents(&self, id: OperationId, of_done: bool) -> Option<Bytes> {
        let mut entries = self.lock();
        let entry = entries.by_id.get(&id).filter(|entry| entry.operation.is_done() == of_done)?;
        entry.contents.clone()
    }

    /// Stores a committed operation with its contents: those of the input until the operation is done, those of the
    /// result from then on.
    pub(super) fn put(
        &self,
        operation: Arc<Operation>,
        input: Option<Bytes>,
        result: Option<Bytes>,
    ) {
        let mut entries = self.lock();
        let before = entries.take_out(operation.id());
        let commit = before.as_ref().and_then(|entry| {
            let is_same = entry.operation.life.revision == operation.life.revision;
            entry.commit.filter(|_| is_same)
        });
        let (recent, was_done, contents) = match before {
            Some(entry) => (entry.recent, entry.operation.is_done(), entry.contents),
            None => (Vec::new(), false, None),
        };
        // An operation that was done before still has the same result.
        let contents = contents.filter(|_| was_done == operation.is_done());
        let new = if operation.is_done() { result } else { input };
        let contents = contents.or(new);
        entries.insert(Entry { operation, contents, recent, commit, held: false });
    }

    /// Removes an operation.
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

    fn insert(&mut self, mut entry: Entry) {
        // One entry must not push out all others.
        if entry.bytes() > self.most / 16 {
            entry.recent = Vec::new();
        }
        if entry.bytes() > self.most / 16 {
            entry.contents = None;
        }
        if entry.bytes() > self.most / 16 {
            return;
        }
        self.bytes += entry.bytes();
        self.by_id.insert(entry.operation.id(), entry);
        self.make_room();
    }

    /// Removes the least recently used entries until the rest fits.
    fn make_room(&mut self) {
        while self.bytes > self.most
            && let Some((_, evicted)) = self.by_id.remove_lru()
        {
            self.bytes -= evicted.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{at, cancelled, id, operation};
    use super::*;
    use crate::operation::EventType;

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
    fn the_last_transitions_are_at_hand_without_a_gap() {
        let cache = Cache::new(MOST);
        let at_hand = |after| {
            let (operation, recent) = cache.since(id(1), Revision(after))?;
            assert_eq!(operation.life.revision, Revision(after + recent.len() as u64));
            Some(recent.len())
        };
        let to = |revision| {
            let mut after = operation(1, at(0));
            after.life.revision = Revision(revision);
            let after = Arc::new(after);
            cache.put(Arc::clone(&after), None, None);
            let event_type = EventType::Submitted;
            cache.follow(&[Transition { before: None, after, event_type, by_report: false }], None);
        };
        assert_eq!(at_hand(0), None);
        (1..=RECENT as u64 + 1).for_each(to);
        assert_eq!(
            [0, 1, 2, 3, 4, 5].map(at_hand),
            [None, Some(3), Some(2), Some(1), Some(0), None]
        );
        // Others made the fifth.
        to(6);
        assert_eq!([4, 5, 6].map(at_hand), [None, Some(1), Some(0)]);
        let mut after = operation(1, at(0));
        after.life.revision = Revision(7);
        cache.put(Arc::new(after), None, None);
        assert_eq!([5, 6].map(at_hand), [None, None], "its transition comes next");
        assert!(is_exact(&cache));
    }

    #[test]
    fn the_commit_is_known_of_what_this_process_committed_last() {
        let cache = Cache::new(MOST);
        let with = |number: u128, revision| {
            let mut operation = operation(number, at(0));
            operation.life.revision = Revision(revision);
            Arc::new(operation)
        };
        let known = |of: &[&Arc<Operation>]| cache.commits(of.iter().copied());
        let commit = |after: &Arc<Operation>, sequence| {
            let stamp = Stamp { writer: 1, sequence };
            cache.put(Arc::clone(after), None, None);
            let (after, event_type) = (Arc::clone(after), EventType::Submitted);
            let made = Transition { before: None, after, event_type, by_report: false };
            cache.follow(&[made], Some(stamp));
            stamp
        };
        let (first, other) = (with(1, 1), with(2, 1));
        assert_eq!((known(&[]), known(&[&first])), (Some(vec![]), None));
        let stamps = vec![commit(&first, 1), commit(&other, 2)];
        assert_eq!(known(&[&first, &other]), Some(stamps.clone()));
        // A commit that did not change it.
        cache.put(Arc::clone(&first), None, None);
        assert_eq!(known(&[&first, &other]), Some(stamps));
        // Somebody else made this revision.
        let second = with(1, 2);
        assert_eq!(known(&[&other, &second]), None);
        cache.put(Arc::clone(&second), None, None);
        assert_eq!((known(&[&first]), known(&[&second])), (None, None));
        let third = with(1, 3);
        assert_eq!(known(&[&third]), None);
        assert_eq!(Some(vec![commit(&third, 5)]), known(&[&third]));
    }

    #[test]
    fn transitions_count_and_are_dropped_where_they_are_large() {
        let cache = Cache::new(MOST);
        let bytes = |cache: &Cache| cache.lock().bytes;
        let end = |number, reason| {
            let mut after = cancelled(&operation(number, at(0)));
            after.life.cancel.as_mut().expect("a cancel").reason = "r".repeat(reason);
            let after = Arc::new(after);
            cache.put(Arc::clone(&after), None, None);
            let before = bytes(&cache);
            let event_type = EventType::Finished;
            cache.follow(&[Transition { before: None, after, event_type, by_report: false }], None);
            bytes(&cache) - before
        };
        assert!(end(1, 1_000) > 1_000);
        assert!(cache.since(id(1), Revision(1)).is_some());
        assert_eq!(end(2, MOST / 16 - 2_000), 0);
        assert!(cache.since(id(2), Revision(1)).is_none());
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
        // A commit read it and changed nothing.
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
