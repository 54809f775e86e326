//! The operations that a caller may reach.

use std::fmt;

use super::TenantId;

/// The operations that a caller may reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every tenant's: for workers within the server's own process, and calls with an attempt's token alone.
    All,
    /// One tenant's: for all other callers.
    Tenant(TenantId),
}

impl Scope {
    /// Whether the scope includes the tenant.
    pub fn contains(&self, tenant: &TenantId) -> bool {
        match self {
            Self::All => true,
            Self::Tenant(own) => own == tenant,
        }
    }
}

impl From<TenantId> for Scope {
    fn from(tenant: TenantId) -> Self {
        Self::Tenant(tenant)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all tenants"),
            Self::Tenant(tenant) => tenant.fmt(f),
        }
    }
}
