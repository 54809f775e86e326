//! `longrun submit KIND [INPUT]`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use prost_types::Timestamp;
use uuid::Uuid;

use super::follow::Follow;
use super::input::{self, Input, Large};
use super::output::{Output, Usage};
use super::remote::Remote;
use super::settings::SettingsArgs;
use super::{Exit, completions, silence, watch};
use crate::proto::v1::{Operation, SubmitRequest};
use crate::time_text::{parse_duration, parse_time};

const EXAMPLES: &str = "\
Examples:
  longrun submit shout hello --wait
  longrun submit report.build '{\"month\": \"2026-03\"}' --label team=finance --watch
  longrun submit thumbnail @photo.jpg --content-type image/jpeg --quiet
  longrun submit report.build @month.json --result > report.pdf
  tar c src | longrun submit archive - --idempotency-key \"build-$BUILD\"

INPUT is text; @FILE reads a file, - reads stdin, @@TEXT is text that begins with @. Without
--content-type, JSON objects and arrays are application/json, and other text is text/plain; the
bytes do not change. Files and stdin of more than 4 MiB are sent while they are read, up to the
server's --max-payload-bytes; without --content-type they are application/octet-stream.

A word behind --wait is its time if it reads like a duration; any other word is the next argument:
`longrun submit shout --wait abc` submits abc.

Durations: 90 (seconds), 500ms, 30s, 5m, 1h30m, 7d. Times have a zone: 2026-03-01T12:00:00+01:00.";

/// Arguments of `submit`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The kind of work; workers serve kinds
    #[arg(add = completions::kinds())]
    kind: String,
    /// The input: text, @FILE, or - for stdin; by default none. @@TEXT is text that begins with @. After -- the input may
    /// begin with a dash
    #[arg(allow_negative_numbers = true)]
    input: Option<String>,
    /// Media type of the input [default: application/json, text/plain or application/octet-stream,
    /// detected from the input]
    #[arg(long, value_name = "TYPE", requires = "input")]
    content_type: Option<String>,
    /// Label of the operation, to find it by; repeatable
    #[arg(long = "label", short, value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Name for this submission: the same command with the same key returns the same operation [default:
    /// random]
    #[arg(long, short = 'k', value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    idempotency_key: Option<String>,
    /// URL that the server notifies of the end by a signed POST, a webhook
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// Batch that the operation becomes a child of: a name, an id, the beginning of an id, or a URL
    #[arg(long, value_name = "NAME", add = completions::operations())]
    parent: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    then: Then,
}

/// When the operation may start.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Settings")]
struct Start {
    /// Start no sooner than this long after the submission
    #[arg(long, value_name = "DURATION", conflicts_with = "start_at", value_parser = parse_duration)]
    start_in: Option<Duration>,
    /// Start no sooner than at this time, e.g. 2026-03-01T12:00:00Z
    #[arg(long, alias = "start-time", value_name = "TIME", value_parser = parse_time)]
    start_at: Option<(i64, i32)>,
}

/// What to do after the submission.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Then")]
struct Then {
    /// Wait until it is done, show it, and exit with its exit code; --wait 30s waits at most 30 s
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, conflicts_with = "watch", value_parser = parse_duration)]
    wait: Option<Option<Duration>>,
    /// Watch it until it is done, and exit with its exit code
    #[arg(long)]
    watch: bool,
    /// Wait until it is done, write its result to stdout byte for byte, and exit with its exit code
    #[arg(long, conflicts_with_all = ["watch", "quiet"])]
    result: bool,
    /// Print the operation's name and nothing else
    #[arg(long, short)]
    quiet: bool,
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let Args { kind, input, content_type, labels, idempotency_key, callback_url, .. } = args;
    let Args { settings, start, then, parent, .. } = args;
    if then.result && out.is_json() {
        return Err(Usage(
            "--json contradicts --result, which writes the bytes of the result: omit one of them, e.g. --json --wait".to_owned(),
        )
        .into());
    }
    let has_input = input.is_some();
    let (input, large) = match input {
        Some(input) => match input::open(&input, content_type.as_deref()).await? {
            Input::Whole(payload) => (Some(payload), None),
            Input::Large(large) => (None, Some(large)),
        },
        None => (None, None),
    };
    let parent = match parent {
        Some(parent) => remote.name(&parent).await?,
        None => String::new(),
    };
    let request = SubmitRequest {
        input,
        parent,
        labels: by_key(labels)?,
        start_at: start.start_at.map(|(seconds, nanos)| Timestamp { seconds, nanos }),
        start_in: start.start_in.map(message_of).transpose()?,
        settings: Some(settings.message()?),
        callback_url: callback_url.unwrap_or_default(),
        idempotency_key: idempotency_key.unwrap_or_else(|| Uuid::now_v7().to_string()),
        kind,
        ..Default::default()
    };
    let follow = then.follow();
    if follow.watch && !follow.quiet && large.is_none() {
        let to = to(&request);
        let watch = remote.patient().submit_and_watch(request);
        return watch::to_its_end(watch, &to, remote, out).await;
    }
    let operation = send(request, large, follow.waits(), remote, out).await?;
    if !has_input && input::is_ignored_stdin() {
        let kind = &operation.kind;
        out.note(&format!("stdin was not read; `longrun submit {kind} -` reads it as the input"));
    }
    follow.run(&operation, remote, out).await
}

/// What failed if the submission did.
fn to(request: &SubmitRequest) -> String {
    format!("submit {}", request.kind)
}

/// Submits, with the large input if there is one. A command that waits anyway also waits for the server.
async fn send(
    request: SubmitRequest,
    large: Option<Large>,
    waits: bool,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Operation> {
    let (to, key) = (to(&request), request.idempotency_key.clone());
    let submitted = match large {
        Some(large) => {
            let content_type = large.content_type.clone();
            remote.client.submit_stream(request, &content_type, large.into_stream(out)).await
        }
        None if waits => {
            let client = remote.persistent();
            let note = |words: &str| out.note(words);
            silence::broken(remote, || None, note, client.submit(request)).await
        }
        None => remote.client.submit(request).await,
    };
    submitted.map_err(|error| {
        let failed = remote.failed(&error, &to);
        match error.is_transient() && error.was_reached() {
            true => failed.context(format!(
                "the server may have stored it nevertheless: with --idempotency-key {key} the same command \
                 does not submit it twice"
            )),
            false => failed,
        }
    })
}

impl Then {
    fn follow(&self) -> Follow {
        Follow { wait: self.wait, watch: self.watch, result: self.result, quiet: self.quiet }
    }
}

fn message_of(wait: Duration) -> anyhow::Result<prost_types::Duration> {
    wait.try_into().map_err(|_| {
        Usage("--start-in must be at most 3660d, e.g. --start-in 1h".to_owned()).into()
    })
}

/// `KEY=VALUE`; the server checks keys and values.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE, e.g. team=maps".to_owned()),
    }
}

/// The labels of a command line, of which each has its own key.
pub(super) fn by_key(labels: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Usage> {
    let mut by_key = BTreeMap::new();
    for (key, value) in labels {
        if let Some(first) = by_key.insert(key.clone(), value.clone()) {
            return Err(Usage(format!(
                "--label {key} is given twice, as {first} and {value}: give each key once, e.g. --label team=maps"
            )));
        }
    }
    Ok(by_key)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::proto::v1::Settings;

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
        assert_eq!(parse(&["k"]).unwrap().settings.message().unwrap(), Settings::default());
        let args = parse(&["k", "-", "-l", "a=b=c", "--max-attempts", "2", "--deadline", "1h 1s"]);
        let args = args.unwrap();
        assert_eq!(args.labels, [("a".to_owned(), "b=c".to_owned())]);
        let settings = args.settings.message().unwrap();
        assert_eq!(settings.retry_policy.unwrap().max_attempts, 2);
        assert_eq!(settings.deadline.unwrap().seconds, 3_601);
        assert!(parse(&["k", "--label", "x"]).is_err());
        let args = parse(&["k", "--backoff-jitter", "0", "--cancel-grace", "90s"]).unwrap();
        let settings = args.settings.message().unwrap();
        assert_eq!(settings.retry_policy.unwrap().jitter, Some(0.0));
        assert_eq!(settings.cancel_grace.unwrap().seconds, 90);
        for [flag, wrong] in [
            ["--priority", "101"],
            ["--max-attempts", "0"],
            ["--backoff-jitter", "1.5"],
            ["--deadline", "soon"],
        ] {
            assert!(parse(&["k", flag, wrong]).is_err(), "{flag} {wrong}");
        }
        assert!(parse(&["k", "--start-in", "1s", "--start-at", "2026-03-01T12:00:00Z"]).is_err());
    }
}
