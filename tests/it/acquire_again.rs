//! A call to Acquire with a name: one that is repeated after its response was lost gets the same attempts again.

use std::time::Duration;

use longrun::proto::v1::cancel_attempt::Cause;
use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

/// A call that has the name `request_id`, for what can start at once.
fn named(request_id: &str, max_attempts: i32) -> AcquireRequest {
    AcquireRequest {
        worker_id: "caller".to_owned(),
        kinds: vec!["count".to_owned()],
        max_attempts,
        timeout: seconds(0),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

async fn acquired(api: &Api, request: AcquireRequest) -> Vec<AcquiredAttempt> {
    soon(api.workers().acquire(request)).await.unwrap().into_inner().attempts
}

async fn complete(api: &Api, token: &str) {
    let report = CompleteRequest { token: token.to_owned(), ..Default::default() };
    soon(api.workers().complete(report)).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_repeated_gets_the_attempts_that_go_on() {
    let server = TestServer::start().await;
    for input in ["a", "b"] {
        let request = SubmitRequest { input: Some(text(input)), ..submission("count") };
        server.submit(with_settings(request, attempts(1))).await;
    }
    let first = acquired(&server, named("1", 3)).await;
    assert_eq!(first.len(), 2);
    assert_eq!(acquired(&server, named("1", 3)).await, first, "with inputs and tokens");
    // Beside them there is room for one more.
    let third = server.submit(submission("count")).await;
    assert_eq!(acquired(&server, named("1", 2)).await, first);
    let all = acquired(&server, named("1", 3)).await;
    assert_eq!(all[..2], first[..]);
    assert_eq!(all[2].operation.as_ref().unwrap().name, third.name);
    // What is over does not come again.
    complete(&server, &first[0].token).await;
    complete(&server, &all[2].token).await;
    assert_eq!(acquired(&server, named("1", 3)).await, first[1..]);
    complete(&server, &first[1].token).await;
    assert_eq!(acquired(&server, named("1", 3)).await, []);
    for attempt in all {
        let done = server.done(&attempt.operation.unwrap().name).await;
        assert_eq!((done.state(), done.attempt), (State::Succeeded, 1));
    }
}

#[tokio::test]
async fn another_call_does_not_get_them() {
    let server = TestServer::start().await;
    server.submit(submission("count")).await;
    assert_eq!(acquired(&server, named("1", 1)).await.len(), 1);
    let others = [
        named("2", 1),
        named("", 1),
        AcquireRequest { worker_id: "other".to_owned(), ..named("1", 1) },
        AcquireRequest { kinds: vec!["count".to_owned(), "more".to_owned()], ..named("1", 1) },
        AcquireRequest { lease_duration: seconds(31), ..named("1", 1) },
    ];
    for other in others {
        assert_eq!(acquired(&server, other.clone()).await, [], "{other:?}");
    }
}

#[tokio::test]
async fn an_earlier_call_of_the_same_name_ends() {
    let server = ClockedServer::start().await;
    let waiting = AcquireRequest { timeout: seconds(60), ..named("1", 2) };
    let wait = |request: AcquireRequest| {
        let mut workers = server.workers();
        spawn(async move { workers.acquire(request).await.unwrap().into_inner().attempts })
    };
    let first = wait(waiting.clone());
    soon(server.clock.is_awaited_in(Duration::from_secs(60))).await;
    let second = wait(waiting);
    assert_eq!(soon(first).await.unwrap(), []);
    server.submit(submission("count")).await;
    assert_eq!(soon(second).await.unwrap()[0].attempt, 1);
}

#[tokio::test]
async fn a_response_that_is_cut_off_costs_no_attempt() {
    let server = TestServer::start().await;
    let operation = server.submit(with_settings(submission("count"), attempts(1))).await;
    let mut connection = TcpStream::connect(server.addr).await.unwrap();
    let request = format!(
        "POST /v1/kinds/count:acquire?worker_id=caller&request_id=1 HTTP/1.1\r\nHost: {}\r\n\
         Content-Length: 0\r\n\r\n",
        server.addr
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    soon(connection.read_exact(&mut [0])).await.unwrap();
    drop(connection);
    // Over gRPC it is the same call.
    let again = acquired(&server, named("1", 1)).await;
    let [attempt] = &again[..] else { panic!("{again:?}") };
    assert_eq!(attempt.operation.as_ref().unwrap().name, operation.name);
    complete(&server, &attempt.token).await;
    let done = server.done(&operation.name).await;
    assert_eq!((done.attempt, done.attempts_used), (1, 1));
}

#[tokio::test]
async fn a_response_that_is_lost_with_the_server_costs_no_attempt() {
    let lease_duration = Duration::from_secs(30);
    let mut server = ClockedServer::with(Tuning { lease_duration, ..Tuning::default() }).await;
    let operation = server.submit(with_settings(submission("count"), attempts(1))).await;
    let first = acquired(&server, named("1", 1)).await;
    server.restart_after(Duration::from_secs(20)).await;
    assert_eq!(acquired(&server, named("1", 1)).await, first);
    // And the lease begins again.
    server.live_through(Duration::from_secs(29)).await;
    complete(&server, &first[0].token).await;
    assert_eq!(server.done(&operation.name).await.attempts_used, 1);
}

#[tokio::test]
async fn an_attempt_that_is_cancelled_before_its_response_arrives_ends() {
    let server = TestServer::start().await;
    let operation = server.submit(submission("count")).await;
    let lost = acquired(&server, named("1", 1)).await;
    server.cancel(&operation.name, "enough").await;
    let next = server.submit(submission("count")).await;
    let waiting = AcquireRequest { timeout: None, ..named("1", 1) };
    let attempts = acquired(&server, waiting).await;
    assert_eq!(server.done(&operation.name).await.state(), State::Cancelled);
    assert_eq!(attempts[0].operation.as_ref().unwrap().name, next.name);
    let renewal = RenewRequest { token: lost[0].token.clone(), ..Default::default() };
    let renewed = soon(server.workers().renew(renewal)).await.unwrap().into_inner();
    assert_eq!(renewed.cancel.unwrap().cause(), Cause::NotCurrent);
}

#[tokio::test]
async fn one_name_does_for_all_calls_of_a_worker() {
    let server = TestServer::start().await;
    for _ in 0..3 {
        let operation = server.submit(submission("count")).await;
        let attempts = acquired(&server, named("slot 1", 1)).await;
        assert_eq!(attempts[0].operation.as_ref().unwrap().name, operation.name);
        complete(&server, &attempts[0].token).await;
        let types: Vec<EventType> =
            server.events(&operation.name).await.iter().map(Event::r#type).collect();
        assert_eq!(types, [EventType::Submitted, EventType::Started, EventType::Finished]);
    }
}
