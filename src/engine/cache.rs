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
mod tests;
