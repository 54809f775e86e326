//! Handlers that are programs: any language, no library.
//!
//! A command gets the input on stdin and `LONGRUN_*` variables. Of the variables of this process, which may hold
//! credentials, it gets `PATH`, `HOME`, `LANG` and `TZ` only, and what is named. What it writes on stdout is the
//! result, lines on stderr go to the operation's history, lines on file descriptor 3 are progress (see
//! [`ProgressLine`]).
//!
//! Exit 0 succeeds. 75 (EX_TEMPFAIL) asks for another attempt, and so does a death by a signal (exit 129 to 159 where a
//! shell tells of it): a crash is no verdict. Anything else is final. The message is the end of stderr. Cancelling is
//! SIGTERM to the whole process group, SIGKILL when the grace period is over. A command does not outlive the process that
//! runs it, not even if that gets SIGKILL; what it has put into a session of its own (`setsid`) does.
//!
//! Read next: `process` for one run from start to end.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::Worker;
use super::context::Context;
use super::outcome::{Failure, Outcome};

mod group;
mod keeper;
mod lines;
mod output;
mod process;
mod progress_line;

pub use self::progress_line::ProgressLine;

/// What the service takes as a result by default.
const DEFAULT_MAX_RESULT_BYTES: u64 = 5 << 30;
/// Between SIGTERM and SIGKILL where no grace period is given.
const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);

/// The variables of this process that every command gets.
const VARIABLES: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// A program and how to run it.
#[derive(Clone, Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    variables: Vec<OsString>,
    max_result_bytes: u64,
    stop_grace: Duration,
}

impl Command {
    /// Runs `program` with `args`, as they are.
    pub fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            variables: VARIABLES.map(OsString::from).to_vec(),
            max_result_bytes: DEFAULT_MAX_RESULT_BYTES,
            stop_grace: DEFAULT_STOP_GRACE,
        }
    }

    /// Has `/bin/sh` run a command line.
    pub fn shell(line: impl AsRef<OsStr>) -> Self {
        Self::new("/bin/sh", [OsStr::new("-c"), line.as_ref()])
    }

    /// The same with another limit for results, 5 GiB by default. What is larger is a final
    /// failure, RESULT_TOO_LARGE.
    pub fn with_max_result_bytes(mut self, max_result_bytes: u64) -> Self {
        self.max_result_bytes = max_result_bytes;
        self
    }

    /// The same with another time between SIGTERM and SIGKILL, 5 s by default, for when the
    /// service gives no grace period.
    pub fn with_stop_grace(mut self, stop_grace: Duration) -> Self {
        self.stop_grace = stop_grace;
        self
    }

    /// The same, passing these environment variables of this process on too, where they are set.
    pub fn with_variables<N: Into<OsString>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.variables.extend(names.into_iter().map(Into::into));
        self
    }

    /// Runs the command for an attempt.
    pub async fn run(&self, context: Context) -> Result<Outcome, Failure> {
        process::run(self, &context).await
    }
}

impl Worker {
    /// Serves a kind by running a command for each attempt.
    pub fn command(self, kind: impl Into<String>, command: Command) -> Self {
        self.streaming_handler(kind, move |context| {
            let command = command.clone();
            async move { command.run(context).await }
        })
    }
}
