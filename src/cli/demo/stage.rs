//! The demo's environment: a directory, the files to work on, a server and a handler.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use super::super::connection::Connection;
use super::super::handlers::Handlers;
use super::super::remote::Remote;
use super::super::text::quote;
use super::transcript::Transcript;
use crate::config::handler::{CommandLine, Handler, Words, Work};
use crate::config::{ServeConfig, StoreUrl};
use crate::server::Server;
use crate::worker::Worker;
use crate::worker::command::confinement::private_directory;
use crate::worker::command::{Confinement, RetryOn};

/// The kind of work.
pub(super) const KIND: &str = "text.statistics";

const SCRIPT: &str = include_str!("../../../examples/text-statistics.sh");
const README: &str = include_str!("../../../README.md");
/// Enough that no part of the demo waits for another.
const CONCURRENCY: u16 = 4;
/// The drain timeout of the server; handlers that still run are stopped at once.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// Results of the handler are far smaller.
const MAX_RESULT_BYTES: u64 = 1 << 20;

/// The environment of the demo.
#[derive(Debug)]
pub(super) struct Stage {
    directory: TempDir,
    /// The command line of the handler.
    line: String,
    /// The server, over the network as for any client.
    pub(super) remote: Remote,
    /// The address of the server, `127.0.0.1:PORT`.
    pub(super) address: String,
    /// The input: the names of the files, one a line.
    pub(super) input: String,
    /// How many files there are.
    pub(super) files: usize,
    /// How large they are together.
    pub(super) bytes: u64,
}

impl Stage {
    /// Writes the files and starts to listen. The caller must run the server and its worker.
    pub(super) async fn set_up(files: &[PathBuf]) -> anyhow::Result<(Self, Server, Worker)> {
        let directory =
            private_directory("longrun-demo-").context("failed to make a temporary directory")?;
        let script = write(directory.path(), "text-statistics.sh", SCRIPT)?;
        let files = match files {
            [] => vec![write(directory.path(), "README.md", README)?],
            given => given.iter().map(|file| readable(file)).collect::<Result<_, _>>()?,
        };
        let (input, bytes) = describe(&files)?;
        let mut config = ServeConfig::default();
        config.listen.addr.set_port(0);
        config.store.url = StoreUrl::Sqlite(directory.path().join("demo.db"));
        config.stop.drain_timeout = DRAIN_TIMEOUT;
        let server = Server::bind(config).await.context("failed to start the server")?;
        let address = server.local_addr().to_string();
        let line = format!("sh {}", quote(&script.display().to_string()));
        let work = Work::Command(CommandLine::new(Words::Shell(line.clone())));
        let handlers = Handlers {
            list: vec![Handler { kind: KIND.to_owned(), work, concurrency: None }],
            concurrency: CONCURRENCY,
            variables: Vec::new(),
            retry_on: RetryOn::default(),
            confinement: Confinement::default(),
            max_result_bytes: MAX_RESULT_BYTES,
        };
        let worker = handlers.workers(&server.local_client())?.pop();
        let worker = worker.context("there is no handler")?.drain_timeout(Duration::ZERO);
        let remote = Remote::new(&Connection::to(&format!("http://{address}")))?;
        let stage = Self { directory, line, remote, address, input, files: files.len(), bytes };
        Ok((stage, server, worker))
    }

    /// Shows what was set up.
    pub(super) fn introduce(&self, transcript: &Transcript<'_>) -> anyhow::Result<()> {
        let line = &self.line;
        transcript.part("A server whose work is done by a command")?;
        transcript.command(&format!(
            "longrun serve --listen 127.0.0.1:0 --store sqlite:{} \\\n    --handler {}",
            self.directory.path().join("demo.db").display(),
            quote(&format!("{KIND}={line}")),
        ))?;
        transcript.say(&format!("longrun listening on http://{}", self.address))?;
        transcript.command(&format!("export LONGRUN_SERVER=http://{}", self.address))
    }

    /// Removes the files; fails if that is not possible.
    pub(super) fn tear_down(self) -> anyhow::Result<()> {
        let path = self.directory.path().to_owned();
        self.directory.close().with_context(|| format!("failed to remove {}", path.display()))
    }
}

/// The files' names, one a line, and their size together.
fn describe(files: &[PathBuf]) -> anyhow::Result<(String, u64)> {
    let (mut input, mut bytes) = (String::new(), 0);
    for file in files {
        let name = file.to_str().filter(|name| !name.contains(char::is_control));
        let name = name.with_context(|| {
            format!(
                "{} has a name that is not UTF-8 text without control characters",
                file.display()
            )
        })?;
        input.push_str(name);
        input.push('\n');
        bytes += file.metadata()?.len();
    }
    Ok((input, bytes))
}

/// The file under its full name, for a handler that runs elsewhere.
fn readable(file: &Path) -> anyhow::Result<PathBuf> {
    let failed = || format!("cannot read {}", file.display());
    std::fs::File::open(file).with_context(failed)?;
    let full = file.canonicalize().with_context(failed)?;
    anyhow::ensure!(full.is_file(), "{} is no file", file.display());
    Ok(full)
}

fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = directory.join(name);
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_shell_are_quoted_where_they_must_be() {
        assert_eq!(quote("/tmp/a-b_1.sh"), "/tmp/a-b_1.sh");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn names_that_would_be_two_lines_are_refused() {
        let file = tempfile::Builder::new().prefix("a\nb").tempfile().unwrap();
        assert!(describe(&[file.path().to_owned()]).is_err());
    }
}
