//! The settings of a submission as flags, and of an operation in words, made from the settings' declarations.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command, FromArgMatches};
use serde_json::Value;

use super::text;
use crate::config::whole;
use crate::operation::{Range, Setting, Settings};
use crate::proto::{json, v1};
use crate::time_text::parse_duration;

/// The flags, in the order of the settings.
static FLAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| Settings::ALL.iter().map(|setting| setting.name.replace('_', "-")).collect());

/// The settings that were given, by their paths.
#[derive(Debug, Default)]
pub(super) struct SettingsArgs(Vec<(&'static str, Given)>);

#[derive(Clone, Copy, Debug)]
enum Given {
    Whole(i32),
    Real(f64),
    Time(Duration),
}

impl SettingsArgs {
    /// The given settings; the server fills in the others.
    pub(super) fn message(&self) -> anyhow::Result<v1::Settings> {
        let fields = self.0.iter().map(|(path, given)| {
            let value = match given {
                Given::Whole(number) => Value::from(*number),
                Given::Real(number) => Value::from(*number),
                Given::Time(time) => prost_types::Duration::try_from(*time)
                    .with_context(|| format!("{path} is too long"))?
                    .to_string()
                    .into(),
            };
            Ok((*path, value))
        });
        Ok(json::from_fields(fields.collect::<anyhow::Result<Vec<_>>>()?)?)
    }
}

impl clap::Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        let flags = Settings::ALL.iter().zip(FLAGS.iter()).map(|(setting, flag)| {
            let Setting { name, range, default, about, .. } = setting;
            let (value, parser) = match *range {
                Range::Whole(least, most) => {
                    let parser = whole(least..=most);
                    ("N", ValueParser::new(parser))
                }
                Range::Real(least, most) => ("X", ValueParser::new(real(least, most))),
                Range::Time(..) => ("DURATION", ValueParser::new(parse_duration)),
            };
            let limits = match range {
                Range::Time(..) => String::new(),
                _ => format!(", {range}"),
            };
            Arg::new(*name)
                .long(flag.as_str())
                .value_name(value)
                .value_parser(parser)
                .help(format!("{about}{limits} [default: {default}]"))
                .help_heading("Settings")
        });
        command.args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Settings::ALL.iter().filter_map(|Setting { name, path, range, .. }| {
            let given = match range {
                Range::Whole(..) => Given::Whole(*matches.get_one(name)?),
                Range::Real(..) => Given::Real(*matches.get_one(name)?),
                Range::Time(..) => Given::Time(*matches.get_one(name)?),
            };
            Some((*path, given))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn real(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("must be a number from {least} to {most}"))
    }
}

/// The settings that differ from their defaults: `priority 7, deadline 1 h`.
pub(super) fn changed(settings: &v1::Settings) -> String {
    let Ok(document) = json::to_value(settings) else { return String::new() };
    let changed = Settings::ALL.iter().filter_map(|setting| {
        let pointer = format!("/{}", json::camel_case(setting.path).replace('.', "/"));
        let value = document.pointer(&pointer)?;
        let (default, shown) = match (setting.range, value) {
            (Range::Time(..), Value::String(text)) => {
                let seconds: f64 = text.trim_end_matches('s').parse().ok()?;
                let time = Duration::try_from_secs_f64(seconds).ok()?;
                let default = setting.default.rsplit(' ').next().unwrap_or_default();
                let default = parse_duration(default).ok();
                (default == Some(time), text::duration(time))
            }
            (_, value) => {
                let shown = value.to_string();
                (shown == setting.default, shown)
            }
        };
        (!default).then(|| format!("{} {shown}", setting.name.replace('_', " ")))
    });
    changed.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_by_default_is_shown() {
        let second = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let by_default = v1::Settings {
            cancel_grace: second(30),
            retention: second(7 * 86_400),
            retry_policy: Some(v1::RetryPolicy {
                max_attempts: 5,
                initial_backoff: second(1),
                multiplier: 2.0,
                max_backoff: second(60),
                jitter: Some(0.2),
            }),
            ..Default::default()
        };
        assert_eq!(changed(&by_default), "");
        let other = v1::Settings { priority: 7, deadline: second(90), ..by_default };
        assert_eq!(changed(&other), "priority 7, deadline 1 m 30 s");
    }
}
