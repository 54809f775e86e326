//! Stores submissions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::batch_kind::is_made_as_a_batch;
use super::operations::{is_decided, unnamed};
use super::usage::stored_bytes;
use super::{Action, Caller, Document, MAX_BATCH, Reason, Service, ServiceError, audit};
use crate::engine::{EngineError, Submitted as Stored};
use crate::operation::{NewOperation, OperationId, mark};

/// How several submissions are stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Road {
    /// Each by itself.
    Each,
    /// Each by itself, to be watched.
    Watched,
    /// The first is a batch with the others as its children: all or none.
    Batch,
}

/// A stored submission.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The operation, in the basic view.
    pub document: Document,
    /// Whether it existed before, under the same idempotency key.
    pub existing: bool,
}

impl From<Stored> for Submitted {
    fn from(stored: Stored) -> Self {
        Self { document: Document::basic(stored.operation), existing: stored.existing }
    }
}

impl Service {
    /// Stores a submission durably.
    pub async fn submit(
        &self,
        caller: &Caller,
        new: NewOperation,
    ) -> Result<Submitted, ServiceError> {
        Ok(self.submit_one(caller, new, Road::Each).await?.into())
    }

    /// The road of single submissions.
    pub(super) async fn submit_one(
        &self,
        caller: &Caller,
        new: NewOperation,
        road: Road,
    ) -> Result<Stored, ServiceError> {
        caller.may(Action::Submit)?;
        self.takes_work()?;
        self.spend(caller, 1)?;
        self.check_parent(caller, &new).await?;
        let new = self.prepare(caller, new, "input").await?;
        let mut answers = self.store(vec![Ok(new)], road).await?;
        let stored = answers.pop().unwrap_or_else(|| Err(EngineError::NotFound.into()));
        let stored = stored.map_err(|error| unnamed(caller, error))?;
        audit::operation(caller.actor(), "submit", stored.operation.id());
        Ok(stored)
    }

    /// Refuses a submission for which there is no room, before its input is received, so that a client with a large
    /// input learns it at once. A submission that is admitted may still be refused.
    pub async fn admit(&self, caller: &Caller, new: &NewOperation) -> Result<(), ServiceError> {
        caller.may(Action::Submit)?;
        self.takes_work()?;
        self.has_storage(&caller.tenant, 0)?;
        let new = NewOperation { tenant: caller.tenant.clone(), ..new.clone() };
        Ok(self.engine.admit(&new).await?)
    }

    /// Stores submissions in one commit. A submission that could not be decoded has its error in its place.
    pub async fn submit_batch(
        &self,
        caller: &Caller,
        items: Vec<Result<NewOperation, ServiceError>>,
    ) -> Result<Vec<Result<Submitted, ServiceError>>, ServiceError> {
        caller.may(Action::Submit)?;
        if items.is_empty() || items.len() > MAX_BATCH {
            let rule = format!("must have from 1 to {MAX_BATCH} entries");
            return Err(ServiceError::invalid_field("requests", rule));
        }
        self.takes_work()?;
        self.spend(caller, items.len())?;
        let mut prepared = Vec::with_capacity(items.len());
        // Most submissions have the same parent.
        let mut parents: HashMap<(Option<OperationId>, bool), Result<(), ServiceError>> =
            HashMap::new();
        for (at, item) in items.into_iter().enumerate() {
            let checked = match &item {
                Ok(new) => match parents.entry((new.parent, new.idempotency_key.is_some())) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(first) => {
                        first.insert(self.check_parent(caller, new).await).clone()
                    }
                },
                Err(_) => Ok(()),
            };
            prepared.push(match checked.and(item) {
                Ok(new) => self.prepare(caller, new, &format!("requests[{at}].input")).await,
                Err(error) => Err(error),
            });
        }
        let answers = self.store(prepared, Road::Each).await?;
        for stored in answers.iter().flatten() {
            audit::operation(caller.actor(), "submit", stored.operation.id());
        }
        let answers = answers.into_iter().map(|answer| match answer {
            Ok(stored) => Ok(stored.into()),
            Err(error) => Err(unnamed(caller, error)),
        });
        Ok(answers.collect())
    }

    /// Refuses new work once the server has been asked to stop. The engine checks whether the store accepts it.
    pub(super) fn takes_work(&self) -> Result<(), ServiceError> {
        if self.is_stopping() { Err(ServiceError::stopping()) } else { Ok(()) }
    }

    /// Stores the valid submissions in one commit; the others keep their errors.
    pub(super) async fn store(
        &self,
        items: Vec<Result<NewOperation, ServiceError>>,
        road: Road,
    ) -> Result<Vec<Result<Stored, ServiceError>>, ServiceError> {
        let mut good = Vec::with_capacity(items.len());
        let mut bad: Vec<Option<ServiceError>> = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Ok(new) => {
                    good.push(new);
                    bad.push(None);
                }
                Err(error) => bad.push(Some(error)),
            }
        }
        let inputs = good.iter().map(|new| new.input.as_ref().map(|input| input.info.clone()));
        let inputs: Vec<_> = inputs.collect();
        let count = good.len();
        let stored = match (count, road) {
            (0, _) => Ok(Vec::new()),
            (_, Road::Each) => self.engine.submit(good).await,
            (_, Road::Watched) => self.engine.submit_watched(good).await,
            (_, Road::Batch) => self.engine.submit_batch(good).await,
        };
        let stored = stored.unwrap_or_else(|error| {
            std::iter::repeat_with(|| Err(error.clone())).take(count).collect()
        });
        for (input, stored) in inputs.iter().zip(&stored) {
            let is_new = matches!(stored, Ok(stored) if !stored.existing);
            if let Some(input) = input.as_ref().filter(|_| !is_new && is_decided(stored)) {
                self.discard(input).await;
            }
            if let (Ok(stored), true) = (stored, is_new) {
                let operation = &stored.operation;
                self.usage.add(&operation.submission.tenant, stored_bytes(operation));
            }
        }
        let mut stored = stored.into_iter();
        let answers = bad.into_iter().map(|error| match error {
            Some(error) => Err(error),
            None => match stored.next() {
                Some(stored) => stored.map_err(ServiceError::from),
                None => Err(ServiceError::new(Reason::Internal, "an answer is missing")),
            },
        });
        Ok(answers.collect())
    }

    /// The submission as the caller's own, with its input stored. `field` is the input's path in the request.
    pub(super) async fn prepare(
        &self,
        caller: &Caller,
        new: NewOperation,
        field: &str,
    ) -> Result<NewOperation, ServiceError> {
        is_made_as_a_batch(&new, field)?;
        let new = self.within_limits(caller, new, field)?;
        self.prepare_callback(&new, &field.replace("input", "callback_url")).await?;
        let input = match new.input {
            Some(input) => Some(self.put_away(input).await?),
            None => None,
        };
        let mut labels = new.labels;
        if let Some(owner) = &caller.owner {
            labels.insert(mark::OWNER.to_owned(), owner.as_str().to_owned());
        }
        let trace = caller.actor().origin.trace.clone();
        Ok(NewOperation { tenant: caller.tenant.clone(), labels, input, trace, ..new })
    }
}
