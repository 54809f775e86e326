//! A worker's state, independent of its streams: running attempts, waiting reports, the steps of a stop. It decides;
//! streams only carry messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::attempt::Attempts;
use super::attempt_key::{AttemptEvent, AttemptKey, Ending, Happened};
use super::context::{CancelCause, Cancellation};
use super::drain::{Drain, Phase};
use super::progress::ProgressBoard;
use super::report::Report;
use super::reports::Reports;
use crate::proto::v1;
use crate::proto::v1::cancel_attempt::Cause;
use crate::proto::v1::work_request::Message;

/// Progress and log lines are sent at most this often.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for dropped handlers to be gone.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// The state of a worker.
pub(super) struct Work {
    attempts: Attempts,
    reports: Reports,
    board: Arc<ProgressBoard>,
    events: mpsc::Receiver<AttemptEvent>,
    drain: Drain,
    /// Progress taken from the board and not sent yet; at most one per attempt.
    progress: BTreeMap<AttemptKey, v1::Progress>,
    flush_at: Option<Instant>,
    flushed_at: Option<Instant>,
}

impl Work {
    pub(super) fn new(
        attempts: Attempts,
        reports: Reports,
        board: Arc<ProgressBoard>,
        events: mpsc::Receiver<AttemptEvent>,
        drain: Drain,
    ) -> Self {
        Self {
            attempts,
            reports,
            board,
            events,
            drain,
            progress: BTreeMap::new(),
            flush_at: None,
            flushed_at: None,
        }
    }

    /// Waits for the next event on this side and handles it. May be dropped and called again.
    pub(super) async fn step(&mut self) {
        tokio::select! {
            phase = self.drain.advance() => self.enter(phase),
            Some(event) = self.events.recv(), if self.reports.has_room() => self.happened(event),
            () = self.board.changed() => self.flush_soon(),
        }
    }

    /// Whether the worker is stopping and accepts no more.
    pub(super) fn is_draining(&self) -> bool {
        self.drain.phase() != Phase::Serving
    }

    /// Whether there is nothing left to do, or no time left.
    pub(super) fn is_finished(&self) -> bool {
        let idle = self.attempts.is_empty() && self.reports.unacked() == 0;
        self.drain.phase() == Phase::Over || self.is_draining() && idle
    }

    /// Drops the running handlers; returns how many attempts stay unreported or unacknowledged. Does not wait for a
    /// handler that blocks its thread.
    pub(super) async fn finish(mut self) -> usize {
        let left = self.attempts.abort_all().len() + self.reports.unacked();
        self.events.close();
        let _ = timeout(LAST_LOOK, self.attempts.shutdown()).await;
        left
    }

    /// The attempts to name when a session is resumed: running ones, and those whose end is unacknowledged.
    pub(super) fn held(&self) -> Vec<v1::AttemptRef> {
        self.attempts.keys().chain(self.reports.ended_keys()).map(v1::AttemptRef::from).collect()
    }

    /// Handles a new stream. If it resumes the session, everything unacknowledged is sent again; if the session is new,
    /// the old session's attempts have ended.
    pub(super) fn stream_began(&mut self, session: &v1::SessionStarted) {
        self.attempts.belong_to(&session.session_id);
        if session.resumed {
            for (key, current) in self.attempts.iter() {
                if let Some(progress) = current.sent_progress.clone() {
                    self.board.put_back(key, progress);
                }
            }
            self.reports.resend_all();
        } else {
            self.attempts.abandon_all();
            self.reports.forget_all();
            self.board.take_all();
            self.progress.clear();
        }
    }

    /// Handles an assignment: runs it, releases it, or ignores it because it is here already.
    pub(super) fn assigned(&mut self, assignment: v1::Assignment) {
        let Some(operation) = &assignment.operation else {
            return tracing::warn!("assignment without an operation ignored");
        };
        let key =
            AttemptKey { operation: operation.name.as_str().into(), attempt: assignment.attempt };
        let ended = self.reports.ended_keys().any(|ended| *ended == key);
        if ended || self.attempts.contains(&key) {
            return;
        }
        if self.is_draining() || !self.attempts.start(key.clone(), assignment) {
            self.reports.end(key, Report::Release);
        }
    }

    /// Handles the server's cancel of an attempt.
    pub(super) fn cancelled(&mut self, cancel: v1::CancelAttempt) {
        let cause = cancel.cause();
        let Some(key) = cancel.attempt.map(AttemptKey::from) else { return };
        if matches!(cause, Cause::NotCurrent | Cause::Recorded) {
            self.attempts.abandon(&key);
            self.reports.forget(&key);
            self.board.take(&key);
            self.progress.remove(&key);
            return;
        }
        let grace_deadline =
            cancel.grace_deadline_time.and_then(|at| SystemTime::try_from(at).ok());
        let cause = CancelCause::Requested;
        let why = Cancellation { cause, reason: cancel.reason, grace_deadline };
        self.attempts.cancel(&key, why);
    }

    /// Handles the response to a report.
    pub(super) fn acked(&mut self, ack: v1::Ack) {
        self.reports.answered(ack.report_id, ack.error, Instant::now());
    }

    /// Whether there is something to send now.
    pub(super) fn has_message(&self) -> bool {
        !self.progress.is_empty() || self.reports.has_unsent()
    }

    /// The next message to send. Progress goes first, because after its attempt's end it would be stale.
    pub(super) async fn next_message(&mut self) -> Option<Message> {
        if let Some((key, progress)) = self.progress.pop_first() {
            let attempt = Some(v1::AttemptRef::from(&key));
            return Some(Message::Progress(v1::ReportProgress {
                attempt,
                progress: Some(progress),
            }));
        }
        self.reports.next().await
    }

    /// When to call [`Self::on_time`] next.
    pub(super) fn next_time(&self) -> Option<Instant> {
        [self.flush_at, self.reports.resend_at()].into_iter().flatten().min()
    }

    /// Runs due timers.
    pub(super) fn on_time(&mut self) {
        let now = Instant::now();
        self.reports.resend_due(now);
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush_at = None;
            self.flushed_at = Some(now);
            self.reports.flush();
            for (key, progress) in self.board.take_all() {
                self.send_progress(&key, progress);
            }
        }
    }

    fn flush_soon(&mut self) {
        let earliest = self.flushed_at.map(|at| at + FLUSH_INTERVAL);
        let now = Instant::now();
        self.flush_at.get_or_insert_with(|| earliest.map_or(now, |at| at.max(now)));
    }

    fn send_progress(&mut self, key: &AttemptKey, progress: v1::Progress) {
        // Events of an attempt that has ended are dropped.
        let Some(current) = self.attempts.get_mut(key) else { return };
        current.sent_progress = Some(progress.clone());
        self.progress.insert(key.clone(), progress);
    }

    fn happened(&mut self, AttemptEvent { key, happened }: AttemptEvent) {
        if !self.attempts.contains(&key) {
            return;
        }
        match happened {
            Happened::Logged(line) => {
                self.reports.log(&key, line);
                self.flush_soon();
            }
            Happened::Ended(ending) => self.ended(key, ending),
        }
    }

    fn ended(&mut self, key: AttemptKey, ending: Ending) {
        if let Some(progress) = self.board.take(&key) {
            self.send_progress(&key, progress);
        }
        let cause = self.attempts.remove(&key).and_then(|current| current.cancel_cause());
        let report = match ending {
            Ending::Returned(Ok(outcome)) => Report::Complete(outcome),
            // It failed because this worker stops, which must not cost an attempt.
            Ending::Returned(Err(failure))
                if cause == Some(CancelCause::WorkerStopping) && !failure.stands =>
            {
                Report::Release
            }
            Ending::Returned(Err(failure)) => Report::Fail(failure),
            Ending::NotStarted | Ending::Dropped => Report::Release,
        };
        self.reports.end(key, report);
    }

    fn enter(&mut self, phase: Phase) {
        match phase {
            Phase::Serving | Phase::Over => {}
            Phase::Draining => self.attempts.close(),
            Phase::Stopping => self.attempts.cancel_all(),
            Phase::Closing => {
                // Reports that handlers made before this are still sent.
                while let Ok(event) = self.events.try_recv() {
                    self.happened(event);
                }
                for key in self.attempts.abort_all() {
                    self.reports.end(key, Report::Release);
                }
            }
        }
    }
}
