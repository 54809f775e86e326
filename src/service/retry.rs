//! Retries: done operations whose input is submitted again.

use std::sync::Arc;

use super::operations::{named, not_done, visible};
use super::{Action, Caller, Document, OperationName, Service, ServiceError, Submitted, audit};
use crate::engine::EngineError;
use crate::operation::{IdempotencyKey, NewOperation, Operation};
use crate::store::PayloadRole;

impl Service {
    /// Submits a done operation's input again; refused if `capacity` operations of its kind are not done.
    pub async fn retry(
        &self,
        caller: &Caller,
        name: &OperationName,
        idempotency_key: Option<IdempotencyKey>,
        capacity: Option<u64>,
    ) -> Result<Submitted, ServiceError> {
        caller.may(Action::Submit)?;
        if let Some(key) = &idempotency_key
            && let Some(known) = self.known_retry(caller, name, key).await?
        {
            return Ok(known);
        }
        let old = self.find_for(caller, name, None).await?;
        let is_own = old.submission.tenant == caller.tenant;
        if !is_own || !old.is_changeable_by(caller.owner.as_ref()) {
            return Err(named(EngineError::NotFound, old.id()));
        }
        if !old.is_done() {
            return Err(not_done(old.id()));
        }
        if old.is_batch() {
            let new = self.retry_of_batch(&old).await?;
            return self.submit(caller, NewOperation { idempotency_key, ..new }).await;
        }
        let new = self.again(&old).await?;
        self.submit(caller, NewOperation { idempotency_key, capacity, ..new }).await
    }

    /// The retry of an operation that was submitted under that key before. The operation may have been deleted since.
    async fn known_retry(
        &self,
        caller: &Caller,
        name: &OperationName,
        key: &IdempotencyKey,
    ) -> Result<Option<Submitted>, ServiceError> {
        let (scope, old) = visible(caller, name)?;
        if !scope.contains(&caller.tenant) {
            return Ok(None);
        }
        let known = self.engine.get_by_key(&caller.tenant, key).await?.filter(|known| {
            known.submission.retry_of == Some(old) && known.is_changeable_by(caller.owner.as_ref())
        });
        let Some(known) = known else { return Ok(None) };
        audit::operation(caller.actor(), "submit", known.id());
        Ok(Some(Submitted { document: Document::basic(Arc::new(known)), existing: true }))
    }

    /// The submission that retries an operation. An error if the operation has been deleted meanwhile.
    pub(super) async fn again(&self, old: &Operation) -> Result<NewOperation, ServiceError> {
        let submission = &old.submission;
        let input = match &submission.input {
            Some(info) => Some(self.copy(old.id(), PayloadRole::Input, info).await?),
            None => None,
        };
        Ok(NewOperation {
            labels: submission.labels.clone(),
            settings: submission.settings.clone(),
            retry_of: Some(old.id()),
            input,
            callback: submission.callback.clone(),
            ..NewOperation::of(submission.kind.clone())
        })
    }
}
