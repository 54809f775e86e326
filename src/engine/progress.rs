//! The latest progress of running operations. In memory only: progress is not history, and becomes
//! part of an operation with its next transition. One entry per leased operation at most.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::operation::{Attempt, Operation, OperationId, Progress};

/// The latest report of each running attempt.
#[derive(Debug, Default)]
pub(super) struct ProgressBoard(Mutex<HashMap<OperationId, (Attempt, Progress)>>);

impl ProgressBoard {
    fn lock(&self) -> MutexGuard<'_, HashMap<OperationId, (Attempt, Progress)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what is known of an attempt.
    pub(super) fn set(&self, id: OperationId, attempt: Attempt, progress: Progress) {
        self.lock().insert(id, (attempt, progress));
    }

    /// What is known of an attempt.
    pub(super) fn get(&self, id: OperationId, attempt: Attempt) -> Option<Progress> {
        self.lock().get(&id).filter(|(of, _)| *of == attempt).map(|(_, progress)| progress.clone())
    }

    /// Forgets an operation, whose life now holds it.
    pub(super) fn clear(&self, id: OperationId) {
        self.lock().remove(&id);
    }

    /// The operation with the news of its running attempt, if there are any.
    pub(super) fn refresh(&self, mut operation: Operation) -> Operation {
        if operation.life.state.lease().is_some()
            && let Some(progress) = self.get(operation.id(), operation.life.attempt)
        {
            operation.life.progress = Some(progress);
        }
        operation
    }
}
