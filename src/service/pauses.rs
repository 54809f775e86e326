//! Paused kinds: a limit of the kind by which none of its operations start.

use super::{Action, Caller, Reason, Service, ServiceError};
use crate::operation::limits::{Limit, LimitName};
use crate::operation::{Kind, Scope};

impl Service {
    /// Stops starting operations of a kind.
    pub async fn pause_kind(
        &self,
        caller: &Caller,
        whose: Option<Scope>,
        kind: Kind,
    ) -> Result<(), ServiceError> {
        let limit = pause_of(caller, whose, kind)?;
        self.put_limit(caller, limit, 1).await.map(drop)
    }

    /// Starts operations of a kind again.
    pub async fn resume_kind(
        &self,
        caller: &Caller,
        whose: Option<Scope>,
        kind: Kind,
    ) -> Result<(), ServiceError> {
        let limit = pause_of(caller, whose, kind)?;
        let limits = self.tenant_limits()?;
        let table = limits.table();
        let for_all = table.of(&Limit { tenant: None, ..limit.clone() }).is_some_and(|it| it > 0);
        if limit.tenant.is_some() && for_all {
            // Only an operator can resume what an operator has paused for all tenants.
            caller.may(Action::Operate)?;
            return self.put_limit(caller, limit, 0).await.map(drop);
        }
        match self.drop_limit(caller, &limit).await {
            Err(error) if error.reason == Reason::LimitNotFound => {
                match limits.table().of(&limit).is_some_and(|it| it > 0) {
                    // The pause is in the configuration file.
                    true => self.put_limit(caller, limit, 0).await.map(drop),
                    false => Ok(()),
                }
            }
            dropped => dropped.map(drop),
        }
    }
}

/// The limit that pauses a kind: for the caller's own tenant, or for `whose`.
fn pause_of(caller: &Caller, whose: Option<Scope>, kind: Kind) -> Result<Limit, ServiceError> {
    let tenant = match whose {
        None => Some(caller.tenant.clone()),
        Some(Scope::Tenant(tenant)) => Some(tenant),
        Some(Scope::All) => None,
    };
    let is_own = tenant.as_ref() == Some(&caller.tenant);
    caller.may(if is_own { Action::Administer } else { Action::Operate })?;
    Ok(Limit { name: LimitName::Paused, tenant, kind: Some(kind), label: None })
}
