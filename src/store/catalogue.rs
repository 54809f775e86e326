//! The catalogue: administrators' data, as entries of a space and a name.
//!
//! A store does not know the meaning of a value. Each space has a version, which rises by one with each change, so
//! that replicas notice changes by a small read.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The space of the server's own secret: a copy of a store has the secret of the store that it is a copy of.
pub const SECRETS: &str = "secrets";

/// The version of each space that was ever written.
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
    /// The version that the space must have; any if `None`.
    pub expected: Option<u64>,
    /// The entries to write, over those that have these names. No name stands here and in `delete`.
    pub put: BTreeMap<String, Bytes>,
    /// The names to delete, if they are there.
    pub delete: Vec<String>,
}
