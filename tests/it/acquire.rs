//! Workers without a stream: attempts that are acquired, renewed and reported by unary calls.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tonic::Code;

use longrun::operation::{Kind, WorkerId};
use longrun::proto::v1::cancel_attempt::Cause;
use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::payload::Content;
use longrun::proto::v1::*;
use longrun::service::{Acquire, Caller, DEFAULT_WAIT};

use crate::support::*;

fn acquire(kinds: &[&str], max_attempts: i32) -> AcquireRequest {
    AcquireRequest {
        worker_id: "caller".to_owned(),
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        max_attempts,
        ..Default::default()
    }
}

/// What can start at once.
fn at_once(kind: &str) -> AcquireRequest {
    AcquireRequest { timeout: seconds(0), ..acquire(&[kind], 1) }
}

async fn acquired(api: &Api, request: AcquireRequest) -> Vec<AcquiredAttempt> {
    soon(api.workers().acquire(request)).await.unwrap().into_inner().attempts
}

/// The one attempt that there must be.
async fn one(api: &Api, request: AcquireRequest) -> AcquiredAttempt {
    let mut attempts = acquired(api, request).await;
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    attempts.pop().unwrap()
}

fn completion(token: &str, result: Payload) -> CompleteRequest {
    CompleteRequest { token: token.to_owned(), result: Some(result), ..Default::default() }
}

fn failure(token: &str) -> FailRequest {
    let error = Error { code: "Broken".to_owned(), ..Default::default() };
    FailRequest { token: token.to_owned(), error: Some(error), ..Default::default() }
}

fn renewal(token: &str) -> RenewRequest {
    RenewRequest { token: token.to_owned(), ..Default::default() }
}

/// Why a sign of life is answered that the worker is to stop.
async fn cause(api: &Api, token: &str) -> Option<Cause> {
    let renewed = soon(api.workers().renew(renewal(token))).await.unwrap().into_inner();
    assert_eq!(renewed.lease_duration.is_some(), renewed.cancel.is_none(), "{renewed:?}");
    renewed.cancel.map(|cancel| cancel.cause())
}

fn types(events: &[Event]) -> Vec<EventType> {
    events.iter().map(|event| event.r#type()).collect()
}

#[tokio::test]
async fn an_attempt_is_acquired_renewed_and_reported_without_a_stream() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(text("five")), ..submission("count") };
    let submitted = server.submit(request).await;
    let attempt = one(&server, acquire(&["count"], 0)).await;
    let operation = attempt.operation.as_ref().unwrap();
    assert_eq!((&operation.name, operation.state()), (&submitted.name, State::Running));
    assert_eq!(operation.worker_id, "caller");
    assert_eq!((attempt.attempt, attempt.lease_duration), (1, seconds(30)));
    assert_eq!(attempt.input.unwrap().content, Some(Content::Data("five".into())));
    let progress = Some(Progress { percent: Some(40.0), ..Default::default() });
    let request = RenewRequest { progress, ..renewal(&attempt.token) };
    let renewed = soon(server.workers().renew(request)).await.unwrap().into_inner();
    assert_eq!((renewed.lease_duration, renewed.cancel), (seconds(30), None));
    assert_eq!(server.get(&submitted.name).await.progress.unwrap().percent, Some(40.0));
    let lines = vec!["one".to_owned(), "two".to_owned()];
    let log = AddLogRequest { token: attempt.token.clone(), lines };
    soon(server.workers().add_log(log)).await.unwrap();
    let warning = Error { code: "Slow".to_owned(), ..Default::default() };
    let report =
        CompleteRequest { warnings: vec![warning], ..completion(&attempt.token, text("counted")) };
    soon(server.workers().complete(report)).await.unwrap();
    let done = server.done(&submitted.name).await;
    assert_eq!((done.state(), done.warnings.len()), (State::Succeeded, 1));
    assert_eq!(done.result.unwrap().content, Some(Content::Text("counted".to_owned())));
    let events = server.events(&submitted.name).await;
    let expected = [
        EventType::Submitted,
        EventType::Started,
        EventType::Log,
        EventType::Log,
        EventType::Finished,
    ];
    assert_eq!(types(&events), expected);
}

#[tokio::test]
async fn a_poll_waits_for_work_and_no_longer_than_it_says() {
    let server = ClockedServer::start().await;
    assert_eq!(acquired(&server, at_once("count")).await, []);
    let workers = server.workers();
    let poll = |seconds_: i64| {
        let mut workers = workers.clone();
        let request = AcquireRequest { timeout: seconds(seconds_), ..acquire(&["count"], 1) };
        spawn(async move { workers.acquire(request).await.unwrap().into_inner().attempts })
    };
    let in_vain = poll(40);
    soon(server.clock.is_awaited_in(Duration::from_secs(40))).await;
    server.advance(Duration::from_secs(40));
    assert_eq!(soon(in_vain).await.unwrap(), []);
    // More than the most is taken as that.
    let waiting = poll(1_000);
    soon(server.clock.is_awaited_in(Duration::from_secs(300))).await;
    let submitted = server.submit(submission("count")).await;
    let attempts = soon(waiting).await.unwrap();
    assert_eq!(attempts[0].operation.as_ref().unwrap().name, submitted.name);
}

#[tokio::test]
async fn one_poll_takes_what_starts_together_up_to_its_maximum() {
    let server = TestServer::start().await;
    for kind in ["a", "b", "a", "b", "c"] {
        server.submit(submission(kind)).await;
    }
    let attempts = acquired(&server, acquire(&["a", "b"], 3)).await;
    assert_eq!(attempts.len(), 3);
    let mut names: Vec<&str> =
        attempts.iter().map(|it| it.operation.as_ref().unwrap().name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 3);
    // The turn of each of its kinds comes.
    let kinds: Vec<&str> =
        attempts.iter().map(|it| it.operation.as_ref().unwrap().kind.as_str()).collect();
    assert!(kinds.contains(&"a") && kinds.contains(&"b"), "{kinds:?}");
    assert_eq!(acquired(&server, acquire(&["a", "b"], 3)).await.len(), 1);
    // Each lease is one attempt's own.
    soon(server.workers().fail(failure(&attempts[0].token))).await.unwrap();
    assert_eq!(cause(&server, &attempts[0].token).await, Some(Cause::Recorded));
    assert_eq!(cause(&server, &attempts[1].token).await, None);
}

#[tokio::test]
async fn those_who_poll_and_those_with_a_stream_are_served_from_one_queue() {
    let server = ClockedServer::start().await;
    let mut worker = server.worker("count", 4).await;
    let mut workers = server.workers();
    let request = acquire(&["count"], 4);
    let poll = spawn(async move { workers.acquire(request).await.unwrap().into_inner().attempts });
    soon(server.clock.is_awaited_in(DEFAULT_WAIT)).await;
    let requests = vec![submission("count"); 5];
    server.submit_batch(requests).await;
    let polled = soon(poll).await.unwrap();
    // A turn each, as for workers of as many streams.
    assert_eq!(polled.len(), 4);
    worker.assignment().await;
}

#[tokio::test]
async fn a_token_is_good_for_one_attempt_and_while_it_lasts() {
    let server = TestServer::start().await;
    let settings = attempts(5);
    let first = server.submit(with_settings(submission("count"), settings)).await;
    let old = one(&server, acquire(&["count"], 1)).await.token;
    soon(server.workers().fail(failure(&old))).await.unwrap();
    // The report that ended it may come twice.
    soon(server.workers().fail(failure(&old))).await.unwrap();
    let current = one(&server, acquire(&["count"], 1)).await.token;
    let refused = soon(server.workers().complete(completion(&old, text("late")))).await.refused();
    refused.is(Code::FailedPrecondition, "STALE_ATTEMPT");
    assert!(refused.message.contains("attempt 1 is not current: attempt 2 is"), "{refused:?}");
    assert_eq!(cause(&server, &old).await, Some(Cause::Recorded), "another is under way");
    let log = AddLogRequest { token: old.clone(), lines: vec!["late".to_owned()] };
    soon(server.workers().add_log(log)).await.refused();
    assert_eq!(server.get(&first.name).await.state(), State::Running);

    // Nobody makes one.
    let mut forged = current.clone();
    forged.replace_range(30..31, if current[30..].starts_with('x') { "y" } else { "x" });
    for token in ["", "token", forged.as_str(), &current[1..]] {
        soon(server.workers().renew(renewal(token))).await.refused().is_about("token");
        let release = ReleaseRequest { token: token.to_owned() };
        soon(server.workers().release(release)).await.refused().is_about("token");
        let report = completion(token, text("forged"));
        soon(server.workers().complete(report)).await.refused().is_about("token");
    }

    let report = || completion(&current, text("counted"));
    soon(server.workers().complete(report())).await.unwrap();
    soon(server.workers().complete(report())).await.unwrap();
    let second = completion(&current, text("counted again"));
    let refused = soon(server.workers().complete(second)).await.refused();
    refused.is(Code::FailedPrecondition, "STALE_ATTEMPT");
    assert!(refused.message.contains("another report has ended it"), "{refused:?}");
    let done = server.done(&first.name).await;
    assert_eq!(done.result.unwrap().content, Some(Content::Text("counted".to_owned())));
    assert_eq!(done.attempt, 2);
    assert_eq!(cause(&server, &current).await, Some(Cause::Recorded));
    server.delete(&first.name).await;
    assert_eq!(cause(&server, &current).await, Some(Cause::NotCurrent));
}

#[tokio::test]
async fn what_breaks_rules_is_named() {
    let server = TestServer::start().await;
    let request = AcquireRequest {
        worker_id: "ä".to_owned(),
        kinds: vec!["1".to_owned()],
        max_attempts: 101,
        timeout: seconds(-1),
        lease_duration: seconds(7 * 24 * 3_600 + 1),
        request_id: "ä".to_owned(),
    };
    let refused = soon(server.workers().acquire(request)).await.refused();
    let fields =
        ["worker_id", "kinds[0]", "max_attempts", "timeout", "lease_duration", "request_id"];
    assert_eq!(refused.fields(), fields);
    server.submit(submission("count")).await;
    let token = one(&server, acquire(&["count"], 1)).await.token;
    let report = FailRequest { error: None, ..failure(&token) };
    soon(server.workers().fail(report)).await.refused().is_about("error");
    let report = FailRequest { retry_delay: seconds(86_401), ..failure(&token) };
    soon(server.workers().fail(report)).await.refused().is_about("retry_delay");
    let error = Error { code: "E".to_owned(), ..Default::default() };
    let report =
        CompleteRequest { errors: vec![error; 1_001], token: token.clone(), ..Default::default() };
    soon(server.workers().complete(report)).await.refused().is_about("errors");
    let log = AddLogRequest { token: token.clone(), lines: vec![String::new(); 1_001] };
    soon(server.workers().add_log(log)).await.refused().is_about("lines");
    // The attempt goes on.
    soon(server.workers().renew(renewal(&token))).await.unwrap();
}

#[tokio::test]
async fn a_cancel_is_heard_with_the_next_sign_of_life() {
    let server = TestServer::start().await;
    let operation = server.submit(submission("count")).await;
    let token = one(&server, acquire(&["count"], 1)).await.token;
    server.cancel(&operation.name, "enough").await;
    let renewed = soon(server.workers().renew(renewal(&token))).await.unwrap().into_inner();
    let cancel = renewed.cancel.unwrap();
    assert_eq!((cancel.cause(), cancel.reason.as_str()), (Cause::CancelRequested, "enough"));
    assert!(cancel.grace_deadline_time.is_some());
    soon(server.workers().release(ReleaseRequest { token })).await.unwrap();
    assert_eq!(server.done(&operation.name).await.state(), State::Cancelled);
}

#[tokio::test]
async fn an_attempt_that_is_released_does_not_count() {
    let server = TestServer::start().await;
    let operation = server.submit(submission("count")).await;
    let token = one(&server, acquire(&["count"], 1)).await.token;
    soon(server.workers().release(ReleaseRequest { token })).await.unwrap();
    let again = one(&server, acquire(&["count"], 1)).await;
    assert_eq!(again.attempt, 2);
    assert_eq!(server.get(&operation.name).await.attempts_used, 1);
}

#[tokio::test]
async fn a_lease_lives_for_as_long_as_it_says_from_each_sign_of_life() {
    let lease_duration = Duration::from_secs(30);
    let server = ClockedServer::with(Tuning { lease_duration, ..Tuning::default() }).await;
    let operation = server.submit(with_settings(submission("count"), attempts(2))).await;
    let request = AcquireRequest { lease_duration: seconds(10), ..at_once("count") };
    let token = one(&server, request).await.token;
    for _ in 0..2 {
        server.live_through(Duration::from_secs(9)).await;
        soon(server.workers().renew(renewal(&token))).await.unwrap();
    }
    server.live_through(Duration::from_secs(9)).await;
    let log = AddLogRequest { token: token.clone(), lines: vec!["alive".to_owned()] };
    soon(server.workers().add_log(log)).await.unwrap();
    server.live_through(Duration::from_secs(9)).await;
    assert_eq!(server.get(&operation.name).await.state(), State::Running);
    let mut watch = server.watch(watch_from(&operation.name, 2)).await;
    server.live_through(Duration::from_secs(1)).await;
    let lost = watch.next().await.operation.unwrap();
    assert_eq!((lost.state(), lost.error.unwrap().code.as_str()), (State::Queued, "WORKER_LOST"));
    assert_eq!(cause(&server, &token).await, Some(Cause::NotCurrent));
}

#[tokio::test]
async fn a_token_outlives_the_server() {
    let lease_duration = Duration::from_secs(30);
    let mut server = ClockedServer::with(Tuning { lease_duration, ..Tuning::default() }).await;
    let operation = server.submit(submission("approve")).await;
    let request = AcquireRequest { lease_duration: seconds(3_600), ..at_once("approve") };
    let token = one(&server, request).await.token;
    server.restart_after(Duration::from_secs(600)).await;
    // Far longer than a worker of a stream has to come back.
    server.live_through(Duration::from_secs(120)).await;
    let renewed = soon(server.workers().renew(renewal(&token))).await.unwrap().into_inner();
    assert_eq!(renewed.lease_duration, seconds(3_600));
    soon(server.workers().complete(completion(&token, text("yes")))).await.unwrap();
    assert_eq!(server.done(&operation.name).await.attempt, 1);
}

/// Runs a call as long as nobody waits for the end of its poll.
async fn begun<T>(server: &ClockedServer, call: &mut (impl Future<Output = T> + Unpin)) {
    server.clock.forget_awaited();
    let waits = soon(server.clock.is_awaited_in(DEFAULT_WAIT));
    tokio::select! {
        _ = call => panic!("it was answered"),
        () = waits => {}
    }
}

#[tokio::test]
async fn what_was_assigned_to_a_poll_that_nobody_reads_goes_back_at_once() {
    let server = ClockedServer::start().await;
    let service = server.service.clone();
    let acquire = || Acquire {
        worker: WorkerId::parse("gone").unwrap(),
        kinds: vec![Kind::parse("count").unwrap()],
        most: 2,
        lease: None,
        wait: DEFAULT_WAIT,
        request: None,
    };
    let caller = Caller::anonymous();
    let mut poll = Box::pin(service.acquire(&caller, acquire()));
    begun(&server, &mut poll).await;
    let operation = server.submit(with_settings(submission("count"), attempts(1))).await;
    let mut watch = server.watch(watch_from(&operation.name, 1)).await;
    assert_eq!(watch.next().await.operation.unwrap().state(), State::Running);
    // The client hangs up before it has the answer.
    drop(poll);
    let released = watch.next().await;
    assert_eq!(released.event.unwrap().r#type(), EventType::Released);
    let operation = released.operation.unwrap();
    assert_eq!((operation.state(), operation.attempt), (State::Queued, 1));
    assert_eq!(operation.attempts_used, 0);
    // Nor is anything assigned to it any more, and the one attempt that may be made is still to come.
    let next = one(&server, at_once("count")).await;
    assert_eq!(next.attempt, 2);
    soon(server.workers().complete(completion(&next.token, text("done")))).await.unwrap();
    // One that is dropped while there is nothing for it.
    let mut poll = Box::pin(service.acquire(&caller, acquire()));
    begun(&server, &mut poll).await;
    assert!(poll.as_mut().now_or_never().is_none());
    drop(poll);
    server.submit(submission("count")).await;
    assert_eq!(one(&server, at_once("count")).await.attempt, 1);
}

#[tokio::test]
async fn polls_end_when_the_server_stops() {
    let mut server = TestServer::start().await;
    let mut workers = server.workers();
    let poll = spawn(async move { workers.acquire(acquire(&["count"], 1)).await });
    // It is there once its kind is served: the server has one connection, and answers in order of arrival.
    server.submit(submission("other")).await;
    server.begin_to_stop();
    let answer = soon(poll).await.unwrap();
    match answer {
        Ok(answer) => assert_eq!(answer.into_inner().attempts, []),
        // It came too late.
        Err(status) => assert_eq!(status.code(), Code::Unavailable),
    }
    soon(server.stop()).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_waits_takes_nothing_with_it() {
    let server = TestServer::start().await;
    let mut waiting = TcpStream::connect(server.addr).await.unwrap();
    let request = format!(
        "POST /v1/kinds/count:acquire?wait=60s HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
        server.addr
    );
    waiting.write_all(request.as_bytes()).await.unwrap();
    // The server has heard of it by the time that it answers others.
    server.submit(submission("other")).await;
    drop(waiting);
    let operation = server.submit(submission("count")).await;
    let attempt = one(&server, acquire(&["count"], 1)).await;
    soon(server.workers().complete(completion(&attempt.token, text("done")))).await.unwrap();
    assert_eq!(server.done(&operation.name).await.attempts_used, 1);
}
