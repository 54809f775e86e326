//! What a command does after its submission: nothing, or wait for the operation, or watch it.

use std::time::Duration;

use super::output::Output;
use super::remote::Remote;
use super::{Exit, change, result, wait, watch};
use crate::proto::v1::Operation;

/// What to do after a submission.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follow {
    /// Wait until it is done, at most for this long.
    pub(super) wait: Option<Option<Duration>>,
    /// Show how it goes until it is done.
    pub(super) watch: bool,
    /// Wait until it is done, and write its result.
    pub(super) result: bool,
    /// Print its name and nothing else.
    pub(super) quiet: bool,
}

impl Follow {
    /// Whether the command goes on until the operation is done.
    pub(super) fn waits(self) -> bool {
        self.wait.is_some() || self.watch || self.result
    }

    pub(super) async fn run(
        self,
        operation: &Operation,
        remote: &Remote,
        out: &Output,
    ) -> anyhow::Result<Exit> {
        let name = &operation.name;
        if self.quiet {
            out.line(name)?;
        } else if !self.waits() {
            change::state_line(operation, out)?;
            out.hint(&format!("`longrun watch {name}` follows it"));
        }
        if !self.waits() {
            return Ok(Exit::Ok);
        }
        if self.watch && !self.quiet {
            return watch::one(name, None, remote, out).await;
        }
        let waiting = remote.client.wait_on(operation, self.wait.flatten());
        if self.result {
            return result::after(name, waiting, remote, out).await;
        }
        match self.quiet {
            true => wait::silently(name, waiting, remote, out).await,
            false => wait::wait(name, waiting, remote, out).await,
        }
    }
}
