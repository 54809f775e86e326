//! `longrun result NAME`: the exact bytes of the result.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::Exit;
use super::output::{Output, Usage};
use super::remote::Remote;
use crate::client::ResultStream;

const EXAMPLES: &str = "\
Examples:
  longrun result 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e | jq .
  longrun result 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e -o report.pdf

A read that breaks off is resumed where it stopped. With --json (which needs -o) the answer is a
document of the result's content type and size.";

/// Arguments of `result`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The operation, done: operations/ID or ID
    name: String,
    /// File to write to in place of stdout (-); it appears only once it is whole
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let name = remote.name(&args.name).await?;
    let failed = |error| remote.failed(&error, &format!("read the result of {name}"));
    let is_stdout = args.output.as_ref().is_none_or(|path| path.as_os_str() == "-");
    if out.is_json() && is_stdout {
        return Err(Usage("--json needs --output FILE: stdout is the result's".to_owned()).into());
    }
    let mut result = remote.client.result_stream(&name, 0).await.map_err(failed)?;
    let Some(path) = args.output.as_ref().filter(|path| path.as_os_str() != "-") else {
        while let Some(chunk) = result.next().await {
            out.bytes(&chunk.map_err(failed)?)?;
        }
        return Ok(Exit::Ok);
    };
    let written = write_file(&mut result, path, failed).await?;
    if out.is_json() {
        out.document(&json!({
            "contentType": result.content_type(),
            "sizeBytes": written,
            "file": path,
        }))?;
    } else {
        out.note(&format!("{}: {written} bytes, {}", path.display(), result.content_type()));
    }
    Ok(Exit::Ok)
}

/// Writes beside the file and renames, so that half a result is never taken for one.
async fn write_file(
    result: &mut ResultStream,
    path: &Path,
    failed: impl Fn(crate::client::ClientError) -> anyhow::Error,
) -> anyhow::Result<u64> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed_to_write = || format!("failed to write {}", path.display());
    // Devices and pipes cannot be renamed onto.
    if path.exists() && !path.is_file() {
        let mut file = File::options().write(true).open(path).with_context(failed_to_write)?;
        return copy(result, &mut file, failed).await.with_context(failed_to_write);
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".longrun-").permissions(permissions());
    let mut file = builder.tempfile_in(directory).with_context(failed_to_write)?;
    let written = copy(result, file.as_file_mut(), failed).await?;
    file.persist(path).with_context(failed_to_write)?;
    Ok(written)
}

/// What any new file would have: the umask takes away what the user does not want to give.
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

async fn copy(
    result: &mut ResultStream,
    file: &mut File,
    failed: impl Fn(crate::client::ClientError) -> anyhow::Error,
) -> anyhow::Result<u64> {
    let mut written = 0;
    while let Some(chunk) = result.next().await {
        let chunk = chunk.map_err(&failed)?;
        file.write_all(&chunk)?;
        written += chunk.len() as u64;
    }
    Ok(written)
}
