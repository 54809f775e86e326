//! The configuration file of `longrun serve`: relays, dialects over them or over workers, and limits of tenants.
//!
//! Takes the file's text, and a way to the files that it names; opening them is the caller's.

use serde::Deserialize;
use toml::Spanned;

pub use crate::dialect::FileError;

use super::dialect::Files;
use super::{dialect, limit, relay};
use crate::operation::limits::LimitTable;

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// HTTP APIs to stand in front of.
    pub relay: Vec<relay::Mount>,
    /// Dialects to speak.
    pub dialects: Vec<dialect::Mount>,
    /// How much tenants may have.
    pub limits: LimitTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    relay: Vec<Spanned<relay::Mount>>,
    #[serde(default)]
    dialect: Vec<Spanned<dialect::MountTable>>,
    #[serde(default)]
    limit: Vec<Spanned<limit::Table>>,
}

/// Reads a configuration file.
pub fn parse(text: &str, files: Files<'_>) -> Result<Config, FileError> {
    let file: File = FileError::read(text)?;
    let relay = relay::mounts(text, file.relay)?;
    let dialects = dialect::mounts(text, file.dialect, &relay, files)?;
    let limits = limit::table(text, file.limit)?;
    Ok(Config { relay, dialects, limits })
}
