//! The refusal of a value that begins with a dash and follows its flag as a word of its own, as in `--start-in -1s`.
//! clap takes it for another flag, and knows none of that name.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::text::quote;

/// The error about the value, if `error` is about such a word; otherwise `error`.
pub(super) fn as_value(error: clap::Error, command: &Command, words: &[OsString]) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let unknown = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    match find(&unknown, command, words) {
        Some((arg, value)) => {
            refused(arg, &value, command).unwrap_or_else(|| unattached(arg, &value, command))
        }
        None => error,
    }
}

/// The flag in front of the unknown word, and that word.
fn find<'a>(unknown: &str, command: &'a Command, words: &[OsString]) -> Option<(&'a Arg, String)> {
    let words = words.iter().take_while(|word| *word != "--").map(|word| word.to_string_lossy());
    let words: Vec<_> = words.collect();
    words.windows(2).find_map(|pair| {
        let [flag, value] = pair else { return None };
        // clap names one letter of `-abc`.
        let is_short = !value.starts_with("--") && value.starts_with('-');
        let is_within = is_short && value.contains(unknown.trim_start_matches('-'));
        let arg = command.get_arguments().find(|arg| takes_next(arg, flag))?;
        (is_within || value.starts_with(unknown)).then(|| (arg, value.to_string()))
    })
}

/// Whether this word is the flag, and the next word its value.
fn takes_next(arg: &Arg, word: &str) -> bool {
    let is_long =
        |name: &str| arg.get_long_and_visible_aliases().is_some_and(|all| all.contains(&name));
    let is_it = match word.strip_prefix("--") {
        Some(name) => is_long(name),
        None => word.starts_with('-') && arg.get_short().is_some_and(|short| word.ends_with(short)),
    };
    is_it && arg.get_action().takes_values() && !arg.is_require_equals_set()
}

/// The rule that the value breaks; `None` if the flag takes it.
fn refused(arg: &Arg, value: &str, command: &Command) -> Option<clap::Error> {
    let long = arg.get_long()?;
    let command = command.clone().no_binary_name(true).mut_args(|arg| arg.env(Resettable::Reset));
    let error = command.try_get_matches_from([format!("--{long}={value}")]).err()?;
    // Values come before what else is wrong with so short a line.
    let is_it =
        error.get(ContextKind::InvalidArg).is_some_and(|it| it.to_string() == arg.to_string());
    let is_value = matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation);
    (is_it && is_value).then_some(error)
}

/// The error for a valid value: only an equals sign shows that it is one.
fn unattached(arg: &Arg, value: &str, command: &Command) -> clap::Error {
    let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
    error.insert(ContextKind::InvalidArg, ContextValue::String(arg.to_string()));
    error.insert(ContextKind::InvalidValue, ContextValue::String(String::new()));
    let value = if arg.is_hide_env_values_set() { "…".to_owned() } else { quote(value) };
    let tip = format!(
        "a value that begins with a dash is joined by =, e.g. --{}={value}",
        arg.get_long().unwrap_or_default()
    );
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}
