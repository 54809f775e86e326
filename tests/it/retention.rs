//! Retention: done operations are forgotten when their time is up, never before, never the others.

use std::time::Duration;

use longrun::proto::v1::watch_operations_response::Type;
use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn kept_for(days: i64) -> SubmitRequest {
    let settings = Settings { retention: seconds(days * 24 * 3600), ..Settings::default() };
    with_settings(submission("demo"), settings)
}

async fn deletions(watch: &mut Watching<WatchOperationsResponse>, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < count {
        let message = watch.next().await;
        if message.r#type() == Type::Deleted {
            names.push(message.operation.unwrap().name);
        }
    }
    names.sort_unstable();
    names
}

#[tokio::test]
async fn each_operation_is_kept_for_its_own_retention() {
    let server = ClockedServer::start().await;
    let short = server.cancelled(kept_for(1)).await;
    let default = server.cancelled(submission("demo")).await;
    let long = server.cancelled(kept_for(365)).await;
    let queued = server.submit(kept_for(1)).await;
    assert_eq!(short.purge_time.unwrap().seconds, short.end_time.unwrap().seconds + 24 * 3600);
    assert_eq!(queued.purge_time, None, "only what is done has a time to go");
    let mut watch = server.watch_all(WatchOperationsRequest::default()).await;
    while watch.next().await.r#type() != Type::Synced {}

    server.advance(DAY - Duration::from_secs(1));
    server.submit(submission("other")).await;
    assert_eq!(server.get(&short.name).await, short, "not a moment too early");
    server.advance(Duration::from_secs(1));
    assert_eq!(deletions(&mut watch, 1).await, std::slice::from_ref(&short.name));
    let get = async || {
        let request = GetOperationRequest { name: short.name.clone(), view: 0 };
        soon(server.operations().get_operation(request)).await.refused()
    };
    let refused = get().await;
    refused.is(Code::NotFound, "OPERATION_EXPIRED");
    assert_eq!(refused.metadata["purgeTime"], "2026-01-02T00:00:00Z");
    server.advance(6 * DAY);
    assert_eq!(deletions(&mut watch, 1).await, [default.name]);
    assert_eq!(server.get(&long.name).await, long);
    assert_eq!(server.get(&queued.name).await.revision, 1, "waiting is not forgotten");
    get().await.is(Code::NotFound, "OPERATION_EXPIRED");
    server.advance(DAY);
    get().await.is_not_found();
}

#[tokio::test]
async fn no_retention_means_gone_when_done() {
    let server = ClockedServer::start().await;
    let name = server.submit(kept_for(0)).await.name;
    let watch = server.watch(watch_now(&name)).await;
    let mut all = server.watch_all(WatchOperationsRequest::default()).await;
    // What is gone before a watch begins is not in it.
    while all.next().await.r#type() != Type::Synced {}
    server.cancel(&name, "").await;
    assert_eq!(deletions(&mut all, 1).await, std::slice::from_ref(&name));
    let last = watch.rest().await.pop().unwrap();
    assert_eq!(last.operation.unwrap().state(), operation::State::Cancelled);
}

#[tokio::test]
async fn many_that_are_due_at_once_all_go_and_others_are_served_meanwhile() {
    let server = ClockedServer::start().await;
    let mut names = Vec::new();
    for result in server.submit_batch(vec![kept_for(1); 500]).await {
        let Some(submit_batch_result::Outcome::Operation(operation)) = result.outcome else {
            panic!("{result:?}")
        };
        names.push(operation.name);
    }
    let api = &server.api;
    futures_util::future::join_all(names.iter().map(|name| api.cancel(name, ""))).await;
    let kept = server.submit(submission("demo")).await.name;
    let mut watch = server.watch_all(WatchOperationsRequest::default()).await;
    while watch.next().await.r#type() != Type::Synced {}
    server.advance(DAY);
    let meanwhile = server.submit(submission("demo")).await.name;
    assert_eq!(deletions(&mut watch, 500).await, names);
    assert_eq!(server.matching("").await, [kept, meanwhile]);
}

#[tokio::test]
async fn what_became_due_while_the_server_was_away_goes_at_its_start() {
    let mut server = ClockedServer::start().await;
    let gone = server.cancelled(kept_for(1)).await.name;
    let kept = server.cancelled(kept_for(3)).await.name;
    server.restart_after(2 * DAY).await;
    soon(async {
        // Each call is a round of the engine, which looks at what is due.
        while server.matching("").await.contains(&gone) {
            server.cancel(&kept, "").await;
        }
    })
    .await;
    assert_eq!(server.matching("").await, [kept]);
}
