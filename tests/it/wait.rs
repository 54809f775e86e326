//! Waiting: the answer comes when the operation is done or when time is up, and both are success.

use std::time::Duration;

use longrun::proto::v1::*;
use tonic::Request;

use crate::support::*;

fn wait(name: &str, timeout: Option<prost_types::Duration>) -> WaitOperationRequest {
    WaitOperationRequest { name: name.to_owned(), timeout, ..Default::default() }
}

#[tokio::test]
async fn no_time_to_wait_is_a_get_without_the_input() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(text("input")), ..submission("demo") };
    let submitted = server.submit(request).await;
    let request = wait(&submitted.name, seconds(0));
    let waited = soon(server.operations().wait_operation(request)).await.unwrap().into_inner();
    assert_eq!(waited, submitted);
    assert!(!waited.done);
}

#[tokio::test]
async fn a_done_operation_is_answered_at_once_with_its_result() {
    let server = ClockedServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, Some(text("result"))).await;
    // The clock stands still, so an answer is not a timeout.
    let done = server.done(&name).await;
    assert_eq!(done.result.unwrap().content, Some(payload::Content::Text("result".to_owned())));
}

#[tokio::test]
async fn waiters_are_answered_when_the_operation_is_done() {
    let server = ClockedServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let (api, name) = (server.api.clone(), name.clone());
            spawn(async move { api.done(&name).await })
        })
        .collect();
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, None).await;
    for waiter in waiters {
        let operation = soon(waiter).await.unwrap();
        assert_eq!(operation.state(), operation::State::Succeeded);
    }
}

#[tokio::test]
async fn a_timeout_is_success_and_no_wait_is_longer_than_five_minutes() {
    let server = ClockedServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    for (asked, longest) in [(None, 25), (seconds(90), 90), (seconds(100_000), 300)] {
        let request = wait(&name, asked);
        let mut rpc = server.operations();
        // The engine has timers of its own.
        server.clock.forget_awaited();
        let waiter = spawn(async move { rpc.wait_operation(request).await });
        let limit = Duration::from_secs(longest);
        soon(server.clock.is_awaited_in(limit)).await;
        server.advance(limit);
        let operation = soon(waiter).await.unwrap().unwrap().into_inner();
        assert_eq!((operation.name, operation.done), (name.clone(), false));
    }
}

#[tokio::test]
async fn the_calls_own_deadline_is_honoured_with_an_answer() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut request = Request::new(wait(&name, seconds(200)));
    request.set_timeout(Duration::from_secs(1));
    let operation = soon(server.operations().wait_operation(request)).await.unwrap().into_inner();
    assert_eq!((operation.name, operation.done), (name, false));
}

#[tokio::test]
async fn bad_timeouts_and_views_are_refused_and_unknown_operations_are_not_found() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut rpc = server.operations();
    soon(rpc.wait_operation(wait(&name, seconds(-1)))).await.refused().is_about("timeout");
    let request = WaitOperationRequest { view: 9, ..wait(&name, None) };
    soon(rpc.wait_operation(request)).await.refused().is_about("view");
    let request = wait("operations/01890000-0000-7000-8000-000000000000", None);
    soon(rpc.wait_operation(request)).await.refused().is_not_found();
}

#[tokio::test]
async fn the_typed_client_waits_for_as_long_as_it_takes() {
    let server = TestServer::start().await;
    let client = server.client();
    let name = soon(client.submit(submission("demo"))).await.unwrap().name;
    let still = soon(client.wait(&name, Some(Duration::ZERO))).await.unwrap();
    assert!(!still.done);
    let (waiting, waited) = (client.clone(), name.clone());
    let waiter = spawn(async move { waiting.wait(&waited, None).await });
    server.cancel(&name, "enough").await;
    let operation = soon(waiter).await.unwrap().unwrap();
    assert_eq!(operation.state(), operation::State::Cancelled);
}
