//! The command line of people and scripts: arguments, output and exit codes.
//!
//! A command calls the server as any other client does; only `serve`, `demo` and `bench` start one, and `store` needs
//! none. Nothing here exits the process or installs a panic hook: commands return an exit code to `main`.
//!
//! Read next: `submit` for a whole command, `watch` for live output, `host` for how a server and its handlers stop.

use std::error::Error as _;
use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgMatches, Args, FromArgMatches as _, Parser, Subcommand};

use crate::config::file;
use crate::telemetry::{self, LogFormat};

mod batch;
mod bench;
mod change;
mod completions;
mod config;
mod configured;
mod connection;
mod contents;
mod dashed;
mod demo;
mod describe;
mod doctor;
mod events;
mod exit;
mod format;
mod get;
mod handlers;
mod host;
mod input;
mod joined;
mod key;
mod keyboard;
mod limits;
mod list;
mod live;
mod man;
mod names;
mod output;
mod paint;
mod refusal;
mod remote;
mod result;
mod selection;
mod serve;
mod settings;
mod share;
mod signals;
mod silence;
mod standing;
mod store;
mod struck_out;
mod submit;
mod systemd;
mod table;
mod table_examples;
mod text;
mod top;
mod variables;
mod wait;
mod watch;
mod watch_many;
mod webhook;
mod worker;
mod wrong_line;
mod yaml;

pub use self::completions::complete;
use self::connection::Connection;
pub use self::exit::Exit;
pub use self::joined::joined;
pub use self::output::report;
use self::output::{Output, Usage};
use self::remote::Remote;
use self::wrong_line::WrongLine;

const ABOUT: &str = "Submit work, get an operation at once, and then wait for it, watch it, \
                     cancel it, list it or fetch its result";

const AFTER_HELP: &str = "\
Examples:
  longrun demo                                   see the whole service at work, in ten seconds
  longrun serve --handler 'shout=tr a-z A-Z'     a server whose work is a command
  longrun submit shout 'hello' --wait            submit, wait, show the outcome
  longrun watch 01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e

Names: an operation's name is operations/ID. Commands also take the bare ID in any case, its
beginning (8 digits or more, if it is unique), or a URL of the operation.

Exit codes:
  0    success; if the command waited for an operation, it SUCCEEDED
  1    failure: the server was not reached, or it refused the request
  2    the command line is wrong
  3    the operation FAILED
  4    the operation was CANCELLED
  5    the operation PARTIALLY_SUCCEEDED
  6    the operation was not done when the time to wait was over
  130  interrupted (143: terminated); the operation goes on

Output goes to stdout, notes and logs to stderr. Only terminals get colors and live progress;
NO_COLOR switches colors off. With --json an error is one line on stderr, {\"error\": {\"message\": …,
\"causes\": […], \"exitCode\": …}}, with \"code\" and \"reason\" of a server's refusal, or with \"hint\" and
\"usage\" of a wrong command line.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "longrun", version, about = ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

/// The flags of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Print JSON: the same documents as the HTTP API
    #[arg(long, global = true)]
    json: bool,
    /// What to log, e.g. debug or longrun=debug,h2=warn [default: info for serve and worker, otherwise warn]
    #[arg(long, global = true, value_name = "FILTER", env = "LONGRUN_LOG")]
    log: Option<String>,
    /// Format of log lines
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "LONGRUN_LOG_FORMAT",
        value_enum,
        default_value_t
    )]
    log_format: LogFormat,
}

/// How long the program waits at its end for tasks that were dropped.
const TIDY_UP: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in the life of the program")]
enum Command {
    /// Run a server, optionally with commands as handlers
    Serve(serve::Args),
    /// Submit work, and get its operation at once
    Submit(submit::Args),
    /// Submit many pieces of work as the children of one operation, which ends by a rule
    Batch(batch::Args),
    /// Show an operation as it is now
    Get(get::Args),
    /// List operations
    List(list::Args),
    /// Follow an operation, or all that match a filter, as it happens
    Watch(watch::Args),
    /// Wait until an operation is done
    Wait(wait::Args),
    /// Cancel operations
    Cancel(change::CancelArgs),
    /// Let operations start now that wait for their start time or their next attempt
    RunNow(change::RunNowArgs),
    /// Delete done operations: their records, histories and payloads
    Delete(change::DeleteArgs),
    /// Submit the input of a done operation again, as a new operation
    Retry(change::RetryArgs),
    /// Write an operation's result, byte for byte
    Result(result::Args),
    /// Write an operation's input, byte for byte
    Input(result::InputArgs),
    /// Show an operation's history: transitions and the log of its workers
    Events(events::Args),
    /// Do work: run a command for each operation of a kind
    Worker(worker::Args),
    /// List the workers that are connected
    Workers(standing::WorkersArgs),
    /// List kinds, with their queued and running operations
    Kinds(standing::KindsArgs),
    /// Watch kinds, workers and transitions on one screen
    Top(top::Args),
    /// Make, list and revoke API keys
    Key(key::Args),
    /// Share an operation's status and result by a URL
    Share(share::Args),
    /// Manage webhooks: signed requests that report transitions to a receiver
    Webhook(webhook::Args),
    /// List, set and unset limits of tenants while servers run
    Limits(limits::Args),
    /// Copy or back up a store as a whole
    Store(store::Args),
    /// Check a deployment, and say what to change
    Doctor(doctor::Args),
    /// Check a configuration file, and print the effective configuration
    Config(config::Args),
    /// Measure the throughput and latency of a server
    Bench(bench::Args),
    /// Show the whole service at work: a server, real commands, gRPC and HTTP
    Demo(demo::Args),
    /// Write a completion script for a shell
    Completions(completions::Args),
    /// Write man pages, one for each command
    Man(man::Args),
}

impl Command {
    /// The default of --log: servers and workers log what they do, other commands only warnings, because they print
    /// results.
    fn log_filter(&self) -> &'static str {
        if self.is_service() { "info" } else { "warn" }
    }

    /// Whether it runs until it is stopped.
    const fn is_service(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Worker(_))
    }
}

/// Reads the command line, and the configuration file that it names. An error is for [`refuse`].
pub fn parse(words: Vec<OsString>) -> anyhow::Result<Cli> {
    configured::read(words)?.cli()
}

/// Prints why a command line is wrong, or the help or version that it asks for.
pub fn refuse(error: anyhow::Error, json: bool) -> Exit {
    match error.downcast::<clap::Error>() {
        Ok(answer) if answer.use_stderr() && json => report(&WrongLine::of(&answer).into(), true),
        Ok(answer) if answer.use_stderr() => {
            // A closed stderr changes nothing.
            let _ignored = answer.print();
            Exit::Usage
        }
        // clap returns help and version as errors, too.
        Ok(answer) => match Output::new(false).styled(&answer.render()) {
            Ok(()) => Exit::Ok,
            Err(error) => report(&error, json),
        },
        Err(error) => report(&error, json),
    }
}

impl Cli {
    /// The command line as it was read, with the tables of its configuration file.
    fn of(matches: &ArgMatches, tables: file::Config) -> anyhow::Result<Self> {
        let mut cli = Self::from_arg_matches(matches)?;
        match &mut cli.command {
            Command::Serve(args) => args.take_tables(tables)?,
            Command::Worker(args) => args.take_tables(tables)?,
            _ => {}
        }
        Ok(cli)
    }
}

/// Runs the command.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { global, connection, command } = cli;
    let filter = global.log.as_deref().unwrap_or_else(|| command.log_filter());
    let _log = telemetry::init(filter, global.log_format).map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Usage(format!("{error}{cause}"))
    })?;
    let out = Output::new(global.json);
    if let Command::Demo(_) = command {
        demo::announce()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // What collects a log as JSON reads each line as JSON, the one that says why nothing runs included.
    let is_logged = command.is_service() && global.log_format == LogFormat::Json && !global.json;
    let exit = runtime.block_on(dispatch(command, &connection, &out));
    // Dropped tasks end their child processes here; nothing else needs time.
    runtime.shutdown_timeout(TIDY_UP);
    match exit {
        Err(error) if is_logged && tracing::enabled!(tracing::Level::ERROR) => {
            Ok(output::log_failure(&error))
        }
        exit => exit,
    }
}

async fn dispatch(command: Command, connection: &Connection, out: &Output) -> anyhow::Result<Exit> {
    let remote = || Remote::new(connection);
    match command {
        Command::Serve(args) => serve::run(args, out).await,
        Command::Submit(args) => submit::run(args, &remote()?, out).await,
        Command::Batch(args) => batch::run(args, &remote()?, out).await,
        Command::Get(args) => get::run(args, &remote()?, out).await,
        Command::List(args) => list::run(args, &remote()?, out).await,
        Command::Watch(args) => watch::run(args, &remote()?, out).await,
        Command::Wait(args) => wait::run(args, &remote()?, out).await,
        Command::Cancel(args) => change::cancel(args, &remote()?, out).await,
        Command::RunNow(args) => change::run_now(args, &remote()?, out).await,
        Command::Delete(args) => change::delete(args, &remote()?, out).await,
        Command::Retry(args) => change::retry(args, &remote()?, out).await,
        Command::Result(args) => result::run(args, &remote()?, out).await,
        Command::Input(args) => result::input(args, &remote()?, out).await,
        Command::Events(args) => events::run(args, &remote()?, out).await,
        Command::Worker(args) => worker::run(args, &remote()?, out).await,
        Command::Workers(args) => standing::workers(args, &remote()?, out).await,
        Command::Kinds(args) => standing::kinds(args, &remote()?, out).await,
        Command::Top(args) => top::run(args, &remote()?, out).await,
        Command::Key(args) => match key::run_alone(&args, out) {
            Some(exit) => exit,
            None => key::run(args, &remote()?, out).await,
        },
        Command::Webhook(args) => webhook::run(args, &remote()?, out).await,
        Command::Share(args) => share::run(args, &remote()?, out).await,
        Command::Limits(args) => limits::run(args, &remote()?, out).await,
        Command::Store(args) => store::run(args, out).await,
        Command::Doctor(args) => doctor::run(args, connection, out).await,
        Command::Config(args) => config::run(args, out),
        Command::Bench(args) => bench::run(args, connection, out).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Completions(args) => completions::run(&args, out),
        Command::Man(args) => man::run(&args, out),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// All commands and subcommands.
    fn commands() -> Vec<clap::Command> {
        let mut command = Cli::command();
        command.build();
        let outer: Vec<_> = command.get_subcommands().cloned().collect();
        let inner = outer.iter().flat_map(|command| command.get_subcommands().cloned());
        inner.chain(outer.clone()).filter(|command| command.get_name() != "help").collect()
    }

    /// Wider lines are broken where they should not be, examples above all.
    #[test]
    fn help_keeps_within_its_lines() {
        for command in commands() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in after.lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
        }
    }

    #[test]
    fn every_flag_and_every_command_says_what_it_is_for() {
        for command in commands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let name = format!("{} {}", command.get_name(), argument.get_id());
                assert!(argument.get_help().is_some(), "{name} has no help");
            }
        }
    }
}
