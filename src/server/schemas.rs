//! The files of `--input-schema`, read at the start.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use anyhow::{anyhow, ensure};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::config::SchemaFile;
use crate::operation::Kind;
use crate::pages::InputSchema;

/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The schemas of inputs by kind.
pub(super) type Schemas = BTreeMap<Kind, InputSchema>;

/// Reads the schemas. The error names the flag and the file.
pub(super) async fn read(files: &[SchemaFile]) -> anyhow::Result<Schemas> {
    let mut schemas = Schemas::new();
    for SchemaFile { kind, path } in files {
        let wrong = |what: &dyn Display| anyhow!("--input-schema {kind}={} {what}", path.display());
        let text =
            text_of(path).await.map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        ensure!(text.len() as u64 <= MAX_FILE_BYTES, wrong(&"must be at most 1 MiB"));
        let schema = InputSchema::parse(&text).map_err(|error| wrong(&error))?;
        let is_new = schemas.insert(kind.clone(), schema).is_none();
        ensure!(is_new, "--input-schema must be given once for the kind {kind}");
    }
    Ok(schemas)
}

/// The file's text, or as much of it as shows that it is too large.
async fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path).await?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).await?;
    Ok(text)
}
