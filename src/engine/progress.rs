//! The latest progress of running operations. In memory: progress is not history, and becomes part of an
//! operation with its next transition. One entry per leased operation at most.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::operation::{Attempt, Operation, OperationId, Progress};
use crate::store::shared::AttemptProgress;

/// The latest report of each running attempt.
#[derive(Debug, Default)]
pub(super) struct ProgressBoard(Mutex<Board>);

#[derive(Debug, Default)]
struct Board {
    latest: HashMap<OperationId, Entry>,
    /// What was left for other replicas and is over.
    ended: Vec<OperationId>,
}

#[derive(Debug)]
struct Entry {
    attempt: Attempt,
    progress: Progress,
    /// Whether it, or what was here before, was left for other replicas.
    is_left: bool,
    is_news: bool,
}

impl ProgressBoard {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what is known of an attempt.
    pub(super) fn set(&self, id: OperationId, attempt: Attempt, progress: Progress) {
        let mut board = self.lock();
        let is_left = board.latest.get(&id).is_some_and(|before| before.is_left);
        board.latest.insert(id, Entry { attempt, progress, is_left, is_news: true });
    }

    /// What is known of an attempt.
    pub(super) fn get(&self, id: OperationId, attempt: Attempt) -> Option<Progress> {
        let board = self.lock();
        board.latest.get(&id).filter(|it| it.attempt == attempt).map(|it| it.progress.clone())
    }

    /// Forgets an operation, whose life now holds it, or which is another replica's now.
    pub(super) fn clear(&self, id: OperationId) {
        let mut board = self.lock();
        if board.latest.remove(&id).is_some_and(|entry| entry.is_left) {
            board.ended.push(id);
        }
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

    /// What is to be left for other replicas, and what is to be taken away; it counts as done.
    pub(super) fn to_leave(&self) -> (Vec<AttemptProgress>, Vec<OperationId>) {
        let mut board = self.lock();
        let mut news: Vec<AttemptProgress> = Vec::new();
        for (id, entry) in board.latest.iter_mut().filter(|(_, entry)| entry.is_news) {
            (entry.is_left, entry.is_news) = (true, false);
            let (id, attempt, progress) = (*id, entry.attempt, entry.progress.clone());
            news.push(AttemptProgress { id, attempt, progress });
        }
        // One course of events has one outcome.
        news.sort_unstable_by_key(|it| it.id);
        (news, std::mem::take(&mut board.ended))
    }

    /// Everything is to be left again.
    pub(super) fn leave_all(&self) {
        self.lock().latest.values_mut().for_each(|entry| entry.is_news = true);
    }
}
