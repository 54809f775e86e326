//! The command line together with its configuration file.
//!
//! A key of the file is the name of a flag, with `_` for `-`, and has the flag's meaning: values, rules and default
//! are declared once, with the flag. Flags win over variables, variables over the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ContextKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _};

use super::variables::{exclude_each_other, read_words};
use super::{Cli, Usage, refusal, table_examples};
use crate::config::file::{self, Setting, TABLES};

/// Commands that take a configuration file.
const CONFIGURED: [&str; 2] = ["serve", "worker"];
/// Flags that are not settings: they belong to one run, or the file has tables in their place.
const NO_SETTINGS: [&str; 9] =
    ["config", "handler", "handler-url", "help", "json", "kind", "limit", "url", "version"];

/// Keys of a handler, which flags of the same names make people expect among the settings.
const OF_HANDLERS: [&str; 3] = ["kind", "command", "url"];
/// A handler on one line.
const HANDLER: &str = "[[handler]] kind = 'shout' command = 'tr a-z A-Z'";

/// A parsed command line, with the file that it names.
#[derive(Debug)]
pub(super) struct Configured {
    /// The values from flags, variables, file and defaults.
    pub(super) matches: ArgMatches,
    /// The file, if the command line names one.
    pub(super) file: Option<File>,
}

/// A configuration file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// The text of the file.
    pub(super) text: String,
    /// The parsed file.
    pub(super) config: file::Config,
}

/// Reads a command line, and the configuration file that it names. The error is clap's, or a [`Usage`].
pub(super) fn read(mut words: Vec<OsString>) -> anyhow::Result<Configured> {
    let matches = read_words(&words)?;
    let Some((name, of_command)) = matches.subcommand() else {
        return Ok(Configured { matches, file: None });
    };
    let path = match CONFIGURED.contains(&name) {
        true => of_command.get_one::<PathBuf>("file").cloned(),
        false => None,
    };
    let Some(path) = path else { return Ok(Configured { matches, file: None }) };
    let file = read_file(&path)?;
    let config = &file.config;
    let wrong = |error: file::FileError| Usage(format!("--config {}, {error}", path.display()));
    let command = command(name);
    let mut flags = Vec::new();
    for setting in &config.settings {
        let arg = find(&command, setting).map_err(wrong)?;
        let flag = words_of(arg, setting).map_err(wrong)?;
        let is_given = |arg: &Arg| {
            let source = of_command.value_source(arg.get_id().as_str());
            !matches!(source, None | Some(ValueSource::DefaultValue))
        };
        // A flag or a variable also wins over a setting that excludes it.
        let is_outdone = |other: &Arg| exclude_each_other(&command, arg, other) && is_given(other);
        if !is_given(arg) && !command.get_arguments().any(is_outdone) {
            flags.extend(flag);
        }
    }
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.splice(end..end, flags);
    match read_words(&words) {
        Ok(matches) => Ok(Configured { matches, file: Some(file) }),
        Err(error) => Err(match blamed(&error, &command, &config.settings) {
            Some(setting) => wrong(setting.wrong(reason(&error, setting, &command))).into(),
            None => error.into(),
        }),
    }
}

/// Reads the file. Relative paths in it are relative to its folder.
fn read_file(path: &Path) -> Result<File, Usage> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Usage(format!("--config {name} cannot be read: {error}")))?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let beside = |name: &str| std::fs::read_to_string(folder.join(name));
    let config = file::parse(&text, &beside).map_err(|mut error| {
        // TOML takes a setting after the first table as a key of that table.
        let key = error
            .reason
            .strip_prefix("there is no key ")
            .and_then(|it| it.split([' ', ';']).next());
        let known = CONFIGURED.iter().any(|name| key.is_some_and(|key| is_setting_of(name, key)));
        if known {
            error.reason.push_str("; if it is a setting, it must stand before the first [[table]]");
        }
        let setting = |key: &str| {
            let example = |name| {
                let command = command(name);
                settings(&command).find(|(known, _)| known == key).map(|(_, arg)| in_toml(arg))
            };
            CONFIGURED.into_iter().find_map(example)
        };
        let advice = table_examples::advice(&text, &error, setting);
        Usage(format!("--config {name}, {error}{}", advice.unwrap_or_default()))
    })?;
    Ok(File { path: path.to_owned(), text, config })
}

impl Configured {
    /// The command line with the tables of its file.
    pub(super) fn cli(&self) -> anyhow::Result<Cli> {
        let config = self.file.as_ref().map(|file| file.config.clone()).unwrap_or_default();
        Cli::of(&self.matches, config).map_err(|error| self.located(error))
    }

    /// The error with its line, if it is about a flag that the file gives.
    fn located(&self, error: anyhow::Error) -> anyhow::Error {
        let (Some(file), said) = (&self.file, error.to_string()) else { return error };
        let flag = said.split(' ').next().unwrap_or_default().trim_start_matches("--");
        let key = flag.replace('-', "_");
        match file.config.settings.iter().find(|setting| setting.key == key) {
            Some(setting) => {
                let place = format!("--config {}, {}", file.path.display(), setting.wrong(said));
                Usage(place).into()
            }
            None => error,
        }
    }
}

/// The command of that name, with the flags that all commands have.
pub(super) fn command(name: &str) -> Command {
    let mut command = Cli::command();
    command.build();
    command.find_subcommand(name).cloned().unwrap_or_default()
}

/// The flags of the command that are settings, in the order of its help, with their keys.
pub(super) fn settings(command: &Command) -> impl Iterator<Item = (String, &Arg)> {
    // A server does not connect to another one.
    let is_of_clients =
        |arg: &Arg| command.get_name() == "serve" && arg.get_help_heading() == Some("Connection");
    command.get_arguments().filter_map(move |arg| {
        let long = arg.get_long()?;
        let is_setting = !NO_SETTINGS.contains(&long) && !is_of_clients(arg);
        is_setting.then(|| (long.replace('-', "_"), arg))
    })
}

fn is_setting_of(name: &str, key: &str) -> bool {
    settings(&command(name)).any(|(known, _)| known == key)
}

fn find<'a>(command: &'a Command, setting: &Setting) -> Result<&'a Arg, file::FileError> {
    let key = setting.key.as_str();
    if let Some((_, arg)) = settings(command).find(|(known, _)| known == key) {
        return Ok(arg);
    }
    let name = command.get_name();
    let other = CONFIGURED.iter().find(|other| **other != name && is_setting_of(other, key));
    Err(setting.wrong(match other {
        Some(other) => format!("{key} is a setting of `longrun {other}`, not of `longrun {name}`"),
        None if OF_HANDLERS.contains(&key) => {
            format!("{key} must stand in a [[handler]] table, e.g. {HANDLER}")
        }
        None => {
            let known: Vec<String> = settings(command).map(|(key, _)| key).collect();
            let known = known.iter().map(String::as_str).chain(TABLES);
            let question = match file::question(key, known) {
                question if question.is_empty() => {
                    let example = settings(command).next().map(|(key, _)| key);
                    format!(
                        "; docs/configuration.md has the keys, e.g. {}",
                        example.unwrap_or_default()
                    )
                }
                question => question,
            };
            format!("there is no key {key} here{question}")
        }
    }))
}

/// The setting as words of a command line.
fn words_of(arg: &Arg, setting: &Setting) -> Result<Vec<OsString>, file::FileError> {
    let Setting { key, values, .. } = setting;
    let long = arg.get_long().unwrap_or_default();
    let one = || match values.as_slice() {
        [one] => Ok(one.as_str()),
        _ => Err(setting
            .wrong(format!("{key} must be one value, not a list, e.g. {key} = {}", in_toml(arg)))),
    };
    match arg.get_action() {
        ArgAction::SetTrue => {
            match one()? {
                "true" => Ok(vec![format!("--{long}").into()]),
                "false" => Ok(Vec::new()),
                other => Err(setting
                    .wrong(format!("{key} {other} must be true or false, e.g. {key} = true"))),
            }
        }
        ArgAction::Append => Ok(values.iter().map(|it| format!("--{long}={it}").into()).collect()),
        _ => Ok(vec![format!("--{long}={}", one()?).into()]),
    }
}

/// The setting that the error is about.
fn blamed<'a>(
    error: &clap::Error,
    command: &Command,
    settings: &'a [Setting],
) -> Option<&'a Setting> {
    let about = error.get(ContextKind::InvalidArg)?.to_string();
    settings.iter().find(|setting| find(command, setting).is_ok_and(|arg| arg.to_string() == about))
}

/// The rule that a setting breaks, with a valid example.
fn reason(error: &clap::Error, setting: &Setting, command: &Command) -> String {
    let key = &setting.key;
    let arg = find(command, setting).ok();
    let is_secret = arg.is_some_and(Arg::is_hide_env_values_set);
    let given = match error.get(ContextKind::InvalidValue).filter(|_| !is_secret) {
        Some(value) => format!("{key} {value}"),
        None => key.clone(),
    };
    let rule = match std::error::Error::source(error) {
        Some(rule) => {
            let rule = rule.to_string();
            let separator = if rule.starts_with("must ") { "" } else { ":" };
            format!("{given}{separator} {rule}")
        }
        None => {
            let said = error.render().to_string();
            let is_rule = |line: &&str| {
                !["For more", "Usage", "tip:"].iter().any(|other| line.starts_with(other))
            };
            let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
            let said = lines.take_while(is_rule).collect::<Vec<_>>().join(" ");
            format!("{key}: {}", said.trim_start_matches("error: "))
        }
    };
    match arg.and_then(refusal::example).filter(|_| !refusal::has_example(&rule)) {
        Some(_) => format!("{rule}, e.g. {key} = {}", arg.map(in_toml).unwrap_or_default()),
        None => rule,
    }
}

/// A valid value of the setting.
fn in_toml(arg: &Arg) -> String {
    let value = refusal::example(arg).unwrap_or_default();
    let number = value.parse().map(toml::Value::Integer);
    number.unwrap_or_else(|_| toml::Value::String(value)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of a command as a table of Markdown.
    fn table(command: &Command) -> String {
        let mut text =
            String::from("| key | variable | default | meaning |\n| --- | --- | --- | --- |\n");
        for (key, arg) in settings(command) {
            let code = |text: String| if text.is_empty() { text } else { format!("`{text}`") };
            let variable = arg.get_env().map(|name| name.display().to_string()).unwrap_or_default();
            let defaults = arg.get_default_values().iter().map(|it| it.display().to_string());
            let defaults = defaults.filter(|it| it != "false").collect::<Vec<_>>().join(",");
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.replace('|', "\\|");
            text.push_str(&format!(
                "| `{key}` | {} | {} | {help} |\n",
                code(variable),
                code(defaults)
            ));
        }
        text
    }

    #[test]
    fn the_page_has_all_settings_as_the_flags_declare_them() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let mut page = std::fs::read_to_string(&path).unwrap();
        let found = page.clone();
        for name in CONFIGURED {
            let begin = format!("<!-- {name} -->\n");
            let at = page.find(&begin).unwrap() + begin.len();
            let end = at + page[at..].find("<!-- end -->").unwrap();
            page.replace_range(at..end, &table(&command(name)));
        }
        if std::env::var_os("LONGRUN_REFERENCE").is_some_and(|it| it == "write") {
            std::fs::write(&path, &page).unwrap();
            return;
        }
        assert!(
            page == found,
            "write docs/configuration.md anew by `LONGRUN_REFERENCE=write cargo test --lib configured`"
        );
    }

    #[test]
    fn every_setting_of_a_server_has_a_variable_of_its_name() {
        let serve = command("serve");
        for (key, arg) in settings(&serve) {
            let variable = arg.get_env().unwrap_or_default().to_string_lossy().to_lowercase();
            let variable = variable.trim_start_matches("longrun_");
            // The variable of a repeatable flag is in the plural.
            let plural = [format!("{key}s"), key.replace("jwt_role", "jwt_roles")];
            assert!(variable == key || plural.iter().any(|it| it == variable), "{key}: {variable}");
        }
    }
}
