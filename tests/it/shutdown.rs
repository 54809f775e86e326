//! Stopping: long calls end in a way that they can be resumed from, what was answered is kept.

use futures_util::future::join_all;
use longrun::proto::v1::*;
use longrun::server::Stopped;
use tonic::Code;

use crate::support::*;

#[tokio::test]
async fn long_calls_end_with_ok_and_workers_are_told() {
    let mut server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut watch = server.watch(watch_now(&name)).await;
    let mut all = server.watch_all(WatchOperationsRequest::default()).await;
    watch.next().await;
    for _ in 0..2 {
        all.next().await;
    }
    let (mut rpc, request) =
        (server.operations(), WaitOperationRequest { name: name.clone(), ..Default::default() });
    let wait = spawn(async move { rpc.wait_operation(request).await });
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    assert_eq!(watch.next().await.revision, 2);
    all.next().await;

    server.begin_to_stop();
    watch.ended().await;
    all.ended().await;
    let waited = soon(wait).await.unwrap().unwrap().into_inner();
    assert_eq!((waited.name.as_str(), waited.done), (name.as_str(), false));
    worker.told_to_drain().await;
    worker.ended().await;
    drop((watch, all, worker));
    assert_eq!(server.stop().await, Stopped::Drained);

    server.start_again().await;
    let operation = server.get(&name).await;
    assert_eq!(operation.state(), operation::State::Running, "attempts go on");
    assert_eq!(operation.attempt, assignment.attempt);
}

#[tokio::test]
async fn nothing_is_taken_after_the_end_and_callers_are_told_to_try_again() {
    let mut server = TestServer::start().await;
    let client = server.client().with_retries(0);
    let name = soon(client.submit(submission("demo"))).await.unwrap().name;
    assert_eq!(server.stop().await, Stopped::Drained);
    let refused = soon(client.submit(submission("demo"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.is_transient());
    server.start_again().await;
    assert_eq!(server.matching("").await, [name]);
}

#[tokio::test]
async fn every_submission_around_a_stop_is_either_kept_or_refused() {
    let mut server = TestServer::start().await;
    let mut expected = Vec::new();
    let submissions: Vec<_> = (0..300)
        .map(|_| {
            let mut rpc = server.operations();
            spawn(async move { rpc.submit(submission("demo")).await })
        })
        .collect();
    server.submit(submission("demo")).await;
    server.begin_to_stop();
    for answer in soon(join_all(submissions)).await {
        match answer.unwrap() {
            Ok(operation) => expected.push(operation.into_inner().name),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
    }
    assert!(!expected.is_empty());
    assert_eq!(server.stop().await, Stopped::Drained);
    server.start_again().await;
    let kept = server.matching("").await;
    for name in expected {
        assert!(kept.contains(&name), "{name} was answered and is not there");
    }
}

#[tokio::test]
async fn while_it_drains_new_calls_are_told_to_try_again() {
    let server = ClockedServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    server.closing.cancel();
    // Watches that begin now end at once, with what there is, to be resumed elsewhere.
    let messages = server.watch(watch_from(&name, 0)).await.rest().await;
    assert!(messages.len() <= 1, "{messages:?}");
    let request = WaitOperationRequest { name: name.clone(), ..Default::default() };
    let waited = soon(server.operations().wait_operation(request)).await.unwrap().into_inner();
    assert!(!waited.done);
}

#[tokio::test]
async fn a_server_without_anybody_stops_at_once() {
    let mut server = TestServer::start().await;
    assert_eq!(server.stop().await, Stopped::Drained);
}
