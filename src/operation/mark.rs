//! Labels that are the service's own: by which mount an operation came in, with what in the places of its path, and
//! whose it is within its tenant.
//!
//! They are stored and filtered like any label, so that they outlive a restart without columns of their own, but no
//! client can give one and no document shows them.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Operation;

/// What the keys begin with.
const PREFIX: &str = "longrun/";
/// The name of the dialect's mount that an operation came in by.
pub const MOUNT: &str = "longrun/mount";
/// The query parameter that made an operation of a relayed request, as it was given.
pub const TRIGGER: &str = "longrun/trigger";
/// How many parameters of the query stood before that one; without it, all of them.
pub const TRIGGER_POSITION: &str = "longrun/trigger_position";
/// Whose operation it is: an [`Owner`].
pub const OWNER: &str = "longrun/owner";
/// There where every caller with credentials may read it.
pub const SHARED: &str = "longrun/shared";

/// What stood in a place of the path that it came in by; the place's name follows.
pub const PLACE: &str = "longrun/place.";

/// Whether the key is one of the service's own.
pub fn is_reserved(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Whose an operation is within its tenant: a digest of the credentials that it was submitted with, from which they
/// cannot be told.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Owner(Arc<str>);

impl Owner {
    /// The owner that these credentials make.
    pub fn of_credentials(credentials: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"longrun owner\0");
        hash.update(credentials);
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self(hex.into())
    }

    /// The text of the label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner")
    }
}

impl Operation {
    /// Whether it came in by that mount.
    pub fn is_of_mount(&self, mount: &str) -> bool {
        self.submission.labels.get(MOUNT).is_some_and(|name| name == mount)
    }

    /// What stood in the places of the path that it came in by, by their names.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.submission.labels.iter();
        labels.filter_map(|(key, value)| Some((key.strip_prefix(PLACE)?, value.as_str())))
    }

    /// Whether a caller of its tenant may read it: everybody if it is nobody's, else its owner, and whoever has
    /// credentials if it is shared.
    pub fn is_readable_by(&self, owner: Option<&Owner>) -> bool {
        let is_shared = self.submission.labels.contains_key(SHARED);
        self.is_changeable_by(owner) || is_shared && owner.is_some()
    }

    /// Whether a caller of its tenant may change it: everybody if it is nobody's, else its owner.
    pub fn is_changeable_by(&self, owner: Option<&Owner>) -> bool {
        let own = self.submission.labels.get(OWNER);
        own.is_none_or(|own| owner.is_some_and(|owner| owner.as_str() == own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_make_owners_that_do_not_tell_them() {
        let owner = Owner::of_credentials(b"Bearer secret");
        assert_eq!(owner, Owner::of_credentials(b"Bearer secret"));
        assert_ne!(owner, Owner::of_credentials(b"Bearer other"));
        assert_eq!(owner.as_str().len(), 64);
        assert_eq!(format!("{owner:?}"), "Owner");
    }
}
