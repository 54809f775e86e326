//! The roles of credentials. The service's table of actions defines what each role may do.

use super::closed_set::closed_set;

closed_set! {
    /// A role within its tenant.
    pub enum Role {
        /// Submits operations, and cancels, retries and deletes them.
        Submit = 1 "submit",
        /// Reads operations with their inputs and results.
        Read = 2 "read",
        /// Executes operations of the credential's kinds.
        Work = 3 "work",
        /// Like submitters and readers together, and administers the tenant: its keys.
        Admin = 4 "admin",
        /// Administers all tenants: their keys and limits. Lists operations of all tenants without their texts, and
        /// reads those of its own tenant without contents.
        Operator = 5 "operator",
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Every role.
    pub fn all() -> Self {
        Role::ALL.into_iter().collect()
    }

    /// Whether the set has the role.
    pub const fn has(self, role: Role) -> bool {
        self.0 & (1 << role.number()) != 0
    }

    /// The roles, in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | 1 << role.number()))
    }
}
