//! Writes contents of operations, byte for byte, to stdout or to a file.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde_json::json;

use super::output::{Output, Usage};
use crate::client::{Chunk, ClientError, ContentStream};

/// Where to write contents.
#[derive(clap::Args, Debug, Default)]
pub(super) struct To {
    /// File to write to in place of stdout; it appears only when it is complete. - is stdout, also for binary contents at
    /// a terminal
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl To {
    /// The file, if it is not stdout.
    fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| path.as_os_str() != "-")
    }

    /// Whether the contents go to stdout.
    pub(super) fn is_stdout(&self) -> bool {
        self.file().is_none()
    }

    /// Refuses JSON if the contents go to stdout.
    pub(super) fn check(&self, out: &Output) -> Result<(), Usage> {
        match out.is_json() && self.file().is_none() {
            true => Err(Usage("--json needs --output FILE, because stdout is for the contents, e.g. --json --output result.bin".to_owned())),
            false => Ok(()),
        }
    }

    /// Refuses one file for the contents of several operations.
    pub(super) fn check_several(&self, count: usize) -> Result<(), Usage> {
        match self.file() {
            Some(_) if count > 1 => Err(Usage(format!(
                "--output FILE takes the contents of one operation, and {count} are named: name one, or leave --output out, \
                 e.g. longrun result 01980a3e --output result.bin"
            ))),
            _ => Ok(()),
        }
    }

    /// Writes all of `contents`. `command` writes them again.
    pub(super) async fn write<M: Chunk>(
        &self,
        mut contents: ContentStream<M>,
        command: &str,
        out: &Output,
        failed: impl Fn(ClientError) -> anyhow::Error,
    ) -> anyhow::Result<()> {
        let Some(path) = self.file() else {
            let mut is_for_people = out.is_terminal() && self.output.is_none();
            while let Some(chunk) = contents.next().await {
                let chunk = chunk.map_err(&failed)?;
                // The first chunk decides, because what is shown cannot be taken back.
                if std::mem::take(&mut is_for_people) && is_binary(&chunk) {
                    return Err(anyhow!(
                        "the contents are binary ({}), and stdout is a terminal: `{command} -o FILE` writes them to a \
                         file, `{command} -o -` to the terminal",
                        contents.content_type()
                    ));
                }
                out.bytes(&chunk)?;
            }
            return Ok(());
        };
        let written = write_file(&mut contents, path, failed).await?;
        if out.is_json() {
            out.document(&json!({
                "contentType": contents.content_type(),
                "sizeBytes": written,
                "file": path,
            }))?;
        } else {
            out.note(&format!("{}: {written} bytes, {}", path.display(), contents.content_type()));
        }
        Ok(())
    }
}

/// Whether the beginning of contents is no text. A character may be cut off at its end.
fn is_binary(beginning: &[u8]) -> bool {
    let is_text = match std::str::from_utf8(beginning) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    !is_text || beginning.contains(&0)
}

/// Writes to a temporary file beside the target and renames it, so that a part is never mistaken for the whole.
async fn write_file<M: Chunk>(
    contents: &mut ContentStream<M>,
    path: &Path,
    failed: impl Fn(ClientError) -> anyhow::Error,
) -> anyhow::Result<u64> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed_to_write = || format!("failed to write {}", path.display());
    // Devices and pipes cannot be renamed onto.
    if path.exists() && !path.is_file() {
        let mut file = File::options().write(true).open(path).with_context(failed_to_write)?;
        return copy(contents, &mut file, failed).await.with_context(failed_to_write);
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".longrun-").permissions(permissions());
    let mut file = builder.tempfile_in(directory).with_context(failed_to_write)?;
    let written = copy(contents, file.as_file_mut(), failed).await?;
    file.persist(path).with_context(failed_to_write)?;
    Ok(written)
}

/// The mode of any new file; the umask then removes what the user does not grant.
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

async fn copy<M: Chunk>(
    contents: &mut ContentStream<M>,
    file: &mut File,
    failed: impl Fn(ClientError) -> anyhow::Error,
) -> anyhow::Result<u64> {
    let mut written = 0;
    while let Some(chunk) = contents.next().await {
        let chunk = chunk.map_err(&failed)?;
        file.write_all(&chunk)?;
        written += chunk.len() as u64;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_not_binary() {
        for text in [&b""[..], b"a\n", "\u{1f600}".as_bytes(), &"ab\u{fc}".as_bytes()[..3]] {
            assert!(!is_binary(text), "{text:?}");
        }
        for binary in [&b"\xff\x00\x01"[..], b"a\0b", b"\x89PNG\r\n"] {
            assert!(is_binary(binary), "{binary:?}");
        }
    }
}
