//! The caller of a request, before the request is understood.

use std::sync::Arc;

use super::access::Action;
use super::audit::{self, Origin, RefusedByLimit};
use super::caller::Caller;
use super::{Reason, ServiceError, echo};
use crate::operation::{Role, TenantId};

/// Marks requests from within this process; the server's listener sets it.
#[derive(Clone, Copy, Debug)]
pub struct InProcess;

/// The caller of a request, or why it is unknown: an extension of every request.
#[derive(Clone, Debug)]
pub struct Identity {
    caller: Result<Caller, ServiceError>,
    origin: Arc<Origin>,
    /// Whether the request carries credentials for this server, valid or not.
    has_credentials: bool,
}

impl Identity {
    /// The identity of a request with credentials, or of one that needs none.
    pub fn of(caller: Result<Caller, ServiceError>, origin: Origin, has_credentials: bool) -> Self {
        let origin = Arc::new(origin);
        let caller = caller.map(|caller| caller.with_origin(Arc::clone(&origin)));
        Self { caller, origin, has_credentials }
    }

    /// The caller, whatever it may do; or why it is unknown.
    pub fn who(&self) -> Result<&Caller, &ServiceError> {
        self.caller.as_ref()
    }

    /// The tenant of the caller, if it is known.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.caller.as_ref().ok().map(|caller| &caller.tenant)
    }

    /// The same request, refused for a reason other than its credentials.
    #[must_use]
    pub fn refused(self, error: ServiceError) -> Self {
        Self { caller: Err(error), ..self }
    }

    /// Records that a limit refused the call `what` of this request.
    pub fn limited(&self, what: &str, refused: &RefusedByLimit) {
        let actor = self.caller.as_ref().ok().map(Caller::actor);
        audit::limited(actor, &self.origin, what, &refused.0);
    }

    /// The caller, if it may take the action; without an action the route or rpc does not exist. `what` names the call
    /// in the record of a refusal.
    pub fn caller(&self, action: Option<Action>, what: &str) -> Result<Caller, ServiceError> {
        let found = match (&self.caller, action) {
            (_, None) => {
                let message = format!("there is nothing at {}", echo(what));
                Err(ServiceError::new(Reason::RouteNotFound, message))
            }
            (Ok(caller), Some(action)) => caller.may(action).map(|()| caller.clone()),
            (Err(_), Some(Action::Look)) => {
                Ok(Caller::nobody().with_origin(Arc::clone(&self.origin)))
            }
            (Err(error), Some(_)) => Err(error.clone()),
        };
        found.inspect_err(|error| {
            audit::refused(self.caller.as_ref().ok().map(Caller::actor), &self.origin, what, error)
        })
    }

    /// The caller of a request under a mount, if it may take the action. Without credentials for this server it acts
    /// for the mount's tenant, if there is one, because the API behind the mount checks its own credentials.
    pub fn caller_by_mount(
        &self,
        tenant: Option<&TenantId>,
        action: Action,
        what: &str,
    ) -> Result<Caller, ServiceError> {
        match (&self.caller, tenant) {
            (Err(_), Some(tenant)) if !self.has_credentials => {
                let roles = [Role::Submit, Role::Read].into_iter().collect();
                let caller =
                    Caller::of(tenant.clone(), roles).with_origin(Arc::clone(&self.origin));
                caller.may(action).map(|()| caller)
            }
            (Err(error), _) => {
                audit::refused(None, &self.origin, what, error);
                Err(error.clone())
            }
            (Ok(_), _) => self.caller(Some(action), what),
        }
    }
}

impl Default for Identity {
    /// A request that has not been checked yet.
    fn default() -> Self {
        let none = ServiceError::new(Reason::Unauthenticated, "there are no credentials");
        Self::of(Err(none), Origin::default(), false)
    }
}
