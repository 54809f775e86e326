//! Submits, gets, cancels and deletes operations.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::batch_kind::is_made_as_a_batch;
use super::usage::stored_bytes;
use super::{
    Action, Caller, Document, MAX_BATCH, OperationName, Reason, Service, ServiceError, View, audit,
};
use crate::engine::{Apply, EngineError, Submitted as Stored};
use crate::operation::{
    Command, NewOperation, Operation, OperationId, PayloadInfo, Scope, SessionId, TenantId, mark,
};
use crate::store::PayloadRole;

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

    /// The operation's present state.
    pub async fn get(
        &self,
        caller: &Caller,
        name: &OperationName,
        view: View,
    ) -> Result<Document, ServiceError> {
        let operation = self.find(caller, name).await?;
        let waiting = match view {
            View::Full if operation.is_queued() => {
                self.engine.waiting(&operation, &self.engine.other_workers().await)
            }
            _ => None,
        };
        let document = self.document(Arc::new(operation), caller.sees(view)).await?;
        let children = match document.children {
            None => self.children_of(&document.operation).await?,
            known => known,
        };
        Ok(Document { waiting, children, ..document })
    }

    /// Looks up an operation, with the check of its owner. All use cases use this.
    pub(super) async fn find(
        &self,
        caller: &Caller,
        name: &OperationName,
    ) -> Result<Operation, ServiceError> {
        caller.may(Action::Inspect)?;
        self.find_for(caller, name, None).await
    }

    /// Looks up an operation for a worker, whose session may see what it works on, whatever its owner.
    pub(super) async fn find_for(
        &self,
        caller: &Caller,
        name: &OperationName,
        session: Option<SessionId>,
    ) -> Result<Operation, ServiceError> {
        let (scope, id) = visible(caller, name)?;
        let found = self.engine.get(&scope, id).await.map_err(|error| named(error, id))?;
        if !is_held(&found, session) {
            readable(caller, &found)?;
        }
        Ok(found)
    }

    /// Cancels an operation.
    pub async fn cancel(
        &self,
        caller: &Caller,
        name: &OperationName,
        reason: String,
    ) -> Result<Document, ServiceError> {
        let operation = self.apply(caller, name, Command::Cancel { reason }).await?;
        if operation.is_batch() {
            let record = |id| audit::operation(caller.actor(), "cancel", id);
            let children = Some(self.cancel_children(&operation, record).await?);
            return Ok(Document { children, ..Document::basic(operation) });
        }
        Ok(Document::basic(operation))
    }

    /// Starts a deferred operation as soon as a worker and a place are free.
    pub async fn run_now(
        &self,
        caller: &Caller,
        name: &OperationName,
    ) -> Result<Document, ServiceError> {
        let operation = self.apply(caller, name, Command::RunNow).await?;
        Ok(Document::basic(operation))
    }

    /// Deletes a done operation.
    pub async fn delete(&self, caller: &Caller, name: &OperationName) -> Result<(), ServiceError> {
        self.apply(caller, name, Command::Delete).await.map(drop)
    }

    async fn apply(
        &self,
        caller: &Caller,
        name: &OperationName,
        command: Command,
    ) -> Result<Arc<Operation>, ServiceError> {
        caller.may(Action::Change)?;
        let found = self.find_for(caller, name, None).await?;
        let (scope, id) = (found.submission.tenant.clone().into(), found.id());
        // The owner never changes, so the check cannot become outdated.
        if !found.is_changeable_by(caller.owner.as_ref()) {
            return Err(named(EngineError::NotFound, id));
        }
        let action = match command {
            Command::Delete => "delete",
            Command::RunNow => "run-now",
            _ => "cancel",
        };
        let work = Apply { scope, id, command, result: None, lines: Vec::new() };
        let applied = self.engine.apply(work).await.map_err(|error| named(error, id))?;
        audit::operation(caller.actor(), action, id);
        Ok(applied.operation)
    }

    /// The operation with the contents of `view`.
    pub(super) async fn document(
        &self,
        operation: Arc<Operation>,
        view: View,
    ) -> Result<Document, ServiceError> {
        let limit = self.limits.inline_payload_bytes as u64;
        let wanted = |info: Option<&PayloadInfo>| {
            info.is_some_and(|info| info.size_bytes <= limit && info.object.is_none())
        };
        let id = operation.id();
        let input = if view == View::Full && wanted(operation.submission.input.as_ref()) {
            self.engine.payload(id, PayloadRole::Input).await?
        } else {
            None
        };
        let result = if view != View::Basic && wanted(operation.result()) {
            self.engine.payload(id, PayloadRole::Result).await?
        } else {
            None
        };
        let children = match view {
            View::Basic => None,
            View::Result | View::Full => self.children_of(&operation).await?,
        };
        Ok(Document { operation, input, result, children, waiting: None })
    }
}

impl Document {
    /// The operation without contents.
    pub fn basic(operation: Arc<Operation>) -> Self {
        Self { operation, input: None, result: None, children: None, waiting: None }
    }
}

/// Whether it is certain that nothing was written except what the answer says.
pub(super) fn is_decided<T>(answer: &Result<T, EngineError>) -> bool {
    !matches!(answer, Err(EngineError::Unavailable(_) | EngineError::Internal(_)))
}

/// The scope in which to look for the operation, and its id. A name with a tenant that the caller cannot reach is not
/// found.
pub(super) fn visible(
    caller: &Caller,
    name: &OperationName,
) -> Result<(Scope, OperationId), ServiceError> {
    let scope = caller.scope();
    if caller.shared().is_some_and(|shared| shared != name.id) {
        return Err(named(EngineError::NotFound, name.id));
    }
    match name.tenant.clone() {
        Some(tenant) if scope.contains(&tenant) => Ok((tenant.into(), name.id)),
        Some(_) => Err(named(EngineError::NotFound, name.id)),
        None => Ok((scope.clone(), name.id)),
    }
}

/// A list must be of the caller's own tenant, whether the request names it or not.
pub fn own_tenant(caller: &Caller, named: Option<&TenantId>) -> Result<(), ServiceError> {
    match named {
        Some(tenant) if *tenant != caller.tenant => {
            let message = format!("this caller has no operations in tenants/{tenant}");
            Err(ServiceError::new(Reason::OperationNotFound, message))
        }
        _ => Ok(()),
    }
}

/// Refuses an operation of another owner within the tenant as not found, unless the caller may read it.
pub(super) fn readable(caller: &Caller, operation: &Operation) -> Result<(), ServiceError> {
    let is_shared = caller.shared() == Some(operation.id());
    if is_shared || operation.is_readable_by(caller.owner.as_ref()) {
        Ok(())
    } else {
        Err(named(EngineError::NotFound, operation.id()))
    }
}

/// Whether this session works on the operation.
pub(super) fn is_held(operation: &Operation, session: Option<SessionId>) -> bool {
    let lease = operation.life.state.lease().map(|lease| lease.session);
    session.is_some() && lease == session
}

/// Hides the operation in the refusal of an idempotency key, because the caller may not be its owner.
pub(super) fn unnamed(caller: &Caller, error: ServiceError) -> ServiceError {
    match error.reason {
        Reason::IdempotencyKeyReused if caller.owner.is_some() => {
            ServiceError::new(error.reason, "the idempotency key was used for another submission")
        }
        _ => error,
    }
}

/// The error with the operation's name.
pub(super) fn named(error: EngineError, id: OperationId) -> ServiceError {
    let name = id.name();
    let text = match &error {
        EngineError::NotFound => Some(format!("there is no operation {name}")),
        EngineError::Expired { .. } => {
            Some(format!("{name} was deleted when its retention was over"))
        }
        EngineError::Rejected(rejection) => Some(format!("{name}: {rejection}")),
        _ => None,
    };
    let mut error = ServiceError::from(error);
    if let Some(text) = text {
        error.message = text;
        error = error.with("operation", name);
    }
    error
}

pub(super) fn not_done(id: OperationId) -> ServiceError {
    let name = id.name();
    ServiceError::new(Reason::OperationNotDone, format!("{name} is not done"))
        .with("operation", name)
}
