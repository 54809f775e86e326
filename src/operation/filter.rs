//! Which operations a list or a watch is about (AIP-160).

/// A parsed filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter;
