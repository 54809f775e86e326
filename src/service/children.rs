//! Cancels and retries the children of a batch, page by page.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::operations::{named, not_done};
use super::{Caller, Document, Reason, Service, ServiceError};
use crate::engine::{Apply, EngineError};
use crate::operation::batch;
use crate::operation::filter::Filter;
use crate::operation::{
    BatchRule, ChildCounts, Command, IdempotencyKey, NewOperation, Operation, OperationId, Owner,
    Role, Scope, StateName, TenantId, Timestamp, mark,
};
use crate::store::{ListOrder, ListPosition, ListQuery, OrderBy, PayloadRole};

/// How many children are read at once, to be cancelled or retried.
const PAGE: usize = 256;
/// The maximum number of concurrent cancels.
const AT_ONCE: usize = 64;

impl Service {
    /// Cancels every child of a batch that is not done; returns the counts after that. Calls `cancelled` for each
    /// child.
    pub(super) async fn cancel_children(
        &self,
        batch: &Operation,
        cancelled: impl Fn(OperationId),
    ) -> Result<ChildCounts, ServiceError> {
        let reason = match &batch.life.cancel {
            Some(cancel) if !cancel.reason.is_empty() => cancel.reason.clone(),
            _ => format!("its batch, {}, was cancelled", batch.id().name()),
        };
        let mut after = None;
        loop {
            let page = self.cancel_page(batch, after, &reason).await?;
            page.iter().copied().for_each(&cancelled);
            after = page.last().copied();
            if page.len() < PAGE {
                // Counted anew, so that the next reader sees the cancels.
                let counts = self.engine.count_children(vec![place(batch)]).await?;
                return Ok(counts.first().copied().unwrap_or_default());
            }
        }
    }

    /// Cancels some children, in the order of their ids, after one of them. Returns them; fewer than a page means that
    /// there are no more.
    async fn cancel_page(
        &self,
        batch: &Operation,
        after: Option<OperationId>,
        reason: &str,
    ) -> Result<Vec<OperationId>, ServiceError> {
        let page = self.page_of(batch, &[StateName::Queued, StateName::Running], after).await?;
        let ids: Vec<OperationId> = page.iter().map(Operation::id).collect();
        let cancels = page.into_iter().map(|child| {
            let command = Command::Cancel { reason: reason.to_owned() };
            let (scope, id) = (child.submission.tenant.clone().into(), child.id());
            self.engine.apply(Apply { scope, id, command, result: None, lines: Vec::new() })
        });
        let mut cancels = stream::iter(cancels).buffer_unordered(AT_ONCE);
        while let Some(cancelled) = cancels.next().await {
            match cancelled {
                // A removed child needs no cancel.
                Ok(_) | Err(EngineError::NotFound | EngineError::Expired { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ids)
    }

    async fn page_of(
        &self,
        batch: &Operation,
        states: &[StateName],
        after: Option<OperationId>,
    ) -> Result<Vec<Operation>, ServiceError> {
        let query = ListQuery {
            scope: batch.submission.tenant.clone().into(),
            filter: Filter::children(batch.id(), states),
            order: ListOrder { by: OrderBy::CreateTime, descending: false },
            after: after.map(|id| ListPosition { end_time: Timestamp::MAX, id }),
            limit: PAGE,
        };
        Ok(self.engine.list(query).await?)
    }

    /// Submits a batch that retries the unsuccessful children of this one.
    pub(super) async fn retry_of_batch(
        &self,
        old: &Operation,
    ) -> Result<NewOperation, ServiceError> {
        let counts = self.engine.count_children(vec![place(old)]).await?;
        let counts = counts.first().copied().unwrap_or_default();
        let (name, live) = (old.id().name(), counts.live());
        if live > 0 {
            let message = match live {
                1 => format!("1 child of {name} is not done"),
                _ => format!("{live} children of {name} are not done"),
            };
            return Err(ServiceError { message, ..not_done(old.id()) });
        }
        let (unsuccessful, left) = (counts.unsuccessful(), counts.unsuccessful_stored());
        if unsuccessful == 0 || left < unsuccessful {
            let message = match unsuccessful {
                0 => format!("no child of {name} failed or was cancelled"),
                _ => format!(
                    "{} of the {unsuccessful} children of {name} that failed or were cancelled have been deleted, and \
                     cannot be retried: submit them again",
                    unsuccessful - left
                ),
            };
            return Err(ServiceError::new(Reason::NothingToRetry, message).with("operation", name));
        }
        let rule = self.rule_of(old).await?;
        let rule = BatchRule { expected_children: unsuccessful, ..rule };
        let submission = &old.submission;
        Ok(NewOperation {
            labels: submission.labels.clone(),
            settings: submission.settings.clone(),
            retry_of: Some(old.id()),
            callback: submission.callback.clone(),
            ..NewOperation::of_batch(submission.kind.clone(), rule)
        })
    }

    async fn rule_of(&self, batch: &Operation) -> Result<BatchRule, ServiceError> {
        let input = self.engine.payload(batch.id(), PayloadRole::Input).await?;
        let input = input.ok_or_else(|| named(EngineError::NotFound, batch.id()))?;
        BatchRule::read(&input).ok_or_else(|| {
            let message = format!("the rule of {} cannot be read", batch.id().name());
            ServiceError::new(Reason::Internal, message)
        })
    }

    /// For the worker of batches: retries some unsuccessful children of the batch that `batch` retries, as children of
    /// `batch`, after one of them; each once, however often this is called. Returns the last of them if there may be
    /// more.
    pub async fn retry_children(
        &self,
        batch: &Operation,
        after: Option<OperationId>,
    ) -> Result<Option<OperationId>, ServiceError> {
        let Some(old) = batch.submission.retry_of else { return Ok(None) };
        let caller = submitter(batch);
        let scope = batch.submission.tenant.clone().into();
        let old = match self.engine.get(&scope, old).await {
            Ok(old) => old,
            // The children to retry are then missing, and the batch reports that.
            Err(EngineError::NotFound | EngineError::Expired { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let page = self.page_of(&old, &[StateName::Failed, StateName::Cancelled], after).await?;
        for child in &page {
            let key = IdempotencyKey::parse(&batch::retry_key(batch.id(), child.id())).ok();
            let new = match self.again(child).await {
                Ok(new) => new,
                // It is missing then, and the batch reports that.
                Err(error) if error.reason == Reason::OperationNotFound => continue,
                Err(error) => return Err(error),
            };
            let new = NewOperation { idempotency_key: key, parent: Some(batch.id()), ..new };
            match self.submit(&caller, new).await {
                Ok(_) => {}
                // The child was submitted before, under other limits.
                Err(error) if error.reason == Reason::IdempotencyKeyReused => {}
                Err(error) => return Err(error),
            }
        }
        Ok(page.last().map(Operation::id).filter(|_| page.len() == PAGE))
    }

    /// For the worker of batches: cancels some children. Returns whether there may be more.
    pub async fn cancel_some_children(
        &self,
        batch: &Operation,
        reason: &str,
    ) -> Result<bool, ServiceError> {
        Ok(self.cancel_page(batch, None, reason).await?.len() == PAGE)
    }

    /// For the worker of batches: a page of batches that are done, those first that ended last, after one of them.
    pub async fn ended_batches(
        &self,
        after: Option<&Operation>,
    ) -> Result<Vec<Operation>, ServiceError> {
        let position = |batch: &Operation| ListPosition {
            end_time: batch.ended_at().unwrap_or(Timestamp::MAX),
            id: batch.id(),
        };
        let query = ListQuery {
            scope: Scope::All,
            filter: Filter::ended_batches(),
            order: ListOrder { by: OrderBy::EndTime, descending: true },
            after: after.map(position),
            limit: PAGE,
        };
        Ok(self.engine.list(query).await?)
    }

    /// For the worker of batches: the unsuccessful children that ended first, as many as a result lists.
    pub async fn some_unsuccessful(
        &self,
        batch: &Operation,
        most: usize,
    ) -> Result<Vec<Document>, ServiceError> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let states = [StateName::Failed, StateName::PartiallySucceeded, StateName::Cancelled];
        // The batch cancels the others after it was decided: those that decided it ended first.
        let by_end = ListQuery {
            scope: batch.submission.tenant.clone().into(),
            filter: Filter::children(batch.id(), &states),
            order: ListOrder { by: OrderBy::EndTime, descending: false },
            after: None,
            limit: most,
        };
        let found = match self.engine.list(by_end).await {
            Ok(found) => found,
            // There are too many to be sorted.
            Err(EngineError::TimedOut) => {
                let mut found = self.page_of(batch, &states[..2], None).await?;
                if found.len() < most {
                    found.extend(self.page_of(batch, &states[2..], None).await?);
                }
                found
            }
            Err(error) => return Err(error.into()),
        };
        let documents = found.into_iter().take(most).map(|it| Document::basic(Arc::new(it)));
        Ok(documents.collect())
    }
}

/// The key of a batch and its children.
pub(super) fn place(batch: &Operation) -> (TenantId, OperationId) {
    (batch.submission.tenant.clone(), batch.id())
}

/// The caller on whose behalf a batch submits.
fn submitter(batch: &Operation) -> Caller {
    let caller = Caller::of(batch.submission.tenant.clone(), [Role::Submit].into_iter().collect());
    match batch.submission.labels.get(mark::OWNER) {
        Some(owner) => caller.with_owner(Owner::stored(owner)),
        None => caller,
    }
}
