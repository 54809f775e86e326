//! The demo's output: headings, commands to type, requests and responses.

use std::cell::Cell;

use super::super::output::Output;
use super::super::text::clean;

/// Writes the demo down as it happens.
#[derive(Debug)]
pub(super) struct Transcript<'a> {
    /// Where to.
    pub(super) out: &'a Output,
    headings: Cell<u32>,
}

impl<'a> Transcript<'a> {
    /// A transcript without a line yet.
    pub(super) fn new(out: &'a Output) -> Self {
        Self { out, headings: Cell::new(0) }
    }

    /// The next part, numbered.
    pub(super) fn part(&self, title: &str) -> anyhow::Result<()> {
        self.headings.set(self.headings.get() + 1);
        self.heading(&format!("{}. {title}", self.headings.get()))
    }

    /// A heading.
    pub(super) fn heading(&self, title: &str) -> anyhow::Result<()> {
        self.out.line(&format!("\n{}", self.out.paint.bold(title)))
    }

    /// A command that would do the same.
    pub(super) fn command(&self, command: &str) -> anyhow::Result<()> {
        self.out.line(&format!("{} {}", self.out.paint.dim("$"), self.out.paint.cyan(command)))
    }

    /// A line of text.
    pub(super) fn say(&self, text: &str) -> anyhow::Result<()> {
        self.out.line(text)
    }

    /// A line that was sent.
    pub(super) fn sent(&self, line: &str) -> anyhow::Result<()> {
        self.out.line(&format!("{} {}", self.out.paint.dim(">"), self.out.paint.cyan(line)))
    }

    /// A line that was received.
    pub(super) fn received(&self, line: &str) -> anyhow::Result<()> {
        self.out.line(&format!("{} {}", self.out.paint.dim("<"), clean(line)))
    }
}
