//! The latest progress of running operations, in memory: progress is not history, and becomes part of an operation
//! with its next transition. At most one entry per leased operation.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::course::{CoursePoint, Courses};
use crate::operation::{Attempt, Operation, OperationId, Progress};
use crate::store::shared::AttemptProgress;

/// The latest report of each running attempt.
#[derive(Debug, Default)]
pub(super) struct ProgressBoard(Mutex<Board>);

#[derive(Debug, Default)]
struct Board {
    latest: HashMap<OperationId, Entry>,
    /// Operations whose published progress is of an attempt that has ended.
    ended: Vec<OperationId>,
    courses: Courses,
}

#[derive(Debug)]
struct Entry {
    attempt: Attempt,
    progress: Progress,
    /// Whether this entry, or one that it replaced, was published to other replicas.
    is_left: bool,
    is_news: bool,
}

impl ProgressBoard {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the progress of an attempt.
    pub(super) fn set(&self, id: OperationId, attempt: Attempt, progress: Progress) {
        let mut board = self.lock();
        board.courses.note(id, attempt, &progress);
        let is_left = board.latest.get(&id).is_some_and(|before| before.is_left);
        board.latest.insert(id, Entry { attempt, progress, is_left, is_news: true });
    }

    /// Notes what another replica's worker reported.
    pub(super) fn note_elsewhere(&self, id: OperationId, attempt: Attempt, progress: &Progress) {
        self.lock().courses.note(id, attempt, progress);
    }

    /// An operation's progress over time, oldest first.
    pub(super) fn course(&self, id: OperationId) -> Vec<CoursePoint> {
        self.lock().courses.of(id)
    }

    /// An attempt's progress.
    pub(super) fn get(&self, id: OperationId, attempt: Attempt) -> Option<Progress> {
        let board = self.lock();
        board.latest.get(&id).filter(|it| it.attempt == attempt).map(|it| it.progress.clone())
    }

    /// Forgets an operation because its life now has the progress, or because another replica has its worker.
    pub(super) fn clear(&self, id: OperationId) {
        let mut board = self.lock();
        if board.latest.remove(&id).is_some_and(|entry| entry.is_left) {
            board.ended.push(id);
        }
    }

    /// The operation with its running attempt's latest progress, if there is any.
    pub(super) fn refresh(&self, mut operation: Operation) -> Operation {
        if operation.life.state.lease().is_some()
            && let Some(progress) = self.get(operation.id(), operation.life.attempt)
        {
            operation.life.progress = Some(progress);
        }
        operation
    }

    /// Takes what to publish to other replicas and what to withdraw, and marks both as done.
    pub(super) fn to_leave(&self) -> (Vec<AttemptProgress>, Vec<OperationId>) {
        let mut board = self.lock();
        let Board { latest, ended, .. } = &mut *board;
        // Progress of a later attempt replaces what was published of the earlier one.
        let mut ended = std::mem::take(ended);
        ended.retain(|id| !latest.contains_key(id));
        let mut news: Vec<AttemptProgress> = Vec::new();
        for (id, entry) in latest.iter_mut().filter(|(_, entry)| entry.is_news) {
            (entry.is_left, entry.is_news) = (true, false);
            let (id, attempt, progress) = (*id, entry.attempt, entry.progress.clone());
            news.push(AttemptProgress { id, attempt, progress });
        }
        // A fixed order, so that equal events have equal outcomes.
        news.sort_unstable_by_key(|it| it.id);
        (news, ended)
    }

    /// Marks everything to be published again.
    pub(super) fn leave_all(&self) {
        self.lock().latest.values_mut().for_each(|entry| entry.is_news = true);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{at, id};
    use super::*;

    fn set(board: &ProgressBoard, number: u128, attempt: u32) {
        let progress = Progress {
            percent: None,
            done_units: Some(1),
            total_units: None,
            message: String::new(),
            at: at(1),
        };
        board.set(id(number), Attempt(attempt), progress);
    }

    fn to_leave(board: &ProgressBoard) -> (Vec<(OperationId, u32)>, Vec<OperationId>) {
        let (news, ended) = board.to_leave();
        (news.iter().map(|it| (it.id, it.attempt.0)).collect(), ended)
    }

    #[test]
    fn what_is_news_is_left_once_and_taken_away_when_it_is_over() {
        let board = ProgressBoard::default();
        set(&board, 2, 1);
        set(&board, 1, 1);
        set(&board, 1, 1);
        assert_eq!(to_leave(&board), (vec![(id(1), 1), (id(2), 1)], vec![]));
        assert_eq!(to_leave(&board), (vec![], vec![]));
        // Progress that was never published needs no withdrawal.
        set(&board, 3, 1);
        for number in [1, 3] {
            board.clear(id(number));
        }
        assert_eq!(to_leave(&board), (vec![], vec![id(1)]));
        board.leave_all();
        assert_eq!(to_leave(&board), (vec![(id(2), 1)], vec![]));
    }

    #[test]
    fn what_was_left_once_is_taken_away_whatever_was_reported_since() {
        let board = ProgressBoard::default();
        set(&board, 1, 1);
        board.to_leave();
        set(&board, 1, 1);
        board.clear(id(1));
        assert_eq!(to_leave(&board), (vec![], vec![id(1)]));
    }

    #[test]
    fn how_far_attempts_have_come_is_kept_wherever_they_report() {
        let board = ProgressBoard::default();
        let percent = |percent| Progress {
            percent: Some(percent),
            done_units: None,
            total_units: None,
            message: String::new(),
            at: at(1),
        };
        board.set(id(1), Attempt(1), percent(20.0));
        board.note_elsewhere(id(1), Attempt(1), &percent(40.0));
        board.clear(id(1));
        let points = board.course(id(1)).into_iter().map(|point| point.percent);
        assert_eq!(points.collect::<Vec<_>>(), [20.0, 40.0]);
        assert!(board.course(id(2)).is_empty());
    }

    #[test]
    fn the_next_attempt_takes_the_place_of_the_last() {
        let board = ProgressBoard::default();
        set(&board, 1, 1);
        board.to_leave();
        board.clear(id(1));
        set(&board, 1, 2);
        assert_eq!(board.get(id(1), Attempt(1)), None);
        assert_eq!(to_leave(&board), (vec![(id(1), 2)], vec![]));
        board.clear(id(1));
        assert_eq!(to_leave(&board), (vec![], vec![id(1)]));
    }
}
