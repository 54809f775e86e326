//! What a steady tenant feels of another that submits 100,000 operations as fast as it can.

use std::time::Duration;

use anyhow::Context as _;

use longrun::client::Client;
use longrun::proto::v1::CreateKeyRequest;

use crate::figures::{figure, median, verdict};
use crate::processes::{Round, Server, beside, directory, longrun_round};

const TIME: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;
const FLOOD: &str = "100000";

pub(crate) async fn run() -> anyhow::Result<()> {
    println!("\nA steady tenant, 50 submissions per second, beside {FLOOD} of another");
    let directory = directory()?;
    let key_file = directory.path().join("first.key");
    let store = format!("sqlite:{}", directory.path().join("longrun.db").display());
    let key = key_file.to_str().context("a path")?;
    let server = Server::with(&store, &["--bootstrap-key-file", key])?;
    let operator = std::fs::read_to_string(&key_file)?.trim().to_owned();
    let client = Client::builder(&server.url).token(operator).connect().await?;
    let mut tokens = Vec::new();
    for tenant in ["steady", "flood"] {
        let roles = ["submit", "read"].map(str::to_owned).to_vec();
        let tenant = tenant.to_owned();
        let request = CreateKeyRequest { tenant, roles, ..CreateKeyRequest::default() };
        tokens.push(client.create_key(request).await?.secret);
    }
    let [steady, flood] = &tokens[..] else { anyhow::bail!("two keys were made") };
    let alone = ["--workers", "0", "--watch", "none", "--rate", "50", "--token", steady];
    let flooding = [
        "--workers",
        "0",
        "--watch",
        "none",
        "--clients",
        "256",
        "--count",
        FLOOD,
        "--token",
        flood,
    ];
    let measure = || longrun_round(&server, "submit", 16, TIME, &alone);
    let (mut quiet, mut beset): (Vec<Round>, Vec<Round>) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        quiet.push(measure()?);
        let flood = beside(&server, &flooding)?;
        // From when the flood has begun.
        tokio::time::sleep(Duration::from_secs(1)).await;
        beset.push(measure()?);
        drop(flood);
    }
    let [quiet, beset] = [quiet, beset].map(|rounds| median(&rounds, |round| round.p99));
    figure("p99 of a submission, alone", format!("{quiet:.2} ms"), "");
    figure("p99 of a submission, beside the flood", format!("{beset:.2} ms"), "");
    let ratio = beset / quiet;
    figure("ratio", format!("{ratio:.2}"), &verdict(ratio <= 3.0, "at most 3"));
    Ok(())
}
