//! Sessions that are to be told what they missed while their workers were away.

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
    /// The attempts that the worker knows of: of one operation it may run the latest and still hold a report of an
    /// earlier one.
    running: HashSet<(OperationId, Attempt)>,
}

/// What a resumed session has missed of one lease.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    Assignment,
    Cancel,
    /// The attempt is to be cancelled and never reached its worker, so that it ends.
    End(Attempt),
}

impl ResumedSessions {
    /// A worker has come back that knows of these attempts.
    pub(crate) fn add(&mut self, session: SessionId, running: HashSet<(OperationId, Attempt)>) {
        // It may have come twice before it was told anything: what it knows now counts.
        self.0.retain(|earlier| earlier.session != session);
        self.0.push(Resumed { session, running });
    }

    /// The worker, which knows of what it has `held` unless it is to be told more, has missed an assignment.
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

    /// Whether the session was not told yet what it missed.
    pub(crate) fn contains(&self, session: SessionId) -> bool {
        self.0.iter().any(|resumed| resumed.session == session)
    }

    /// The leases of which they may have missed something.
    pub(crate) fn leases(&self, sessions: &Sessions) -> Vec<OperationId> {
        let held = self.0.iter().filter_map(|resumed| sessions.get(resumed.session));
        held.flat_map(|held| held.leases().map(|(id, _)| id)).collect()
    }

    /// What they have missed. The draft must know their leases.
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
                // Another replica may have ended it.
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

    /// They are told by this commit.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// They were not told; those that were resumed since know better what they miss.
    pub(crate) fn put_back(&mut self, earlier: Self) {
        let since = std::mem::take(&mut self.0);
        self.0 = earlier.0;
        self.0.retain(|resumed| since.iter().all(|other| other.session != resumed.session));
        self.0.extend(since);
    }
}
