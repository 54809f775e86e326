//! A request to one commit, with the callers that wait for it.

use tokio::sync::oneshot;

use crate::engine::admission::Admitted;
use crate::engine::request::{Applied, Apply, EngineError, SubmitMode, Submitted};
use crate::operation::{Command, NewOperation, OperationId};

/// A part of a commit. Its caller, if it has one, may have gone away.
#[derive(Debug)]
pub(crate) enum Work {
    Submit {
        items: Vec<NewOperation>,
        mode: SubmitMode,
        reply: oneshot::Sender<Vec<Result<Submitted, EngineError>>>,
        /// The room in memory, given back with the answer.
        admission: Admitted,
    },
    Apply {
        apply: Box<Apply>,
        reply: oneshot::Sender<Result<Applied, EngineError>>,
        admission: Admitted,
    },
    /// The engine's own: a limit or a lost lease.
    Own(OperationId, Command),
    /// The engine's own: another replica may have changed what a session here holds.
    Recheck(OperationId),
    /// The engine's own: tombstones are out of date.
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
    /// The operation that it names.
    pub(crate) fn id(&self) -> Option<OperationId> {
        match self {
            Self::Submit { .. } | Self::Forget => None,
            Self::Apply { apply, .. } => Some(apply.id),
            Self::Own(id, _) | Self::Recheck(id) => Some(*id),
        }
    }

    /// The operation that it names, where no caller waits for it.
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

    /// Tells the caller what became of it.
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
            // The engine's own.
            _ => {}
        }
    }

    /// Tells the caller that nothing was done.
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
    /// Whether the operation is among those that it speaks of.
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
