//! The rules of the life cycle as one total function: no I/O, no clock, no randomness.
//!
//! [`decide`] is the only place where a state is assigned. It returns *change* (the new life and the type of the
//! transition), *no change* (already so: this makes repeated cancels and reports idempotent), *remove*, or one of a
//! closed list of rejections.

use std::time::Duration;

use super::command::{Command, CurrentAttempt, Decision, Rejection};
use super::deadlines::Limit;
use super::error::OperationError;
use super::event::{Event, EventType};
use super::id::{Attempt, Revision, SessionId, WorkerId};
use super::payload::PayloadInfo;
use super::report::{RecordedReport, ReportDigest, Reporter};
use super::state::{CancelRequest, Lease, Life, Operation, Outcome, Progress, State, Submission};
use super::time::Timestamp;

/// The number of attempts that an operation can release without a pause before the next one.
const FREE_RELEASES: u32 = 3;
/// The first such pause; doubled after each further release.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_RELEASE_PAUSE: Duration = Duration::from_secs(60);

/// The first transition: the operation as submitted.
pub fn submit(submission: std::sync::Arc<Submission>) -> (Operation, EventType) {
    let life = Life {
        state: State::Queued { not_before: submission.start_at },
        revision: Revision(1),
        attempt: Attempt(0),
        attempts_used: 0,
        worker: None,
        last_report: None,
        updated_at: submission.created_at,
        started_at: None,
        progress: None,
        last_error: None,
        cancel: None,
    };
    (Operation { submission, life }, EventType::Submitted)
}

/// The effect of `command` on `operation` at `now`. New `progress` of the running attempt becomes part of the life with
/// the next transition.
pub fn decide(
    operation: &Operation,
    command: &Command,
    progress: Option<&Progress>,
    now: Timestamp,
) -> Result<Decision, Rejection> {
    let step = Step { operation, progress, now };
    match command {
        Command::Acquire { session, worker } => step.acquire(*session, worker),
        Command::Complete { reporter, digest, result, warnings, errors } => {
            step.report(reporter, *digest, |step| {
                step.complete(result.as_deref().cloned(), warnings.clone(), errors.clone())
            })
        }
        Command::Fail { reporter, digest, error, is_final, retry_delay, chance } => {
            step.report(reporter, *digest, |step| {
                step.fail(error, *is_final, *retry_delay, *chance)
            })
        }
        Command::Release { reporter } => {
            step.report(reporter, ReportDigest::of_release(), |step| step.release())
        }
        Command::AddLog { reporter } => {
            check_holder(operation, reporter).map(|()| Decision::NoChange)
        }
        Command::LoseLease { attempt } => Ok(step.lose_lease(*attempt)),
        Command::Cancel { reason } => Ok(step.cancel(reason)),
        Command::RunNow => Ok(step.run_now()),
        Command::Delete => match operation.life.state {
            State::Done { .. } => Ok(Decision::Remove),
            _ => Err(Rejection::NotDone),
        },
        Command::Tick { chance } => Ok(step.tick(*chance)),
    }
}

/// Whether a report may be accepted, whatever its content: it must be from the session that holds the attempt, or from
/// the one whose report ended it and may be repeated.
pub fn may_report(operation: &Operation, reporter: &Reporter) -> Result<(), Rejection> {
    match &operation.life.last_report {
        Some(recorded) if recorded.is_by(reporter) => Ok(()),
        _ => check_holder(operation, reporter),
    }
}

/// Checks that the attempt is running and that the session holds it.
pub fn check_holder(operation: &Operation, reporter: &Reporter) -> Result<(), Rejection> {
    let life = &operation.life;
    let current = match (life.state.lease(), &life.last_report) {
        (Some(lease), _)
            if (life.attempt, lease.session) == (reporter.attempt, reporter.session) =>
        {
            return Ok(());
        }
        (Some(_), _) => CurrentAttempt::Leased(life.attempt),
        (None, _) if life.attempt == Attempt(0) => CurrentAttempt::None,
        (None, Some(recorded)) if recorded.attempt == life.attempt => {
            CurrentAttempt::Reported(life.attempt)
        }
        (None, _) => CurrentAttempt::Over(life.attempt),
    };
    Err(Rejection::StaleAttempt { reported: reporter.attempt, current })
}

/// One application of a command.
struct Step<'a> {
    operation: &'a Operation,
    progress: Option<&'a Progress>,
    now: Timestamp,
}

impl Step<'_> {
    fn acquire(&self, session: SessionId, worker: &WorkerId) -> Result<Decision, Rejection> {
        let Some(may_start_at) = self.operation.may_start_at() else {
            return Err(Rejection::NotDue);
        };
        let limit_is_up = self.operation.next_limit().is_some_and(|(at, _)| at <= self.now);
        if may_start_at > self.now || limit_is_up {
            return Err(Rejection::NotDue);
        }
        let timeout = self.operation.submission.settings.attempt_timeout;
        let lease = Lease { session, attempt_deadline: timeout.map(|limit| self.now.after(limit)) };
        let mut life = self.next_life(State::Running { lease });
        life.attempt = life.attempt.next();
        life.attempts_used += 1;
        life.worker = Some(worker.clone());
        life.progress = None;
        life.started_at = life.started_at.or(Some(self.now));
        Ok(change(EventType::Started, life))
    }

    /// A report that ends the attempt, unless the same report already did.
    fn report(
        &self,
        reporter: &Reporter,
        digest: ReportDigest,
        apply: impl FnOnce(&Self) -> Decision,
    ) -> Result<Decision, Rejection> {
        let recorded = self.operation.life.last_report;
        if recorded.is_some_and(|it| it.is_by(reporter) && it.digest == digest) {
            return Ok(Decision::NoChange);
        }
        check_holder(self.operation, reporter)?;
        let Reporter { attempt, session, .. } = *reporter;
        let recorded = RecordedReport { attempt, session, digest };
        Ok(with_life(apply(self), |life| life.last_report = Some(recorded)))
    }

    fn complete(
        &self,
        result: Option<PayloadInfo>,
        warnings: Vec<OperationError>,
        errors: Vec<OperationError>,
    ) -> Decision {
        self.finish(if errors.is_empty() {
            Outcome::Succeeded { result, warnings }
        } else {
            Outcome::PartiallySucceeded { result, errors, warnings }
        })
    }

    fn fail(
        &self,
        error: &OperationError,
        is_final: bool,
        retry_delay: Option<Duration>,
        chance: f64,
    ) -> Decision {
        if matches!(self.operation.life.state, State::Cancelling { .. }) {
            return self.finish_cancelled(Some(error.clone()));
        }
        if is_final {
            return self.finish(Outcome::Failed { error: error.clone() });
        }
        let used = self.operation.life.attempts_used;
        let policy = &self.operation.submission.settings.retry_policy;
        let delay = retry_delay.unwrap_or_else(|| policy.backoff(used, chance));
        self.retry_or_fail(error.clone(), delay)
    }

    /// Puts the operation back into the queue if the policy has attempts left, else ends it.
    fn retry_or_fail(&self, error: OperationError, delay: Duration) -> Decision {
        let life = &self.operation.life;
        if life.attempts_used >= self.operation.submission.settings.retry_policy.max_attempts {
            return self.finish(Outcome::Failed { error });
        }
        let mut life = self.next_life(State::Queued { not_before: self.now.after(delay) });
        life.last_error = Some(error);
        change(EventType::RetryScheduled, life)
    }

    fn release(&self) -> Decision {
        if matches!(self.operation.life.state, State::Cancelling { .. }) {
            return self.finish_cancelled(None);
        }
        let used = self.operation.life.attempts_used.saturating_sub(1);
        let released = self.operation.life.attempt.0.saturating_sub(used);
        let pause = release_pause(released);
        // Counted from the start of this attempt, because an attempt that was released after a while is not part of a
        // loop. The clock may have been set back since.
        let next = self.operation.life.updated_at.after(pause).min(self.now.after(pause));
        let mut life = self.next_life(State::Queued { not_before: next.max(self.now) });
        life.attempts_used = used;
        change(EventType::Released, life)
    }

    fn lose_lease(&self, attempt: Attempt) -> Decision {
        let life = &self.operation.life;
        if life.state.lease().is_none() || life.attempt != attempt {
            return Decision::NoChange;
        }
        if matches!(life.state, State::Cancelling { .. }) {
            return self.finish_cancelled(None);
        }
        // The server itself executed the batch and has stopped; the next server continues it.
        if self.operation.is_batch() {
            return self.release();
        }
        let worker = life.worker.as_ref().map_or("?", WorkerId::as_str);
        let most = self.operation.submission.settings.retry_policy.max_attempts;
        // This error may be the operation's end: readers must not assume that nothing was done.
        let last = if life.attempts_used >= most {
            format!(
                "; its work until then may have taken effect, and there is no further attempt, \
                 because at most {most} may be made"
            )
        } else {
            String::new()
        };
        let message = format!("worker {worker} was lost during attempt {}{last}", attempt.0);
        let error = OperationError::service(OperationError::WORKER_LOST, 14, message);
        self.retry_or_fail(error, Duration::ZERO)
    }

    fn cancel(&self, reason: &str) -> Decision {
        let request = CancelRequest { at: self.now, reason: reason.to_owned() };
        match &self.operation.life.state {
            State::Queued { .. } => {
                let error = cancelled_error(&request);
                let decision = self.finish(Outcome::Cancelled { error });
                with_life(decision, |life| life.cancel = Some(request))
            }
            State::Running { lease } => {
                let grace = self.operation.submission.settings.cancel_grace;
                let mut life = self.next_life(State::Cancelling {
                    lease: lease.clone(),
                    grace_until: self.now.after(grace),
                });
                life.cancel = Some(request);
                change(EventType::CancelRequested, life)
            }
            State::Cancelling { .. } | State::Done { .. } => Decision::NoChange,
        }
    }

    /// Removes what defers the next attempt. Limits, pauses and other operations may still delay it.
    fn run_now(&self) -> Decision {
        match self.operation.may_start_at() {
            Some(may_start_at) if may_start_at > self.now => {
                let not_before = self.operation.submission.created_at;
                change(EventType::StartRequested, self.next_life(State::Queued { not_before }))
            }
            _ => Decision::NoChange,
        }
    }

    fn tick(&self, chance: f64) -> Decision {
        if let State::Done { purge_at, .. } = self.operation.life.state {
            return if purge_at <= self.now { Decision::Remove } else { Decision::NoChange };
        }
        match self.operation.next_limit() {
            Some((at, limit)) if at <= self.now => self.apply_limit(limit, chance),
            _ => Decision::NoChange,
        }
    }

    fn apply_limit(&self, limit: Limit, chance: f64) -> Decision {
        let settings = &self.operation.submission.settings;
        let life = &self.operation.life;
        if matches!(life.state, State::Cancelling { .. }) {
            return self.finish_cancelled(None);
        }
        let too_long = |code, what: &str, limit: Option<Duration>| {
            let limit = limit.unwrap_or_default();
            OperationError::service(code, 4, format!("{what} {} s", limit.as_secs_f64()))
        };
        match limit {
            Limit::Queue => self.finish(Outcome::Failed {
                error: too_long(
                    OperationError::QUEUE_TIMEOUT,
                    "no worker started the operation within its queue timeout of",
                    settings.queue_timeout,
                ),
            }),
            Limit::Attempt => self.retry_or_fail(
                too_long(
                    OperationError::ATTEMPT_TIMEOUT,
                    "the attempt was not over within its timeout of",
                    settings.attempt_timeout,
                ),
                settings.retry_policy.backoff(life.attempts_used, chance),
            ),
            Limit::Deadline => self.finish(Outcome::Failed {
                error: too_long(
                    OperationError::DEADLINE_EXCEEDED,
                    "the operation was not done within its deadline of",
                    settings.deadline,
                )
                .caused_by(life.last_error.clone()),
            }),
            // Only a cancelling operation has this limit; it was handled above.
            Limit::Grace => Decision::NoChange,
        }
    }

    fn finish_cancelled(&self, cause: Option<OperationError>) -> Decision {
        let nobody = CancelRequest { at: self.now, reason: String::new() };
        let request = self.operation.life.cancel.as_ref().unwrap_or(&nobody);
        self.finish(Outcome::Cancelled { error: cancelled_error(request).caused_by(cause) })
    }

    fn finish(&self, outcome: Outcome) -> Decision {
        let purge_at = self.now.after(self.operation.submission.settings.retention);
        let mut life = self.next_life(State::Done { outcome, at: self.now, purge_at });
        life.last_error = None;
        change(EventType::Finished, life)
    }

    /// The life after one more transition, in `state`.
    fn next_life(&self, state: State) -> Life {
        let old = &self.operation.life;
        Life {
            state,
            revision: old.revision.next(),
            last_report: old.last_report,
            // The clock may step back; the history does not.
            updated_at: self.now.max(old.updated_at),
            progress: self.progress.or(old.progress.as_ref()).cloned(),
            worker: old.worker.clone(),
            last_error: old.last_error.clone(),
            cancel: old.cancel.clone(),
            attempt: old.attempt,
            attempts_used: old.attempts_used,
            started_at: old.started_at,
        }
    }
}

/// The least time from the start of a released attempt to the next one, after that many released attempts. The first
/// few are free, because workers restart; a worker that releases everything is slowed down.
fn release_pause(released: u32) -> Duration {
    match released.checked_sub(FREE_RELEASES + 1) {
        None => Duration::ZERO,
        Some(more) => {
            RELEASE_PAUSE.saturating_mul(2_u32.saturating_pow(more)).min(LONGEST_RELEASE_PAUSE)
        }
    }
}

fn change(event_type: EventType, life: Life) -> Decision {
    Decision::Change(Box::new(Event { event_type, life }))
}

fn with_life(decision: Decision, edit: impl FnOnce(&mut Life)) -> Decision {
    match decision {
        Decision::Change(mut event) => {
            edit(&mut event.life);
            Decision::Change(event)
        }
        other => other,
    }
}

fn cancelled_error(request: &CancelRequest) -> OperationError {
    let message = match request.reason.as_str() {
        "" => "the operation was cancelled".to_owned(),
        reason => format!("the operation was cancelled: {reason}"),
    };
    OperationError::service(OperationError::CANCELLED, 1, message)
}

#[cfg(test)]
mod tests;
