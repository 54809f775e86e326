//! The command line of people and scripts: arguments, output and exit codes.
//!
//! A command calls the server as any other client does; only `serve`, `demo` and `bench` start one, and `store` needs
//! none. Nothing here exits the process or installs a panic hook: commands return an exit code to `main`.
//!
//! Read next: `submit` for a whole command, `watch` for live output, `host` for how a server and its handlers stop.

use std::error::Error as _;
use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgMatches, Args, FromArgMatches as _, Parser};

use crate::config::file;
use crate::telemetry::{self, LogFormat};

mod batch;
mod bench;
mod change;
mod command;
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
mod follow;
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

use self::command::Command;
pub use self::completions::complete;
use self::connection::Connection;
pub use self::exit::Exit;
pub use self::joined::joined;
pub use self::output::report;
use self::output::{Output, Usage};
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
        cli.command.take_tables(tables)?;
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
    let exit = runtime.block_on(command.run(&connection, &out));
    // Dropped tasks end their child processes here; nothing else needs time.
    runtime.shutdown_timeout(TIDY_UP);
    match exit {
        Err(error) if is_logged && tracing::enabled!(tracing::Level::ERROR) => {
            Ok(output::log_failure(&error))
        }
        exit => exit,
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
