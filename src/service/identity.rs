//! The caller of a request, before it is known what the request does.

use std::sync::Arc;

use super::access::Action;
use super::audit::{self, Origin};
use super::caller::Caller;
use super::{Reason, ServiceError, echo};
use crate::operation::{Role, TenantId};

/// A mark on requests that come from within this process; the server's listener sets it.
#[derive(Clone, Copy, Debug)]
pub struct InProcess;

/// The caller of a request, or why it is unknown: an extension of every request.
#[derive(Clone, Debug)]
pub struct Identity {
    caller: Result<Caller, ServiceError>,
    origin: Arc<Origin>,
    /// Whether the request carries credentials for this server, good ones or not.
    has_credentials: bool,
}

impl Identity {
    /// The identity of a request with credentials, or of one that needs none.
    pub fn of(caller: Result<Caller, ServiceError>, origin: Origin, has_credentials: bool) -> Self {
        let origin = Arc::new(origin);
        let caller = caller.map(|caller| caller.with_origin(Arc::clone(&origin)));
        Self { caller, origin, has_credentials }
    }

    /// Who it is, whatever it may do; or why that is not known.
    pub fn who(&self) -> Result<&Caller, &ServiceError> {
        self.caller.as_ref()
    }

    /// The tenant of the caller, if it is known.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.caller.as_ref().ok().map(|caller| &caller.tenant)
    }

    /// The same request, refused for a reason that is not its credentials'.
    #[must_use]
    pub fn refused(self, error: ServiceError) -> Self {
        Self { caller: Err(error), ..self }
    }

    /// The caller, who may do that; what has no action in the tables is not there. `what` is the call, for the record
    /// of a refusal.
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

    /// The caller of a request under a mount, who may do that. Without credentials for this server it acts for the mount's
    /// tenant, if the mount has one: then the API behind it asks for its own.
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
    /// A request that was not checked yet.
    fn default() -> Self {
        let none = ServiceError::new(Reason::Unauthenticated, "there are no credentials");
        Self::of(Err(none), Origin::default(), false)
    }
}
