//! Which operations a list or a watch is about (AIP-160).

/// A parsed filter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter;

impl Filter {
    /// Whether the operation matches.
    pub fn matches(&self, _operation: &super::Operation) -> bool {
        true
    }
}
impl Filter {
    /// Parses.
    pub fn parse(_text: &str) -> Result<Self, std::fmt::Error> {
        Ok(Self)
    }
}
