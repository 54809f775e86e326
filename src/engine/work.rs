//! Requests on their way into a commit: what must be done at once is, the rest becomes work with
//! somebody who waits for its answer.

use std::collections::VecDeque;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::committer::Committer;
use super::request::{Applied, Apply, Connected, EngineError, Request, Submitted, Taken};
use super::sessions::ToWorker;
use crate::operation::{Command, NewOperation, OperationId, Timestamp};
use crate::store::shared::Hint;

/// Most submissions of one commit, one request's overshoot excepted.
const MAX_SUBMISSIONS: usize = 2_048;

/// A request that takes part in a commit.
pub(super) enum Work {
    Submit(Vec<NewOperation>),
    Apply(Box<Apply>),
    /// The engine's own: a limit or a lost lease.
    Own(OperationId, Command),
    /// The engine's own: another replica has changed what a session here holds.
    Look(OperationId),
    /// The engine's own: tombstones are out of date.
    Forget,
}

/// What became of it.
pub(super) enum Answer {
    Submit(Vec<Result<Submitted, EngineError>>),
    Apply(Result<Applied, EngineError>),
    Own,
}

/// Who waits for an answer. One that has gone away is no concern of ours.
pub(super) enum Reply {
    Submit {
        reply: oneshot::Sender<Vec<Result<Submitted, EngineError>>>,
        items: usize,
        /// Given back with the answer.
        admission: OwnedSemaphorePermit,
    },
    Apply(oneshot::Sender<Result<Applied, EngineError>>),
    /// Nobody does: the work is the engine's own, and stands among requests.
    Nobody,
}

impl Reply {
    pub(super) fn send(self, answer: Result<Answer, EngineError>) {
        match (self, answer) {
            (Self::Submit { reply, admission, .. }, Ok(Answer::Submit(answers))) => {
                drop(admission);
                let _ = reply.send(answers);
            }
            (Self::Submit { reply, admission, items }, Err(error)) => {
                drop(admission);
                let _ = reply.send(vec![Err(error); items]);
            }
            (Self::Apply(reply), Ok(Answer::Apply(answer))) => {
                let _ = reply.send(answer);
            }
            (Self::Apply(reply), Err(error)) => {
                let _ = reply.send(Err(error));
            }
            // Works and replies are pushed in pairs of one kind.
            _ => {}
        }
    }
}

/// Takes the requests of the next commit: as many as there are, unless they are large batches.
pub(super) fn one_commit(waiting: &mut VecDeque<Request>) -> Vec<Request> {
    let mut submissions = 0;
    let fits = waiting.iter().take_while(|request| {
        let before = submissions;
        if let Request::Submit { items, .. } = request {
            submissions += items.len();
        }
        before < MAX_SUBMISSIONS
    });
    let count = fits.count();
    waiting.drain(..count).collect()
}

impl Committer {
    /// Does at once what needs no commit, and makes work and reply of the rest.
    pub(super) fn take(
        &mut self,
        request: Request,
        now: Timestamp,
        works: &mut Vec<Work>,
        replies: &mut Vec<Reply>,
    ) {
        let renewed = now.after(self.config.lease_duration);
        match request {
            Request::Submit { items, reply, admission } => {
                replies.push(Reply::Submit { reply, items: items.len(), admission });
                works.push(Work::Submit(items));
            }
            Request::Apply { work, reply } => {
                if let Some(session) = work.session {
                    self.sessions.renew(session, renewed);
                }
                replies.push(Reply::Apply(reply));
                works.push(Work::Apply(Box::new(work)));
            }
            Request::Connect { hello, sender, taken, reply } => {
                let is_over = matches!(taken, Some(Taken::Over(_)));
                let connected = self.connect(hello, sender, taken, now);
                if let Ok(Some(Connected { session, .. })) = &connected
                    && is_over
                    && let Some(held) = self.sessions.get(*session)
                {
                    // What is known here and what the store said may both be of some time ago.
                    works.extend(held.leases.keys().copied().map(Work::Look));
                    replies.extend(held.leases.keys().map(|_| Reply::Nobody));
                }
                let _ = reply.send(connected);
            }
            Request::Hint(hint) => self.take_hint(hint, works, replies),
            Request::Counts(counts) => self.set_counts(counts),
            Request::Renew { session } => self.sessions.renew(session, renewed),
            Request::Drain { session } => self.sessions.drain(session),
            Request::Disconnect { session, stream } => self.sessions.disconnect(session, stream),
            Request::Progress { session, id, attempt, progress } => {
                self.sessions.renew(session, renewed);
                if self.sessions.holds(session, id, attempt) {
                    self.shared.hub.progress(id, attempt, self.shared.cache.get(id), &progress);
                    self.shared.progress.set(id, attempt, progress);
                } else {
                    // It is not acknowledged, so this is all that the worker hears of it.
                    self.sessions.send(session, ToWorker::NotCurrent { id, attempt });
                }
            }
            Request::DisconnectAll { reply } => {
                self.sessions.disconnect_all();
                let _ = reply.send(());
            }
        }
    }

    /// What another replica has done, or may have.
    fn take_hint(&mut self, hint: Hint, works: &mut Vec<Work>, replies: &mut Vec<Reply>) {
        let leases = match hint {
            Hint::Changed(_) => return,
            Hint::Queued => return self.stock_all(),
            Hint::TakenOver(sessions) => return self.lose_sessions(&sessions),
            Hint::Leases(ids) => ids,
            Hint::Missed => {
                self.stock_all();
                self.sessions.leased()
            }
        };
        replies.extend(leases.iter().map(|_| Reply::Nobody));
        works.extend(leases.into_iter().map(Work::Look));
    }
}
