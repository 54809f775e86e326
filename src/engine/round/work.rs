//! A request in a commit, with the caller that waits for the response.

use tokio::sync::oneshot;

use crate::engine::admission::Admitted;
use crate::engine::request::{Applied, Apply, EngineError, SubmitMode, Submitted};
use crate::operation::{Command, NewOperation, OperationId};

/// A part of a commit. Its caller, if any, may have disconnected.
#[derive(Debug)]
pub(crate) enum Work {
    Submit {
        items: Vec<NewOperation>,
        mode: SubmitMode,
        reply: oneshot::Sender<Vec<Result<Submitted, EngineError>>>,
        /// The request's room in memory, freed with the answer.
        admission: Admitted,
    },
    Apply {
        apply: Box<Apply>,
        reply: oneshot::Sender<Result<Applied, EngineError>>,
        admission: Admitted,
    },
    /// Without a caller: a limit that has passed, or a lost lease.
    Own(OperationId, Command),
    /// Without a caller: another replica may have changed an operation that a session here holds.
    Recheck(OperationId),
    /// Without a caller: tombstones have expired.
    Forget,
}

/// The outcome of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Submit(Vec<Result<Submitted, EngineError>>),
    Apply(Result<Applied, EngineError>),
    None,
}

impl Work {
    /// The operation that it names, if it names one.
    pub(crate) fn id(&self) -> Option<OperationId> {
        match self {
            Self::Submit { .. } | Self::Forget => None,
            Self::Apply { apply, .. } => Some(apply.id),
            Self::Own(id, _) | Self::Recheck(id) => Some(*id),
        }
    }

    /// The operation that it names, if no caller waits for it.
    pub(crate) fn own_id(&self) -> Option<OperationId> {
        match self {
            Self::Own(id, _) | Self::Recheck(id) => Some(*id),
            Self::Submit { .. } | Self::Apply { .. } | Self::Forget => None,
        }
    }

    /// Whether it may remove its operation.
    pub(crate) fn may_remove(&self) -> bool {
        match self {
            Self::Apply { apply, .. } => matches!(apply.command, Command::Delete),
            Self::Own(_, command) => matches!(command, Command::Tick { .. }),
            Self::Submit { .. } | Self::Recheck(_) | Self::Forget => false,
        }
    }

    /// Sends the outcome to the caller.
    pub(crate) fn answer(self, answer: Answer) {
        match (self, answer) {
            (Self::Submit { reply, admission, .. }, Answer::Submit(answers)) => {
                drop(admission);
                let _ = reply.send(answers);
            }
            (Self::Apply { reply, admission, .. }, Answer::Apply(answer)) => {
                drop(admission);
                let _ = reply.send(answer);
            }
            // Works without a caller.
            _ => {}
        }
    }

    /// Sends the caller an error: nothing was done.
    pub(crate) fn refuse(self, error: EngineError) {
        let answer = match &self {
            Self::Submit { items, .. } => {
                Answer::Submit(items.iter().map(|_| Err(error.clone())).collect())
            }
            Self::Apply { .. } => Answer::Apply(Err(error)),
            Self::Own(..) | Self::Recheck(_) | Self::Forget => Answer::None,
        };
        self.answer(answer);
    }
}

impl Answer {
    /// Whether the work names the operation.
    fn names(&self, id: OperationId) -> bool {
        match self {
            Self::Submit(answers) => {
                answers.iter().flatten().any(|submitted| submitted.operation.id() == id)
            }
            Self::Apply(_) | Self::None => false,
        }
    }
}

/// The requests, by number, that touch the operation.
pub(crate) fn touching<'a>(
    works: &'a [Work],
    answers: &'a [Answer],
    id: OperationId,
) -> impl Iterator<Item = usize> + 'a {
    let touches = move |(work, answer): (&Work, &Answer)| work.id() == Some(id) || answer.names(id);
    works.iter().zip(answers).enumerate().filter(move |(_, both)| touches(*both)).map(|(at, _)| at)
}
