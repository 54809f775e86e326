//! Cancelling: at once while queued, by way of the worker while running, never after the end.

use std::time::Duration;

use longrun::proto::v1::cancel_attempt::Cause;
use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::*;

use crate::support::*;

#[tokio::test]
async fn a_queued_operation_is_cancelled_at_once() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let cancelled = server.cancel(&name, "not needed").await;
    assert_eq!(
        (cancelled.state(), cancelled.done, cancelled.revision),
        (State::Cancelled, true, 2)
    );
    assert!(cancelled.cancel_time.is_some());
    assert_eq!(cancelled.cancel_time, cancelled.end_time);
    assert!(cancelled.purge_time.is_some());
    let error = cancelled.error.unwrap();
    assert_eq!((error.code.as_str(), error.status_code), ("CANCELLED", 1));
    assert_eq!(error.source(), error::Source::Service);
    assert!(error.message.contains("not needed"), "{}", error.message);
    let events = server.events(&name).await;
    assert_eq!(events[1].r#type(), EventType::Finished);
    assert_eq!(events[1].reason, "not needed");

    // Nobody is given it any more.
    let mut worker = server.worker("demo", 2).await;
    let next = server.submit(submission("demo")).await.name;
    assert_eq!(worker.assignment().await.operation.unwrap().name, next);
}

#[tokio::test]
async fn a_running_operation_is_cancelled_through_its_worker() {
    let server = TestServer::start().await;
    let settings = Settings { cancel_grace: seconds(60), ..Settings::default() };
    let name = server.submit(with_settings(submission("demo"), settings)).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let cancelling = server.cancel(&name, "too expensive").await;
    assert_eq!((cancelling.state(), cancelling.done), (State::Cancelling, false));

    let told = worker.told_to_stop().await;
    assert_eq!(told.cause(), Cause::CancelRequested);
    assert_eq!((told.attempt, told.reason.as_str()), (attempt_of(&assignment), "too expensive"));
    let asked = cancelling.cancel_time.unwrap();
    assert_eq!(told.grace_deadline_time.unwrap().seconds, asked.seconds + 60);

    worker.fail(&assignment, "Stopped").await;
    let cancelled = server.done(&name).await;
    assert_eq!(cancelled.state(), State::Cancelled);
    let error = cancelled.error.unwrap();
    assert_eq!(error.code, "CANCELLED");
    assert_eq!(error.causes[0].code, "Stopped", "what the worker said is kept");
    let kinds: Vec<_> = server.events(&name).await.iter().map(Event::r#type).collect();
    let expected =
        [EventType::Submitted, EventType::Started, EventType::CancelRequested, EventType::Finished];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_release_ends_a_cancelling_operation_as_cancelled() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    server.cancel(&name, "").await;
    worker.release(&assignment).await;
    let cancelled = server.done(&name).await;
    assert_eq!((cancelled.state(), cancelled.attempt), (State::Cancelled, 1));
}

#[tokio::test]
async fn an_outcome_that_comes_first_wins() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    server.cancel(&name, "").await;
    worker.told_to_stop().await;
    worker.complete(&assignment, Some(text("done anyway"))).await;
    let operation = server.done(&name).await;
    assert_eq!(operation.state(), State::Succeeded);
    assert!(operation.result.is_some() && operation.cancel_time.is_some());
    assert_eq!(operation.error, None);
}

#[tokio::test]
async fn repeated_cancels_and_cancels_of_the_done_change_nothing() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let first = server.cancel(&name, "first").await;
    assert_eq!(server.cancel(&name, "second").await, first);
    worker.told_to_stop().await;
    worker.complete(&assignment, None).await;
    worker.heard_nothing_else();
    let done = server.get(&name).await;
    assert_eq!(server.cancel(&name, "third").await, done);
    assert_eq!(server.events(&name).await.len(), 4);
}

#[tokio::test]
async fn a_worker_that_does_not_stop_in_its_grace_period_is_not_waited_for() {
    let server = ClockedServer::start().await;
    let settings = Settings { cancel_grace: seconds(10), ..Settings::default() };
    let name = server.submit(with_settings(submission("demo"), settings)).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    server.cancel(&name, "").await;
    assert_eq!(worker.told_to_stop().await.cause(), Cause::CancelRequested);
    server.advance(Duration::from_millis(9_999));
    let late = server.submit(submission("other")).await;
    assert_eq!(server.get(&name).await.state(), State::Cancelling, "not a moment too early");
    assert_eq!(late.revision, 1);
    server.advance(Duration::from_millis(1));
    assert_eq!(server.done(&name).await.state(), State::Cancelled);
    let told = worker.told_to_stop().await;
    assert_eq!((told.cause(), told.attempt), (Cause::NotCurrent, attempt_of(&assignment)));
    let complete = Complete { attempt: attempt_of(&assignment), ..Complete::default() };
    let refused = worker.try_complete(complete).await.unwrap();
    assert_eq!(refused.reason, "STALE_ATTEMPT");
    assert_eq!(server.get(&name).await.state(), State::Cancelled);
}

#[tokio::test]
async fn reasons_are_short() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let request = CancelOperationRequest { name: name.clone(), reason: "é".repeat(1_001) };
    soon(server.operations().cancel_operation(request)).await.refused().is_about("reason");
    let reason = "é".repeat(1_000);
    server.cancel(&name, &reason).await;
    assert_eq!(server.events(&name).await[1].reason, reason);
    let unknown = "operations/01890000-0000-7000-8000-000000000000".to_owned();
    let request = CancelOperationRequest { name: unknown, ..Default::default() };
    soon(server.operations().cancel_operation(request)).await.refused().is_not_found();
}
