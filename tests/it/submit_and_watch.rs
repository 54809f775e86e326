//! Submitting and watching in one call: the stored operation first, then its transitions to the end.

use std::time::Duration;

use longrun::proto::v1::operation::State;
use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::*;
use tonic::{Code, Request};

use crate::support::*;

async fn submit_and_watch(api: &Api, request: SubmitRequest) -> Watching<WatchOperationResponse> {
    Watching(soon(api.operations().submit_and_watch(request)).await.unwrap().into_inner())
}

fn keyed(key: &str) -> SubmitRequest {
    SubmitRequest { idempotency_key: key.to_owned(), ..submission("demo") }
}

#[tokio::test]
async fn the_stored_operation_comes_first_then_each_transition_to_the_end() {
    let server = TestServer::start().await;
    // It starts in the commit that stores it, and still nothing is left out.
    let mut worker = server.worker("demo", 1).await;
    let request = SubmitRequest { input: Some(text("input")), ..keyed("once") };
    let mut watch = submit_and_watch(&server, request).await;
    let snapshot = watch.expect(Type::Snapshot).await;
    let submitted = snapshot.operation.unwrap();
    assert_eq!((snapshot.revision, submitted.revision, snapshot.event), (1, 1, None));
    assert_eq!((submitted.state(), submitted.idempotency_key.as_str()), (State::Queued, "once"));
    assert_eq!(server.events(&submitted.name).await.len(), 2);
    let started = watch.expect(Type::Transition).await;
    assert_eq!((started.revision, started.operation.unwrap().state()), (2, State::Running));

    let assignment = worker.assignment().await;
    worker.progress(&assignment, Progress { percent: Some(40.0), ..Progress::default() }).await;
    let progress = watch.expect(Type::Progress).await;
    assert_eq!(progress.revision, 2);
    assert_eq!(progress.operation.unwrap().progress.unwrap().percent, Some(40.0));
    worker.complete(&assignment, Some(text("result"))).await;
    let finished = watch.expect(Type::Transition).await;
    let operation = finished.operation.unwrap();
    assert_eq!((finished.revision, operation.done), (3, true));
    let result = operation.result.unwrap().content;
    assert_eq!(result, Some(payload::Content::Text("result".to_owned())));
    watch.ended().await;
}

#[tokio::test]
async fn a_repeated_submission_attaches_to_the_operation_that_is_there() {
    let mut server = TestServer::start().await;
    let mut first = submit_and_watch(&server, keyed("once")).await;
    let name = first.next().await.operation.unwrap().name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    assert_eq!(first.next().await.revision, 2);

    let mut second = submit_and_watch(&server, keyed("once")).await;
    let snapshot = second.expect(Type::Snapshot).await;
    assert_eq!((snapshot.revision, &snapshot.operation.unwrap().name), (2, &name));
    worker.complete(&assignment, None).await;
    assert_eq!(first.revisions().await, [3]);
    assert_eq!(second.revisions().await, [3]);
    drop(worker);

    for restarted in [false, true] {
        let messages = submit_and_watch(&server, keyed("once")).await.rest().await;
        let [last] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!((last.r#type(), last.revision), (Type::Snapshot, 3), "{restarted}");
        let operation = last.operation.as_ref().unwrap();
        assert!(operation.done && operation.name == name);
        if !restarted {
            server.restart().await;
        }
    }
    let other = SubmitRequest { input: Some(text("other")), ..keyed("once") };
    let refused = soon(server.operations().submit_and_watch(other)).await.refused();
    refused.is(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn copies_at_once_are_one_operation_and_all_see_its_end() {
    let server = TestServer::start().await;
    let mut watches = Vec::new();
    for _ in 0..20 {
        let api = server.api.clone();
        watches
            .push(spawn(async move { submit_and_watch(&api, keyed("once")).await.rest().await }));
    }
    let mut worker = server.worker("demo", 20).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, None).await;
    for watch in watches {
        let messages = soon(watch).await.unwrap();
        assert_eq!(messages[0].r#type(), Type::Snapshot);
        let seen: Vec<i64> = messages.iter().map(|message| message.revision).collect();
        assert_eq!(seen, (seen[0]..=3).collect::<Vec<_>>(), "each once and in order");
    }
    assert_eq!(server.matching("").await.len(), 1);
}

#[tokio::test]
async fn it_is_refused_as_submit_is() {
    let mut server = TestServer::with(|config| config.limits.max_outstanding = 2).await;
    let refused = async |api: &Api, request: SubmitRequest| {
        soon(api.operations().submit_and_watch(request)).await.refused()
    };
    refused(&server, SubmitRequest::default()).await.is_about("kind");
    let bad = SubmitRequest { kind: "1".to_owned(), idempotency_key: "\n".to_owned(), ..keyed("") };
    assert_eq!(refused(&server, bad).await.fields(), ["kind", "idempotency_key"]);

    let mut held = Vec::new();
    for key in ["a", "b"] {
        let mut watch = submit_and_watch(&server, keyed(key)).await;
        watch.expect(Type::Snapshot).await;
        held.push(watch);
    }
    let full = refused(&server, keyed("c")).await;
    full.is(Code::ResourceExhausted, "RESOURCE_EXHAUSTED");
    assert!(full.retry_after.is_some());
    // What is there already is no new work.
    submit_and_watch(&server, keyed("a")).await.expect(Type::Snapshot).await;

    server.begin_to_stop();
    for watch in &mut held {
        watch.ended().await;
    }
    drop(held);
    server.stop().await;
}

#[tokio::test]
async fn it_lives_as_long_as_any_watch_and_is_resumed_as_one() {
    let minute = Duration::from_secs(60);
    let heartbeat_interval = Duration::from_secs(15);
    let tuning = Tuning { heartbeat_interval, max_stream_age: 5 * minute, ..Tuning::default() };
    let server = ClockedServer::with(tuning).await;
    let mut watch = submit_and_watch(&server, keyed("once")).await;
    let name = watch.expect(Type::Snapshot).await.operation.unwrap().name;
    soon(server.clock.is_awaited_in(heartbeat_interval)).await;
    server.advance(heartbeat_interval);
    let heartbeat = watch.expect(Type::Heartbeat).await;
    assert_eq!((heartbeat.revision, heartbeat.operation), (1, None));
    server.advance(6 * minute);
    watch.ended().await;
    server.cancel(&name, "").await;
    assert_eq!(server.watch(watch_from(&name, 1)).await.revisions().await, [2]);

    let mut request = Request::new(submission("demo"));
    request.set_timeout(minute);
    let watch = soon(server.operations().submit_and_watch(request)).await.unwrap();
    server.advance(minute - Duration::from_millis(200));
    let messages = Watching(watch.into_inner()).rest().await;
    assert_eq!(messages[0].r#type(), Type::Snapshot);
    assert!(messages.iter().all(|message| message.revision == 1));
}

#[tokio::test]
async fn an_abandoned_call_leaves_the_operation_alone() {
    let server = TestServer::start().await;
    let mut watch = submit_and_watch(&server, submission("demo")).await;
    let name = watch.next().await.operation.unwrap().name;
    drop(watch);
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, None).await;
    assert_eq!(server.done(&name).await.state(), State::Succeeded);
}

#[tokio::test]
async fn the_typed_client_submits_and_watches_in_one_call() {
    let server = TestServer::start().await;
    let mut worker = server.worker("demo", 1).await;
    let mut watch = server.client().submit_and_watch(submission("demo"));
    assert_eq!(watch.name(), "");
    let first = soon(watch.next()).await.unwrap().unwrap();
    assert_eq!((first.r#type(), first.revision), (Type::Snapshot, 1));
    assert_eq!(watch.name(), first.operation.unwrap().name);
    let assignment = worker.assignment().await;
    worker.complete(&assignment, None).await;
    let mut revisions = Vec::new();
    while let Some(message) = soon(watch.next()).await {
        revisions.push(message.unwrap().revision);
    }
    assert_eq!(revisions, [2, 3]);
}
