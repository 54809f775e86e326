//! Handles the workforce's requests: those of workers, and messages of other replicas.

use super::Workforce;
use crate::engine::clock::{Moment, Now};
use crate::engine::dispatch::connect::Arrival;
use crate::engine::request::{AttemptLease, Connected, EngineError, Request, Taken, ToWorker};
use crate::engine::round::work::Work;
use crate::operation::{Attempt, OperationId, Progress, SessionId};
use crate::store::shared::Hint;

impl Workforce {
    /// Handles at once the requests that need no commit; turns the rest into works.
    pub(crate) fn take(&mut self, request: Request, now: Now, works: &mut Vec<Work>) {
        let lease_duration = self.lease_duration;
        let renewed = |session: SessionId| now.1.after(session.lease(lease_duration));
        let sessions = self.dispatcher.sessions_mut();
        match request {
            Request::Submit { items, mode, reply, admission } => {
                works.push(Work::Submit { items, mode, reply, admission });
            }
            Request::Apply { work, reply, admission } => {
                if let Some(session) = work.command.reporter().map(|reporter| reporter.session) {
                    sessions.renew(session, renewed(session));
                }
                works.push(Work::Apply { apply: work, reply, admission });
            }
            Request::Connect { hello, attempt_lease, sender, taken, reply } => {
                let arrival = Arrival { hello, attempt_lease, sender, taken };
                let _ = reply.send(self.connect(arrival, now, works));
            }
            Request::EndPoll { places, reply } => {
                let mut is_whole = true;
                for Connected { session, stream, .. } in places {
                    is_whole &= sessions.end_poll(session, stream, renewed(session));
                }
                let _ = reply.send(is_whole);
            }
            Request::RenewAttempt { lease, progress, taken, reply } => {
                let (session, id, attempt) = (lease.session, lease.id, lease.attempt);
                let renewed = self.renew_attempt(lease, taken, now.1, works);
                if let (Ok(Some(true)), Some(progress)) = (&renewed, progress) {
                    self.progress(session, id, attempt, progress);
                }
                let _ = reply.send(renewed);
            }
            Request::LimitsChanged => self.dispatcher.set_limits(&self.shared.limits()),
            Request::Hint(hint) => self.take_hint(hint, works),
            // The planner and the committer handle these.
            Request::Counts(_) | Request::StoreFailed(_) => {}
            Request::Renew { session } => {
                sessions.renew(session, renewed(session));
            }
            Request::Drain { session } => sessions.drain(session),
            Request::Disconnect { session, stream } => {
                sessions.disconnect(session, stream);
                self.give_back_soon(now.1);
            }
            Request::Progress { session, id, attempt, progress } => {
                sessions.renew(session, renewed(session));
                self.progress(session, id, attempt, progress);
            }
            Request::DisconnectAll { reply } => {
                sessions.disconnect_all();
                let _ = reply.send(());
            }
        }
    }

    /// Records a worker's progress report.
    fn progress(
        &mut self,
        session: SessionId,
        id: OperationId,
        attempt: Attempt,
        progress: Progress,
    ) {
        let sessions = self.dispatcher.sessions_mut();
        if sessions.holds(session, id, attempt) {
            self.shared.hub.progress(id, attempt, self.shared.cache.get(id), &progress);
            self.shared.progress.set(id, attempt, progress);
        } else {
            // Progress is not acknowledged, so this message is the worker's only notice.
            sessions.send(session, ToWorker::NotCurrent { id, attempt });
        }
    }

    /// Connects a worker, or a place of a poll.
    fn connect(
        &mut self,
        arrival: Arrival,
        (now, moment): Now,
        works: &mut Vec<Work>,
    ) -> Result<Option<Connected>, EngineError> {
        let is_over = self.has_come_over(arrival.taken.as_ref());
        let parts = (&mut self.dispatcher, self.replicas.as_mut());
        let uuid = self.shared.ids.uuid(now);
        let expires_at = moment.after(self.lease_duration);
        let table = self.shared.limits();
        let connected = arrival.connect(parts, (self.max_sessions, &table), uuid, expires_at)?;
        if let Some(Connected { session, .. }) = &connected
            && is_over
        {
            self.recheck(*session, works);
        }
        Ok(connected)
    }

    /// Renews the lease of an attempt without a stream; see [`Request::RenewAttempt`] for the answer.
    fn renew_attempt(
        &mut self,
        lease: AttemptLease,
        taken: Option<Taken>,
        moment: Moment,
        works: &mut Vec<Work>,
    ) -> Result<Option<bool>, EngineError> {
        let is_over = self.has_come_over(taken.as_ref());
        let session = lease.session;
        let expires_at = moment.after(session.lease(self.lease_duration));
        let sessions = self.dispatcher.sessions_mut();
        let renewed = match &mut self.replicas {
            Some(replicas) => replicas.renew_attempt(lease, taken, sessions, expires_at)?,
            None => Some(sessions.renew(session, expires_at)),
        };
        if is_over {
            self.recheck(session, works);
        }
        Ok(renewed)
    }

    /// Whether a session's leases have come here from another replica. Then what is known of them may be out of date.
    fn has_come_over(&mut self, taken: Option<&Taken>) -> bool {
        let Some(Taken::Over(leases)) = taken else { return false };
        self.moved.extend(leases.iter().map(|lease| lease.id));
        leases.iter().for_each(|lease| self.shared.cache.remove(lease.id));
        true
    }

    /// Rechecks a session's leases, because both the local state and the store's answer may be out of date.
    fn recheck(&self, session: SessionId, works: &mut Vec<Work>) {
        let held = self.dispatcher.sessions().get(session);
        let leases = held.into_iter().flat_map(|held| held.leases());
        works.extend(leases.map(|(id, _)| Work::Recheck(id)));
    }

    /// Handles another replica's hint of a change, or of a possible one.
    fn take_hint(&mut self, hint: Hint, works: &mut Vec<Work>) {
        let leases = match hint {
            Hint::Changed(_) => return,
            Hint::Queued => return self.expect_all(),
            Hint::TakenOver(sessions) => return self.lose_sessions(&sessions),
            Hint::Leases(ids) => ids,
            Hint::Missed => {
                self.expect_all();
                self.dispatcher.sessions().leased()
            }
        };
        works.extend(leases.into_iter().map(Work::Recheck));
    }
}
