//! Standard output. A closed output ends the program quietly, because `longrun list | head` is no failure; `println!`
//! would panic.

use std::error::Error;
use std::io::{ErrorKind, IsTerminal as _, Write as _, stderr, stdout};
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::StyledStr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::Exit;
use super::paint::Paint;
use super::wrong_line::WrongLine;
use crate::service::code_name;

/// How often a command that waits looks whether its reader is still there.
const LOOK: Duration = Duration::from_millis(200);

/// The reader of stdout has closed it.
#[derive(Debug, thiserror::Error)]
#[error("the output is closed")]
struct ReaderGone;

/// A wrong command line that clap cannot detect.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// An operation that ended without the requested contents; the exit code shows its outcome.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Ended {
    /// The message for people.
    pub(super) text: String,
    /// The exit code for its outcome.
    pub(super) exit: Exit,
}

/// A refusal by the server, or a failure on the way to it.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Refusal {
    /// The canonical status code; JSON has its name, e.g. `NOT_FOUND`.
    pub(super) code: tonic::Code,
    /// The reason in UPPER_SNAKE_CASE; empty if there is none.
    pub(super) reason: String,
    /// For people.
    pub(super) text: String,
}

/// Writes output in the chosen format.
#[derive(Clone, Debug)]
pub(super) struct Output {
    json: bool,
    is_terminal: bool,
    is_live: bool,
    /// Colors for stdout.
    pub(super) paint: Paint,
}

impl Output {
    /// Output for people, or JSON.
    pub(super) fn new(json: bool) -> Self {
        let is_terminal = stdout().is_terminal();
        Self {
            json,
            is_terminal,
            is_live: !json && is_terminal && stderr().is_terminal() && !is_dumb(),
            paint: Paint::new(is_terminal && !json),
        }
    }

    /// Whether output is JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether stdout is a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether the output is a terminal that can redraw a line.
    pub(super) fn is_live(&self) -> bool {
        self.is_live
    }

    /// A line, or several.
    pub(super) fn line(&self, text: &str) -> anyhow::Result<()> {
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        self.bytes(line.as_bytes())
    }

    /// A text with styles, which only a terminal gets.
    pub(super) fn styled(&self, text: &StyledStr) -> anyhow::Result<()> {
        let text = match self.paint.is_enabled() {
            true => text.ansi().to_string(),
            false => text.to_string(),
        };
        self.bytes(text.as_bytes())
    }

    /// A JSON document over several lines.
    pub(super) fn document(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(&serde_json::to_string_pretty(value)?)
    }

    /// A JSON document on one line.
    pub(super) fn record(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }

    /// Bytes as they are, at once.
    pub(super) fn bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stdout = stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
            Err(error) => Err(error).context("failed to write to stdout"),
        }
    }

    /// A note for people on stderr.
    pub(super) fn note(&self, text: &str) {
        // A closed stderr must not fail the command.
        let _ignored = writeln!(stderr().lock(), "{text}");
    }

    /// A note for a person at a terminal; not written anywhere else.
    pub(super) fn hint(&self, text: &str) {
        if self.is_live {
            self.note(&Paint::new(true).dim(text));
        }
    }
}

/// Does `work`, which will write to stdout, unless the reader of stdout goes away first: `longrun watch NAME | head -1`
/// ends at once and not with the next event.
pub(super) async fn while_read<T>(
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        done = work => done,
        () = reader_gone() => Err(ReaderGone.into()),
    }
}

/// Completes when the reader of stdout has gone away.
async fn reader_gone() {
    let mut looks = tokio::time::interval(LOOK);
    while !is_reader_gone() {
        looks.tick().await;
    }
}

/// Whether a pipe, socket or terminal at stdout has no other end. A file never has one, and is never without it.
fn is_reader_gone() -> bool {
    let stdout = stdout();
    // These are reported without being asked for.
    let gone = PollFlags::ERR | PollFlags::HUP;
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec::default();
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().intersects(gone)
}

/// Whether the terminal cannot redraw a line.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Logs why a server or a worker ends, and returns its exit code.
pub(super) fn log_failure(error: &anyhow::Error) -> Exit {
    if error.is::<ReaderGone>() {
        return Exit::Ok;
    }
    let causes: Vec<_> = error.chain().skip(1).map(ToString::to_string).collect();
    tracing::error!(error = causes.join(": "), "{error}");
    exit_of(error)
}

fn exit_of(error: &anyhow::Error) -> Exit {
    match error.downcast_ref::<Ended>() {
        Some(ended) => ended.exit,
        None if error.is::<Usage>() || error.is::<WrongLine>() => Exit::Usage,
        None => Exit::Failure,
    }
}

/// Writes why the program failed, and returns the exit code: for people, with causes indented; or as a JSON document on
/// one line, `{"error": {"message": …, "causes": […], "exitCode": …}}`, for a server's refusal with `code` and `reason`,
/// for a wrong command line with `hint` and `usage` where they help.
pub fn report(error: &anyhow::Error, json: bool) -> Exit {
    if error.is::<ReaderGone>() {
        return Exit::Ok;
    }
    let exit = exit_of(error);
    if json {
        let causes: Vec<_> = error.chain().skip(1).map(ToString::to_string).collect();
        let mut document = serde_json::json!({
            "message": error.to_string(), "causes": causes, "exitCode": exit.code(),
        });
        if let Some(refusal) = error.chain().find_map(|it| it.downcast_ref::<Refusal>()) {
            document["code"] = code_name(refusal.code.into()).into();
            document["reason"] = refusal.reason.as_str().into();
        }
        if let Some(line) = error.downcast_ref::<WrongLine>() {
            let parts = [("hint", &line.hint), ("usage", &line.usage)];
            for (name, text) in parts.into_iter().filter(|(_, text)| !text.is_empty()) {
                document[name] = text.as_str().into();
            }
        }
        let _ignored = writeln!(stderr().lock(), "{}", serde_json::json!({ "error": document }));
        return exit;
    }
    let paint = Paint::new(stderr().is_terminal());
    let mut text = format!("{} {error}\n", paint.red("error:"));
    let mut cause: Option<&dyn Error> = error.source();
    let mut indent = 2;
    while let Some(error) = cause {
        let lines = error.to_string().replace('\n', &format!("\n{:indent$}", ""));
        text.push_str(&format!("{:indent$}{lines}\n", ""));
        indent += 2;
        cause = error.source();
    }
    let _ignored = stderr().lock().write_all(text.as_bytes());
    exit
}
