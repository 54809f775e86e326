//! Leases that begin and end by transitions of this server or of other replicas.

use std::collections::HashSet;
use std::sync::Arc;

use super::Dispatcher;
use crate::engine::clock::Moment;
use crate::engine::request::ToWorker;
use crate::engine::round::draft::Draft;
use crate::engine::round::transition::Transition;
use crate::operation::{Attempt, EventType, Operation, OperationId, SessionId, State};

impl Dispatcher {
    /// Checks an operation that a session here holds and that another replica may have changed. A later attempt of the
    /// same session is adopted, and its assignment sent.
    pub(crate) fn recheck(&mut self, id: OperationId, draft: &Draft) -> bool {
        let operation = draft.stored(id);
        let mut is_lost = false;
        for (session, attempt) in self.sessions.holders(id) {
            let held = operation.as_ref().filter(|operation| {
                let lease = operation.life.state.lease();
                lease.is_some_and(|lease| lease.session == session)
                    && operation.life.attempt >= attempt
            });
            let Some(operation) = held else {
                is_lost = true;
                self.sessions.send(session, ToWorker::NotCurrent { id, attempt });
                self.end_lease(session, (id, attempt));
                continue;
            };
            if operation.life.attempt > attempt {
                self.adopt(session, operation);
            } else if matches!(operation.life.state, State::Cancelling { .. }) {
                let operation = Arc::clone(operation);
                self.sessions.send(session, ToWorker::CancelRequested { operation });
            }
        }
        is_lost
    }

    /// The session holds a later attempt than was known here: records it, and notes the missed assignment.
    fn adopt(&mut self, session: SessionId, operation: &Operation) {
        let Some(held) = self.sessions.get(session) else { return };
        let (scope, worker) = (held.scope().clone(), held.worker().clone());
        let held: HashSet<(OperationId, Attempt)> = held.leases().collect();
        let lease = (operation.id(), operation.life.attempt);
        self.sessions.restore(session, scope, worker, lease, Moment::default());
        self.resumed.add_missed(session, held, lease);
    }

    fn end_lease(&mut self, session: SessionId, lease: (OperationId, Attempt)) {
        for lane in self.sessions.end_lease(session, lease) {
            self.open(lane);
        }
    }

    /// Notifies sessions of what a durable transition did to their leases.
    pub(super) fn settle_lease(
        &mut self,
        transition: &Transition,
        expires_at: &impl Fn(SessionId) -> Moment,
        is_ours: &impl Fn(SessionId) -> bool,
    ) {
        let Transition { before, after, event_type, by_report } = transition;
        let held = before.as_ref().and_then(|before| before.life.state.lease());
        match (held, after.life.state.lease()) {
            (None, Some(lease)) => {
                self.places.add(after.id(), &after.submission);
                // A session that another replica has taken over since took the lease with it.
                let is_known = self.sessions.get(lease.session).is_some();
                if (is_known || is_ours(lease.session))
                    && let Some(worker) = after.life.worker.clone()
                {
                    let tenant = after.submission.tenant.clone();
                    let held = (after.id(), after.life.attempt);
                    let expires_at = expires_at(lease.session);
                    self.sessions.restore(lease.session, tenant, worker, held, expires_at);
                }
            }
            (Some(lease), Some(_)) if *event_type == EventType::CancelRequested => {
                let operation = Arc::clone(after);
                self.sessions.send(lease.session, ToWorker::CancelRequested { operation });
            }
            (Some(lease), None) => {
                let (id, attempt) = (after.id(), after.life.attempt);
                if !by_report {
                    self.sessions.send(lease.session, ToWorker::NotCurrent { id, attempt });
                }
                self.end_lease(lease.session, (id, attempt));
                for key in self.places.end(id) {
                    self.turns.mark(key);
                }
            }
            _ => {}
        }
    }
}
