//! The demo over gRPC, by the typed client: submit, watch, cancel, look back.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use super::super::live::Live;
use super::super::{describe, events, input, text};
use super::stage::{KIND, Stage};
use super::transcript::Transcript;
use crate::proto::v1::operation::State;
use crate::proto::v1::watch_operation_response::Type;
use crate::proto::v1::{Operation, SubmitRequest, WatchOperationRequest};

/// The outcome of one operation.
#[derive(Debug)]
pub(super) struct Done {
    /// Its name.
    pub(super) name: String,
    /// Its result.
    pub(super) result: Bytes,
}

/// Submits twice under one key, watches to the end, checks and shows the result.
pub(super) async fn submit_and_watch(
    stage: &Stage,
    transcript: &Transcript<'_>,
) -> anyhow::Result<Done> {
    let files =
        if stage.files == 1 { "1 file".to_owned() } else { format!("{} files", stage.files) };
    transcript.part(&format!("Submit: {files}, and a response at once"))?;
    transcript.command(&format!("longrun submit {KIND} @files.txt --idempotency-key demo"))?;
    let began = Instant::now();
    let operation = submit(stage, "demo").await?;
    let state = describe::state_name(operation.state());
    let took = text::duration(began.elapsed());
    transcript.say(&format!("{}  {state}  (durable, in {took})", operation.name))?;
    let again = submit(stage, "demo").await?;
    ensure!(again.name == operation.name, "the same key gave another operation, {}", again.name);
    transcript.say("sent again with the same key: the same operation, not a second one")?;

    transcript.part("Watch it live, over gRPC")?;
    transcript.command(&format!("longrun watch {} --after-revision 0", operation.name))?;
    let done = watch(stage, &operation.name, transcript).await?;
    ensure!(done.state() == State::Succeeded, "it did not succeed: {:?}", done.error);
    transcript.command(&format!("longrun result {}", operation.name))?;
    let result = stage.remote.client.read_result(&operation.name).await;
    let result = result.map_err(|error| stage.remote.failed(&error, "read the result"))?;
    ensure!(result.content_type == "application/json", "the result is {}", result.content_type);
    check(stage, &result.data)?;
    let shown = text::clean_lines(&String::from_utf8_lossy(&result.data));
    transcript.say(&text::shorten(&shown, 2_000))?;
    Ok(Done { name: operation.name, result: result.data })
}

/// Shows every transition and the progress between, and checks that none is missing.
async fn watch(
    stage: &Stage,
    name: &str,
    transcript: &Transcript<'_>,
) -> anyhow::Result<Operation> {
    let mut watch = stage.remote.client.watch(from_the_beginning(name));
    let live = Live::new(transcript.out);
    let (mut revision, mut reports, mut last) = (0, 0, None);
    while let Some(message) = watch.next().await {
        let message = message.map_err(|error| stage.remote.failed(&error, "watch"))?;
        live.show(&message)?;
        match message.r#type() {
            Type::Transition => {
                let next = message.revision;
                ensure!(next == revision + 1, "revision {next} came after {revision}");
                revision = next;
                last = message.operation;
            }
            _ => reports += 1,
        }
    }
    live.end();
    ensure!(reports > 0, "there was no progress");
    let operation = last.context("the watch sent nothing")?;
    ensure!(operation.done, "the watch ended early");
    transcript.say(&format!(
        "{revision} transitions, none missing, none twice; {reports} reports of progress between"
    ))?;
    Ok(operation)
}

/// Cancels another operation in the middle of its work.
pub(super) async fn cancel(stage: &Stage, transcript: &Transcript<'_>) -> anyhow::Result<()> {
    transcript.part("Cancel one in the middle of its work")?;
    let name = submit(stage, "demo-cancel").await?.name;
    transcript.command(&format!("longrun cancel {name} --reason 'seen enough'"))?;
    let mut watch = stage.remote.client.watch(from_the_beginning(&name));
    let live = Live::new(transcript.out);
    let (mut asked, mut last) = (None, None);
    while let Some(message) = watch.next().await {
        let message = message.map_err(|error| stage.remote.failed(&error, "watch"))?;
        live.show(&message)?;
        if message.r#type() == Type::Progress && asked.is_none() {
            asked = Some(Instant::now());
            let cancelled = stage.remote.client.cancel(&name, "seen enough").await;
            cancelled.map_err(|error| stage.remote.failed(&error, "cancel"))?;
        }
        last = message.operation.or(last);
    }
    live.end();
    let state = last.context("the watch sent nothing")?.state();
    ensure!(state == State::Cancelled, "it is {} now", describe::state_name(state));
    let took = asked.context("it made no progress")?.elapsed();
    transcript.say(&format!("its processes were stopped within {}", text::duration(took)))
}

/// Shows the history of the first operation.
pub(super) async fn look_back(
    stage: &Stage,
    transcript: &Transcript<'_>,
    first: &Done,
) -> anyhow::Result<()> {
    transcript.part("Look back: what happened, with the log of the work")?;
    transcript.command(&format!("longrun events {}", first.name))?;
    events::show(&first.name, &stage.remote, transcript.out).await
}

async fn submit(stage: &Stage, key: &str) -> anyhow::Result<Operation> {
    let request = SubmitRequest {
        kind: KIND.to_owned(),
        input: Some(input::payload(stage.input.clone().into_bytes(), None)),
        idempotency_key: key.to_owned(),
        ..Default::default()
    };
    let submitted = stage.remote.client.submit(request).await;
    submitted.map_err(|error| stage.remote.failed(&error, &format!("submit {KIND}")))
}

fn from_the_beginning(name: &str) -> WatchOperationRequest {
    WatchOperationRequest {
        name: name.to_owned(),
        after_revision: Some(0),
        include_progress: true,
        ..Default::default()
    }
}

/// Whether the result is about these files and all of their bytes.
fn check(stage: &Stage, result: &[u8]) -> anyhow::Result<()> {
    let document: Value = serde_json::from_slice(result).context("the result is not JSON")?;
    let files = document["files"].as_array().context("the result names no files")?;
    ensure!(files.len() == stage.files, "the result has {} files", files.len());
    let bytes: u64 = files.iter().filter_map(|file| file["bytes"].as_u64()).sum();
    ensure!(bytes == stage.bytes, "the result counts {bytes} bytes, not {}", stage.bytes);
    Ok(())
}
