//! Stopping: long calls end in a way that they can be resumed from, what was answered is kept.

use futures_util::future::join_all;
use longrun::proto::v1::*;
use longrun::server::Stopped;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

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
async fn streams_that_know_of_no_end_are_ended() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let mut server = TestServer::start().await;
    let mut health = HealthClient::new(server.channel.clone());
    let watch = soon(health.watch(HealthCheckRequest::default())).await.unwrap();
    let mut watch = Watching(watch.into_inner());
    assert_eq!(watch.next().await.status(), ServingStatus::Serving);
    let (_questions, none) = tokio::sync::mpsc::channel(1);
    let mut reflection = ServerReflectionClient::new(server.channel.clone());
    let reflection = reflection.server_reflection_info(ReceiverStream::new(none));
    let mut reflection = Watching(soon(reflection).await.unwrap().into_inner());
    let (_silent, worker) = open_stream(&server, None).await;

    server.begin_to_stop();
    assert_eq!(watch.next().await.status(), ServingStatus::NotServing);
    watch.ended().await;
    reflection.ended().await;
    Watching(worker).refused().await.is(Code::Unavailable, "UNAVAILABLE");
    assert_eq!(server.stop().await, Stopped::Drained);
}

#[tokio::test]
async fn no_work_is_taken_while_workers_within_the_process_finish() {
    let server = ClockedServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let mut watch = server.watch(watch_now(&name)).await;
    watch.next().await;
    server.service.begin_to_stop();

    let refused = soon(server.operations().submit(submission("demo"))).await.refused();
    refused.is(Code::Unavailable, "UNAVAILABLE");
    assert!(refused.retry_after.is_some());
    let status = soon(server.operations().submit(submission("demo"))).await.unwrap_err();
    let pushback =
        status.metadata().get("grpc-retry-pushback-ms").expect("for retries of the library");
    assert_eq!(pushback.to_str().unwrap(), refused.retry_after.unwrap().as_millis().to_string());
    let batch = SubmitBatchRequest { requests: vec![submission("demo")], batch: None };
    let refused = soon(server.operations().submit_batch(batch)).await.refused();
    refused.is(Code::Unavailable, "UNAVAILABLE");
    let mut health = HealthClient::new(server.channel.clone());
    let status = soon(health.check(HealthCheckRequest::default())).await.unwrap().into_inner();
    assert_eq!(status.status(), ServingStatus::NotServing);
    // A client that watches health would open a stream that ends anew, at once.
    let statuses = soon(health.watch(HealthCheckRequest::default())).await.unwrap();
    let mut statuses = Watching(statuses.into_inner());
    assert_eq!(statuses.next().await.status(), ServingStatus::NotServing);

    worker.complete(&assignment, None).await;
    assert!(watch.next().await.operation.unwrap().done, "streams go on");
    server.closing.cancel();
    statuses.ended().await;
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
