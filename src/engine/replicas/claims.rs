//! Claiming: queued operations of the store for workers here with room.
//!
//! Between rounds the store alone knows what waits. Only queues that may hold more than is known are asked, and
//! only for as much as there is room for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::committer::Committer;
use super::super::draft::Draft;
use super::super::queue::QueueKey;
use crate::operation::{OperationId, SessionId};
use crate::store::StoreError;
use crate::store::shared::{Topic, Wanted};

/// Most operations that one commit claims.
const MAX_CLAIMS: usize = 512;

impl Committer {
    /// Claims queued operations for workers with room, in the queues that changes have pointed at.
    pub(in crate::engine) async fn claim(
        &mut self,
        draft: &mut Draft,
    ) -> Result<Vec<(SessionId, OperationId)>, StoreError> {
        let Some(replicas) = &mut self.replicas else { return Ok(Vec::new()) };
        let Some(store) = self.shared.store.shared() else { return Ok(Vec::new()) };
        let mut open: VecDeque<QueueKey> =
            self.dirty.iter().filter(|key| replicas.stocked.contains(key)).cloned().collect();
        let mut places: BTreeMap<QueueKey, VecDeque<SessionId>> = BTreeMap::new();
        let mut reserved = 0;
        // One place for each queue by turns, until there are no more places or queues.
        while reserved < MAX_CLAIMS
            && let Some(key) = open.pop_front()
        {
            if let Some(session) = self.sessions.reserve(&key) {
                places.entry(key.clone()).or_default().push_back(session);
                reserved += 1;
                open.push_back(key);
            } else if !places.contains_key(&key) {
                draft.without_place.push(key);
            }
        }
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = places.iter().map(|(key, places)| {
            let (tenant, kind) = (key.tenant.clone(), key.kind.clone());
            Wanted { tenant, kind, limit: places.len() }
        });
        let wanted = wanted.collect();
        replicas.holds = true;
        let claimed = store.claim(wanted, draft.now).await;
        let mut matches = Vec::new();
        if let Ok(claimed) = &claimed {
            let next_start = [replicas.next_start, claimed.next_at];
            replicas.next_start = next_start.into_iter().flatten().min();
            for operation in &claimed.operations {
                let places = places.get_mut(&QueueKey::of(operation));
                let Some(session) = places.and_then(VecDeque::pop_front) else { continue };
                draft.learn(Arc::new(operation.clone()));
                draft.reserved.push(session);
                matches.push((session, operation.id()));
            }
        }
        if places.values().any(|left| !left.is_empty()) {
            // Those whose place was not needed can serve others.
            draft.spared = std::mem::take(&mut draft.without_place);
        }
        for (key, left) in places {
            if left.is_empty() {
                // There may be more, for workers that get room.
                draft.without_place.push(key);
            } else if claimed.is_ok() {
                replicas.stocked.remove(&key);
            }
            self.sessions.settle(left);
        }
        claimed.map(|_| matches)
    }

    /// All queues served here may hold more than is known.
    pub(in crate::engine) fn stock_all(&mut self) {
        let Some(replicas) = &mut self.replicas else { return };
        for key in self.sessions.served() {
            replicas.stocked.insert(key.clone());
            self.dirty.mark(key);
        }
    }

    /// The same of one queue.
    pub(in crate::engine) fn stock(&mut self, key: QueueKey) {
        if let Some(replicas) = &mut self.replicas {
            replicas.stocked.insert(key);
        }
    }

    /// Whether the store may hold older work of that queue than memory does.
    pub(in crate::engine) fn is_stocked(&self, key: &QueueKey) -> bool {
        self.replicas.as_ref().is_some_and(|replicas| replicas.stocked.contains(key))
    }

    /// What the round has left in the queue is in the store for everybody. Others' leavings are heard of from
    /// now on where somebody here waits for them.
    pub(in crate::engine) fn hand_queue_over(&mut self) {
        let Some(replicas) = &mut self.replicas else { return };
        let (keys, next_start) = self.queue.take_all();
        replicas.next_start = [replicas.next_start, next_start].into_iter().flatten().min();
        replicas.stocked.extend(keys);
        replicas.stocked.retain(|key| self.sessions.serves(key));
        replicas.listening.retain(|key, _| self.sessions.serves(key));
        replicas.fresh.retain(|fresh| self.sessions.get(*fresh).is_some());
        if replicas.listening.len() == self.sessions.served_count() {
            return;
        }
        let Some(store) = self.shared.store.shared() else { return };
        for key in self.sessions.served() {
            replicas.listening.entry(key).or_insert_with_key(|QueueKey { tenant, kind }| {
                store.listen(Topic::Queue(tenant.clone(), kind.clone()))
            });
        }
    }
}
