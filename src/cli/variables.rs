//! Variables beside the flags of a command line: an empty one counts as unset, and a flag wins over the variable of a flag
//! that it excludes.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgMatches, Command, CommandFactory as _};

use super::{Cli, refusal};

/// Parses a command line with its variables. Flags win over variables, also over those of flags that they exclude.
pub(super) fn read_words(words: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let mut unread = Vec::new();
    loop {
        let error = match discreet(&unread).try_get_matches_from(words) {
            Ok(matches) => return Ok(matches),
            Err(error) => error,
        };
        match outdone_variable(&error, words, &unread) {
            Some(variable) => unread.push(variable),
            None => {
                let mut root = Cli::command();
                root.build();
                return Err(refusal::with_example(error, &root, words));
            }
        }
    }
}

/// The variable that is the only reason for a conflict of two flags: the other one is on the command line, and wins.
/// `None` if both are there, or both are variables.
fn outdone_variable(
    error: &clap::Error,
    words: &[OsString],
    unread: &[OsString],
) -> Option<OsString> {
    if error.kind() != ErrorKind::ArgumentConflict {
        return None;
    }
    let named = [ContextKind::InvalidArg, ContextKind::PriorArg].map(|kind| error.get(kind));
    let named: Vec<String> = named.into_iter().flatten().map(ToString::to_string).collect();
    let mut root = Cli::command();
    root.build();
    let commands = std::iter::once(&root).chain(root.get_subcommands());
    let in_conflict = commands.flat_map(Command::get_arguments).filter(|arg| {
        let arg = arg.to_string();
        named.iter().any(|named| named.contains(&arg))
    });
    let variables = in_conflict.filter_map(Arg::get_env).filter(|name| is_set(name));
    let variables: BTreeSet<OsString> = variables.map(ToOwned::to_owned).collect();
    let ends_it = |variable: &OsString| {
        let unread = [unread, std::slice::from_ref(variable)].concat();
        let again = discreet(&unread).try_get_matches_from(words);
        again.map_or_else(|other| other.to_string() != error.to_string(), |_| true)
    };
    let mut ending = variables.into_iter().filter(ends_it);
    match (ending.next(), ending.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Whether the variable has a value; an empty one counts as unset.
fn is_set(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Whether two flags cannot be used together.
pub(super) fn exclude_each_other(command: &Command, one: &Arg, other: &Arg) -> bool {
    let excludes = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|it| it.get_id() == other.get_id())
    };
    excludes(one, other) || excludes(other, one)
}

/// The command line without empty variables and those that are to be left `unread`. Its help shows no values of
/// variables, because many can hold a password: of a store, a URL or a command.
fn discreet(unread: &[OsString]) -> Command {
    fn hide(command: Command, unread: &[OsString]) -> Command {
        let hidden = |arg: Arg| {
            let is_read = |name: &OsStr| is_set(name) && !unread.iter().any(|it| it == name);
            // The help names variables that are not set, too.
            let name = arg.get_env().filter(|name| std::env::var_os(name).is_some());
            let arg = if name.is_none_or(is_read) { arg } else { arg.env(Resettable::Reset) };
            arg.hide_env_values(true)
        };
        command.mut_args(hidden).mut_subcommands(|command| hide(command, unread))
    }
    hide(Cli::command(), unread)
}
