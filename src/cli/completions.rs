//! `longrun completions SHELL`, and the completions that shells ask for: flags, and also names, kinds and states.
//!
//! A completion never fails and never takes long: if no server responds, it offers no names and kinds.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args as _, CommandFactory as _, FromArgMatches as _};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;

use super::connection::Connection;
use super::output::Output;
use super::{Cli, Exit, describe, text};
use crate::client::{Client, ClientError};
use crate::proto::v1::operation::State;
use crate::proto::v1::{ListOperationsRequest, OperationView};

const EXAMPLES: &str = "\
Examples:
  longrun completions bash > ~/.local/share/bash-completion/completions/longrun
  longrun completions zsh > \"${fpath[1]}/_longrun\"
  longrun completions fish > ~/.config/fish/completions/longrun.fish

The script asks this program for completions. So it also completes names of operations, kinds and
states, from the server of LONGRUN_SERVER or --server.";

/// If this variable is set, a shell asks the program for completions.
const VARIABLE: &str = "LONGRUN_COMPLETE";
/// Longest time for the server's response, because a person waits at the keyboard.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many operations are offered: the latest.
const MOST: i32 = 100;

/// Arguments of `completions`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell to complete in
    shell: Shell,
}

pub(super) fn run(args: &Args, out: &Output) -> anyhow::Result<Exit> {
    let shells = Shells::builtins();
    let shell = shells.completer(&args.shell.to_string()).context("there is no such shell")?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "longrun", "longrun", "longrun", &mut script)?;
    out.bytes(&script)?;
    Ok(Exit::Ok)
}

/// Writes completions to stdout, if a shell asks for them; otherwise `None`.
pub fn complete(words: &[OsString]) -> Option<Exit> {
    let shell = std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty())?;
    let shells = Shells::builtins();
    let shell = shells.completer(shell.to_str()?)?;
    let begin = words.iter().position(|word| word == "--")? + 1;
    let line = words.get(begin..).filter(|line| !line.is_empty())?.to_vec();
    let mut command = Cli::command();
    command.build();
    let mut answer = Vec::new();
    let here = std::env::current_dir().ok();
    let written = shell.write_complete(&mut command, line, here.as_deref(), &mut answer);
    let written = written.is_ok() && Output::new(false).bytes(&answer).is_ok();
    Some(if written { Exit::Ok } else { Exit::Failure })
}

/// Offers the latest operations.
pub(super) fn operations() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let request = ListOperationsRequest {
            page_size: MOST,
            view: OperationView::Basic.into(),
            ..Default::default()
        };
        let listed = ask(async |client| client.list(request).await);
        let operations = listed.map(|page| page.operations).unwrap_or_default();
        let is_whole = current.to_string_lossy().starts_with("operations/");
        let candidates = operations.into_iter().map(|operation| {
            let id = operation.name.rsplit('/').next().unwrap_or_default();
            let word = if is_whole { operation.name.as_str() } else { id };
            let state = describe::state_name(operation.state());
            let help = format!("{} {state}", text::clean(&operation.kind));
            CompletionCandidate::new(word).help(Some(help.into()))
        });
        fitting(candidates, current)
    })
}

/// Offers the kinds that the server knows of.
pub(super) fn kinds() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let listed = ask(async |client| client.list_kinds().await);
        let kinds = listed.map(|page| page.kinds).unwrap_or_default();
        fitting(kinds.into_iter().map(|kind| CompletionCandidate::new(kind.kind)), current)
    })
}

/// Offers the states.
pub(super) fn states() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let states = (1..=16).filter_map(|number| State::try_from(number).ok());
        let names = states.map(|state| describe::state_name(state).to_lowercase());
        // A comma begins another state.
        let current = current.to_string_lossy();
        let (before, last) =
            current.rsplit_once(',').map_or(("", &*current), |(before, last)| (before, last));
        let separator = if before.is_empty() { "" } else { "," };
        let names = names.filter(|name| name.starts_with(&last.to_lowercase()));
        names.map(|name| CompletionCandidate::new(format!("{before}{separator}{name}"))).collect()
    })
}

fn fitting(
    candidates: impl Iterator<Item = CompletionCandidate>,
    current: &OsStr,
) -> Vec<CompletionCandidate> {
    let begin = current.as_encoded_bytes();
    candidates.filter(|it| it.get_value().as_encoded_bytes().starts_with(begin)).collect()
}

/// The flags of the command on a line that may be incomplete, with their values.
fn flags_of(command: &clap::Command, line: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let (mut words, mut line) = (Vec::new(), line.take_while(|word| word != "--"));
    while let Some(word) = line.next() {
        let text = word.to_string_lossy().into_owned();
        let Some(flag) = text.strip_prefix("--") else { continue };
        let (long, value) =
            flag.split_once('=').map_or((flag, None), |(flag, it)| (flag, Some(it)));
        let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(long)) else {
            continue;
        };
        let value = match arg.get_action().takes_values() && value.is_none() {
            true => line.next(),
            false => None,
        };
        words.push(word);
        words.extend(value);
    }
    words
}

/// Calls the server that the line and the variables name.
fn ask<T>(call: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> Option<T> {
    let line = std::env::args_os().skip_while(|word| word != "--").skip(2);
    let command = Connection::augment_args(clap::Command::new("longrun").no_binary_name(true));
    let words = flags_of(&command, line);
    let connection =
        Connection::from_arg_matches(&command.try_get_matches_from(words).ok()?).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let client = connection.builder().connect_lazy().ok()?.with_retries(0);
        tokio::time::timeout(PATIENCE, call(client)).await.ok()?.ok()
    })
}
