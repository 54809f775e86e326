//! Permissions: the one table of roles and actions, and the caller whose permissions are checked.
//!
//! Every use case calls [`Caller::may`] first, whichever interface it is called by. gRPC and HTTP check earlier, as
//! soon as they know the method, so that a caller without the role learns nothing from errors about its request.

use std::sync::Arc;

use super::audit::{self, Actor, Origin};
use super::{Reason, ServiceError, View, echo};
use crate::operation::{Kind, OperationId, Owner, Role, Roles, Scope, TenantId};

/// What use cases do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads what belongs to no tenant: health, and the description of the API. Needs no credentials.
    Look,
    /// Stores an operation.
    Submit,
    /// Cancels an operation, deletes it, or starts one that is put off.
    Change,
    /// Reads one operation without its contents: its state, its history.
    Inspect,
    /// Reads many operations, except their contents: lists, feeds, counts.
    List,
    /// Reads a result.
    Read,
    /// Reads an input.
    ReadInput,
    /// Shares an operation with whoever has a URL.
    Share,
    /// Executes operations.
    Work,
    /// Makes, lists and revokes what a tenant has for itself.
    Administer,
    /// Changes what holds for a whole tenant from outside it.
    Operate,
}

impl Action {
    /// The roles that may do it; no other may.
    const fn roles(self) -> &'static [Role] {
        match self {
            Self::Look => &Role::ALL,
            Self::Submit | Self::Change => &[Role::Submit, Role::Admin],
            Self::Inspect | Self::List => &[Role::Read, Role::Admin, Role::Operator],
            Self::Read | Self::ReadInput | Self::Share => &[Role::Read, Role::Admin],
            Self::Work => &[Role::Work],
            Self::Administer => &[Role::Admin, Role::Operator],
            Self::Operate => &[Role::Operator],
        }
    }
}

/// The action of each rpc. An rpc that is not listed here is not served.
const RPCS: &[(&str, Action)] = &[
    ("/longrun.v1.Operations/Submit", Action::Submit),
    ("/longrun.v1.Operations/SubmitAndWatch", Action::Submit),
    ("/longrun.v1.Operations/SubmitBatch", Action::Submit),
    ("/longrun.v1.Operations/RetryOperation", Action::Submit),
    ("/longrun.v1.Operations/GetOperation", Action::Inspect),
    ("/longrun.v1.Operations/WaitOperation", Action::Inspect),
    ("/longrun.v1.Operations/WatchOperation", Action::Inspect),
    ("/longrun.v1.Operations/WatchOperations", Action::List),
    ("/longrun.v1.Operations/ListOperations", Action::List),
    ("/longrun.v1.Operations/ListEvents", Action::Inspect),
    ("/longrun.v1.Operations/ListWorkers", Action::List),
    ("/longrun.v1.Operations/ListKinds", Action::List),
    ("/longrun.v1.Operations/CancelOperation", Action::Change),
    ("/longrun.v1.Operations/RunOperation", Action::Change),
    ("/longrun.v1.Operations/DeleteOperation", Action::Change),
    ("/longrun.v1.Operations/ReadResult", Action::Read),
    // By an attempt's token, which is enough by itself; else the use case asks for the role.
    ("/longrun.v1.Operations/ReadInput", Action::Look),
    ("/longrun.v1.Workers/Work", Action::Work),
    ("/longrun.v1.Workers/Acquire", Action::Work),
    ("/longrun.v1.Workers/Renew", Action::Look),
    ("/longrun.v1.Workers/Complete", Action::Look),
    ("/longrun.v1.Workers/Fail", Action::Look),
    ("/longrun.v1.Workers/Release", Action::Look),
    ("/longrun.v1.Workers/AddLog", Action::Look),
    ("/longrun.v1.Admin/CreateKey", Action::Administer),
    ("/longrun.v1.Admin/ListKeys", Action::Administer),
    ("/longrun.v1.Admin/RevokeKey", Action::Administer),
    ("/longrun.v1.Admin/ListLimits", Action::Operate),
    ("/longrun.v1.Admin/SetLimit", Action::Operate),
    ("/longrun.v1.Admin/DeleteLimit", Action::Operate),
    ("/longrun.v1.Admin/PauseKind", Action::Administer),
    ("/longrun.v1.Admin/ResumeKind", Action::Administer),
    ("/longrun.v1.Admin/CreateShare", Action::Share),
    ("/longrun.v1.Admin/ListShares", Action::Share),
    ("/longrun.v1.Admin/RevokeShare", Action::Share),
    ("/longrun.v1.Admin/CreateWebhook", Action::Administer),
    ("/longrun.v1.Admin/ListWebhooks", Action::Administer),
    ("/longrun.v1.Admin/DeleteWebhook", Action::Administer),
    ("/longrun.v1.Admin/GetWebhookSecret", Action::Administer),
    ("/longrun.v1.Admin/RotateWebhookSecret", Action::Administer),
    ("/longrun.v1.Admin/ListDeliveries", Action::Administer),
    ("/longrun.v1.Admin/Redeliver", Action::Administer),
    // Answers of these carry results.
    ("/google.longrunning.Operations/ListOperations", Action::Read),
    ("/google.longrunning.Operations/GetOperation", Action::Read),
    ("/google.longrunning.Operations/WaitOperation", Action::Read),
    ("/google.longrunning.Operations/CancelOperation", Action::Change),
    ("/google.longrunning.Operations/DeleteOperation", Action::Change),
];

/// What each route does, by its name in the OpenAPI document; under a tenant it is the same.
const ROUTES: &[(&str, Action)] = &[
    ("getLiveness", Action::Look),
    ("getReadiness", Action::Look),
    ("getDescription", Action::Look),
    ("getMetrics", Action::Operate),
    ("submit", Action::Submit),
    ("submitOfKind", Action::Submit),
    ("retryOperation", Action::Submit),
    ("listOperations", Action::List),
    ("watchOperations", Action::List),
    ("getOperation", Action::Inspect),
    ("getStatus", Action::Inspect),
    ("listEvents", Action::Inspect),
    ("listWorkers", Action::List),
    ("listKinds", Action::List),
    ("cancelOperation", Action::Change),
    ("runOperation", Action::Change),
    ("deleteOperation", Action::Change),
    ("getResult", Action::Read),
    ("getInput", Action::ReadInput),
    ("acquireAttempt", Action::Work),
    ("getAttempt", Action::Look),
    ("getInputOfAttempt", Action::Look),
    ("renewAttempt", Action::Look),
    ("completeAttempt", Action::Look),
    ("failAttempt", Action::Look),
    ("releaseAttempt", Action::Look),
    ("addLogOfAttempt", Action::Look),
    ("createKey", Action::Administer),
    ("listKeys", Action::Administer),
    ("revokeKey", Action::Administer),
    ("listLimits", Action::Operate),
    ("setLimit", Action::Operate),
    ("deleteLimit", Action::Operate),
    ("pauseKind", Action::Administer),
    ("resumeKind", Action::Administer),
    ("createShare", Action::Share),
    ("listShares", Action::Share),
    ("revokeShare", Action::Share),
    ("createWebhook", Action::Administer),
    ("listWebhooks", Action::Administer),
    ("deleteWebhook", Action::Administer),
    ("getWebhookSecret", Action::Administer),
    ("rotateWebhookSecret", Action::Administer),
    ("listDeliveries", Action::Administer),
    ("redeliver", Action::Administer),
    // By a share's token, which is enough by itself and makes a caller of one operation.
    ("getShared", Action::Look),
    ("getSharedStatus", Action::Look),
    ("getSharedResult", Action::Look),
    ("watchShared", Action::Look),
    ("listGoogleOperations", Action::Read),
    ("getGoogleOperation", Action::Read),
    ("deleteGoogleOperation", Action::Change),
    ("cancelGoogleOperation", Action::Change),
];

/// The paths of all rpcs of the table.
pub fn rpcs() -> impl Iterator<Item = &'static str> {
    RPCS.iter().map(|(path, _)| *path)
}

/// The names of all routes.
pub fn routes() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().map(|(name, _)| *name)
}

/// The name of a route as the table has it.
pub fn name_of_route(name: &str) -> Option<&'static str> {
    routes().find(|route| *route == name)
}

/// What a route does, by its name.
pub fn action_of_route(name: &str) -> Option<Action> {
    ROUTES.iter().find(|(route, _)| *route == name).map(|(_, action)| *action)
}

/// What an rpc does, by its path.
pub fn action_of_rpc(path: &str) -> Option<Action> {
    RPCS.iter().find(|(rpc, _)| *rpc == path).map(|(_, action)| *action)
}

/// The caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant that the caller belongs to.
    pub tenant: TenantId,
    /// Whose operations it may reach.
    scope: Scope,
    /// Who the caller is within the tenant, where that is known: whose operations it sees beside nobody's.
    pub owner: Option<Owner>,
    /// The one operation that it may read, and nothing else, if it is known by a share.
    shared: Option<OperationId>,
    /// What it may do.
    roles: Roles,
    /// The kinds that it may execute; all where none are named.
    kinds: Option<Arc<[Kind]>>,
    /// The subject, for audit records: a key's name, a token's or a certificate's subject.
    subject: Option<Arc<str>>,
    /// What names its credential, and no other of its tenant: a worker's session belongs to it. `None` without one.
    credential: Option<Arc<str>>,
    /// Where the request comes from.
    origin: Arc<Origin>,
    /// Whether it has shown credentials, where some are asked for.
    is_known: bool,
}

impl Caller {
    /// A caller of a server without credentials: may do everything in the default tenant.
    pub fn anonymous() -> Self {
        Self::of(TenantId::default_tenant(), Roles::all())
    }

    /// A caller within this process: executes every tenant's operations, and belongs to the default tenant otherwise.
    pub fn in_process() -> Self {
        Self { scope: Scope::All, ..Self::anonymous() }
    }

    /// Somebody without credentials where they are asked for. Has no role, and so may do only what needs none; what is
    /// done with an attempt's token needs no tenant either.
    pub fn nobody() -> Self {
        let nobody = Self::of(TenantId::default_tenant(), Roles::default());
        Self { is_known: false, scope: Scope::All, ..nobody }
    }

    /// A caller of a tenant with these roles.
    pub fn of(tenant: TenantId, roles: Roles) -> Self {
        let scope = Scope::from(tenant.clone());
        let (kinds, subject, credential, origin) = (None, None, None, Arc::default());
        let (owner, shared) = (None, None);
        let is_known = true;
        Self { tenant, scope, owner, shared, roles, kinds, subject, credential, origin, is_known }
    }

    /// A caller who has a share of a tenant's operation: reads that, whoever owns it, and does nothing else.
    pub(super) fn of_share(tenant: TenantId, operation: OperationId, share_id: &str) -> Self {
        let caller = Self::of(tenant, [Role::Read].into_iter().collect());
        let subject = format!("share:{share_id}");
        Self { shared: Some(operation), ..caller.with_subject(subject) }
    }

    /// The same, with a subject within the tenant.
    #[must_use]
    pub fn with_owner(self, owner: Owner) -> Self {
        Self { owner: Some(owner), ..self }
    }

    /// The same, for these kinds only.
    #[must_use]
    pub fn with_kinds(self, kinds: impl Into<Arc<[Kind]>>) -> Self {
        Self { kinds: Some(kinds.into()), ..self }
    }

    /// The same, by name.
    #[must_use]
    pub fn with_subject(self, subject: impl Into<Arc<str>>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// The same, known by this credential.
    #[must_use]
    pub fn with_credential(self, credential: impl Into<Arc<str>>) -> Self {
        Self { credential: Some(credential.into()), ..self }
    }

    /// The same, from there.
    #[must_use]
    pub fn with_origin(self, origin: Arc<Origin>) -> Self {
        Self { origin, ..self }
    }

    /// Whose operations it may reach.
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What names its credential, if it has one.
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// Where its request comes from.
    pub fn origin(&self) -> Arc<Origin> {
        Arc::clone(&self.origin)
    }

    /// The subject, for audit records.
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor { tenant: &self.tenant, subject: self.subject(), origin: &self.origin }
    }

    /// The kinds that it may execute; all if `None`.
    pub fn kinds(&self) -> Option<&[Kind]> {
        self.kinds.as_deref()
    }

    /// What it may do.
    pub const fn roles(&self) -> Roles {
        self.roles
    }

    /// The subject.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The one operation that it may read, if it is known by a share.
    pub(super) const fn shared(&self) -> Option<OperationId> {
        self.shared
    }

    /// Whether it may do that.
    pub fn can(&self, action: Action) -> bool {
        if self.shared.is_some() && !matches!(action, Action::Inspect | Action::Read) {
            return false;
        }
        action == Action::Look || action.roles().iter().any(|role| self.roles.has(*role))
    }

    /// Refuses what it may not do.
    pub fn may(&self, action: Action) -> Result<(), ServiceError> {
        if self.can(action) {
            return Ok(());
        }
        if !self.is_known {
            return Err(ServiceError::new(Reason::Unauthenticated, "there are no credentials"));
        }
        let needed: Vec<&str> = action.roles().iter().map(|role| role.as_str()).collect();
        let message = format!("these credentials lack the role {}", needed.join(" or "));
        Err(ServiceError::new(Reason::PermissionDenied, message).with("roles", needed.join(",")))
    }

    /// The view that it gets where it asks for `view`: without contents that it may not read.
    pub fn sees(&self, view: View) -> View {
        match view {
            View::Full if self.can(Action::ReadInput) => View::Full,
            View::Full | View::Result if self.can(Action::Read) => View::Result,
            _ => View::Basic,
        }
    }

    /// Refuses kinds that it may not execute.
    pub fn may_execute(&self, kinds: &[Kind]) -> Result<(), ServiceError> {
        self.may(Action::Work)?;
        let Some(own) = &self.kinds else { return Ok(()) };
        match kinds.iter().find(|kind| !own.contains(kind)) {
            None => Ok(()),
            Some(kind) => {
                let message =
                    format!("these credentials may not execute operations of kind {kind}");
                Err(ServiceError::new(Reason::PermissionDenied, message)
                    .with("kind", kind.as_str()))
            }
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_needed_and_enough() {
        let of = |roles: &[Role]| {
            Caller::of(TenantId::default_tenant(), roles.iter().copied().collect())
        };
        use Action::{
            Administer, Change, Inspect, List, Look, Operate, Read, ReadInput, Share, Submit, Work,
        };
        let id = OperationId::from_bytes([1; 16]);
        let shared = Caller::of_share(TenantId::default_tenant(), id, "x");
        for action in
            [Look, Submit, Change, Inspect, List, Read, ReadInput, Share, Work, Administer, Operate]
        {
            assert_eq!(shared.can(action), matches!(action, Inspect | Read), "{action:?}");
            assert_eq!(Caller::nobody().can(action), action == Look, "{action:?}");
            assert!(Caller::anonymous().can(action), "{action:?}");
            for role in Role::ALL {
                let is_for = action.roles().contains(&role);
                assert_eq!(of(&[role]).can(action), is_for, "{role} {action:?}");
            }
        }
        let kind = |name: &str| Kind::parse(name).expect("a kind");
        let worker = of(&[Role::Work]).with_kinds([kind("a")]);
        assert!(worker.may_execute(&[kind("a")]).is_ok());
        let refused = worker.may_execute(&[kind("a"), kind("b")]).expect_err("not its kind");
        assert_eq!(refused.reason, Reason::PermissionDenied);
        assert!(of(&[Role::Submit]).may_execute(&[kind("a")]).is_err());
    }
}
