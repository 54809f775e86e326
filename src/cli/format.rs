//! Output formats that the user may choose.

use clap::ValueEnum;

use super::output::{Output, Usage};
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

impl Format {
    /// The format that `--output` and `--json` choose together; `None` if neither is given.
    pub(super) fn chosen(output: Option<Self>, out: &Output) -> Result<Option<Self>, Usage> {
        match output {
            Some(format) if out.is_json() && format != Self::Json => {
                let value = format.to_possible_value();
                let name = value.as_ref().map_or("", |value| value.get_name());
                Err(Usage(format!(
                    "--json contradicts --output {name}: omit one of them, e.g. --output {name}"
                )))
            }
            None if out.is_json() => Ok(Some(Self::Json)),
            output => Ok(output),
        }
    }
}

/// One operation as a document, or its name.
pub(super) fn document(operation: &Operation, format: Format, out: &Output) -> anyhow::Result<()> {
    match format {
        Format::Name | Format::Table => out.line(&text::clean(&operation.name)),
        Format::Json => out.document(&json::to_value(operation)?),
        Format::Yaml => out.line(&format!("---\n{}", yaml::of(&json::to_value(operation)?))),
    }
}
