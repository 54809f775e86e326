//! Matches queued operations to workers with free slots, within the commit that made this possible, and notifies
//! workers of what that commit did to their leases.
//!
//! An acquisition is an ordinary transition: the rules decide it, and the worker gets it only once it is durable.
//! [`Dispatcher::committed`] makes a draft's effects final, [`Dispatcher::abandoned`] undoes them.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::places::Places;
use super::quarantine::{Quarantine, SET_ASIDE};
use super::queue::{Lane, Queue, QueueKey};
use super::resumed::ResumedSessions;
use super::sessions::Sessions;
use super::turns::{Plan, Turns};
use crate::engine::clock::Moment;
use crate::engine::request::{StreamNumber, ToWorker, WorkerHello};
use crate::engine::round::draft::Draft;
use crate::engine::round::transition::Transition;
use crate::operation::limits::LimitTable;
use crate::operation::{Command, Kind, Operation, OperationId, Scope, SessionId, State, Timestamp};

/// A message for a worker, to be sent after the commit.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) session: SessionId,
    pub(crate) content: ToWorker,
}

#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    queue: Queue,
    turns: Turns,
    /// Kinds for which a worker of all tenants may have a free slot. Their queues are looked up once a round.
    opened: BTreeSet<Kind>,
    places: Places,
    sessions: Sessions,
    resumed: ResumedSessions,
    /// Sessions for which this draft has reserved a slot, once per slot.
    reserved: Vec<SessionId>,
    /// Queues with work but no free slot; this draft may hold slots that it turns out not to use.
    starved: Vec<QueueKey>,
    /// Queues with a slot that was offered to other queues and not used.
    spared: Vec<QueueKey>,
    /// Operations that this draft found no place for under a limit.
    held: Vec<OperationId>,
}

impl Dispatcher {
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn sessions_mut(&mut self) -> &mut Sessions {
        &mut self.sessions
    }

    pub(crate) fn resumed(&self) -> &ResumedSessions {
        &self.resumed
    }

    pub(crate) fn resumed_mut(&mut self) -> &mut ResumedSessions {
        &mut self.resumed
    }

    pub(crate) fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    pub(crate) fn places_mut(&mut self) -> &mut Places {
        &mut self.places
    }

    /// Replaces the limits.
    pub(crate) fn set_limits(&mut self, table: &Arc<LimitTable>) {
        self.turns.set_weights(table.weights().collect());
        let (blocked, held) = self.places.set_table(Arc::clone(table));
        blocked.into_iter().for_each(|key| self.turns.mark(key));
        for (key, rank) in held {
            self.queue.put_back(key.clone(), rank);
            self.turns.mark(key);
        }
    }

    /// When the next delayed operation becomes due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.queue.next_due()
    }

    /// Whether a queue may have both work and a slot.
    pub(crate) fn has_turns(&self) -> bool {
        !self.turns.is_empty() || !self.opened.is_empty()
    }

    /// The `wanted` queues that may have a turn, in the order of their turns.
    pub(crate) fn plan(&self, wanted: impl Fn(&QueueKey) -> bool) -> Plan {
        self.turns.plan(wanted)
    }

    /// Kinds for which a worker of all tenants may have a free slot.
    pub(crate) fn opened(&self) -> &BTreeSet<Kind> {
        &self.opened
    }

    /// Notes that the lane may have a free slot.
    pub(crate) fn open(&mut self, lane: Lane) {
        match lane.scope {
            Scope::Tenant(tenant) => self.turns.mark(QueueKey { tenant, kind: lane.kind }),
            Scope::All => {
                self.opened.insert(lane.kind);
            }
        }
    }

    /// Notes that the queue may have both work and a free slot.
    pub(crate) fn mark(&mut self, key: QueueKey) {
        self.turns.mark(key);
    }

    /// Makes due operations ready.
    pub(crate) fn release_due(&mut self, now: Timestamp) {
        for key in self.queue.release_due(now) {
            self.turns.mark(key);
        }
    }

    /// Follows transitions that are to be committed; the queues that they add to get turns in the same commit.
    pub(crate) fn follow(&mut self, transitions: &[Transition], now: Timestamp) {
        for transition in transitions {
            if let Some(before) = &transition.before
                && self.places.let_go(before.id())
            {
                self.queue.left(before);
            }
            self.queue.follow(transition, now);
            if matches!(transition.after.life.state, State::Queued { .. }) {
                self.turns.mark(QueueKey::of(&transition.after));
            }
        }
    }

    /// Matches queued operations to free slots: queues and workers by turns, within a queue the highest priority first,
    /// then the oldest. `is_elsewhere` says for which queues the store may have older work.
    pub(crate) fn matches(
        &mut self,
        most: usize,
        (now, moment): (Timestamp, Moment),
        quarantine: &Quarantine,
        is_elsewhere: impl Fn(&QueueKey) -> bool,
    ) -> Vec<(SessionId, OperationId)> {
        for kind in std::mem::take(&mut self.opened) {
            self.queue.ready_of(&kind).for_each(|key| self.turns.mark(key));
        }
        for (key, rank) in self.places.wake() {
            self.queue.put_back(key.clone(), rank);
            self.turns.mark(key);
        }
        let (mut matches, mut planned) = (Vec::new(), HashMap::new());
        while matches.len() < most
            && let Some(key) = self.turns.pop()
        {
            // Older work goes first.
            if !self.queue.has_ready(&key) || is_elsewhere(&key) {
                continue;
            }
            if !self.places.admits(&key, &planned) {
                continue;
            }
            let Some(session) = self.sessions.reserve(&key) else {
                self.starved.push(key);
                continue;
            };
            match self.queue.pop(&key) {
                Some(rank) if quarantine.holds(rank.1, moment) => {
                    if !quarantine.is_damaged(rank.1) {
                        self.queue.defer(&key, rank, now.after(SET_ASIDE));
                    }
                    self.sessions.settle([session]);
                }
                Some(rank) => {
                    self.take(session, &key);
                    *planned.entry(key.clone()).or_default() += 1;
                    matches.push((session, rank.1));
                }
                None => self.sessions.settle([session]),
            }
            self.turns.mark(key);
        }
        let Self { turns, sessions, .. } = self;
        turns.forget(sessions.served_count(), |key| sessions.serves(key));
        matches
    }

    /// Uses a reserved slot for the queue.
    pub(crate) fn take(&mut self, session: SessionId, key: &QueueKey) {
        self.reserved.push(session);
        self.turns.served(key);
    }

    /// Notes that the queue has work but no free slot.
    pub(crate) fn starve(&mut self, key: QueueKey) {
        self.starved.push(key);
    }

    /// Some offered slots were not used: queues that found no slot get turns again.
    pub(crate) fn spare(&mut self) {
        self.spared.append(&mut self.starved);
    }

    /// A slot was not used after all: queues that found no slot get turns again.
    pub(crate) fn mark_starved(&mut self) {
        self.starved.iter().for_each(|key| self.turns.mark(key.clone()));
        self.places.unblock().into_iter().for_each(|key| self.turns.mark(key));
    }

    /// Starts the operation under a lease of this session, if it may start now; returns it.
    pub(crate) fn acquire(
        &mut self,
        session: SessionId,
        id: OperationId,
        draft: &mut Draft,
    ) -> Option<Arc<Operation>> {
        let operation = draft.current(id)?;
        let worker = self.sessions.get(session)?.worker().clone();
        if matches!(operation.life.state, State::Queued { .. })
            && let Some(place) = self.places.take(id, &operation.submission)
        {
            let rank = (Reverse(operation.submission.settings.priority), id);
            self.places.hold(id, place, QueueKey::of(&operation), rank);
            self.held.push(id);
            return None;
        }
        let command = Command::Acquire { session, worker };
        let before = draft.transitions().len();
        match draft.apply(&operation, &command, None, None) {
            Ok(outcome) => {
                let acquired = draft.transitions().get(before..).unwrap_or_default();
                acquired.iter().for_each(|transition| self.queue.follow(transition, draft.now()));
                Some(outcome.operation)
            }
            Err(_) => {
                self.places.end_drafted(id);
                // A limit is up that no timer has seen to yet, which ends it without a retry, or the clock was set back.
                let _ = draft.apply(&operation, &Command::Tick { chance: 0.0 }, None, None);
                match draft.transitions().get(before..).unwrap_or_default() {
                    [] => self.queue.put(&operation, draft.now()),
                    ended => self.follow(ended, draft.now()),
                }
                None
            }
        }
    }

    /// Connects a worker to a session.
    pub(crate) fn connect(
        &mut self,
        session: SessionId,
        hello: WorkerHello,
        sender: mpsc::Sender<ToWorker>,
        expires_at: Moment,
        is_resumed: bool,
    ) -> StreamNumber {
        let stream = self.sessions.connect(session, &hello, sender, expires_at);
        for &(id, attempt) in &hello.running {
            if !self.sessions.holds(session, id, attempt) {
                self.sessions.send(session, ToWorker::NotCurrent { id, attempt });
            }
        }
        for kind in &hello.kinds {
            self.open(Lane { scope: hello.scope.clone(), kind: kind.clone() });
        }
        if is_resumed {
            self.resumed.add(session, hello.running.into_iter().collect());
        }
        stream
    }

    /// The draft is durable: records its leases and sends its messages. If the commit was in doubt, a session may be
    /// gone: one that `is_ours` then has until `expires_at` to resume.
    pub(crate) fn committed(
        &mut self,
        draft: &Draft,
        messages: Vec<Outgoing>,
        expires_at: impl Fn(SessionId) -> Moment,
        is_ours: impl Fn(SessionId) -> bool,
    ) {
        self.queue.commit();
        self.places.committed();
        self.held.clear();
        self.sessions.settle(self.reserved.drain(..));
        self.starved.clear();
        self.spared.drain(..).for_each(|key| self.turns.mark(key));
        for transition in draft.transitions() {
            self.settle_lease(transition, &expires_at, &is_ours);
        }
        for Outgoing { session, content } in messages {
            self.sessions.send(session, content);
        }
    }

    /// The draft was not written: undoes its effects.
    pub(crate) fn abandoned(&mut self, draft: &Draft) {
        self.sessions.settle(self.reserved.drain(..));
        for id in self.held.drain(..) {
            self.places.let_go(id);
        }
        self.places.abandoned().into_iter().for_each(|key| self.turns.mark(key));
        let unserved = self.queue.roll_back(draft.now());
        let waiting = self.starved.drain(..).chain(self.spared.drain(..)).chain(unserved);
        waiting.for_each(|key| self.turns.mark(key));
    }
}

mod leases;
#[cfg(test)]
mod tests;
