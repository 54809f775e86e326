//! One look at a batch: retries children first, counts them, and acts by the rule.

use std::sync::Arc;

use super::Batches;
use super::report;
use crate::operation::{
    Attempt, BatchRule, ChildCounts, Operation, OperationId, Progress, Timestamp,
};
use crate::service::{Reason, Report, ServiceError, WorkerSession};

/// A batch, and the progress of its attempt.
#[derive(Clone)]
pub(super) struct Task {
    operation: Arc<Operation>,
    /// `None` if the input is not a rule.
    rule: Option<BatchRule>,
    retries: Retries,
    /// The counts of the last look.
    seen: Option<ChildCounts>,
}

/// How many children of the retried batch this attempt has submitted again.
#[derive(Clone, Copy)]
enum Retries {
    /// Those up to this one.
    Upto(Option<OperationId>),
    /// All children; or the batch is not a retry.
    All,
}

/// The next step after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again at once: there is more to do.
    AtOnce,
    /// Wait until a child ends.
    Wait,
    /// The attempt is over.
    Over,
}

impl Task {
    pub(super) fn new(operation: Arc<Operation>, rule: Option<BatchRule>) -> Self {
        let retries = match operation.submission.retry_of {
            Some(_) => Retries::Upto(None),
            None => Retries::All,
        };
        Self { operation, rule, retries, seen: None }
    }

    pub(super) fn id(&self) -> OperationId {
        self.operation.id()
    }

    pub(super) fn attempt(&self) -> Attempt {
        self.operation.life.attempt
    }

    /// Notes that a caller has cancelled the batch.
    pub(super) fn cancel(&mut self, operation: Arc<Operation>) {
        self.operation = operation;
    }

    /// Takes over the progress of a look, but not its operation, which may have been cancelled meanwhile.
    pub(super) fn proceed(&mut self, looked: Self) {
        (self.retries, self.seen) = (looked.retries, looked.seen);
    }

    /// Looks once. Every step can be repeated without effect.
    pub(super) async fn step(
        mut self,
        batches: &Batches,
        session: &WorkerSession,
    ) -> Result<(Self, Next), ServiceError> {
        let service = &batches.service;
        let is_cancelled = self.operation.life.cancel.is_some();
        let Some(rule) = self.rule else {
            return self.end(session, report::without_a_rule()).await;
        };
        if let (Retries::Upto(last), false) = (self.retries, is_cancelled) {
            let last = service.retry_children(&self.operation, last).await?;
            self.retries = last.map_or(Retries::All, |last| Retries::Upto(Some(last)));
            return Ok((self, Next::AtOnce));
        }
        let place = (self.operation.submission.tenant.clone(), self.id());
        let counts = batches.engine.count_children(vec![place]).await?;
        let counts = counts.first().copied().unwrap_or_default();
        if self.seen != Some(counts) {
            self.seen = Some(counts);
            let progress = progress(&counts, &rule, service.now());
            session.progress(self.id(), self.attempt(), progress).await?;
        }
        let is_retry = self.operation.submission.retry_of.is_some();
        let ending = match rule.ending(&counts) {
            // Children to retry were deleted meanwhile.
            None if is_retry && !is_cancelled && counts.total() < rule.expected_children => {
                Some(None)
            }
            None => None,
            Some(ending) => Some(Some(ending)),
        };
        let is_over = is_cancelled || ending.is_some();
        if is_over
            && counts.to_cancel() > 0
            && batches.cancel_some_children(&self.operation).await?
        {
            return Ok((self, Next::AtOnce));
        }
        let report = match (is_cancelled, ending) {
            (true, _) if counts.live() > 0 => return Ok((self, Next::Wait)),
            (true, _) => Report::Release,
            (false, None) => return Ok((self, Next::Wait)),
            (false, Some(None)) => report::children_gone(&rule, &counts),
            (false, Some(Some(ending))) => {
                let most = report::most_named(ending, &counts);
                let named = service.some_unsuccessful(&self.operation, most).await?;
                report::ended(ending, &rule, &counts, &named)
            }
        };
        let (task, next) = self.end(session, report).await?;
        if !is_cancelled {
            // Cancels children that were submitted between the last count and the end. After the end no more can be.
            while batches.cancel_some_children(&task.operation).await? {}
        }
        Ok((task, next))
    }

    /// Reports the end of the attempt.
    async fn end(
        self,
        session: &WorkerSession,
        report: Report,
    ) -> Result<(Self, Next), ServiceError> {
        match session.report(self.id(), self.attempt(), report).await {
            Ok(()) => Ok((self, Next::Over)),
            // The attempt has ended already, by a report or a lost lease; or the batch is gone.
            Err(error)
                if matches!(
                    error.reason,
                    Reason::StaleAttempt | Reason::OperationNotFound | Reason::OperationExpired
                ) =>
            {
                Ok((self, Next::Over))
            }
            Err(error) => Err(error),
        }
    }
}

/// A batch's progress.
fn progress(counts: &ChildCounts, rule: &BatchRule, now: Timestamp) -> Progress {
    let (ended, total) = (counts.ended(), counts.total().max(rule.expected_children));
    let units = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Progress {
        percent: (total > 0).then(|| ended as f64 * 100.0 / total as f64),
        done_units: Some(units(ended)),
        total_units: Some(units(total)),
        message: counts.in_words(),
        at: now,
    }
}
