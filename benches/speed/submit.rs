//! Submissions alone, durable, against a bare unary echo of messages of the same sizes.

use std::time::Duration;

use prost::Message as _;

use longrun::client::Client;
use longrun::proto::v1::payload::Content;
use longrun::proto::v1::{Payload, Settings, SubmitRequest};

use crate::baseline::Calls;
use crate::figures::{headings, medians, round};
use crate::processes::{Server, bare_round, directory, longrun_round};

const TIME: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

pub(crate) async fn run() -> anyhow::Result<()> {
    let (ours, theirs) = (directory()?, directory()?);
    let server = Server::longrun(ours.path())?;
    let bare = Server::bare(theirs.path())?;
    let calls = sizes(&server).await?;
    let alone = ["--workers", "0", "--watch", "none"];
    headings("Submit alone, durable, against a bare unary echo of the same sizes", "calls/s");
    for clients in [1, 64, 256] {
        let (mut echoes, mut submits) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            echoes.push(bare_round(&bare, calls, clients, TIME)?);
            submits.push(longrun_round(&server, "submit", clients, TIME, &alone)?);
        }
        let (echo, submit) = (medians(&echoes), medians(&submits));
        round(&format!("echo, {clients} in flight"), &echo, None, "");
        round(&format!("submit, {clients} in flight"), &submit, Some(&echo), "");
    }
    Ok(())
}

/// An echo whose messages are as large as those of a submission.
async fn sizes(server: &Server) -> anyhow::Result<Calls> {
    let request = SubmitRequest {
        kind: "bench.01234567.0".to_owned(),
        input: Some(Payload {
            content: Some(Content::Data(vec![1; 300].into())),
            ..Payload::default()
        }),
        settings: Some(Settings {
            retention: prost_types::Duration::try_from(Duration::from_secs(600)).ok(),
            ..Settings::default()
        }),
        idempotency_key: "01234567-1234567".to_owned(),
        ..SubmitRequest::default()
    };
    let bytes = request.encoded_len();
    let answer = Client::connect(&server.url).await?.submit(request).await?.encoded_len();
    Ok(Calls::Echo { bytes, answer: answer as u32 })
}
