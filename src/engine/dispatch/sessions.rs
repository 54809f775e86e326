//! Workers as the engine knows them: sessions, their leases, and the channels to workers.
//!
//! A session outlives its stream by a lease duration. No I/O here: messages go to a bounded channel, and a worker that
//! does not read its channel is disconnected, never waited for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::sync::mpsc;

use super::queue::{Lane, QueueKey};
use super::serving::Serving;
use super::session::{Place, PlaceState, Session};
use crate::engine::clock::Moment;
use crate::engine::request::{StreamNumber, ToWorker, WorkerHello};
use crate::operation::{Attempt, OperationId, Scope, SessionId, WorkerId};

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Ordered, so that equal events have equal outcomes.
    by_id: BTreeMap<SessionId, Session>,
    /// The workers of each lane; never empty.
    serving: HashMap<Lane, Serving>,
    /// Places of polls with an attempt that no client has read or will read.
    given_up: BTreeSet<SessionId>,
    /// Whether there are more of them since the last call that takes this flag.
    has_given_up: bool,
    /// Sessions that have changed since the roster was updated.
    unpublished: BTreeSet<SessionId>,
    last_stream: StreamNumber,
}

impl Sessions {
    /// The sessions that have changed since the last call; `None` are gone.
    pub(crate) fn take_unpublished(&mut self) -> Vec<(SessionId, Option<&Session>)> {
        let changed = std::mem::take(&mut self.unpublished).into_iter();
        changed.map(|id| (id, self.by_id.get(&id))).collect()
    }

    /// Returns a session for a change that the roster shows.
    fn edit(&mut self, id: SessionId) -> Option<&mut Session> {
        let session = self.by_id.get_mut(&id)?;
        self.unpublished.insert(id);
        Some(session)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// The number of sessions of that scope with a stream, present or past.
    pub(crate) fn count_of(&self, scope: &Scope) -> u64 {
        let is_of = |session: &&Session| session.scope == *scope && session.place.is_none();
        self.by_id.values().filter(is_of).count() as u64
    }

    /// All of them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.by_id.keys().copied()
    }

    /// The served lanes, in order.
    pub(crate) fn served(&self) -> Vec<Lane> {
        let mut served: Vec<Lane> = self.serving.keys().cloned().collect();
        served.sort_unstable();
        served
    }

    /// The number of served lanes.
    pub(crate) fn served_count(&self) -> usize {
        self.serving.len()
    }

    /// Whether a worker serves that lane.
    pub(crate) fn has_lane(&self, lane: &Lane) -> bool {
        self.serving.contains_key(lane)
    }

    /// Whether a worker serves that queue.
    pub(crate) fn serves(&self, key: &QueueKey) -> bool {
        key.lanes().iter().any(|lane| self.has_lane(lane))
    }

    /// All operations that sessions hold leases of.
    pub(crate) fn leased(&self) -> Vec<OperationId> {
        self.by_id.values().flat_map(|session| session.leases.keys().copied()).collect()
    }

    /// The sessions that hold that operation's lease, with the attempt: one, or one for each attempt after a change by
    /// another replica.
    pub(crate) fn holders(&self, id: OperationId) -> Vec<(SessionId, Attempt)> {
        let held = |(session, held): (&SessionId, &Session)| {
            held.leases.get(&id).map(|attempt| (*session, *attempt))
        };
        self.by_id.iter().filter_map(held).collect()
    }

    /// Gives the session to another replica: returns its leases, and ends its stream.
    pub(crate) fn hand_over(&mut self, id: SessionId) -> Vec<OperationId> {
        self.supersede(id).map_or_else(Vec::new, |session| session.leases.into_keys().collect())
    }

    /// Whether `hello` names a session that can be resumed.
    pub(crate) fn resumable(&self, hello: &WorkerHello) -> Option<SessionId> {
        let id = hello.resume?;
        self.by_id.get(&id).filter(|session| session.scope == hello.scope).map(|_| id)
    }

    /// Connects a worker to the session `id`, which is made if it does not exist. A session of a worker within this
    /// process does not expire, because both can only end together; nor does a place of a poll while the poll waits.
    pub(crate) fn connect(
        &mut self,
        id: SessionId,
        hello: &WorkerHello,
        sender: mpsc::Sender<ToWorker>,
        expires_at: Moment,
    ) -> StreamNumber {
        let leases = self.supersede(id).map(|old| old.leases).unwrap_or_default();
        self.last_stream += 1;
        let expires = !id.is_in_process() && id.attempt_lease().is_none();
        let expires_at = if expires { expires_at } else { Moment::MAX };
        let away = Session::away(id, hello.scope.clone(), hello.worker.clone(), expires_at);
        let place = Place { poll: self.last_stream, state: PlaceState::Free };
        let session = Session {
            kinds: hello.kinds.as_slice().into(),
            max_in_flight: hello.max_in_flight,
            leases,
            stream: Some((self.last_stream, sender)),
            place: away.place.map(|_| place),
            ..away
        };
        for lane in session.lanes() {
            self.serving.entry(lane).or_default().add(id);
        }
        self.by_id.insert(id, session);
        self.unpublished.insert(id);
        self.last_stream
    }

    /// Records a stored lease, unless a later attempt of the same operation is known. A session that does not exist yet
    /// has until `expires_at` to resume.
    pub(crate) fn restore(
        &mut self,
        id: SessionId,
        scope: impl Into<Scope>,
        worker: WorkerId,
        lease: (OperationId, Attempt),
        expires_at: Moment,
    ) {
        let away = || Session::away(id, scope.into(), worker, expires_at);
        let session = self.by_id.entry(id).or_insert_with(away);
        self.unpublished.insert(id);
        let attempt = session.leases.entry(lease.0).or_insert(lease.1);
        *attempt = lease.1.max(*attempt);
    }

    /// Renews a session, with its leases. Returns whether the session is known.
    pub(crate) fn renew(&mut self, id: SessionId, expires_at: Moment) -> bool {
        let Some(session) = self.by_id.get_mut(&id) else { return false };
        session.expires_at = session.expires_at.max(expires_at);
        true
    }

    /// Lets no session expire before `until`, because this process could not hear any worker for a while.
    pub(crate) fn renew_all(&mut self, until: Moment) {
        for session in self.by_id.values_mut() {
            session.expires_at = session.expires_at.max(until);
        }
    }

    /// Assigns no more work to the session.
    pub(crate) fn drain(&mut self, id: SessionId) {
        if let Some(session) = self.edit(id) {
            session.draining = true;
        }
    }

    /// Ends that stream. A session without leases ends with it. Attempts that were handed to a poll which ends this way
    /// are given up, because its client has not read them.
    pub(crate) fn disconnect(&mut self, id: SessionId, stream: StreamNumber) {
        let Some(session) = self.edit(id) else { return };
        let was_polled = session.place.is_some_and(|place| place.poll == stream);
        if was_polled || session.stream.as_ref().is_some_and(|(number, _)| *number == stream) {
            session.stream = None;
            if session.leases.is_empty() {
                self.take_out(id);
            } else if was_polled {
                self.give_up(id);
            }
        }
    }

    /// Ends the streams that nobody reads any more. [`Sessions::disconnect`] does the same, if there was room for the
    /// request.
    pub(crate) fn end_closed_streams(&mut self) {
        let closed = |(id, session): (&SessionId, &Session)| {
            let (number, sender) = session.stream.as_ref()?;
            sender.is_closed().then_some((*id, *number))
        };
        for (id, stream) in self.by_id.iter().filter_map(closed).collect::<Vec<_>>() {
            self.disconnect(id, stream);
        }
    }

    /// Ends every worker's stream; the sessions remain. Polls end by themselves.
    pub(crate) fn disconnect_all(&mut self) {
        for (id, session) in self.by_id.iter_mut().filter(|(_, it)| it.place.is_none()) {
            session.stream = None;
            self.unpublished.insert(*id);
        }
    }

    /// The leases of sessions that were not renewed in time. These sessions get no more work.
    pub(crate) fn expired(&mut self, now: Moment) -> Vec<(OperationId, Attempt)> {
        let gone: Vec<SessionId> =
            self.by_id.iter().filter(|(_, s)| s.expires_at <= now).map(|(id, _)| *id).collect();
        let mut leases = Vec::new();
        for id in gone {
            let Some(session) = self.edit(id) else { continue };
            session.stream = None;
            if session.leases.is_empty() {
                self.take_out(id);
            } else {
                leases.extend(session.leases.iter().map(|(id, attempt)| (*id, *attempt)));
            }
        }
        leases
    }

    /// Reserves a slot of a session that serves the queue, by turns; sessions that serve only this tenant come first.
    /// The slot is reserved until [`Sessions::settle`].
    pub(crate) fn reserve(&mut self, key: &QueueKey) -> Option<SessionId> {
        let Self { by_id, serving, .. } = self;
        let can_take = |id| by_id.get(&id).is_some_and(Session::can_take_more);
        let mut lanes = key.lanes().into_iter();
        let id = lanes.find_map(|lane| serving.get_mut(&lane)?.next(can_take))?;
        by_id.get_mut(&id)?.reserved += 1;
        Some(id)
    }

    /// Ends the reservations of the round.
    pub(crate) fn settle(&mut self, reserved: impl IntoIterator<Item = SessionId>) {
        for id in reserved {
            if let Some(session) = self.by_id.get_mut(&id) {
                session.reserved = session.reserved.saturating_sub(1);
            }
        }
    }

    /// Ends a lease, unless a later attempt of the operation is known; returns the lanes that the session can serve.
    pub(crate) fn end_lease(
        &mut self,
        session: SessionId,
        (id, attempt): (OperationId, Attempt),
    ) -> Vec<Lane> {
        let Some(held) = self.edit(session) else { return Vec::new() };
        if held.leases.get(&id).is_some_and(|known| *known <= attempt) {
            held.leases.remove(&id);
        }
        if held.leases.is_empty() && held.stream.is_none() {
            self.take_out(session);
            return Vec::new();
        }
        held.lanes().collect()
    }

    /// Removes the operation's leases from all sessions.
    pub(crate) fn forget(&mut self, operation: OperationId) {
        for (id, session) in &mut self.by_id {
            if session.leases.remove(&operation).is_some() {
                self.unpublished.insert(*id);
            }
        }
        for id in self.given_up.clone() {
            if self.by_id.get(&id).is_none_or(|session| session.leases.is_empty()) {
                self.take_out(id);
            }
        }
    }

    /// Sends a message to a worker. A worker that does not read is disconnected and may resume; a poll gives up what it
    /// was assigned then.
    pub(crate) fn send(&mut self, id: SessionId, message: ToWorker) {
        let Some(session) = self.edit(id) else { return };
        let is_assignment = matches!(message, ToWorker::Assignment { .. });
        let stream = session.stream.take();
        session.stream = stream.filter(|(_, sender)| sender.try_send(message).is_ok());
        if let Some(place) = session.place.as_mut().filter(|_| is_assignment) {
            if session.stream.is_some() {
                place.state = PlaceState::Taken;
            } else {
                self.give_up(id);
            }
        }
    }

    /// Whether the session holds that lease.
    pub(crate) fn holds(&self, session: SessionId, id: OperationId, attempt: Attempt) -> bool {
        self.by_id.get(&session).is_some_and(|held| held.leases.get(&id) == Some(&attempt))
    }

    /// Removes a session that another stream takes, and notifies its present stream.
    fn supersede(&mut self, id: SessionId) -> Option<Session> {
        let session = self.take_out(id)?;
        if let Some((_, sender)) = &session.stream {
            // A worker that does not read notices only the end of its stream.
            let _ = sender.try_send(ToWorker::Superseded);
        }
        Some(session)
    }

    fn take_out(&mut self, id: SessionId) -> Option<Session> {
        self.retire(id);
        self.given_up.remove(&id);
        self.by_id.remove(&id)
    }

    /// Lets the session serve nothing more.
    fn retire(&mut self, id: SessionId) {
        let Some(session) = self.edit(id) else { return };
        let served: Vec<Lane> = session.lanes().collect();
        session.is_retired = true;
        for lane in served {
            if let Some(serving) = self.serving.get_mut(&lane) {
                serving.remove(id);
                if serving.is_empty() {
                    self.serving.remove(&lane);
                }
            }
        }
    }
}

mod polls;
#[cfg(test)]
mod tests;
