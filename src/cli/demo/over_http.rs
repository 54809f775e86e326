//! The demo over HTTP, as curl would do it: 202, poll, 303, result.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::exchange::{Answer, exchange};
use super::over_grpc::Done;
use super::stage::{KIND, Stage};
use super::transcript::Transcript;

/// The header fields that the transcript shows.
const SHOWN: [&str; 4] = ["location", "retry-after", "content-type", "longrun-error-source"];

/// Submits, polls after `Retry-After`, waits, follows the redirect, and compares the result with gRPC's.
pub(super) async fn submit_and_poll(
    stage: &Stage,
    transcript: &Transcript<'_>,
    first: &Done,
) -> anyhow::Result<()> {
    transcript.part("The same over HTTP: 202, poll, 303, result")?;
    let submit = format!("/v1/kinds/{KIND}/operations");
    transcript.command(&format!(
        "curl -i -H 'Content-Type: text/plain' --data-binary @files.txt $LONGRUN_SERVER{submit}"
    ))?;
    let headers = ["Content-Type: text/plain", "Idempotency-Key: \"demo-http\""];
    let accepted =
        call(stage, transcript, "POST", &submit, &headers, stage.input.as_bytes()).await?;
    ensure!(accepted.status == 202, "a submission was answered {}", accepted.status_line);
    let operation = path(&accepted)?;

    transcript.command(&format!("curl -i $LONGRUN_SERVER{operation}"))?;
    let wait = accepted.header("retry-after").and_then(|wait| wait.parse().ok());
    let wait: u64 = wait.context("the 202 has no Retry-After")?;
    ensure!((1..=10).contains(&wait), "the first Retry-After is {wait} s");
    sleep(Duration::from_secs(wait)).await;
    let pending = call(stage, transcript, "GET", &operation, &[], &[]).await?;
    ensure!(pending.status == 202, "a running operation was answered {}", pending.status_line);
    transcript.received(&standing(&pending)?)?;

    transcript.command(&format!("curl -iL \"$LONGRUN_SERVER{operation}?wait=30s\""))?;
    let waiting = format!("{operation}?wait=30s");
    let mut finished = call(stage, transcript, "GET", &waiting, &[], &[]).await?;
    while finished.status == 202 {
        finished = call(stage, transcript, "GET", &waiting, &[], &[]).await?;
    }
    ensure!(finished.status == 303, "a done operation was answered {}", finished.status_line);
    let result = call(stage, transcript, "GET", &path(&finished)?, &[], &[]).await?;
    ensure!(result.status == 200, "the result was answered {}", result.status_line);
    ensure!(result.body == first.result, "the result is not the one that gRPC gave");
    transcript.say(&format!("{} bytes, the same as over gRPC", result.body.len()))
}

async fn call(
    stage: &Stage,
    transcript: &Transcript<'_>,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> anyhow::Result<Answer> {
    let mut head = vec![format!("{method} {path} HTTP/1.1")];
    head.extend(headers.iter().map(|header| (*header).to_owned()));
    for line in &head {
        transcript.sent(line)?;
    }
    let answer = exchange(&stage.address, &head, body).await?;
    transcript.received(&answer.status_line)?;
    for name in SHOWN {
        if let Some(value) = answer.header(name) {
            transcript.received(&format!("{name}: {value}"))?;
        }
    }
    Ok(answer)
}

/// The path of Location, which may be a whole URL.
fn path(answer: &Answer) -> anyhow::Result<String> {
    let location = answer.header("location").context("there is no Location")?;
    let path = match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|slash| &rest[slash..]),
        None => Some(location).filter(|path| path.starts_with('/')),
    };
    path.map(str::to_owned).with_context(|| format!("Location {location} has no path"))
}

/// The fields of the body that show the state of the operation.
fn standing(answer: &Answer) -> anyhow::Result<String> {
    let document: Value =
        serde_json::from_slice(&answer.body).context("the response is not JSON")?;
    ensure!(document["state"].is_string(), "the response has no state");
    let progress = &document["progress"];
    let part = json!({
        "state": document["state"],
        "progress": { "percent": progress["percent"], "message": progress["message"] },
    });
    Ok(part.to_string())
}
