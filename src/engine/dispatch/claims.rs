//! Claims queued operations of a shared store for free slots of workers here.
//!
//! Between rounds only the store knows what is queued: the queue in memory has only what the current round has queued.
//! A claim reads only queues that may have unknown work, and only as much as there are slots.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::dispatcher::Dispatcher;
use super::quarantine::Quarantine;
use super::queue::{Lane, Queue, QueueKey};
use super::sessions::Sessions;
use crate::engine::round::draft::Draft;
use crate::operation::limits::LimitTable;
use crate::operation::{Kind, OperationId, Scope, SessionId, TenantId, Timestamp};
use crate::store::StoreError;
use crate::store::shared::{Listening, SharedStore, Topic, Wanted};

/// When a queue is read again while another replica was claiming from it.
const CONTENDED: Duration = Duration::from_millis(50);
/// How many tenants one lookup returns.
const TENANTS: usize = 1_000;

/// Reserved slots by queue; a slot is its session's id.
pub(crate) type Slots = BTreeMap<QueueKey, VecDeque<SessionId>>;

/// Kinds that workers here execute for all tenants; the store may have work of tenants that are not known here.
#[derive(Debug, Default)]
struct Unknown {
    kinds: BTreeSet<Kind>,
    /// The last tenant that was looked up, if there are more.
    after: Option<TenantId>,
    /// Whether tenants that were looked up may have got work since.
    again: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Served queues of which the store may have work that is not known here.
    may_have_work: HashSet<QueueKey>,
    unknown: Unknown,
    /// Subscriptions to hints about the lanes that workers here serve.
    listening: HashMap<Lane, Listening>,
    /// The earliest start time of operations that were not due when they were read.
    next_start: Option<Timestamp>,
}

impl Claims {
    pub(crate) fn next_start(&self) -> Option<Timestamp> {
        self.next_start
    }

    /// Whether such a start time has passed; resets it.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> bool {
        let is_due = self.next_start.is_some_and(|at| at <= now);
        if is_due {
            self.next_start = None;
        }
        is_due
    }

    /// Notes that the store may have work of this lane.
    pub(crate) fn expect(&mut self, lane: Lane) {
        match lane.scope {
            Scope::Tenant(tenant) => {
                self.may_have_work.insert(QueueKey { tenant, kind: lane.kind });
            }
            Scope::All => {
                self.unknown.kinds.insert(lane.kind);
                self.unknown.again = self.unknown.after.is_some();
            }
        }
    }

    /// Notes that the store may have work of every served lane.
    pub(crate) fn expect_all(&mut self, dispatcher: &mut Dispatcher) {
        for lane in dispatcher.sessions().served() {
            self.expect(lane.clone());
            dispatcher.open(lane);
        }
    }

    /// Whether the store may have older work of this queue than memory has.
    pub(crate) fn expects(&self, key: &QueueKey) -> bool {
        self.may_have_work.contains(key)
    }

    /// Looks up the tenants with queued work of the kinds that workers here execute for all tenants.
    pub(crate) async fn look_up(
        &mut self,
        store: &dyn SharedStore,
        dispatcher: &mut Dispatcher,
    ) -> Result<(), StoreError> {
        let sessions = dispatcher.sessions();
        let lane = |kind: &Kind| Lane { scope: Scope::All, kind: kind.clone() };
        self.unknown.kinds.retain(|kind| sessions.has_lane(&lane(kind)));
        if self.unknown.kinds.is_empty() {
            self.unknown = Unknown::default();
            return Ok(());
        }
        let kinds = self.unknown.kinds.iter().cloned().collect();
        let found = store.queues(kinds, self.unknown.after.clone(), TENANTS).await?;
        let keys = found.found.into_iter().map(|(tenant, kind)| QueueKey { tenant, kind });
        self.may_have_work.extend(keys);
        self.unknown.kinds.iter().for_each(|kind| dispatcher.open(lane(kind)));
        // Further tenants are looked up in the next round.
        self.unknown.after = found.last;
        if self.unknown.after.is_none() && !std::mem::take(&mut self.unknown.again) {
            self.unknown.kinds.clear();
        }
        Ok(())
    }

    /// Claims queued operations for these slots, and adds them to the draft.
    pub(crate) async fn claim(
        &mut self,
        store: &dyn SharedStore,
        mut slots: Slots,
        (dispatcher, quarantine): (&mut Dispatcher, &mut Quarantine),
        table: &LimitTable,
        draft: &mut Draft,
    ) -> Result<Vec<(SessionId, OperationId)>, StoreError> {
        let wanted = slots.iter().map(|(key, slots)| {
            let (tenant, kind) = (key.tenant.clone(), key.kind.clone());
            let limits = table.running(&tenant, &kind);
            Wanted { tenant, kind, limit: slots.len(), limits }
        });
        let mut claimed = store.claim(wanted.collect(), quarantine.ids(), draft.now()).await;
        let mut matches = Vec::new();
        let (mut damaged, mut held) = (0, HashSet::new());
        if let Ok(claimed) = &mut claimed {
            self.next_start = [self.next_start, claimed.next_at].into_iter().flatten().min();
            for operation in claimed.operations.drain(..) {
                let (id, key) = (operation.id(), QueueKey::of(&operation));
                let Some(session) = slots.get_mut(&key).and_then(VecDeque::pop_front) else {
                    continue;
                };
                let operation = Arc::new(operation);
                // Memory may have it too: undoing a commit puts back the operations that it took.
                dispatcher.queue_mut().claimed(&operation);
                draft.learn(operation);
                dispatcher.take(session, &key);
                matches.push((session, id));
            }
            let keys = claimed.held.drain(..).map(|(tenant, kind)| QueueKey { tenant, kind });
            held.extend(keys);
            if claimed.is_contended {
                let again = draft.now().after(CONTENDED);
                self.next_start = Some(self.next_start.map_or(again, |at| at.min(again)));
            }
            damaged = claimed.damaged.len();
            claimed.damaged.iter().for_each(|id| quarantine.add_damaged(*id));
        }
        if slots.values().any(|left| !left.is_empty()) {
            dispatcher.spare();
        }
        for (key, left) in slots {
            if left.is_empty() || damaged > 0 {
                // There may be more work for workers that get free slots.
                dispatcher.starve(key);
            } else if claimed.is_ok() && !held.contains(&key) {
                self.may_have_work.remove(&key);
            }
            dispatcher.sessions_mut().settle(left);
        }
        if damaged > 0 {
            // Operations behind damaged ones are claimed at once.
            dispatcher.spare();
        }
        claimed.map(|_| matches)
    }

    /// Reserves slots for queues by turns, until either runs out.
    pub(crate) fn slots(&self, most: usize, dispatcher: &mut Dispatcher) -> Slots {
        let opened = |key: &&QueueKey| dispatcher.opened().contains(&key.kind);
        let opened: Vec<QueueKey> = self.may_have_work.iter().filter(opened).cloned().collect();
        opened.into_iter().for_each(|key| dispatcher.mark(key));
        let mut plan = dispatcher.plan(|key| self.expects(key));
        let mut slots = Slots::new();
        let mut reserved = 0;
        while reserved < most
            && let Some(key) = plan.first().cloned()
        {
            let session = dispatcher.sessions_mut().reserve(&key);
            plan.advance(session.is_some());
            if let Some(session) = session {
                slots.entry(key).or_default().push_back(session);
                reserved += 1;
            } else if !slots.contains_key(&key) {
                dispatcher.starve(key);
            }
        }
        slots
    }

    /// Leaves the round's queued operations to the store, where every replica finds them; returns their queues.
    pub(crate) fn hand_over(&mut self, queue: &mut Queue) -> Vec<QueueKey> {
        let (keys, next_start) = queue.take_all();
        self.next_start = [self.next_start, next_start].into_iter().flatten().min();
        self.may_have_work.extend(keys.iter().cloned());
        keys
    }

    /// Subscribes to hints about exactly the lanes that are served here.
    pub(crate) fn listen(&mut self, store: &dyn SharedStore, sessions: &Sessions) {
        self.may_have_work.retain(|key| sessions.serves(key));
        self.listening.retain(|lane, _| sessions.has_lane(lane));
        if self.listening.len() == sessions.served_count() {
            return;
        }
        for lane in sessions.served() {
            self.listening.entry(lane).or_insert_with_key(|Lane { scope, kind }| {
                store.listen(match scope {
                    Scope::Tenant(tenant) => Topic::Queue(tenant.clone(), kind.clone()),
                    Scope::All => Topic::Queues,
                })
            });
        }
    }
}
