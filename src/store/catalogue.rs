//! The catalogue: administrators' data, as entries of a space and a name.
//!
//! A store does not know the meaning of a value. Each space has a version, which rises by one with each change, so
//! that replicas notice changes by a small read.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The space of the server's own secret. A copy of a store has the same secret.
pub const SECRETS: &str = "secrets";

/// The versions of all spaces that were ever written.
pub type CatalogueVersions = BTreeMap<String, u64>;

/// A space as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueSpace {
    /// Its version; 0 if it was never written.
    pub version: u64,
    /// Its values by their names.
    pub entries: BTreeMap<String, Bytes>,
}

/// A change of one space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueChange {
    /// The space.
    pub space: String,
    /// The version that the space must have; `None`: any.
    pub expected: Option<u64>,
    /// The entries to write or replace. A name must not be both here and in `delete`.
    pub put: BTreeMap<String, Bytes>,
    /// The names to delete, if they are there.
    pub delete: Vec<String>,
}
