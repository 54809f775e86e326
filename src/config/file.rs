//! The configuration file of `longrun serve`: relays, and dialects over them or over workers.
//!
//! Takes the file's text, and a way to the files that it names; opening them is the caller's.

use serde::Deserialize;
use toml::Spanned;

pub use crate::dialect::FileError;

use super::dialect::Files;
use super::{dialect, relay};

/// What a configuration file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// HTTP APIs to stand in front of.
    pub relay: Vec<relay::Mount>,
    /// Dialects to speak.
    pub dialects: Vec<dialect::Mount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    relay: Vec<Spanned<relay::Mount>>,
    #[serde(default)]
    dialect: Vec<Spanned<dialect::MountTable>>,
}

/// Reads a configuration file.
pub fn parse(text: &str, files: Files<'_>) -> Result<Config, FileError> {
    let file: File = FileError::read(text)?;
    let relay = relay::mounts(text, file.relay)?;
    let dialects = dialect::mounts(text, file.dialect, &relay, files)?;
    Ok(Config { relay, dialects })
}
