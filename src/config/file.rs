//! The configuration file of `longrun serve`: settings, which are flags in another form, and tables: relays, dialects
//! over them or over workers, handlers, and limits of tenants.
//!
//! Takes the file's text, and a function that reads the files that it names. The module that knows the flags
//! (`cli::configured`) decides whether a setting exists, and what it means.

use serde::Deserialize;
use toml::{Spanned, Value};

pub use crate::dialect::FileError;
pub(crate) use crate::dialect::near::question;

use super::dialect::Files;
use super::{dialect, handler, limit, relay};
use crate::operation::limits::LimitTable;

/// The contents of a configuration file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Settings: keys before the first table.
    pub settings: Vec<Setting>,
    /// Relayed HTTP APIs.
    pub relay: Vec<relay::Mount>,
    /// Mounted dialects.
    pub dialects: Vec<dialect::Mount>,
    /// Handlers of operations.
    pub handlers: Vec<handler::Handler>,
    /// Limits of tenants.
    pub limits: LimitTable,
}

/// A key with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// The values as on a command line.
    pub values: Vec<String>,
    /// The line of the key, from 1.
    pub line: usize,
    column: Option<usize>,
}

impl Setting {
    /// The error for this setting.
    pub fn wrong(&self, reason: impl Into<String>) -> FileError {
        FileError { line: self.line, column: self.column, reason: reason.into() }
    }
}

/// The tables of a file.
pub const TABLES: [&str; 4] = ["relay", "dialect", "handler", "limit"];

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    relay: Vec<Spanned<relay::Mount>>,
    #[serde(default)]
    dialect: Vec<Spanned<dialect::MountTable>>,
    #[serde(default)]
    handler: Vec<Spanned<handler::table::Table>>,
    #[serde(default)]
    limit: Vec<Spanned<limit::Table>>,
}

/// Parses a configuration file.
pub fn parse(text: &str, files: Files<'_>) -> Result<Config, FileError> {
    let file: File = FileError::read(text)?;
    let settings = settings(text)?;
    let relay = relay::mounts(text, file.relay)?;
    let dialects = dialect::mounts(text, file.dialect, &relay, files)?;
    let handlers = handler::table::handlers(text, file.handler)?;
    let limits = limit::table(text, file.limit)?;
    Ok(Config { settings, relay, dialects, handlers, limits })
}

/// All keys before the first table that can be settings.
fn settings(text: &str) -> Result<Vec<Setting>, FileError> {
    let values: toml::Table = FileError::read(text)?;
    let places = toml::de::DeTable::parse(text).map(Spanned::into_inner).unwrap_or_default();
    let mut settings = Vec::new();
    for (key, value) in values.into_iter().filter(|(key, _)| !TABLES.contains(&key.as_str())) {
        let place = places.iter().find(|(name, _)| *name.get_ref() == key);
        let at = place.map_or(0, |(name, _)| name.span().start);
        let FileError { line, column, .. } = FileError::at(text, at, "");
        let values = match value {
            Value::Array(values) => values.into_iter().map(word).collect(),
            value => word(value).map(|value| vec![value]),
        };
        let Some(values) = values else {
            let question = question(&key, TABLES);
            return Err(FileError::at(text, at, format!("there is no key {key} here{question}")));
        };
        settings.push(Setting { key, values, line, column });
    }
    Ok(settings)
}

/// The value as on a command line.
fn word(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(is_so) => Some(is_so.to_string()),
        _ => None,
    }
}
