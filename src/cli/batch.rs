//! `longrun batch KIND FILE…`: many pieces of work as the children of one operation.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use tokio::io::AsyncReadExt as _;
use uuid::Uuid;

use super::follow::Follow;
use super::input::payload;
use super::output::{Output, Usage};
use super::remote::Remote;
use super::settings::SettingsArgs;
use super::submit::{by_key, label};
use super::{Exit, completions};
use crate::client::{Client, ClientError};
use crate::proto::v1::batch::Rule;
use crate::proto::v1::{Batch, Operation, SubmitRequest};
use crate::time_text::parse_duration;

/// Most submissions of one call, and most bytes of their inputs.
const MOST_AT_ONCE: usize = 1_000;
const MOST_BYTES: usize = 3 << 20;
/// Most children: their inputs are held in memory.
const MOST: usize = 1_000_000;
/// Largest input of a child.
const LARGEST: usize = (4 << 20) - (64 << 10);

const EXAMPLES: &str = "\
Examples:
  longrun batch thumbnail photos.ndjson --watch
  seq 1000 | longrun batch square - --rule max-failures=10 --wait
  longrun batch convert scans/*.tif --per-file --label scan=7
  longrun batch render frames.txt --idempotency-key \"render-$BUILD\" --quiet

Each line of the files, or of stdin (-), is the input of a child; with --per-file each file is.
Empty lines are skipped. Settings apply to the children, labels to the children and the batch.

The batch is an operation: get, wait, watch, cancel and retry take its name. cancel cancels its
children as well. retry makes a new batch of the children that failed or were cancelled.
`longrun list --parent NAME` lists the children, `longrun submit --parent NAME` adds one while the
batch is not done.

Exit codes of --wait and --watch: 0 SUCCEEDED, 3 FAILED, 4 CANCELLED, 5 PARTIALLY_SUCCEEDED, 6 not
done when the time to wait was over.";

/// Arguments of `batch`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The kind of the children
    #[arg(add = completions::kinds())]
    kind: String,
    /// Files with the inputs of the children, one on each line; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Make one child of each file, instead of each line
    #[arg(long)]
    per_file: bool,
    /// When the batch ends: all (every child must succeed), any (one must), or max-failures=N
    #[arg(long, value_name = "RULE", default_value = "all", value_parser = rule)]
    rule: (Rule, i64),
    /// Media type of the inputs [default: application/json, text/plain or application/octet-stream,
    /// detected from each input]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Label of the batch and of its children; repeatable
    #[arg(long = "label", short, value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Name for this batch: the same command with the same key and inputs continues an interrupted batch, and makes no
    /// second one [default: random]
    #[arg(long, short = 'k', value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    idempotency_key: Option<String>,
    /// URL that the server notifies of the end of the batch by a signed POST, a webhook
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    then: Then,
}

/// What to do after the submission.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Then")]
struct Then {
    /// Wait until it is done, show it, and exit with its exit code; --wait 30s waits at most 30 s
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, conflicts_with = "watch", value_parser = parse_duration)]
    wait: Option<Option<Duration>>,
    /// Watch it until it is done, with one progress bar for all children, and exit with its exit code
    #[arg(long)]
    watch: bool,
    /// Print the batch's name and nothing else
    #[arg(long, short)]
    quiet: bool,
}

/// `all`, `any` or `max-failures=N`.
fn rule(word: &str) -> Result<(Rule, i64), String> {
    match word.split_once('=') {
        None if word == "all" => Ok((Rule::All, 0)),
        None if word == "any" => Ok((Rule::Any, 0)),
        Some(("max-failures", most)) => match most.parse() {
            Ok(most @ 0..=10_000_000) => Ok((Rule::MaxFailures, most)),
            _ => Err("must have a number from 0 to 10000000, as in max-failures=3".to_owned()),
        },
        _ => Err("must be all, any or max-failures=N, e.g. max-failures=3".to_owned()),
    }
}

pub(super) async fn run(args: Args, remote: &Remote, out: &Output) -> anyhow::Result<Exit> {
    let key = args.idempotency_key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let settings = args.settings.message()?;
    let labels = by_key(args.labels.clone())?;
    let inputs = inputs(&args.files, args.per_file).await?;
    let (rule, max_failures) = args.rule;
    let batch = Batch {
        rule: rule.into(),
        max_failures,
        expected_children: inputs.len() as i64,
        labels: labels.clone(),
        retention: settings.retention,
        idempotency_key: key.clone(),
        callback_url: args.callback_url.clone().unwrap_or_default(),
    };
    let child = |(at, input): (usize, Vec<u8>)| SubmitRequest {
        kind: args.kind.clone(),
        input: Some(payload(input, args.content_type.as_deref())),
        labels: labels.clone(),
        settings: Some(settings),
        // As the server names those that come with the batch.
        idempotency_key: format!("{key}/{at}"),
        ..Default::default()
    };
    let children = inputs.into_iter().enumerate().map(child);
    let operation = submit(batch, pages(children), remote, out).await?;
    args.then.follow().run(&operation, remote, out).await
}

/// Stores the batch with its first children, then the others.
async fn submit(
    batch: Batch,
    pages: Vec<Vec<SubmitRequest>>,
    remote: &Remote,
    out: &Output,
) -> anyhow::Result<Operation> {
    let client = remote.persistent();
    let (key, all) = (batch.idempotency_key.clone(), batch.expected_children);
    let mut pages = pages.into_iter();
    let first = pages.next().unwrap_or_default();
    let mut stored = first.len();
    let failed = |error: &ClientError| remote.failed(error, "submit the batch");
    let (operation, results) =
        client.submit_children(batch, first).await.map_err(|error| failed(&error))?;
    if let Some(gone) = results.iter().find_map(|result| result.as_ref().err()) {
        out.note(&format!(
            "the batch was there before, and not all of its children still are: {}",
            gone.message()
        ));
    }
    for mut page in pages {
        page.iter_mut().for_each(|child| child.parent.clone_from(&operation.name));
        let count = page.len();
        submit_page(&client, page).await.map_err(|error| {
            let name = &operation.name;
            failed(&error).context(format!(
                "{name} has {stored} of {all} children, and waits for the others: the same command with \
                 --idempotency-key {key} goes on, `longrun cancel {name}` ends it"
            ))
        })?;
        stored += count;
    }
    Ok(operation)
}

async fn submit_page(client: &Client, page: Vec<SubmitRequest>) -> Result<(), ClientError> {
    let mut left = page;
    loop {
        let results = client.submit_batch(left.clone()).await?;
        let mut again = Vec::new();
        let mut wait = None;
        for (request, result) in left.into_iter().zip(results) {
            match result {
                Ok(_) => {}
                // A limit, which others may make room under.
                Err(error) if error.is_transient() => {
                    wait = error.retry_after().or(wait).or(Some(Duration::from_secs(1)));
                    again.push(request);
                }
                Err(error) => return Err(error),
            }
        }
        match wait {
            None => return Ok(()),
            Some(wait) => tokio::time::sleep(wait).await,
        }
        left = again;
    }
}

/// The next requests: as many as one call takes.
fn pages(children: impl Iterator<Item = SubmitRequest>) -> Vec<Vec<SubmitRequest>> {
    let mut pages: Vec<Vec<SubmitRequest>> = Vec::new();
    let mut bytes = 0;
    for child in children {
        let size = prost::Message::encoded_len(&child);
        match pages.last_mut() {
            Some(page) if page.len() < MOST_AT_ONCE && bytes + size <= MOST_BYTES => {
                page.push(child);
                bytes += size;
            }
            _ => {
                pages.push(vec![child]);
                bytes = size;
            }
        }
    }
    pages
}

async fn of_stdin(contents: &mut Vec<u8>) -> std::io::Result<()> {
    // As a file, which is read in the background.
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut stdin = tokio::fs::File::from(std::fs::File::from(stdin));
    stdin.read_to_end(contents).await.map(drop)
}

/// The inputs of the children, in their order.
async fn inputs(files: &[String], per_file: bool) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut inputs = Vec::new();
    for file in files {
        let mut contents = Vec::new();
        let read = match file.as_str() {
            "-" => of_stdin(&mut contents).await,
            file => tokio::fs::read(file).await.map(|read| contents = read),
        };
        read.with_context(|| match file.as_str() {
            "-" => "failed to read stdin".to_owned(),
            file => format!("failed to read {file}"),
        })?;
        if per_file {
            inputs.push(contents);
        } else {
            let lines = contents.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            inputs.extend(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
        }
        if let Some(large) = inputs.iter().find(|input| input.len() > LARGEST) {
            let text = format!(
                "{file} has an input of {} bytes, and a child of a batch takes at most {LARGEST}: submit it by \
                 itself, e.g. longrun submit KIND @FILE --parent NAME",
                large.len()
            );
            return Err(Usage(text).into());
        }
    }
    if inputs.is_empty() || inputs.len() > MOST {
        let text = format!(
            "FILE must have from 1 to {MOST} inputs, and has {}: give a file with one in each line, e.g. longrun \
             batch KIND inputs.txt",
            inputs.len()
        );
        return Err(Usage(text).into());
    }
    Ok(inputs)
}

impl Then {
    fn follow(&self) -> Follow {
        Follow { wait: self.wait, watch: self.watch, result: false, quiet: self.quiet }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_words() {
        assert_eq!(rule("all"), Ok((Rule::All, 0)));
        assert_eq!(rule("any"), Ok((Rule::Any, 0)));
        assert_eq!(rule("max-failures=3"), Ok((Rule::MaxFailures, 3)));
        for wrong in ["", "ALL", "max-failures", "max-failures=", "max-failures=-1", "most=3"] {
            assert!(rule(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_call_has_as_much_as_a_message_takes() {
        let child = |bytes: usize| SubmitRequest {
            input: Some(payload(vec![b'a'; bytes], None)),
            ..SubmitRequest::default()
        };
        let sizes = |children: Vec<SubmitRequest>| -> Vec<usize> {
            pages(children.into_iter()).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(vec![child(1); 2_001]), [1_000, 1_000, 1]);
        assert_eq!(sizes(vec![child(2 << 20); 3]), [1, 1, 1]);
        assert_eq!(sizes(Vec::new()), [0; 0]);
    }

    #[tokio::test]
    async fn inputs_are_lines_or_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        std::fs::write(&path, "one\n\n {\"n\": 2} \r\nthree").unwrap();
        let file = [path.display().to_string()];
        let lines = inputs(&file, false).await.unwrap();
        assert_eq!(lines, [&b"one"[..], b"{\"n\": 2}", b"three"]);
        assert_eq!(inputs(&file, true).await.unwrap().len(), 1);
        assert!(inputs(&["/no/such/file".to_owned()], false).await.is_err());
        std::fs::write(&path, "\n").unwrap();
        assert!(inputs(&file, false).await.unwrap_err().is::<Usage>());
    }
}
