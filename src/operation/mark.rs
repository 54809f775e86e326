//! The service's own labels: the mount by which an operation was submitted, the values in its path's places, and its
//! owner within the tenant.
//!
//! They are stored and filtered like any label, so that they survive restarts without columns of their own. Clients can
//! neither set nor see them.

use std::fmt;
use std::sync::Arc;

use super::secret::Secret;
use super::{Operation, TenantId};

/// The prefix of the keys.
const PREFIX: &str = "longrun/";
/// The name of the dialect's mount by which the operation was submitted.
pub const MOUNT: &str = "longrun/mount";
/// The query parameter that turned a relayed request into an operation, as given.
pub const TRIGGER: &str = "longrun/trigger";
/// The number of query parameters before that one; absent: all of them.
pub const TRIGGER_POSITION: &str = "longrun/trigger_position";
/// The operation's [`Owner`].
pub const OWNER: &str = "longrun/owner";
/// Present if any caller with credentials may read the operation.
pub const SHARED: &str = "longrun/shared";

/// The value in a place of the submission's path; the place's name follows.
pub const PLACE: &str = "longrun/place.";

/// Whether the key is reserved for the service.
pub fn is_reserved(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// An operation's owner within its tenant: a digest of the credentials that submitted it, which does not reveal them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    text: Arc<str>,
    /// Whether this owner may read and change all owners' operations, like a tenant's administrator.
    sees_all: bool,
}

impl Owner {
    /// The owner with these credentials. Without the server's secret a guess cannot be checked.
    pub fn of_credentials(secret: &Secret, credentials: &[u8]) -> Self {
        Self::of_code(secret.code("owner by credentials", &[credentials]))
    }

    /// The owner that is this subject of a tenant.
    pub fn of_subject(secret: &Secret, tenant: &TenantId, subject: &str) -> Self {
        Self::of_code(
            secret.code("owner by subject", &[tenant.as_str().as_bytes(), subject.as_bytes()]),
        )
    }

    /// Reads a stored owner.
    pub fn stored(text: &str) -> Self {
        Self { text: text.into(), sees_all: false }
    }

    fn of_code(code: [u8; 32]) -> Self {
        let hex: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text: hex.into(), sees_all: false }
    }

    /// The label's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same owner, with access to all owners' operations.
    #[must_use]
    pub fn seeing_all(self) -> Self {
        Self { sees_all: true, ..self }
    }

    /// Whether this owner has access to all owners' operations.
    pub const fn sees_all(&self) -> bool {
        self.sees_all
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner")
    }
}

impl Operation {
    /// Whether the operation was submitted by that mount.
    pub fn is_of_mount(&self, mount: &str) -> bool {
        self.submission.labels.get(MOUNT).is_some_and(|name| name == mount)
    }

    /// The values in the places of its submission's path, by the places' names.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.submission.labels.iter();
        labels.filter_map(|(key, value)| Some((key.strip_prefix(PLACE)?, value.as_str())))
    }

    /// Whether a caller of the tenant may read it: every caller if it has no owner, else its owner, and every caller
    /// with credentials if it is shared.
    pub fn is_readable_by(&self, owner: Option<&Owner>) -> bool {
        let is_shared = self.submission.labels.contains_key(SHARED);
        self.is_changeable_by(owner) || is_shared && owner.is_some()
    }

    /// Whether a caller of its tenant may change it: every caller if it has no owner, else its owner.
    pub fn is_changeable_by(&self, owner: Option<&Owner>) -> bool {
        let own = self.submission.labels.get(OWNER);
        own.is_none_or(|own| owner.is_some_and(|owner| owner.sees_all || owner.as_str() == own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_make_owners_that_do_not_tell_them() {
        let secret = Secret::of(b"the server's");
        let owner = Owner::of_credentials(&secret, b"Bearer secret");
        assert_eq!(owner, Owner::of_credentials(&secret, b"Bearer secret"));
        assert_ne!(owner, Owner::of_credentials(&secret, b"Bearer other"));
        assert_ne!(owner, Owner::of_credentials(&Secret::of(b"another"), b"Bearer secret"));
        assert_eq!(owner.as_str().len(), 64);
        assert_eq!(format!("{owner:?}"), "Owner");
    }
}
