//! An attempt's key, and the messages of its task.

use std::sync::Arc;

use super::note::note;
use super::outcome::{Failure, Outcome};
use crate::proto::v1;

/// An operation and its attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AttemptKey {
    /// `operations/{id}`.
    pub(super) operation: Arc<str>,
    /// The attempt number.
    pub(super) attempt: i32,
}

impl From<v1::AttemptRef> for AttemptKey {
    fn from(attempt: v1::AttemptRef) -> Self {
        Self { operation: attempt.operation.into(), attempt: attempt.attempt }
    }
}

impl From<&AttemptKey> for v1::AttemptRef {
    fn from(key: &AttemptKey) -> Self {
        Self { operation: key.operation.as_ref().to_owned(), attempt: key.attempt }
    }
}

/// A message of an attempt's task.
#[derive(Debug)]
pub(super) struct AttemptEvent {
    pub(super) key: AttemptKey,
    pub(super) happened: Happened,
}

/// Messages of an attempt's task. Both go through one channel, so that an attempt's end never
/// overtakes its lines.
#[derive(Debug)]
pub(super) enum Happened {
    /// The handler logged a line.
    Logged(String),
    /// The task has ended.
    Ended(Ending),
}

/// How an attempt's task ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The handler returned or panicked.
    Returned(Result<Box<Outcome>, Failure>),
    /// The handler was not called, because there was no need any more.
    NotStarted,
    /// The handler did not stop in time and was dropped.
    Dropped,
}

impl Ending {
    /// Logs the ending for the worker's operator, without contents.
    pub(super) fn log(&self, is_within_server: bool) {
        match self {
            Self::Returned(Ok(_)) => note!(is_within_server, "succeeded"),
            Self::Returned(Err(failure)) => {
                let (code, is_final) = (failure.code(), failure.is_permanent());
                note!(is_within_server, code, is_final, "failed");
            }
            Self::NotStarted => note!(is_within_server, "was called off before it began"),
            Self::Dropped => tracing::warn!("did not stop, and was left behind"),
        }
    }
}
