//! Handlers that are programs: any language, no library.
//!
//! A command gets the input on stdin and `LONGRUN_*` variables. Of the variables of this process, which may hold
//! credentials, it gets `PATH`, `HOME`, `LANG` and `TZ` only, and those that are named. What it writes on stdout is the
//! result, lines on stderr go to the operation's history, lines on file descriptor 3 are progress, warnings and errors
//! (see [`ProgressLine`]).
//!
//! Exit 0 succeeds. 75 (EX_TEMPFAIL) asks for another attempt, and so does a death by a signal (exit 129 to 159 where a
//! shell reports it): a crash is no verdict. Any other code is final, unless [`RetryOn`] has it. The message is the end
//! of stderr. A cancel is SIGTERM to every process of the command, and SIGKILL when the grace period is over.
//!
//! Every process that a command starts ends with it, in whatever group or session it is; and a command ends with the
//! process that runs it, even if that gets SIGKILL. A keeper, a small process of the `longrun` program around each
//! command, ensures both. `docs/workers.md` has the whole contract.
//!
//! Read next: `process` for one run from start to end, `keeper` for how commands end.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use super::Worker;
use super::context::Context;
use super::outcome::{Failure, Outcome};

mod confinement;
mod keeper;
mod kept;
mod lines;
mod output;
mod process;
mod progress_line;
mod retry_on;

pub use self::confinement::{Confinement, ProcessLimit, WORD as CONFINE_WORD, confine};
pub use self::keeper::{WORD as KEEPER_WORD, keep};
pub use self::progress_line::ProgressLine;
pub use self::retry_on::RetryOn;

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
    keeper: PathBuf,
    retry_on: RetryOn,
    max_result_bytes: u64,
    stop_grace: Duration,
    confinement: Confinement,
}

impl Command {
    /// The largest result by default, which is also what the service takes by default: 5 GiB.
    pub const DEFAULT_MAX_RESULT_BYTES: u64 = 5 << 30;

    /// Runs `program` with `args`, as they are.
    pub fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            variables: VARIABLES.map(OsString::from).to_vec(),
            keeper: PathBuf::from("longrun"),
            retry_on: RetryOn::default(),
            max_result_bytes: Self::DEFAULT_MAX_RESULT_BYTES,
            stop_grace: DEFAULT_STOP_GRACE,
            confinement: Confinement::default(),
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

    /// The same with another path of the `longrun` program, which keeps the command. By default `PATH` has it.
    pub fn with_keeper(mut self, program: impl Into<PathBuf>) -> Self {
        self.keeper = program.into();
        self
    }

    /// The same within these limits.
    pub fn with_confinement(mut self, confinement: Confinement) -> Self {
        self.confinement = confinement;
        self
    }

    /// The same, with these exit codes asking for another attempt.
    pub fn with_retry_on(mut self, retry_on: RetryOn) -> Self {
        self.retry_on = retry_on;
        self
    }

    /// The program and its arguments.
    fn words(&self) -> impl Iterator<Item = &OsString> {
        std::iter::once(&self.program).chain(&self.args)
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
