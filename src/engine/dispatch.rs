//! Matching queued operations to workers with capacity, within the commit that made either so.
//!
//! An acquisition is a transition like any other: decided by the rules, and pushed to the worker only once
//! it is durable.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use super::committer::Committer;
use super::draft::{Draft, Transition};
use super::queue::QueueKey;
use super::request::{Connected, EngineError, Taken};
use super::sessions::{ToWorker, WorkerHello};
use crate::operation::{
    Attempt, Command, EventType, Operation, OperationId, Payload, PayloadInfo, SessionId, State,
    Timestamp,
};
use crate::store::{Committed, PayloadRole, StoreError, shared};

/// Most attempts that one commit starts.
const MAX_STARTS: usize = 512;

/// What is to be pushed to a worker after the commit.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) session: SessionId,
    content: ToWorker,
}

/// A session that was resumed.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) session: SessionId,
    /// The attempts that the worker knows of: of one operation it may run the latest and still hold
    /// a report of an earlier one.
    running: HashSet<(OperationId, Attempt)>,
}

impl Committer {
    /// The queues that this draft adds to are looked at in this very commit.
    pub(super) fn mark_queued(&mut self, draft: &Draft) {
        let queued = draft.transitions.iter().filter_map(|transition| {
            let waits = matches!(transition.after.life.state, State::Queued { .. });
            waits.then(|| QueueKey::of(&transition.after))
        });
        for key in queued.collect::<Vec<_>>() {
            self.dirty.mark(key);
        }
    }

    /// Gives queued operations to workers with capacity: oldest first within priority, the queues and
    /// the workers by turns.
    pub(super) async fn dispatch(&mut self, draft: &mut Draft) -> Result<Vec<Message>, StoreError> {
        let mut matches: Vec<(SessionId, OperationId)> = self.claim(draft).await?;
        let mut lookups = Vec::new();
        while matches.len() < MAX_STARTS
            && let Some(key) = self.dirty.pop()
        {
            // What was there before goes first.
            if !self.queue.has_ready(&key) || self.is_stocked(&key) {
                continue;
            }
            let Some(session) = self.sessions.reserve(&key) else {
                draft.without_place.push(key);
                continue;
            };
            draft.reserved.push(session);
            if let Some(id) = draft.pop(&mut self.queue, &key) {
                self.know(id, draft, &mut lookups);
                matches.push((session, id));
            }
            self.dirty.mark(key);
        }
        if matches.is_empty() {
            return Ok(Vec::new());
        }
        self.look_up(lookups, draft).await?;
        let mut started = Vec::with_capacity(matches.len());
        for (session, id) in matches {
            match self.acquire(session, id, draft) {
                Some(operation) => started.push((session, operation)),
                // Its place is free for others.
                None => draft.without_place.iter().for_each(|key| self.dirty.mark(key.clone())),
            }
        }
        self.assignments(started, draft).await
    }

    /// What resumed sessions missed: assignments that did not arrive, and cancels. An attempt that is
    /// to be cancelled and never reached its worker ends here.
    pub(super) async fn catch_up(&mut self, draft: &mut Draft) -> Result<Vec<Message>, StoreError> {
        let resumed = std::mem::take(&mut self.resumed);
        let told = self.tell_resumed(&resumed, draft).await;
        // Kept until the commit, which may have to be tried again.
        self.resumed = resumed;
        told
    }

    async fn tell_resumed(
        &mut self,
        resumed: &[Resumed],
        draft: &mut Draft,
    ) -> Result<Vec<Message>, StoreError> {
        let mut leases = Vec::new();
        let mut lookups = Vec::new();
        for Resumed { session, running } in resumed {
            let held = self.sessions.get(*session).into_iter().flat_map(|held| &held.leases);
            let held: Vec<_> = held.map(|(id, attempt)| (*id, *attempt)).collect();
            for (id, attempt) in held {
                self.know(id, draft, &mut lookups);
                leases.push((*session, id, attempt, running.contains(&(id, attempt))));
            }
        }
        self.look_up(lookups, draft).await?;
        let (mut messages, mut missed) = (Vec::new(), Vec::new());
        for (session, id, attempt, known_to_worker) in leases {
            let Some(operation) = draft.current(id) else { continue };
            // Another replica may have ended it.
            let holder = operation.life.state.lease().map(|lease| lease.session);
            if (holder, operation.life.attempt) != (Some(session), attempt) {
                continue;
            }
            match (&operation.life.state, known_to_worker) {
                (State::Running { .. }, false) => missed.push((session, operation)),
                (State::Cancelling { .. }, true) => {
                    messages.push(Message {
                        session,
                        content: ToWorker::CancelRequested { operation },
                    });
                }
                (State::Cancelling { .. }, false) => {
                    let (command, board) = (Command::LoseLease { attempt }, &self.shared.progress);
                    // A rejection means that something else came first, which is fine.
                    let _ = draft.apply(&operation, &command, None, board, &mut self.queue);
                }
                _ => {}
            }
        }
        messages.extend(self.assignments(missed, draft).await?);
        Ok(messages)
    }

    /// Assignments with their inputs: those at hand as they are, the others read all at once.
    async fn assignments(
        &mut self,
        started: Vec<(SessionId, Arc<Operation>)>,
        draft: &Draft,
    ) -> Result<Vec<Message>, StoreError> {
        let at_hand: Vec<Option<Bytes>> = started
            .iter()
            .map(|(_, operation)| {
                let id = operation.id();
                draft.input(id).or_else(|| self.shared.cache.input(id))
            })
            .collect();
        let store = &self.shared.store;
        let loaded =
            started.into_iter().zip(at_hand).map(|((session, operation), data)| async move {
                let info = operation.submission.input.clone();
                let data = match (&info, data) {
                    // What an object holds the worker reads itself.
                    (Some(PayloadInfo { object: Some(_), .. }), _) => Some(Bytes::new()),
                    (Some(_), None) => store.payload(operation.id(), PayloadRole::Input).await?,
                    (_, data) => data,
                };
                let input = info.zip(data).map(|(info, data)| Payload { info, data });
                Ok(Message { session, content: ToWorker::Assignment { operation, input } })
            });
        try_join_all(loaded).await
    }

    fn acquire(
        &mut self,
        session: SessionId,
        id: OperationId,
        draft: &mut Draft,
    ) -> Option<Arc<Operation>> {
        let operation = draft.current(id)?;
        let worker = self.sessions.get(session)?.worker.clone();
        let command = Command::Acquire { session, worker };
        let board = &self.shared.progress;
        match draft.apply(&operation, &command, None, board, &mut self.queue) {
            Ok(outcome) => Some(outcome.operation),
            Err(_) => {
                // Not due after all (a limit is up, or the clock was set back): a timer sees to it.
                draft.put_back(&mut self.queue, &operation);
                None
            }
        }
    }

    /// After the commit: everything that others may now know.
    pub(super) fn settle(
        &mut self,
        mut draft: Draft,
        messages: Vec<Message>,
        committed: &Committed,
    ) {
        self.resumed.clear();
        self.sessions.settle(std::mem::take(&mut draft.reserved));
        draft.spared.drain(..).for_each(|key| self.dirty.mark(key));
        for transition in &draft.transitions {
            self.settle_leases(transition);
            if transition.before.is_none() || transition.after.is_done() {
                self.count(transition.before.is_none(), &transition.after);
            }
            self.timers.wake_by(transition.after.wake_at());
            self.shared.progress.clear(transition.after.id());
        }
        for (operation, input) in draft.changed() {
            // Nobody reads it from there where others may have changed it.
            if operation.is_done() && self.replicas.is_some() {
                self.shared.cache.remove(operation.id());
            } else {
                self.shared.cache.put(operation, input);
            }
        }
        for Message { session, content } in messages {
            self.sessions.send(session, content);
        }
        for operation in &draft.removed {
            self.shared.cache.remove(operation.id());
            self.discard_objects(operation);
        }
        let hub = &self.shared.hub;
        for Transition { after, event_type, .. } in &draft.transitions {
            hub.transition(after, *event_type);
        }
        for operation in &draft.removed {
            hub.gone(operation.id());
        }
        let stamp = committed.stamp;
        hub.chain().committed(committed, || stamp.map(|it| draft.logged(it)).unwrap_or_default());
    }

    /// Tells that an operation's objects are to go.
    fn discard_objects(&self, operation: &Operation) {
        let payloads = [operation.submission.input.as_ref(), operation.result()];
        for object in payloads.into_iter().flatten().filter_map(|info| info.object) {
            if let Some(discarded) = &self.config.discarded_objects {
                let _ = discarded.try_send(object.id);
            }
        }
    }

    fn settle_leases(&mut self, transition: &Transition) {
        let Transition { before, after, event_type, by_report } = transition;
        tracing::debug!(
            tenant.id = %after.submission.tenant,
            operation.id = %after.id(),
            operation.kind = %after.submission.kind,
            revision = after.life.revision.0,
            attempt = after.life.attempt.0,
            state = %after.state_name(),
            "transition"
        );
        let held = before.as_ref().and_then(|before| before.life.state.lease());
        match (held, after.life.state.lease()) {
            (None, Some(lease)) => self.add_lease(lease.session, after),
            (Some(lease), Some(_)) if *event_type == EventType::CancelRequested => {
                let operation = Arc::clone(after);
                self.sessions.send(lease.session, ToWorker::CancelRequested { operation });
            }
            (Some(lease), None) => {
                if !by_report {
                    let (id, attempt) = (after.id(), after.life.attempt);
                    self.sessions.send(lease.session, ToWorker::NotCurrent { id, attempt });
                }
                for key in self.sessions.end_lease(lease.session, after.id()) {
                    self.dirty.mark(key);
                }
            }
            _ => {}
        }
    }

    /// A lease was committed. Its session may be gone where the commit's outcome was unknown for a while:
    /// then it has one lease duration to come back.
    fn add_lease(&mut self, session: SessionId, operation: &Operation) {
        // One that another replica has taken over since has taken the lease along.
        let is_known = self.sessions.get(session).is_some();
        if !is_known && self.replicas.as_ref().is_some_and(|replicas| !replicas.is_ours(session)) {
            return;
        }
        let Some(worker) = operation.life.worker.clone() else { return };
        let tenant = operation.submission.tenant.clone();
        let lease = (operation.id(), operation.life.attempt);
        let expires_at = self.shared.clock.now().after(self.config.lease_duration);
        self.sessions.restore(session, tenant, worker, lease, expires_at);
    }

    /// Connects a worker, and tells it what it may have missed.
    pub(super) fn connect(
        &mut self,
        hello: WorkerHello,
        sender: mpsc::Sender<ToWorker>,
        taken: Option<Taken>,
        now: Timestamp,
    ) -> Result<Option<Connected>, EngineError> {
        let mut resumed = self.sessions.resumable(&hello);
        let has_row = matches!(taken, Some(Taken::Over(_)));
        if let (Some(session), Some(replicas)) = (hello.resume, &self.replicas) {
            match taken {
                None => return Ok(None),
                // What is known here may be of the time before another replica had it.
                Some(Taken::Over(leases)) => {
                    resumed = hello.resume;
                    let expires_at = now.after(self.config.lease_duration);
                    self.adopt(session, &hello, leases, expires_at);
                }
                Some(Taken::Gone) if replicas.is_fresh(session) => {}
                Some(Taken::Gone) => resumed = None,
                // While the store is away those go on of which all is known here. Of what is not, it may be
                // that another replica gave it out since.
                Some(Taken::Unknown(error)) => {
                    let is_held = |&(id, attempt): &(OperationId, Attempt)| {
                        self.sessions.holds(session, id, attempt)
                    };
                    if resumed.is_none() || !hello.running.iter().all(is_held) {
                        return Err(error);
                    }
                }
            }
        }
        if resumed.is_none() && self.sessions.len() >= self.config.max_sessions {
            return Err(EngineError::Full {
                what: "worker sessions",
                limit: self.config.max_sessions as u64,
            });
        }
        let session = resumed.unwrap_or_else(|| {
            let uuid = self.shared.ids.uuid(now);
            if hello.in_process { SessionId::in_process(uuid) } else { SessionId::from_uuid(uuid) }
        });
        let expires_at = now.after(self.config.lease_duration);
        let stream = self.sessions.connect(session, &hello, sender, expires_at);
        tracing::info!(
            worker.id = %hello.worker,
            resumed = resumed.is_some(),
            "a worker has connected"
        );
        for &(id, attempt) in &hello.running {
            if !self.sessions.holds(session, id, attempt) {
                self.sessions.send(session, ToWorker::NotCurrent { id, attempt });
            }
        }
        if let Some(replicas) = &mut self.replicas {
            replicas.connected(session, has_row);
        }
        for kind in &hello.kinds {
            let (tenant, kind) = (hello.tenant.clone(), kind.clone());
            let key = QueueKey { tenant, kind };
            self.stock(key.clone());
            self.dirty.mark(key);
        }
        if resumed.is_some() {
            // It may have come twice before it was told anything: what it knows now counts.
            self.resumed.retain(|earlier| earlier.session != session);
            self.resumed.push(Resumed { session, running: hello.running.into_iter().collect() });
        }
        Ok(Some(Connected { session, resumed: resumed.is_some(), stream }))
    }

    /// A session has come from another replica.
    fn adopt(
        &mut self,
        session: SessionId,
        hello: &WorkerHello,
        leases: Vec<shared::Lease>,
        expires_at: Timestamp,
    ) {
        for shared::Lease { id, attempt } in leases {
            // It has others' lines by now.
            self.log_books.remove(&id);
            let (tenant, worker) = (hello.tenant.clone(), hello.worker.clone());
            self.sessions.restore(session, tenant, worker, (id, attempt), expires_at);
        }
    }
}
