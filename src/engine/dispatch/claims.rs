//! Claiming: queued operations of a store that replicas share, for workers here with free slots.
//!
//! Between rounds the store alone knows what waits: the queue in memory holds what the round under way has queued.
//! Only queues that may hold more than is known are asked, and only for as much as there are slots.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::dispatcher::Dispatcher;
use super::quarantine::Quarantine;
use super::queue::{Queue, QueueKey};
use super::sessions::Sessions;
use crate::engine::round::draft::Draft;
use crate::operation::{OperationId, SessionId, Timestamp};
use crate::store::StoreError;
use crate::store::shared::{Listening, SharedStore, Topic, Wanted};

/// Reserved slots by queue, a session for each slot.
pub(crate) type Slots = BTreeMap<QueueKey, VecDeque<SessionId>>;

#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Queues served here that may hold more in the store than is known.
    may_have_work: HashSet<QueueKey>,
    /// Subscriptions to hints about queues that workers here serve.
    listening: HashMap<QueueKey, Listening>,
    /// When the next operation may start that was found not to be due.
    next_start: Option<Timestamp>,
}

impl Claims {
    pub(crate) fn next_start(&self) -> Option<Timestamp> {
        self.next_start
    }

    /// Whether something may start that was not due before; said once.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> bool {
        let is_due = self.next_start.is_some_and(|at| at <= now);
        if is_due {
            self.next_start = None;
        }
        is_due
    }

    /// The store may hold work of that queue.
    pub(crate) fn expect(&mut self, key: QueueKey) {
        self.may_have_work.insert(key);
    }

    /// The store may hold work of every queue that is served here.
    pub(crate) fn expect_all(&mut self, dispatcher: &mut Dispatcher) {
        for key in dispatcher.sessions().served() {
            self.may_have_work.insert(key.clone());
            dispatcher.mark(key);
        }
    }

    /// Whether the store may hold older work of that queue than memory does.
    pub(crate) fn expects(&self, key: &QueueKey) -> bool {
        self.may_have_work.contains(key)
    }

    /// Claims queued operations for these slots. The draft knows them then.
    pub(crate) async fn claim(
        &mut self,
        store: &dyn SharedStore,
        mut slots: Slots,
        (dispatcher, quarantine): (&mut Dispatcher, &mut Quarantine),
        draft: &mut Draft,
    ) -> Result<Vec<(SessionId, OperationId)>, StoreError> {
        let wanted = slots.iter().map(|(key, slots)| {
            let (tenant, kind) = (key.tenant.clone(), key.kind.clone());
            Wanted { tenant, kind, limit: slots.len() }
        });
        let mut claimed = store.claim(wanted.collect(), quarantine.ids(), draft.now()).await;
        let mut matches = Vec::new();
        let mut damaged = 0;
        if let Ok(claimed) = &mut claimed {
            self.next_start = [self.next_start, claimed.next_at].into_iter().flatten().min();
            for operation in claimed.operations.drain(..) {
                let (id, key) = (operation.id(), QueueKey::of(&operation));
                let Some(session) = slots.get_mut(&key).and_then(VecDeque::pop_front) else {
                    continue;
                };
                draft.learn(Arc::new(operation));
                dispatcher.take(session, &key);
                matches.push((session, id));
            }
            damaged = claimed.damaged.len();
            claimed.damaged.iter().for_each(|id| quarantine.add_damaged(*id));
        }
        if slots.values().any(|left| !left.is_empty()) {
            dispatcher.spare();
        }
        for (key, left) in slots {
            if left.is_empty() || damaged > 0 {
                // There may be more, for workers that get slots.
                dispatcher.starve(key);
            } else if claimed.is_ok() {
                self.may_have_work.remove(&key);
            }
            dispatcher.sessions_mut().settle(left);
        }
        if damaged > 0 {
            // What is behind the damaged ones is looked for at once.
            dispatcher.spare();
        }
        claimed.map(|_| matches)
    }

    /// One slot for each queue by turns, until there are no more slots or queues.
    pub(crate) fn slots(&self, most: usize, dispatcher: &mut Dispatcher) -> Slots {
        let mut open: VecDeque<QueueKey> =
            dispatcher.turns().filter(|key| self.expects(key)).cloned().collect();
        let mut slots = Slots::new();
        let mut reserved = 0;
        while reserved < most
            && let Some(key) = open.pop_front()
        {
            if let Some(session) = dispatcher.sessions_mut().reserve(&key) {
                slots.entry(key.clone()).or_default().push_back(session);
                reserved += 1;
                open.push_back(key);
            } else if !slots.contains_key(&key) {
                dispatcher.starve(key);
            }
        }
        slots
    }

    /// What the round has left in the queue is in the store for everybody. Other replicas' work is heard of from now
    /// on where a worker here waits for it.
    pub(crate) fn hand_over(&mut self, queue: &mut Queue) {
        let (keys, next_start) = queue.take_all();
        self.next_start = [self.next_start, next_start].into_iter().flatten().min();
        self.may_have_work.extend(keys);
    }

    /// Listens for the queues that are served here, and for no others.
    pub(crate) fn listen(&mut self, store: &dyn SharedStore, sessions: &Sessions) {
        self.may_have_work.retain(|key| sessions.serves(key));
        self.listening.retain(|key, _| sessions.serves(key));
        if self.listening.len() == sessions.served_count() {
            return;
        }
        for key in sessions.served() {
            self.listening.entry(key).or_insert_with_key(|QueueKey { tenant, kind }| {
                store.listen(Topic::Queue(tenant.clone(), kind.clone()))
            });
        }
    }
}
