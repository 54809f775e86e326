//! Sessions that have resumed and must be sent what they missed while their workers were away.

use std::collections::HashSet;
use std::sync::Arc;

use super::sessions::Sessions;
use crate::engine::round::draft::Draft;
use crate::operation::{Attempt, Operation, OperationId, SessionId, State};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ResumedSessions(Vec<Resumed>);

#[derive(Debug, PartialEq, Eq)]
struct Resumed {
    session: SessionId,
    /// The attempts that the worker knows. It may run the latest attempt of an operation and still hold a report of an
    /// earlier one.
    running: HashSet<(OperationId, Attempt)>,
}

/// The messages about one lease that a resumed session missed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    Assignment,
    Cancel,
    /// The attempt is to be cancelled and never reached its worker, so it ends.
    End(Attempt),
}

impl ResumedSessions {
    /// Adds a session whose worker has resumed it and knows these attempts.
    pub(crate) fn add(&mut self, session: SessionId, running: HashSet<(OperationId, Attempt)>) {
        // The worker may resume twice before it is notified: only what it knows now counts.
        self.0.retain(|earlier| earlier.session != session);
        self.0.push(Resumed { session, running });
    }

    /// The session has missed an assignment. Without an earlier entry, its worker knows the leases that it `held`.
    pub(crate) fn add_missed(
        &mut self,
        session: SessionId,
        held: HashSet<(OperationId, Attempt)>,
        lease: (OperationId, Attempt),
    ) {
        let known = self.0.iter().find(|resumed| resumed.session == session);
        let mut running = known.map_or(held, |resumed| resumed.running.clone());
        running.remove(&lease);
        self.add(session, running);
    }

    /// Whether the session has yet to be sent what it missed.
    pub(crate) fn contains(&self, session: SessionId) -> bool {
        self.0.iter().any(|resumed| resumed.session == session)
    }

    /// The leases about which these sessions may have missed a message.
    pub(crate) fn leases(&self, sessions: &Sessions) -> Vec<OperationId> {
        let held = self.0.iter().filter_map(|resumed| sessions.get(resumed.session));
        held.flat_map(|held| held.leases().map(|(id, _)| id)).collect()
    }

    /// The messages that the sessions missed. The draft must know their leases.
    pub(crate) fn missed(
        &self,
        sessions: &Sessions,
        draft: &Draft,
    ) -> Vec<(SessionId, Arc<Operation>, Missed)> {
        let mut missed = Vec::new();
        for Resumed { session, running } in &self.0 {
            let held = sessions.get(*session).into_iter().flat_map(|held| held.leases());
            for (id, attempt) in held {
                let Some(operation) = draft.current(id) else { continue };
                // Another replica may have ended the lease.
                let lease = operation.life.state.lease().map(|lease| lease.session);
                if lease != Some(*session) || operation.life.attempt != attempt {
                    continue;
                }
                let is_known = running.contains(&(id, attempt));
                let what = match (&operation.life.state, is_known) {
                    (State::Running { .. }, false) => Missed::Assignment,
                    (State::Cancelling { .. }, true) => Missed::Cancel,
                    (State::Cancelling { .. }, false) => Missed::End(attempt),
                    _ => continue,
                };
                missed.push((*session, operation, what));
            }
        }
        missed
    }

    /// Takes the sessions, because this commit notifies them.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Puts back sessions that were not notified; entries of sessions that have resumed since are newer and stay.
    pub(crate) fn put_back(&mut self, earlier: Self) {
        let since = std::mem::take(&mut self.0);
        self.0 = earlier.0;
        self.0.retain(|resumed| since.iter().all(|other| other.session != resumed.session));
        self.0.extend(since);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::engine::EngineConfig;
    use crate::engine::clock::Moment;
    use crate::engine::sample::{at, id, operation};
    use crate::operation::{Lease, TenantId, WorkerId};

    fn session(number: u128) -> SessionId {
        SessionId::from_uuid(Uuid::from_u128(number))
    }

    fn lease(number: u128, attempt: u32) -> (OperationId, Attempt) {
        (id(number), Attempt(attempt))
    }

    fn running<const N: usize>(
        known: [(OperationId, Attempt); N],
    ) -> HashSet<(OperationId, Attempt)> {
        known.into_iter().collect()
    }

    /// The sessions to notify, each with the attempts that its worker knows, in order.
    fn told(resumed: &ResumedSessions) -> Vec<(SessionId, HashSet<(OperationId, Attempt)>)> {
        resumed.0.iter().map(|it| (it.session, it.running.clone())).collect()
    }

    #[test]
    fn what_a_worker_knew_last_counts() {
        let mut resumed = ResumedSessions::default();
        resumed.add(session(1), running([lease(1, 1)]));
        resumed.add(session(1), running([lease(2, 1)]));
        assert_eq!(told(&resumed), [(session(1), running([lease(2, 1)]))]);
        let earlier = resumed.take();
        assert!(!resumed.contains(session(1)) && earlier.contains(session(1)));
        // A commit that failed was to notify two sessions; one of them has resumed again since.
        let mut earlier = earlier;
        earlier.add(session(2), running([]));
        resumed.add(session(1), running([lease(3, 1)]));
        resumed.put_back(earlier);
        let both = [(session(2), running([])), (session(1), running([lease(3, 1)]))];
        assert_eq!(told(&resumed), both);
    }

    #[test]
    fn a_missed_assignment_is_told_beside_what_is_to_be_told_anyway() {
        let mut resumed = ResumedSessions::default();
        let held = running([lease(1, 1), lease(2, 1)]);
        resumed.add_missed(session(1), held.clone(), lease(2, 1));
        assert_eq!(told(&resumed), [(session(1), running([lease(1, 1)]))]);
        // A session stays unaware of the second attempt until it is notified.
        resumed.add_missed(session(1), held, lease(3, 1));
        assert_eq!(told(&resumed), [(session(1), running([lease(1, 1)]))]);
    }

    #[test]
    fn what_was_missed_shows_in_the_state_of_each_lease() {
        let lease_of = |number| Lease { session: session(number), attempt_deadline: None };
        let is_running = |number| State::Running { lease: lease_of(number) };
        let is_cancelling =
            |number| State::Cancelling { lease: lease_of(number), grace_until: at(9) };
        let mut sessions = Sessions::default();
        let mut draft = Draft::new(at(5), &EngineConfig::default());
        let stored = [
            (1, is_running(1), 1),
            (2, is_running(1), 1),
            (3, is_cancelling(1), 1),
            (4, is_cancelling(1), 1),
            (5, is_running(2), 1),
            (6, is_running(1), 2),
            (7, State::Queued { not_before: at(0) }, 1),
        ];
        for (number, state, attempt) in stored {
            let mut operation = operation(number, at(0));
            (operation.life.state, operation.life.attempt) = (state, Attempt(attempt));
            draft.learn(Arc::new(operation));
            let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("w"));
            sessions.restore(session(1), tenant, worker, lease(number, 1), Moment::MAX);
        }
        let mut resumed = ResumedSessions::default();
        resumed.add(session(1), running([lease(1, 1), lease(3, 1)]));
        let missed = resumed.missed(&sessions, &draft);
        let missed: Vec<_> = missed.into_iter().map(|(_, it, what)| (it.id(), what)).collect();
        let end = Missed::End(Attempt(1));
        let expected = [(id(2), Missed::Assignment), (id(3), Missed::Cancel), (id(4), end)];
        assert_eq!(missed, expected, "of what another session holds, or a later attempt, nothing");
    }
}
