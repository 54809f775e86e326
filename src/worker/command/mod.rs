//! Handlers that are programs: any language, no library.
//!
//! A command gets the input on stdin and `LONGRUN_*` variables. Of the variables of this process, which may hold
//! credentials, it gets only `PATH`, `HOME`, `LANG` and `TZ`, and those that are named. Its stdout is the result, lines
//! on stderr go to the operation's history, lines on file descriptor 3 are progress, warnings and errors (see
//! [`ProgressLine`]).
//!
//! Exit 0 succeeds. 75 (EX_TEMPFAIL) asks for another attempt, and so does a death by a signal (exit 129 to 159 as a
//! shell reports it), because a crash says nothing about the work. Any other code is final, unless [`RetryOn`] has it.
//! The message is the end of stderr. A cancel is SIGTERM to every process of the command, and SIGKILL after the grace
//! period.
//!
//! Every process that a command starts ends with it, whatever its group or session; and a command ends with the process
//! that runs it, even if that gets SIGKILL. A keeper, a small process of the `longrun` program around each command,
//! ensures both. `docs/workers.md` has the whole contract.
//!
//! Read next: `process` for one run from start to end, `keeper` for how commands end.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use super::Worker;
use super::context::Context;
use super::outcome::{Failure, Outcome};

pub(crate) mod confinement;
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

/// The time between SIGTERM and SIGKILL without a grace period.
const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);

/// The variables of this process that every command gets.
const VARIABLES: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// A program and its options.
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
    /// The default size limit of results, in bytes; also the service's default: 5 GiB.
    pub const DEFAULT_MAX_RESULT_BYTES: u64 = 5 << 30;

    /// Runs `program` with `args`, unchanged.
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

    /// Runs a command line with `/bin/sh`.
    pub fn shell(line: impl AsRef<OsStr>) -> Self {
        Self::new("/bin/sh", [OsStr::new("-c"), line.as_ref()])
    }

    /// Sets the size limit of results, in bytes; 5 GiB by default. A larger one is a final failure, RESULT_TOO_LARGE.
    pub fn with_max_result_bytes(mut self, max_result_bytes: u64) -> Self {
        self.max_result_bytes = max_result_bytes;
        self
    }

    /// Sets the time between SIGTERM and SIGKILL if the service gives no grace period; 5 s by default.
    pub fn with_stop_grace(mut self, stop_grace: Duration) -> Self {
        self.stop_grace = stop_grace;
        self
    }

    /// Also passes these environment variables of this process, if they are set.
    pub fn with_variables<N: Into<OsString>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.variables.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets the path of the `longrun` program, which is the keeper. By default it is looked up in `PATH`.
    pub fn with_keeper(mut self, program: impl Into<PathBuf>) -> Self {
        self.keeper = program.into();
        self
    }

    /// Sets the confinement.
    pub fn with_confinement(mut self, confinement: Confinement) -> Self {
        self.confinement = confinement;
        self
    }

    /// Sets the exit codes that ask for another attempt.
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
