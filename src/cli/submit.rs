//! `longrun submit KIND [INPUT]`.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;

use super::output::Output;
use super::remote::Remote;
use super::{Exit, change, input, text, wait, watch};
use crate::proto::v1::{Operation, RetryPolicy, Settings, SubmitRequest};

const EXAMPLES: &str = "\
Examples:
  longrun submit shout hello --wait
  longrun submit report.build '{\"month\": \"2026-03\"}' --label team=finance --watch
  longrun submit thumbnail @photo.jpg --content-type image/jpeg --quiet
  tar c src | longrun submit archive - --idempotency-key \"build-$BUILD\"

INPUT is text; @FILE takes a file, - takes stdin. Unless --content-type says otherwise, JSON objects
and arrays are application/json and other text is text/plain; the bytes are kept as they are.

Durations: 500ms, 30s, 5m, 1h 30m, 7d.";

/// Arguments of `submit`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What sort of work; workers serve kinds
    kind: String,
    /// What to work on: text, @FILE, or - for stdin; by default nothing
    #[arg(allow_hyphen_values = true)]
    input: Option<String>,
    /// Media type of the input [default: application/json, text/plain or application/octet-stream,
    /// as it looks]
    #[arg(long, value_name = "TYPE", requires = "input")]
    content_type: Option<String>,
    /// Label to find it by; repeatable
    #[arg(long = "label", short, value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Name for this submission: repeating it with the same key gives the same operation [default:
    /// random]
    #[arg(long, short = 'k', value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    idempotency_key: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    then: Then,
}

/// How the service treats the operation.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Settings")]
struct SettingsArgs {
    /// From 0 to 100; within a kind the higher goes first [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i32).range(0..=100))]
    priority: i32,
    /// Longest time until a worker starts it [default: none]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    queue_timeout: Option<Duration>,
    /// Longest time for one attempt [default: none]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    attempt_timeout: Option<Duration>,
    /// Longest time from submission to the end [default: none]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    /// Attempts in all, the first included [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    max_attempts: Option<i32>,
    /// How long it is kept once it is done [default: the server's, 7d]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    retention: Option<Duration>,
    /// Start no sooner than in this time
    #[arg(long, value_name = "DURATION", conflicts_with = "start_time", value_parser = humantime::parse_duration)]
    start_in: Option<Duration>,
    /// Start no sooner than at this time, e.g. 2026-03-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    start_time: Option<SystemTime>,
}

/// What to do once it is submitted.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Then")]
struct Then {
    /// Wait until it is done, show it, and exit as it ended; --wait=30s waits no longer than that
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, conflicts_with = "watch", value_parser = humantime::parse_duration)]
    wait: Option<Option<Duration>>,
    /// Watch it until it is done, and exit as it ended
    #[arg(long)]
    watch: bool,
    /// Print the operation's name and nothing else
    #[arg(long, short)]
    quiet: bool,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let Args { kind, input, content_type, labels, idempotency_key, settings, then } = args;
    let input = match input {
        Some(input) => Some(input::read(&input, content_type.as_deref())?),
        None => None,
    };
    let request = SubmitRequest {
        input,
        labels: labels.into_iter().collect::<HashMap<_, _>>(),
        start_time: settings.start_time()?.map(prost_types::Timestamp::from),
        settings: Some(settings.settings()?),
        // None given: the client makes one.
        idempotency_key: idempotency_key.unwrap_or_default(),
        kind,
    };
    let to = format!("submit {}", request.kind);
    let submitted = remote.client.submit(request).await;
    let operation = submitted.map_err(|error| remote.failed(&error, &to))?;
    then.follow(&operation, remote, out).await
}

impl Then {
    async fn follow(
        &self,
        operation: &Operation,
        remote: &Remote,
        out: &Output,
    ) -> anyhow::Result<Exit> {
        let name = &operation.name;
        let waits = self.wait.is_some() || self.watch;
        if self.quiet {
            out.line(name)?;
        } else if !waits {
            change::state_line(operation, out)?;
            out.hint(&format!("`longrun watch {name}` follows it"));
        }
        match (self.wait, self.watch) {
            (Some(timeout), _) if self.quiet => wait::silently(name, timeout, remote, out).await,
            (Some(timeout), _) => wait::wait(name, timeout, remote, out).await,
            (None, true) if self.quiet => wait::silently(name, None, remote, out).await,
            (None, true) => watch::one(name, None, remote, out).await,
            (None, false) => Ok(Exit::Ok),
        }
    }
}

impl SettingsArgs {
    fn start_time(&self) -> anyhow::Result<Option<SystemTime>> {
        match self.start_in {
            Some(wait) => {
                let start = text::now().checked_add(wait).context("--start-in is too long")?;
                Ok(Some(start))
            }
            None => Ok(self.start_time),
        }
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let span = |length: Option<Duration>, flag: &'static str| {
            length
                .map(prost_types::Duration::try_from)
                .transpose()
                .with_context(|| format!("{flag} is too long"))
        };
        Ok(Settings {
            priority: self.priority,
            queue_timeout: span(self.queue_timeout, "--queue-timeout")?,
            attempt_timeout: span(self.attempt_timeout, "--attempt-timeout")?,
            deadline: span(self.deadline, "--deadline")?,
            retry_policy: self
                .max_attempts
                .map(|max_attempts| RetryPolicy { max_attempts, ..Default::default() }),
            cancel_grace: None,
            retention: span(self.retention, "--retention")?,
        })
    }
}

/// `KEY=VALUE`; the server knows what keys and values may be.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from(["submit"].iter().chain(words)).map(|line| line.args)
    }

    #[test]
    fn waiting_takes_a_limit_or_none() {
        assert_eq!(parse(&["k", "--wait"]).unwrap().then.wait, Some(None));
        let limited = parse(&["k", "--wait=30s", "input"]).unwrap();
        assert_eq!(limited.then.wait, Some(Some(Duration::from_secs(30))));
        assert_eq!(limited.input.as_deref(), Some("input"));
        assert!(parse(&["k", "--wait", "--watch"]).is_err());
    }

    #[test]
    fn settings_that_are_not_given_are_left_to_the_server() {
        assert_eq!(parse(&["k"]).unwrap().settings.settings().unwrap(), Settings::default());
        let args = parse(&["k", "-", "-l", "a=b=c", "--max-attempts", "2", "--deadline", "1h 1s"]);
        let args = args.unwrap();
        assert_eq!(args.labels, [("a".to_owned(), "b=c".to_owned())]);
        let settings = args.settings.settings().unwrap();
        assert_eq!(settings.retry_policy.unwrap().max_attempts, 2);
        assert_eq!(settings.deadline.unwrap().seconds, 3_601);
        assert!(parse(&["k", "--label", "x"]).is_err());
        assert!(parse(&["k", "--start-in", "1s", "--start-time", "2026-03-01T12:00:00Z"]).is_err());
    }
}
