//! The refusal of a wrong command line: the flag, what was given, the rule, and an example.
//!
//! The flag's declaration has the rule. The example is here, or is the flag's default.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::struck_out::without_password;
use super::text::quote;
use super::{Cli, Usage, dashed};
use crate::config::ConfigError;
use crate::operation::Settings;

/// Valid values, by flag or by the name of the value.
const EXAMPLES: [(&str, &str); 61] = [
    ("--after-revision", "3"),
    ("--ca", "ca.pem"),
    ("--check-store", "sqlite:longrun.db"),
    ("--client-cert", "client.pem"),
    ("--client-key", "client.key"),
    ("--concurrency", "8"),
    ("--config", "longrun.toml"),
    ("--content-type", "text/csv"),
    ("--count", "100000"),
    ("--env", "GREETING"),
    ("--filter", "kind=report.build"),
    ("--frames", "1"),
    ("--input-schema", "report.build=schemas/report.json"),
    ("--handler-env", "GREETING"),
    ("--jwt-algorithm", "ES256"),
    ("--jwt-audience", "longrun"),
    ("--jwt-issuer", "https://id.example.com"),
    ("--jwt-keys", "https://id.example.com/keys"),
    ("--listen-unix", "/run/longrun.sock"),
    ("--log", "debug"),
    ("--objects", "/var/lib/longrun/objects"),
    ("--operation", "01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e"),
    ("--parent", "01980a3e-7f2b-7c11-9d5e-3b1f6a2c4d5e"),
    ("--rate", "2000"),
    ("--replica", "http://127.0.0.1:7421"),
    ("--server", "http://127.0.0.1:7420"),
    ("--token-file", "longrun.key"),
    ("--webhook-allow", "hooks.example.com"),
    ("--trace-url", "http://localhost:16686/trace/{trace_id}"),
    ("CODES", "1,64-78"),
    ("DIR|URL", "s3://bucket/longrun"),
    ("DIR", "man"),
    ("DURATION", "90s"),
    ("EXPR", "kind=report.build"),
    ("FILE", "FILE"),
    ("FORMAT", "json"),
    ("HOST", "jobs.example.com"),
    ("HOST:PORT", "127.0.0.1:7443"),
    ("FILTER", "kind=report.build"),
    ("ID", "worker-1"),
    ("KEY", "monday"),
    ("KEY=VALUE", "team=maps"),
    ("KEY[=VALUE]", "team=maps"),
    ("KIND", "report.build"),
    ("LABEL", "customer"),
    ("KIND=COMMAND", "shout=tr a-z A-Z"),
    ("KIND=URL", "thumbnail=https://functions.example.com/thumbnail"),
    ("NAME", "nightly"),
    ("NAME=MOST", "memory=512MiB"),
    ("NAME=TENANT:ROLES", "worker-1=acme:work"),
    ("ORIGIN", "https://app.example.com"),
    ("ROLE", "submit"),
    ("RULE", "max-failures=3"),
    ("STATE", "running"),
    ("TENANT", "acme"),
    ("TEXT", "nightly"),
    ("TIME", "2026-03-01T12:00:00Z"),
    ("TOKEN", "TOKEN"),
    ("URL", "https://jobs.example.com"),
    ("USER", "nobody"),
    ("VALUE=ROLE", "longrun-admins=admin"),
];

/// clap's error about `words`, with a valid example.
pub(super) fn with_example(error: clap::Error, root: &Command, words: &[OsString]) -> clap::Error {
    let path = named(root, words);
    let command = path.last().copied().unwrap_or(root);
    let mut error = dashed::as_value(error, command, words);
    if let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidValue) {
        let shown = ContextValue::String(without_password(given));
        error.insert(ContextKind::InvalidValue, shown);
    }
    if !error.use_stderr() || has_example(&error.to_string()) {
        return error;
    }
    let about = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(about)) => Some(about.clone()),
        _ => None,
    };
    let is_value = matches!(
        error.kind(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::WrongNumberOfValues
    );
    let flag = command.get_arguments().find(|arg| Some(arg.to_string()) == about);
    let of_flag = flag.filter(|_| is_value).and_then(|arg| in_use(arg, words));
    let Some(example) = of_flag.or_else(|| first_line(&path)) else { return error };
    let mut tips = match error.remove(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips,
        _ => Vec::new(),
    };
    tips.push(format!("for example: {example}").into());
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    error
}

/// The refusal of flags that are valid one by one, but not together.
pub(super) fn of_config(error: &ConfigError, command: &Command) -> Usage {
    let text = error.to_string();
    let ConfigError::Range { flag, .. } = error else { return Usage(text) };
    let arg =
        command.get_arguments().find(|arg| arg.get_long() == Some(flag.trim_start_matches('-')));
    match arg.and_then(example).filter(|_| !has_example(&text)) {
        Some(example) => Usage(format!("{text}, e.g. {flag} {}", quote(&example))),
        None => Usage(text),
    }
}

/// The argument of this process that a server refused as `field`: what was given, and a valid example.
pub(super) fn advice(field: &str) -> Option<String> {
    let words = super::joined(std::env::args_os());
    let mut root = Cli::command();
    root.build();
    let matches = root.clone().try_get_matches_from(&words).ok()?;
    let mut of_command = &matches;
    while let Some((_, inner)) = of_command.subcommand() {
        of_command = inner;
    }
    let path = named(&root, &words);
    let arg = path.last()?.get_arguments().find(|arg| is_of_field(arg, field))?;
    // A flag that was not given is not what the refusal is about.
    if of_command.value_source(arg.get_id().as_str()) == Some(ValueSource::DefaultValue) {
        return None;
    }
    let given = of_command.get_raw(arg.get_id().as_str())?.map(|value| value.to_string_lossy());
    let given = given.map(|value| quote(&value)).collect::<Vec<_>>().join(" ");
    match arg.get_long() {
        Some(long) => Some(format!(
            "given: --{long} {given}; for example: --{long} {}",
            quote(&example(arg)?)
        )),
        None => {
            let name = arg.get_value_names()?.first()?;
            Some(format!("given: {name} {given}; for example: {}", first_line(&path)?))
        }
    }
}

/// Whether a field of a request has its value from this argument.
fn is_of_field(arg: &Arg, field: &str) -> bool {
    // Fields whose arguments have other names.
    const OTHERS: [(&str, &str); 4] =
        [("ttl", "for"), ("expire_time", "expires"), ("what", "limit"), ("name", "operation")];
    let path = field.strip_prefix("settings.").unwrap_or(field);
    let setting = Settings::ALL.iter().find(|setting| setting.path == path);
    let last = path.rsplit('.').next().unwrap_or(path);
    let last = last.split(['[', ' ']).next().unwrap_or(last);
    let other = OTHERS.iter().find(|(known, _)| *known == last).map(|(_, other)| *other);
    let is_called = |name: &str| {
        let value = arg.get_value_names().and_then(<[_]>::first);
        let positional = value.filter(|_| arg.is_positional()).map(|name| name.to_lowercase());
        arg.get_long() == Some(&name.replace('_', "-"))
            || arg.get_id() == name
            || positional.is_some_and(|positional| positional == name)
    };
    setting.map_or_else(
        || is_called(last) || other.is_some_and(is_called),
        |setting| arg.get_id() == setting.name,
    )
}

/// Whether a refusal has an example.
pub(super) fn has_example(text: &str) -> bool {
    ["e.g. ", "such as ", "for example: "].iter().any(|words| text.contains(words))
}

/// A valid value of the flag.
pub(super) fn example(arg: &Arg) -> Option<String> {
    let long = arg.get_long().map(|long| format!("--{long}"));
    let listed = |name: &str| {
        EXAMPLES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let of_setting = || {
        let setting = Settings::ALL.iter().find(|setting| arg.get_id() == setting.name)?;
        let value = setting.default.rsplit(' ').next()?;
        value.starts_with(|c: char| c.is_ascii_digit()).then(|| value.to_owned())
    };
    let of_default = || {
        let default = arg.get_default_values().first()?.to_str()?;
        (!default.is_empty()).then(|| default.to_owned())
    };
    let of_choice = || {
        let choices = arg.get_possible_values();
        Some(choices.first()?.get_name().to_owned())
    };
    let of_kind = || listed(arg.get_value_names()?.first()?.as_str());
    let of_flag = long.as_deref().and_then(listed);
    of_flag.or_else(of_setting).or_else(of_choice).or_else(of_default).or_else(of_kind)
}

/// The flag with a valid value; or the variable, if its value is the wrong one.
fn in_use(arg: &Arg, words: &[OsString]) -> Option<String> {
    let (long, value) = (arg.get_long()?, quote(&example(arg)?));
    let is_flag = |word: &OsString| {
        let word = word.to_string_lossy();
        let short = arg.get_short().is_some_and(|short| word.starts_with(&format!("-{short}")));
        short || word.strip_prefix("--").is_some_and(|it| it.split('=').next() == Some(long))
    };
    match arg.get_env().filter(|name| std::env::var_os(name).is_some()) {
        Some(variable) if !words.iter().any(is_flag) => {
            Some(format!("{}={value} (the wrong value is the variable's)", variable.display()))
        }
        _ if matches!(arg.get_action(), ArgAction::Set) && arg.is_require_equals_set() => {
            Some(format!("--{long}={value}"))
        }
        _ => Some(format!("--{long} {value}")),
    }
}

/// The command that the words name, after its outer commands.
fn named<'a>(root: &'a Command, words: &[OsString]) -> Vec<&'a Command> {
    let mut path = vec![root];
    for word in words.iter().skip(1).take_while(|word| *word != "--") {
        path.extend(path.last().and_then(|command| command.find_subcommand(word)));
    }
    path
}

/// The first example in the help of the command, or of its outer commands.
fn first_line(path: &[&Command]) -> Option<String> {
    let names = path.iter().skip(1).map(|command| command.get_name());
    let names = std::iter::once("longrun").chain(names).collect::<Vec<_>>().join(" ");
    path.iter().rev().find_map(|command| {
        let help = command.get_after_help()?.to_string();
        let mut lines = help.lines().skip_while(|line| !line.starts_with("Example")).skip(1);
        let line = lines.find(|line| line.contains(&names))?;
        // An example's explanation comes after wide space.
        Some(line.trim().split("   ").next()?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All commands that do something, with the words that name them.
    fn commands() -> Vec<(Vec<String>, Command)> {
        fn within(names: &[String], command: &Command, found: &mut Vec<(Vec<String>, Command)>) {
            let inner: Vec<_> =
                command.get_subcommands().filter(|inner| inner.get_name() != "help").collect();
            for inner in &inner {
                within(&[names, &[inner.get_name().to_owned()]].concat(), inner, found);
            }
            if inner.is_empty() {
                found.push((names.to_vec(), command.clone()));
            }
        }
        let mut root = Cli::command();
        root.build();
        let mut found = Vec::new();
        within(&["longrun".to_owned()], &root, &mut found);
        found
    }

    /// Whether clap takes the value for this flag alone.
    fn takes(arg: &Arg, value: &str) -> bool {
        let alone = Arg::new("it").long("it").value_parser(arg.get_value_parser().clone());
        let command =
            Command::new("alone").no_binary_name(true).arg(alone.allow_hyphen_values(true));
        command.try_get_matches_from(["--it", value]).is_ok()
    }

    fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
        let flags = command.get_arguments().filter(|arg| arg.get_long().is_some());
        flags.filter(|arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append))
    }

    #[test]
    fn every_flag_has_an_example_that_it_takes() {
        for (names, command) in commands() {
            for arg in flags(&command) {
                let Some(value) = example(arg) else { panic!("{names:?} {arg} has no example") };
                assert!(takes(arg, &value), "{names:?} {arg} refuses {value}");
            }
        }
    }

    #[test]
    fn every_command_has_an_example() {
        let mut root = Cli::command();
        root.build();
        for (names, _) in commands() {
            let words: Vec<OsString> = names.iter().map(Into::into).collect();
            assert!(first_line(&named(&root, &words)).is_some(), "{names:?}");
        }
    }

    fn said_of(root: &Command, words: &[OsString]) -> String {
        let error = Cli::command().try_get_matches_from(words).unwrap_err();
        with_example(error, root, words).to_string()
    }

    /// The flag, what was given, what would do, and an example.
    #[test]
    fn every_refused_value_is_told_in_four_parts() {
        const WRONG: [&str; 5] = ["no such thing", "-7", "99999999999999999999", "://", ""];
        let mut root = Cli::command();
        root.build();
        let mut refused = 0;
        for (names, command) in commands() {
            for arg in flags(&command) {
                for wrong in WRONG.iter().filter(|wrong| !takes(arg, wrong)) {
                    let flag = format!("--{}", arg.get_long().unwrap_or_default());
                    let mut words: Vec<OsString> = names.iter().map(Into::into).collect();
                    words.push(format!("{flag}={wrong}").into());
                    let said = said_of(&root, &words);
                    // A word of its own, which clap takes for a flag.
                    if wrong.starts_with('-') && !arg.is_require_equals_set() {
                        let words =
                            [&words[..names.len()], &[(&flag).into(), wrong.into()]].concat();
                        assert_eq!(said_of(&root, &words), said);
                    }
                    let head = format!("{names:?} {flag}={wrong}: {said}");
                    assert!(said.contains(&flag), "{head}");
                    let is_secret = arg.is_hide_env_values_set();
                    assert!(is_secret || wrong.is_empty() || said.contains(wrong), "{head}");
                    let rules =
                        ["must ", "possible values", "a value is required", "cannot be empty"];
                    assert!(is_secret || rules.iter().any(|rule| said.contains(rule)), "{head}");
                    assert!(has_example(&said), "{head}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
