//! A commit whose outcome is unknown.

use crate::engine::dispatch::dispatcher::Outgoing;
use crate::engine::dispatch::resumed::ResumedSessions;
use crate::engine::round::draft::Draft;

/// A commit in doubt. Its draft is neither settled nor undone: the operations that it took from the queue stay taken,
/// its leases are not assigned, and nothing is published. Sessions may come and go meanwhile.
#[derive(Debug)]
pub(super) struct InDoubt {
    draft: Draft,
    messages: Vec<Outgoing>,
    /// The sessions that the messages notify of what they missed.
    resumed: ResumedSessions,
}

impl InDoubt {
    pub(super) fn new(draft: Draft, messages: Vec<Outgoing>, resumed: ResumedSessions) -> Self {
        Self { draft, messages, resumed }
    }

    /// The commit was written: returns the draft, and the messages to send. A session that was resumed `since` learned
    /// everything when it resumed.
    pub(super) fn happened(self, since: &ResumedSessions) -> (Draft, Vec<Outgoing>) {
        let Self { draft, mut messages, .. } = self;
        messages.retain(|message| !since.contains(message.session));
        (draft, messages)
    }

    /// The commit was not written: returns the draft to undo. No session was notified, so sessions that missed
    /// something still do, as do those that were resumed `since`.
    pub(super) fn did_not_happen(self, since: &mut ResumedSessions) -> Draft {
        since.put_back(self.resumed);
        self.draft
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::engine::EngineConfig;
    use crate::engine::request::ToWorker;
    use crate::engine::sample::{at, id, operation};
    use crate::operation::{Attempt, OperationId, SessionId};

    fn session(number: u128) -> SessionId {
        SessionId::from_uuid(Uuid::from_u128(number))
    }

    /// Sessions, each with the operation whose first attempt its worker knows.
    fn resumed(sessions: &[(u128, u128)]) -> ResumedSessions {
        let mut resumed = ResumedSessions::default();
        for (number, running) in sessions {
            resumed.add(session(*number), HashSet::from([(id(*running), Attempt(1))]));
        }
        resumed
    }

    /// The cancel of an operation, with messages to two sessions; the first of them has missed other messages as well.
    fn in_doubt() -> InDoubt {
        let mut draft = Draft::new(at(5), &EngineConfig::default());
        let operation = Arc::new(operation(7, at(0)));
        draft.learn(Arc::clone(&operation));
        let message = |number| {
            let content = ToWorker::CancelRequested { operation: Arc::clone(&operation) };
            Outgoing { session: session(number), content }
        };
        InDoubt::new(draft, vec![message(1), message(2)], resumed(&[(1, 7)]))
    }

    fn touched(draft: &Draft) -> Vec<OperationId> {
        draft.touched().collect()
    }

    #[test]
    fn what_happened_is_told_but_to_sessions_that_know_it() {
        let told = |since: &ResumedSessions| {
            let (draft, messages) = in_doubt().happened(since);
            assert_eq!(touched(&draft), [id(7)]);
            messages.iter().map(|message| message.session).collect::<Vec<_>>()
        };
        assert_eq!(told(&ResumedSessions::default()), [session(1), session(2)]);
        assert_eq!(told(&resumed(&[(2, 7), (3, 7)])), [session(1)]);
        assert_eq!(told(&resumed(&[(1, 7), (2, 7)])), []);
    }

    #[test]
    fn what_did_not_happen_leaves_sessions_to_be_told() {
        let mut since = resumed(&[(3, 9)]);
        let draft = in_doubt().did_not_happen(&mut since);
        assert_eq!(touched(&draft), [id(7)], "it is to be undone");
        assert_eq!(since, resumed(&[(1, 7), (3, 9)]));
        // The session was resumed once more, and by then its worker knew another attempt.
        let mut since = resumed(&[(1, 8)]);
        in_doubt().did_not_happen(&mut since);
        assert_eq!(since, resumed(&[(1, 8)]));
    }
}
