//! `longrun config check`: the effective configuration, without starting anything.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ContextKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};

use super::configured::{self, Configured, File};
use super::struck_out::{STRUCK_OUT, without_password};
use super::{Exit, Output, Usage};
use crate::config::StoreUrl;
use crate::config::file::TABLES;
use crate::operation::http::is_credential;

const EXAMPLES: &str = "\
Examples:
  longrun config check longrun.toml
  longrun config check                defaults and LONGRUN_… variables: a file to begin with
  longrun config check --worker worker.toml

Prints the configuration that `longrun serve --config FILE` would use, in the form of such a file.
LONGRUN_… variables win over FILE, and FILE wins over the defaults. Passwords, tokens and other
secrets are printed as ***. Exit codes: 0 the file is valid, 2 it is not, and the error names the
line. docs/configuration.md lists all settings.";

/// Arguments of `config`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Check a configuration file, and print the effective configuration
    Check(CheckArgs),
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
struct CheckArgs {
    /// The configuration file (TOML); without one, the command checks the defaults and the variables
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Check the file as one for `longrun worker`
    #[arg(long)]
    worker: bool,
}

pub(super) fn run(args: Args, out: &Output) -> anyhow::Result<Exit> {
    let Action::Check(CheckArgs { file, worker }) = args.command;
    let name = if worker { "worker" } else { "serve" };
    let mut words: Vec<OsString> = vec!["longrun".into(), name.into()];
    match file {
        Some(file) => words.extend(["--config".into(), file.into()]),
        // Flags that a worker requires in addition to settings.
        None if worker => words.extend(["--kind=any", "--", "true"].map(OsString::from)),
        None => {}
    }
    let command = configured::command(name);
    let configured = configured::read(words).map_err(|error| of_variable(error, &command))?;
    // All checks that the command itself makes before it begins.
    configured.cli()?;
    let Configured { matches, file } = configured;
    let of_command = matches.subcommand_matches(name).cloned().unwrap_or_default();
    let tables = file.as_ref().map(tables).unwrap_or_default();
    if out.is_json() {
        let mut all = Table::new();
        for (key, arg) in configured::settings(&command) {
            all.extend(value(arg, &of_command).map(|value| (key, value)));
        }
        all.extend(tables);
        out.document(&all)?;
        return Ok(Exit::Ok);
    }
    let mut text = describe(&command, &of_command, file.as_ref());
    if !tables.is_empty() {
        text.push_str(&format!("\n{}", toml::to_string(&tables)?));
    }
    out.bytes(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// What clap refuses is what a variable says, because this command gives no flags.
fn of_variable(error: anyhow::Error, command: &Command) -> anyhow::Error {
    let refused = match error.downcast::<clap::Error>() {
        Ok(refused) => refused,
        Err(error) => return error,
    };
    let about = refused.get(ContextKind::InvalidArg).map(ToString::to_string);
    let arg = command.get_arguments().find(|arg| Some(arg.to_string()) == about);
    let variable = arg.and_then(Arg::get_env);
    let variable = variable.map(|name| format!("{}: ", name.display())).unwrap_or_default();
    let text = refused.render().to_string();
    Usage(format!("{variable}{}", text.trim_start_matches("error: ").trim_end())).into()
}

/// The settings, each on a line; settings without a value are comments.
fn describe(command: &Command, matches: &ArgMatches, file: Option<&File>) -> String {
    let (mut text, mut heading) = (String::new(), None);
    for (key, arg) in configured::settings(command) {
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            let separator = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{separator}# {}\n", heading.unwrap_or("Others")));
        }
        let settings = file.map(|file| file.config.settings.as_slice()).unwrap_or_default();
        let line = settings.iter().find(|setting| setting.key == key).map(|setting| setting.line);
        let origin = match (matches.value_source(arg.get_id().as_str()), line, arg.get_env()) {
            (Some(ValueSource::EnvVariable), _, Some(name)) => format!("  # {}", name.display()),
            (Some(ValueSource::CommandLine), Some(line), _) => format!("  # line {line}"),
            _ => String::new(),
        };
        text.push_str(&match value(arg, matches) {
            Some(value) => format!("{key} = {value}{origin}\n"),
            None => format!("# {key} = {}\n", placeholder(arg)),
        });
    }
    text
}

/// The placeholder of a setting without a value.
fn placeholder(arg: &Arg) -> String {
    let name = arg.get_value_names().and_then(<[_]>::first).map_or("VALUE", |name| name.as_str());
    let one = Value::String(name.to_owned());
    if is_list(arg) { format!("[{one}]") } else { one.to_string() }
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// The value of a setting, without secrets; `None` if it is not set.
fn value(arg: &Arg, matches: &ArgMatches) -> Option<Value> {
    let id = arg.get_id().as_str();
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Some(Value::Boolean(matches.get_flag(id)));
    }
    let values = matches.get_raw(id)?.map(|value| {
        let text = value.to_string_lossy();
        match arg.is_hide_env_values_set() {
            true => Value::String(
                text.parse()
                    .map_or_else(|_| STRUCK_OUT.to_owned(), |url: StoreUrl| url.to_string()),
            ),
            false => {
                text.parse().map_or_else(|_| Value::String(without_password(&text)), Value::Integer)
            }
        }
    });
    let mut values: Vec<Value> = values.collect();
    if is_list(arg) { Some(Value::Array(values)) } else { values.pop() }
}

/// The tables of the file, without their secrets.
fn tables(file: &File) -> Table {
    let mut tables: Table = file.text.parse().unwrap_or_default();
    tables.retain(|key, _| TABLES.contains(&key));
    tables.iter_mut().for_each(|(_, value)| strike_out(value));
    tables
}

fn strike_out(value: &mut Value) {
    match value {
        Value::String(text) => *text = without_password(text),
        Value::Array(values) => values.iter_mut().for_each(strike_out),
        Value::Table(table) => {
            for (key, value) in table.iter_mut() {
                match value {
                    Value::String(text) if is_credential(&key.to_lowercase().replace('_', "-")) => {
                        STRUCK_OUT.clone_into(text);
                    }
                    value => strike_out(value),
                }
            }
        }
        _ => {}
    }
}
