//! `longrun worker KIND -- COMMAND…`: a command, or a request to an endpoint, for each operation of a kind.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::handlers::{self, Handlers};
use super::output::Output;
use super::remote::Remote;
use super::signals::Signals;
use super::{Exit, Usage, completions};
use crate::config::confinement::{Limit, OwnConfinement, User};
use crate::config::handler::{
    CommandLine, Endpoint, EndpointUrl, Handler, Words, Work, handled_kind,
};
use crate::config::{file, whole};
use crate::time_text::parse_duration;
use crate::worker::command::{Command, Confinement, RetryOn};

const EXAMPLES: &str = "\
Examples:
  longrun worker shout -- tr a-z A-Z
  longrun worker report.build --concurrency 4 -- python3 build_report.py --format pdf
  longrun worker thumbnail -- sh -c 'echo 10% decoding >&3; convert - -resize 128 png:-'
  longrun worker -k count -k sort -- ./work.sh            $LONGRUN_KIND says which it is
  longrun worker render --url https://functions.example.com/render
  longrun worker --config worker.toml                     [[handler]] tables: docs/configuration.md

The command gets the input on stdin, and LONGRUN_… variables; of the worker's own variables it gets
PATH, HOME, LANG, TZ and those that --env names. Its stdout is the result, and its lines on stderr
go to the operation's history. Lines on file descriptor 3 are progress: `40%`, `4/10`,
`4/10 copying` or {\"percent\": 40, \"message\": \"…\"}; or `content-type: text/csv` for the result,
`warning CODE: text` and `error CODE: text` (with exit 0: a partial success).

Exit 0 succeeds. 75, death by a signal (129 to 159 if a shell reports it) and the codes of
--retry-on ask for another attempt. Any other code fails for good. The message is the named error,
or the end of stderr. A cancel sends SIGTERM to all processes of the command, then SIGKILL when the
grace period is over. Processes that the command started end with it. docs/workers.md has more.

After the first SIGTERM or SIGINT the worker takes no more work, and running commands may finish
within the drain timeout; unfinished attempts go back to the queue. A second one ends it at once.";

/// Arguments of `worker`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The kind to serve
    #[arg(value_parser = kind, value_name = "KIND", required_unless_present_any = ["kinds", "file"], add = completions::kinds())]
    kind: Option<String>,
    /// A kind to serve, besides KIND or instead of it; repeatable
    #[arg(short, long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<String>,
    /// The command and its arguments, run as they are, without a shell
    #[arg(last = true, required_unless_present_any = ["url", "file"], value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Post inputs to this URL instead of running a command, see docs/workers.md
    #[arg(long, value_name = "URL", conflicts_with_all = ["command", "variables", "retry_on"])]
    url: Option<EndpointUrl>,
    /// Configuration file (TOML): tables of handlers, and these flags as keys, see docs/configuration.md
    #[arg(long = "config", value_name = "FILE", env = "LONGRUN_WORKER_CONFIG")]
    file: Option<PathBuf>,
    /// The handlers of the configuration file.
    #[arg(skip)]
    of_file: Vec<Handler>,
    /// Environment variable of this worker that the command also gets; repeatable
    #[arg(long = "env", value_name = "NAME", value_parser = handlers::variable)]
    variables: Vec<String>,
    /// Exit codes that ask for another attempt, besides 75: `all`, or codes such as 1,64-78
    #[arg(long, value_name = "CODES", env = "LONGRUN_RETRY_ON")]
    retry_on: Option<RetryOn>,
    /// Limit of each process of the command: cpu=10s, memory=512MiB, file-size=1GiB, processes=64 or open-files=256;
    /// repeatable
    #[arg(long = "limit", value_name = "NAME=MOST")]
    limits: Vec<Limit>,
    /// Run the command as this user, by name or as UID:GID; the worker must be root
    #[arg(long, value_name = "USER")]
    user: Option<User>,
    /// Run each command in an empty directory of its own, which is removed afterwards
    #[arg(long)]
    own_directory: bool,
    /// Attempts that run at once
    #[arg(long, value_name = "N", env = "LONGRUN_CONCURRENCY", default_value_t = 1, value_parser = whole(1_u16..=10_000))]
    concurrency: u16,
    /// This worker's name, for people; by default host and process id
    #[arg(long, value_name = "ID", env = "LONGRUN_WORKER_ID")]
    worker_id: Option<String>,
    /// How long running commands may take to finish after SIGTERM or SIGINT
    #[arg(long, value_name = "DURATION", env = "LONGRUN_DRAIN_TIMEOUT", default_value = "8s", value_parser = parse_duration)]
    drain_timeout: Duration,
}

fn kind(text: &str) -> Result<String, String> {
    handled_kind(text).map(|kind| kind.to_string())
}

/// The largest result that servers take by default.
const MAX_RESULT_BYTES: u64 = Command::DEFAULT_MAX_RESULT_BYTES;

impl Args {
    /// Takes the tables of the configuration file. Its settings are among the flags already.
    pub(super) fn take_tables(&mut self, tables: file::Config) -> Result<(), Usage> {
        let of_servers = [
            ("relay", tables.relay.is_empty()),
            ("dialect", tables.dialects.is_empty()),
            ("limit", tables.limits == Default::default()),
        ];
        if let Some((table, _)) = of_servers.iter().find(|(_, is_empty)| !is_empty) {
            return Err(Usage(format!(
                "--config: [[{table}]] is for `longrun serve`. A worker's file may have settings and [[handler]] tables, \
                 e.g. [[handler]] kind = 'shout' command = 'tr a-z A-Z'"
            )));
        }
        self.of_file = tables.handlers;
        Ok(())
    }

    /// The handlers of the command line, and the file's handlers for other kinds.
    fn handlers(&self) -> Result<Vec<Handler>, Usage> {
        let kinds = self.kind.iter().chain(&self.kinds);
        let work = match &self.url {
            Some(url) => Some(Work::Endpoint(Box::new(Endpoint::new(url.clone())))),
            None if self.command.is_empty() => None,
            None => Some(Work::Command(CommandLine::new(Words::Program(self.command.clone())))),
        };
        let flags: Vec<Handler> = match work {
            Some(work) => {
                let of = |kind: &String| Handler {
                    kind: kind.clone(),
                    work: work.clone(),
                    concurrency: None,
                };
                kinds.map(of).collect()
            }
            None if kinds.count() == 0 => Vec::new(),
            None => {
                return Err(Usage(
                    "KIND needs a command or an endpoint: add -- COMMAND or --url URL, e.g. longrun worker shout -- tr a-z A-Z".to_owned(),
                ));
            }
        };
        if flags.is_empty()
            && self.kind.is_none()
            && (self.url.is_some() || !self.command.is_empty())
        {
            return Err(Usage(
                "a command or --url needs KIND, the kind that it executes, e.g. longrun worker shout -- tr a-z A-Z".to_owned(),
            ));
        }
        let rule = "name each kind once, e.g. longrun worker -k count -k sort -- ./work.sh";
        let list = handlers::merge(flags, self.of_file.clone(), rule)?;
        if list.is_empty() {
            return Err(Usage(
                "--config must have a [[handler]], or the worker has nothing to serve, e.g. [[handler]] kind = 'shout' command = \
                 'tr a-z A-Z'".to_owned(),
            ));
        }
        Ok(list)
    }
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let list = args.handlers()?;
    let Args { variables, retry_on, concurrency, worker_id, drain_timeout, .. } = args;
    let of_all = OwnConfinement {
        limits: args.limits,
        user: args.user,
        own_directory: Some(args.own_directory),
    };
    let confinement = of_all.within(&Confinement::default());
    let kinds: Vec<&str> = list.iter().map(|handler| handler.kind.as_str()).collect();
    let kinds = kinds.join(", ");
    let retry_on = retry_on.unwrap_or_default();
    let max_result_bytes = MAX_RESULT_BYTES;
    let own: u32 = list.iter().filter_map(|handler| handler.concurrency).map(u32::from).sum();
    let is_shared = list.iter().any(|handler| handler.concurrency.is_none());
    let at_once = own + if is_shared { u32::from(concurrency) } else { 0 };
    let handlers =
        Handlers { list, concurrency, variables, retry_on, confinement, max_result_bytes };
    handlers.check()?;
    let workers = handlers.workers(&remote.client)?.into_iter().map(|worker| {
        let worker = worker.drain_timeout(drain_timeout);
        match &worker_id {
            Some(worker_id) => worker.worker_id(worker_id),
            None => worker,
        }
    });
    let url = remote.url();
    out.note(&format!("connecting to {url} to serve {kinds}, {at_once} at once; Ctrl-C stops"));
    let stop = CancellationToken::new();
    let mut signals = Signals::catch()?;
    let work = try_join_all(workers.map(|worker| worker.run(stop.clone())));
    tokio::pin!(work);
    let mut asked = false;
    loop {
        tokio::select! {
            ended = &mut work => {
                ended.with_context(|| format!("failed to serve {kinds}"))?;
                return Ok(Exit::Ok);
            }
            signal = signals.next() => {
                if std::mem::replace(&mut asked, true) {
                    return Ok(signal);
                }
                out.note("stopping: running commands may finish; Ctrl-C again ends them at once");
                stop.cancel();
            }
        }
    }
}
