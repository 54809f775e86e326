//! What it costs to keep things: a watcher that hears nothing, an operation that waits, one that is done.

use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use longrun::client::Client;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::{SubmitRequest, WatchOperationRequest};

use crate::figures::{figure, verdict};
use crate::fill::{Left, bytes, fill};
use crate::processes::{Server, directory};

const WATCHERS: u64 = 10_000;
const CONNECTIONS: u64 = 10;
const OPERATIONS: u64 = 200_000;

pub(crate) async fn run() -> anyhow::Result<()> {
    println!("\nIdle cost");
    let per_watcher = watchers().await? as f64;
    let goal = verdict(per_watcher < 12.0 * 1_024.0, "under 12 KiB");
    figure("memory per idle watcher", format!("{:.1} KiB", per_watcher / 1_024.0), &goal);

    let (queued, empty) = (directory()?, directory()?);
    fill(queued.path(), OPERATIONS, Left::Queued).await?;
    let memory = |server: &Server| server.memory();
    let server = Server::longrun(queued.path())?;
    let with = memory(&server)?;
    server.kill();
    let server = Server::longrun(empty.path())?;
    let without = memory(&server)?;
    server.kill();
    let per_queued = with.saturating_sub(without) as f64 / OPERATIONS as f64;
    let goal = verdict(per_queued < 400.0, "under 400 B");
    figure("memory per queued operation, after a restart", format!("{per_queued:.0} B"), &goal);

    let finished = directory()?;
    fill(finished.path(), OPERATIONS, Left::Finished).await?;
    let per_finished = bytes(finished.path())? as f64 / OPERATIONS as f64;
    let goal = verdict(per_finished < 1.5 * 1_024.0, "under 1.5 KiB");
    let value = format!("{per_finished:.0} B");
    figure("disk per finished operation, 300 B in and out", value, &goal);
    Ok(())
}

/// Bytes of the server's memory per watcher of one queued operation, all in.
async fn watchers() -> anyhow::Result<u64> {
    let directory = directory()?;
    let server = Server::longrun(directory.path())?;
    let client = Client::connect(&server.url).await?;
    let request = SubmitRequest { kind: "idle".to_owned(), ..SubmitRequest::default() };
    let name = client.submit(request).await?.name;
    let before = server.memory()?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(Endpoint::from_shared(server.url.clone())?.connect().await?);
    }
    let mut opening = JoinSet::new();
    for number in 0..WATCHERS {
        let channel = channels[(number % CONNECTIONS) as usize].clone();
        let request = WatchOperationRequest { name: name.clone(), ..Default::default() };
        opening.spawn(async move {
            let watch = OperationsClient::new(channel).watch_operation(request).await?;
            let mut watch = watch.into_inner();
            let first = watch.message().await?;
            anyhow::ensure!(first.is_some_and(|first| first.r#type() == Type::Snapshot));
            Ok(watch)
        });
    }
    let mut open = Vec::new();
    while let Some(watch) = opening.join_next().await {
        open.push(watch??);
    }
    Ok(server.memory()?.saturating_sub(before) / WATCHERS)
}
