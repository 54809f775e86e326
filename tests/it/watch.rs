//! Watching an operation: every transition after a revision, once and in order, to the terminal one.

use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

#[tokio::test]
async fn a_watch_begins_with_the_operation_and_ends_after_the_terminal_transition() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(text("input")), ..submission("demo") };
    let submitted = server.submit(request).await;
    let mut watch = server.watch(watch_now(&submitted.name)).await;
    let snapshot = watch.expect(Type::Snapshot).await;
    assert_eq!((snapshot.revision, snapshot.event), (1, None));
    assert_eq!(snapshot.operation, Some(submitted.clone()));

    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let started = watch.expect(Type::Transition).await;
    let event = started.event.unwrap();
    assert_eq!((started.revision, event.revision, event.r#type()), (2, 2, EventType::Started));
    assert_eq!((event.state(), event.attempt), (State::Running, 1));
    assert_eq!(event.worker_id, "test-worker");
    let operation = started.operation.unwrap();
    assert_eq!((operation.state(), operation.revision), (State::Running, 2));
    assert_eq!(operation.start_time, event.time);

    worker.complete(&assignment, Some(text("result"))).await;
    let finished = watch.expect(Type::Transition).await;
    let event = finished.event.unwrap();
    assert_eq!((event.r#type(), event.state()), (EventType::Finished, State::Succeeded));
    let operation = finished.operation.unwrap();
    let result = operation.result.clone().unwrap();
    assert_eq!(result.content, Some(payload::Content::Text("result".to_owned())));
    assert_eq!(operation.input.unwrap().content, None, "inputs are not repeated");
    watch.ended().await;
}

#[tokio::test]
async fn a_watch_after_a_revision_replays_exactly_what_follows() {
    let mut server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(3))).await.name;
    let mut worker = server.worker("demo", 1).await;
    for _ in 0..2 {
        let assignment = worker.assignment().await;
        worker.fail(&assignment, "Again").await;
    }
    let assignment = worker.assignment().await;
    worker.complete(&assignment, None).await;
    drop(worker);
    for restarted in [false, true] {
        for after in 0..=6 {
            let revisions = server.watch(watch_from(&name, after)).await.revisions().await;
            assert_eq!(revisions, (after + 1..=7).collect::<Vec<_>>(), "{restarted}");
        }
        // A client that calls again until an operation is done must come to an end.
        let messages = server.watch(watch_from(&name, 7)).await.rest().await;
        let [last] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!((last.r#type(), last.revision), (Type::Snapshot, 7));
        assert!(last.operation.as_ref().unwrap().done);
        let messages = server.watch(watch_from(&name, 0)).await.rest().await;
        for message in &messages {
            let (event, operation) =
                (message.event.as_ref().unwrap(), message.operation.as_ref().unwrap());
            assert_eq!(event.revision, operation.revision);
            assert_eq!(event.state, operation.state, "each as of its own event");
        }
        let errors = messages.iter().map(|m| m.event.as_ref().unwrap().error.is_some());
        let expected = [false, false, true, false, true, false, false];
        assert_eq!(errors.collect::<Vec<_>>(), expected);
        if !restarted {
            server.restart().await;
        }
    }
}

#[tokio::test]
async fn a_watch_of_a_done_operation_is_its_snapshot() {
    let server = TestServer::start().await;
    let operation = server.cancelled(submission("demo")).await;
    let messages = server.watch(watch_now(&operation.name)).await.rest().await;
    let [snapshot] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(snapshot.r#type(), Type::Snapshot);
    assert_eq!(snapshot.operation, Some(operation));
}

#[tokio::test]
async fn a_revision_that_never_was_is_out_of_range() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut rpc = server.operations();
    let refused = soon(rpc.watch_operation(watch_from(&name, 2))).await.refused();
    refused.is(Code::OutOfRange, "REVISION_AHEAD");
    assert_eq!(refused.metadata["revision"], "1");
    let refused = soon(rpc.watch_operation(watch_from(&name, i64::MAX))).await.refused();
    refused.is(Code::OutOfRange, "REVISION_AHEAD");
    let refused = soon(rpc.watch_operation(watch_from(&name, -1))).await.refused();
    refused.is_about("after_revision");
    let request = WatchOperationRequest { view: 9, ..watch_now(&name) };
    soon(rpc.watch_operation(request)).await.refused().is_about("view");
}

#[tokio::test]
async fn every_watcher_sees_the_same() {
    let server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(50))).await.name;
    let watchers: Vec<_> = (0..20)
        .map(|_| {
            let (api, name) = (server.api.clone(), name.clone());
            spawn(async move { api.watch(watch_from(&name, 0)).await.rest().await })
        })
        .collect();
    let mut worker = server.worker("demo", 1).await;
    for _ in 0..50 {
        let assignment = worker.assignment().await;
        worker.fail(&assignment, "Again").await;
    }
    let expected = server.watch(watch_from(&name, 0)).await.rest().await;
    let revisions: Vec<i64> = expected.iter().map(|message| message.revision).collect();
    assert_eq!(revisions, (1..=101).collect::<Vec<_>>());
    for watcher in watchers {
        assert_eq!(soon(watcher).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_watcher_that_does_not_read_misses_nothing() {
    let server = TestServer::start().await;
    // Many more transitions, and bytes, than are kept for or sent ahead of a reader.
    let name = server.submit(with_settings(submission("demo"), attempts(100))).await.name;
    let mut slow = Api::narrow(server.addr).watch(watch_now(&name)).await;
    slow.expect(Type::Snapshot).await;
    let mut worker = server.worker("demo", 1).await;
    let message = "why ".repeat(4_000);
    for _ in 0..100 {
        let assignment = worker.assignment().await;
        let error =
            Error { code: "Again".to_owned(), message: message.clone(), ..Error::default() };
        let (attempt, error) = (attempt_of(&assignment), Some(error));
        assert_eq!(worker.try_fail(Fail { attempt, error, ..Fail::default() }).await, None);
    }
    assert!(server.get(&name).await.done);
    assert_eq!(slow.revisions().await, (2..=201).collect::<Vec<_>>());
}

#[tokio::test]
async fn views_of_a_watch_leave_contents_out_or_carry_the_input_once() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(text("input")), ..submission("demo") };
    let name = server.submit(request).await.name;
    let view =
        |view: OperationView| WatchOperationRequest { view: view.into(), ..watch_now(&name) };
    let full = server.watch(view(OperationView::Full)).await;
    let basic = server.watch(view(OperationView::Basic)).await;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, Some(text("result"))).await;
    let carried = |messages: Vec<WatchOperationResponse>| {
        let operations = messages.into_iter().map(|message| message.operation.unwrap());
        let of = |payload: Option<Payload>| payload.is_some_and(|p| p.content.is_some());
        operations.map(|op| (of(op.input), of(op.result))).collect::<Vec<_>>()
    };
    assert_eq!(carried(basic.rest().await), [(false, false); 3]);
    assert_eq!(carried(full.rest().await), [(true, false), (false, false), (false, true)]);
}

#[tokio::test]
async fn unknown_and_deleted_operations_are_not_found() {
    let server = TestServer::start().await;
    let operation = server.cancelled(submission("demo")).await;
    server.delete(&operation.name).await;
    for request in [watch_now(&operation.name), watch_from(&operation.name, 0)] {
        soon(server.operations().watch_operation(request)).await.refused().is_not_found();
    }
}

#[tokio::test]
async fn the_typed_client_watches_across_a_restart_without_loss_or_repetition() {
    let mut server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(20))).await.name;
    let client = server.client();
    let mut watch = client.watch(watch_from(&name, 0));
    let mut seen = Vec::new();
    for round in 1..=3 {
        let mut worker = server.worker("demo", 1).await;
        for _ in 0..2 {
            let assignment = worker.assignment().await;
            worker.fail(&assignment, "Again").await;
        }
        // The next attempt goes back, and nobody takes it before the restart.
        let assignment = worker.assignment().await;
        worker.send(work_request::Message::Drain(WorkerDrain {})).await;
        worker.release(&assignment).await;
        drop(worker);
        seen.push(soon(watch.next()).await.unwrap().unwrap().revision);
        if round < 3 {
            server.restart().await;
        }
    }
    server.cancel(&name, "").await;
    while let Some(message) = soon(watch.next()).await {
        seen.push(message.unwrap().revision);
    }
    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
}
