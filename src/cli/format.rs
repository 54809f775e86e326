//! Output formats that the user may choose.

use clap::ValueEnum;

use super::output::Output;
use super::{text, yaml};
use crate::proto::json;
use crate::proto::v1::Operation;

/// The format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns, for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// The same document as YAML.
    Yaml,
    /// Names, one per line.
    Name,
}

/// One operation as a document, or its name.
pub(super) fn document(operation: &Operation, format: Format, out: &Output) -> anyhow::Result<()> {
    match format {
        Format::Name | Format::Table => out.line(&text::clean(&operation.name)),
        Format::Json => out.document(&json::to_value(operation)?),
        Format::Yaml => out.line(&format!("---\n{}", yaml::of(&json::to_value(operation)?))),
    }
}
