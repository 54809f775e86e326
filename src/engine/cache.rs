//! Operations that are likely to be needed again soon, as of their last commit: a transition then
//! costs no read. Bounded in number and in bytes of input; what is not here is in the store.

use std::sync::Arc;

use bytes::Bytes;
use hashlink::LruCache;

use crate::operation::{Operation, OperationId};

/// Most inputs' bytes kept.
const MAX_INPUT_BYTES: usize = 64 << 20;

#[derive(Debug)]
struct Entry {
    operation: Arc<Operation>,
    input: Option<Bytes>,
}

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    entries: LruCache<OperationId, Entry>,
    input_bytes: usize,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: LruCache::new(capacity), input_bytes: 0 }
    }

    /// The operation as of its last commit.
    pub(super) fn get(&mut self, id: OperationId) -> Option<Arc<Operation>> {
        self.entries.get(&id).map(|entry| Arc::clone(&entry.operation))
    }

    /// The input's contents, if they are still here.
    pub(super) fn input(&mut self, id: OperationId) -> Option<Bytes> {
        self.entries.get(&id).and_then(|entry| entry.input.clone())
    }

    /// Keeps an operation as committed, and `input` if there is room; an input kept before stays.
    pub(super) fn put(&mut self, operation: Arc<Operation>, input: Option<Bytes>) {
        let id = operation.id();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.operation = operation;
            return;
        }
        if self.entries.len() >= self.entries.capacity()
            && let Some((_, evicted)) = self.entries.remove_lru()
        {
            self.forget_input(evicted.input);
        }
        let input = input.filter(|input| self.input_bytes + input.len() <= MAX_INPUT_BYTES);
        self.input_bytes += input.as_ref().map_or(0, Bytes::len);
        self.entries.insert(id, Entry { operation, input });
    }

    /// Forgets an operation.
    pub(super) fn remove(&mut self, id: OperationId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.forget_input(entry.input);
        }
    }

    fn forget_input(&mut self, input: Option<Bytes>) {
        self.input_bytes -= input.map_or(0, |input| input.len());
    }
}
