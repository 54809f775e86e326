//! Workers as the engine knows them: sessions, the leases that belong to them, and how to reach them.
//!
//! A session outlives its stream by a lease duration. No I/O here: messages are handed to a bounded
//! channel, and a worker that does not read its channel is disconnected, never waited for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::queue::QueueKey;
use crate::operation::{
    Attempt, Kind, Operation, OperationId, Payload, SessionId, TenantId, Timestamp, WorkerId,
};

/// What a worker says of itself when it connects.
#[derive(Clone, Debug)]
pub struct WorkerHello {
    /// Whose work it does.
    pub tenant: TenantId,
    /// Its name for itself.
    pub worker: WorkerId,
    /// The kinds that it serves.
    pub kinds: Vec<Kind>,
    /// How many attempts it runs at once.
    pub max_in_flight: usize,
    /// The session to resume.
    pub resume: Option<SessionId>,
    /// Whether it is in this process, and so ends with it.
    pub in_process: bool,
    /// The attempts that it still knows of.
    pub running: Vec<(OperationId, Attempt)>,
}

/// A message for a worker.
#[derive(Clone, Debug)]
pub enum ToWorker {
    /// An attempt to execute: the operation's current one.
    Assignment {
        /// The operation as of its start.
        operation: Arc<Operation>,
        /// Its input.
        input: Option<Payload>,
    },
    /// Somebody cancelled the operation.
    CancelRequested {
        /// The operation as of the cancel.
        operation: Arc<Operation>,
    },
    /// The attempt is no longer current.
    NotCurrent {
        /// Whose.
        id: OperationId,
        /// Which.
        attempt: Attempt,
    },
    /// Another stream has the session now; the last message.
    Superseded,
}

/// One stream of a worker, told apart from earlier streams of the same session.
pub(super) type StreamNumber = u64;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) tenant: TenantId,
    pub(super) worker: WorkerId,
    kinds: Vec<Kind>,
    max_in_flight: usize,
    pub(super) leases: BTreeMap<OperationId, Attempt>,
    /// Acquired in the round under way, not yet committed.
    reserved: usize,
    stream: Option<(StreamNumber, mpsc::Sender<ToWorker>)>,
    expires_at: Timestamp,
    draining: bool,
}

impl Session {
    fn can_take_more(&self) -> bool {
        self.stream.is_some()
            && !self.draining
            && self.leases.len() + self.reserved < self.max_in_flight
    }

    fn queues(&self) -> impl Iterator<Item = QueueKey> + '_ {
        let key = |kind: &Kind| QueueKey { tenant: self.tenant.clone(), kind: kind.clone() };
        self.kinds.iter().map(key)
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// In order, as everything is whose order may show: one course of events has one outcome.
    by_id: BTreeMap<SessionId, Session>,
    /// Who serves a queue, the next to be given work first.
    serving: HashMap<QueueKey, VecDeque<SessionId>>,
    last_stream: StreamNumber,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// All of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.by_id.keys().copied()
    }

    /// The queues that are served, in order.
    pub(super) fn served(&self) -> Vec<QueueKey> {
        let mut served: Vec<QueueKey> = self.serving.keys().cloned().collect();
        served.sort_unstable();
        served
    }

    /// How many they are.
    pub(super) fn served_count(&self) -> usize {
        self.serving.len()
    }

    /// Whether somebody serves that queue.
    pub(super) fn serves(&self, key: &QueueKey) -> bool {
        self.serving.contains_key(key)
    }

    /// All operations that sessions hold leases of.
    pub(super) fn leased(&self) -> Vec<OperationId> {
        self.by_id.values().flat_map(|session| session.leases.keys().copied()).collect()
    }

    /// The sessions that hold that operation's lease, with the attempt: one, or after a change by another
    /// replica one for each attempt.
    pub(super) fn holders(&self, id: OperationId) -> Vec<(SessionId, Attempt)> {
        let held = |(session, held): (&SessionId, &Session)| {
            held.leases.get(&id).map(|attempt| (*session, *attempt))
        };
        self.by_id.iter().filter_map(held).collect()
    }

    /// The session is another replica's from now on, with its leases, which are answered. Its stream ends.
    pub(super) fn hand_over(&mut self, id: SessionId) -> Vec<OperationId> {
        self.supersede(id).map_or_else(Vec::new, |session| session.leases.into_keys().collect())
    }

    /// Whether `hello` names a session that can be resumed.
    pub(super) fn resumable(&self, hello: &WorkerHello) -> Option<SessionId> {
        let id = hello.resume?;
        self.by_id.get(&id).filter(|session| session.tenant == hello.tenant).map(|_| id)
    }

    /// Connects a worker to the session `id`, which is made if it is not there.
    pub(super) fn connect(
        &mut self,
        id: SessionId,
        hello: &WorkerHello,
        sender: mpsc::Sender<ToWorker>,
        expires_at: Timestamp,
    ) -> StreamNumber {
        let leases = self.supersede(id).map(|old| old.leases).unwrap_or_default();
        self.last_stream += 1;
        let session = Session {
            tenant: hello.tenant.clone(),
            worker: hello.worker.clone(),
            kinds: hello.kinds.clone(),
            max_in_flight: hello.max_in_flight,
            leases,
            reserved: 0,
            stream: Some((self.last_stream, sender)),
            expires_at,
            draining: false,
        };
        for key in session.queues() {
            self.serving.entry(key).or_default().push_back(id);
        }
        self.by_id.insert(id, session);
        self.last_stream
    }

    /// Knows of a lease that is stored. If there is no such session it has until `expires_at` to resume.
    pub(super) fn restore(
        &mut self,
        id: SessionId,
        tenant: TenantId,
        worker: WorkerId,
        lease: (OperationId, Attempt),
        expires_at: Timestamp,
    ) {
        let session = self.by_id.entry(id).or_insert_with(|| Session {
            tenant,
            worker,
            kinds: Vec::new(),
            max_in_flight: 0,
            leases: BTreeMap::new(),
            reserved: 0,
            stream: None,
            expires_at,
            draining: false,
        });
        session.leases.insert(lease.0, lease.1);
    }

    /// The worker was heard of: its leases live on.
    pub(super) fn renew(&mut self, id: SessionId, expires_at: Timestamp) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.expires_at = session.expires_at.max(expires_at);
        }
    }

    /// No more work for this one.
    pub(super) fn drain(&mut self, id: SessionId) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.draining = true;
        }
    }

    /// That stream has ended. Without leases there is nothing to come back for.
    pub(super) fn disconnect(&mut self, id: SessionId, stream: StreamNumber) {
        let Some(session) = self.by_id.get_mut(&id) else { return };
        if session.stream.as_ref().is_some_and(|(number, _)| *number == stream) {
            session.stream = None;
            if session.leases.is_empty() {
                self.take_out(id);
            }
        }
    }

    /// Cuts every worker off: their streams end, their sessions remain.
    pub(super) fn disconnect_all(&mut self) {
        for session in self.by_id.values_mut() {
            session.stream = None;
        }
    }

    /// Sessions that were not renewed in time, with their leases. They get nothing more.
    pub(super) fn expired(&mut self, now: Timestamp) -> Vec<(OperationId, Attempt)> {
        let gone: Vec<SessionId> =
            self.by_id.iter().filter(|(_, s)| s.expires_at <= now).map(|(id, _)| *id).collect();
        let mut leases = Vec::new();
        for id in gone {
            let Some(session) = self.by_id.get_mut(&id) else { continue };
            session.stream = None;
            if session.leases.is_empty() {
                self.take_out(id);
            } else {
                leases.extend(session.leases.iter().map(|(id, attempt)| (*id, *attempt)));
            }
        }
        leases
    }

    /// A session that serves the queue and can take one more, by turns. The place is reserved until
    /// [`Sessions::settle`].
    pub(super) fn reserve(&mut self, key: &QueueKey) -> Option<SessionId> {
        let serving = self.serving.get_mut(key)?;
        for _ in 0..serving.len() {
            let id = serving.pop_front()?;
            serving.push_back(id);
            if let Some(session) = self.by_id.get_mut(&id)
                && session.can_take_more()
            {
                session.reserved += 1;
                return Some(id);
            }
        }
        None
    }

    /// Ends the round's reservations.
    pub(super) fn settle(&mut self, reserved: impl IntoIterator<Item = SessionId>) {
        for id in reserved {
            if let Some(session) = self.by_id.get_mut(&id) {
                session.reserved = session.reserved.saturating_sub(1);
            }
        }
    }

    /// A lease has ended; answers the queues that the session can now take from.
    pub(super) fn end_lease(&mut self, session: SessionId, id: OperationId) -> Vec<QueueKey> {
        let Some(held) = self.by_id.get_mut(&session) else { return Vec::new() };
        held.leases.remove(&id);
        if held.leases.is_empty() && held.stream.is_none() {
            self.take_out(session);
            return Vec::new();
        }
        held.queues().collect()
    }

    /// Nobody holds that operation any more.
    pub(super) fn forget(&mut self, operation: OperationId) {
        for session in self.by_id.values_mut() {
            session.leases.remove(&operation);
        }
    }

    /// Hands a message to a worker. One that does not read is cut off; it may resume.
    pub(super) fn send(&mut self, id: SessionId, message: ToWorker) {
        if let Some(session) = self.by_id.get_mut(&id)
            && let Some((_, sender)) = &session.stream
            && sender.try_send(message).is_err()
        {
            session.stream = None;
        }
    }

    /// Whether the session holds that lease.
    pub(super) fn holds(&self, session: SessionId, id: OperationId, attempt: Attempt) -> bool {
        self.by_id.get(&session).is_some_and(|held| held.leases.get(&id) == Some(&attempt))
    }

    /// Takes out a session that another stream has from now on, and tells its own.
    fn supersede(&mut self, id: SessionId) -> Option<Session> {
        let session = self.take_out(id)?;
        if let Some((_, sender)) = &session.stream {
            // A worker that does not read hears nothing but the end.
            let _ = sender.try_send(ToWorker::Superseded);
        }
        Some(session)
    }

    fn take_out(&mut self, id: SessionId) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        for key in session.queues() {
            if let Some(serving) = self.serving.get_mut(&key) {
                serving.retain(|other| *other != id);
                if serving.is_empty() {
                    self.serving.remove(&key);
                }
            }
        }
        Some(session)
    }
}

#[cfg(test)]
mod tests;
