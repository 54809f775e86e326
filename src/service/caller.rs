//! The caller of a use case, and its permissions.
//!
//! Every use case calls [`Caller::may`] first, whichever interface it is called by. gRPC and HTTP check earlier, as
//! soon as they know the method, so that a caller without the role learns nothing from errors about its request.

use std::sync::Arc;

use super::access::Action;
use super::audit::{Actor, Origin};
use super::{Reason, ServiceError, View};
use crate::operation::{Kind, OperationId, Owner, Role, Roles, Scope, TenantId};

/// The caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The tenant that the caller belongs to.
    pub tenant: TenantId,
    /// The tenants whose operations the caller may reach.
    scope: Scope,
    /// The owner within the tenant, if known: the caller sees this owner's operations and those without one.
    pub owner: Option<Owner>,
    /// The one operation that the caller may read, if a share identifies it. It may do nothing else.
    shared: Option<OperationId>,
    /// The caller's roles.
    roles: Roles,
    /// The kinds that the caller may execute; `None`: all.
    kinds: Option<Arc<[Kind]>>,
    /// The subject, for audit records: a key's name, a token's or a certificate's subject.
    subject: Option<Arc<str>>,
    /// The id of the credential, unique within the tenant: a worker's session belongs to it. `None` without one.
    credential: Option<Arc<str>>,
    /// The origin of the request.
    origin: Arc<Origin>,
    /// Whether the caller has shown credentials, if they are required.
    is_known: bool,
    /// Whether operations belong to subjects and the credentials name none: the caller may not submit, because every
    /// caller of the tenant sees an operation without an owner.
    lacks_subject: bool,
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

    /// A caller without credentials where credentials are required. It has no role, and may only take actions that need
    /// none; actions with an attempt's token need no tenant either.
    pub fn nobody() -> Self {
        let nobody = Self::of(TenantId::default_tenant(), Roles::default());
        Self { is_known: false, scope: Scope::All, ..nobody }
    }

    /// A caller of a tenant, with these roles.
    pub fn of(tenant: TenantId, roles: Roles) -> Self {
        let scope = Scope::from(tenant.clone());
        let (kinds, subject, credential, origin) = (None, None, None, Arc::default());
        let (owner, shared) = (None, None);
        let (is_known, lacks_subject) = (true, false);
        Self {
            tenant,
            scope,
            owner,
            shared,
            roles,
            kinds,
            subject,
            credential,
            origin,
            is_known,
            lacks_subject,
        }
    }

    /// The holder of a share: may read the operation, whatever its owner, and nothing else.
    pub(super) fn of_share(tenant: TenantId, operation: OperationId, share_id: &str) -> Self {
        let caller = Self::of(tenant, [Role::Read].into_iter().collect());
        let subject = format!("share:{share_id}");
        Self { shared: Some(operation), ..caller.with_subject(subject) }
    }

    /// Whether the caller is the holder of a share.
    pub(super) fn is_of_share(&self) -> bool {
        self.shared.is_some()
    }

    /// Sets the owner within the tenant.
    #[must_use]
    pub fn with_owner(self, owner: Owner) -> Self {
        Self { owner: Some(owner), lacks_subject: false, ..self }
    }

    /// Forbids to submit, because operations belong to subjects and the caller's credentials name none.
    #[must_use]
    pub fn lacking_subject(self) -> Self {
        Self { lacks_subject: true, ..self }
    }

    /// Restricts the caller to these kinds.
    #[must_use]
    pub fn with_kinds(self, kinds: impl Into<Arc<[Kind]>>) -> Self {
        Self { kinds: Some(kinds.into()), ..self }
    }

    /// Sets the subject.
    #[must_use]
    pub fn with_subject(self, subject: impl Into<Arc<str>>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// Sets the id of the credential.
    #[must_use]
    pub fn with_credential(self, credential: impl Into<Arc<str>>) -> Self {
        Self { credential: Some(credential.into()), ..self }
    }

    /// Sets the request's origin.
    #[must_use]
    pub fn with_origin(self, origin: Arc<Origin>) -> Self {
        Self { origin, ..self }
    }

    /// The tenants whose operations the caller may reach.
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The id of the credential, if there is one.
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// The origin of the request.
    pub fn origin(&self) -> Arc<Origin> {
        Arc::clone(&self.origin)
    }

    /// The subject, for audit records.
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor { tenant: &self.tenant, subject: self.subject(), origin: &self.origin }
    }

    /// The kinds that the caller may execute; `None`: all.
    pub fn kinds(&self) -> Option<&[Kind]> {
        self.kinds.as_deref()
    }

    /// The caller's roles.
    pub const fn roles(&self) -> Roles {
        self.roles
    }

    /// The subject.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The one operation that the caller may read, if a share identifies it.
    pub(super) const fn shared(&self) -> Option<OperationId> {
        self.shared
    }

    /// Whether the caller may take the action.
    pub fn can(&self, action: Action) -> bool {
        if self.shared.is_some() && !matches!(action, Action::Inspect | Action::Read) {
            return false;
        }
        if action == Action::Submit && self.lacks_subject {
            return false;
        }
        action == Action::Look || action.roles().iter().any(|role| self.roles.has(*role))
    }

    /// Refuses an action that the caller may not take.
    pub fn may(&self, action: Action) -> Result<(), ServiceError> {
        if self.can(action) {
            return Ok(());
        }
        if !self.is_known {
            return Err(ServiceError::new(Reason::Unauthenticated, "there are no credentials"));
        }
        let has_role = action.roles().iter().any(|role| self.roles.has(*role));
        if has_role && self.lacks_subject {
            let message = "these credentials name no subject, and operations belong to the subject that submits them \
                           (--private-operations): use a token with a subject (--jwt-subject-claim)";
            return Err(ServiceError::new(Reason::PermissionDenied, message));
        }
        let needed: Vec<&str> = action.roles().iter().map(|role| role.as_str()).collect();
        let message = match needed.as_slice() {
            [one] => format!("these credentials lack the role {one}"),
            some => format!("these credentials have none of the roles {}", some.join(", ")),
        };
        Err(ServiceError::new(Reason::PermissionDenied, message).with("roles", needed.join(",")))
    }

    /// The view that the caller gets instead of `view`: without contents that it may not read.
    pub fn sees(&self, view: View) -> View {
        match view {
            View::Full if self.can(Action::ReadInput) => View::Full,
            View::Full | View::Result if self.can(Action::Read) => View::Result,
            _ => View::Basic,
        }
    }

    /// Refuses kinds that the caller may not execute.
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
