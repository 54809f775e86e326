//! Gets, cancels and deletes operations.

use std::sync::Arc;

use super::{
    Action, Caller, CoursePoint, Document, OperationName, Reason, Service, ServiceError, View,
    audit,
};
use crate::engine::{Apply, EngineError};
use crate::operation::{Command, Operation, OperationId, PayloadInfo, Scope, SessionId, TenantId};
use crate::store::PayloadRole;

impl Service {
    /// How far an operation that the caller has read had come at which time, oldest first, as this server saw it.
    pub fn course(&self, of: &Document) -> Vec<CoursePoint> {
        self.engine.course(of.operation.id())
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
