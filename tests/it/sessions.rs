//! Opening a worker's stream, and what ends it.

use std::time::Duration;

use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::*;

use crate::support::*;

async fn refusal(server: &TestServer, first: Up) -> Refused {
    let (_up, down) = open_stream(server, Some(first)).await;
    Watching(down).refused().await
}

#[tokio::test]
async fn a_hello_is_answered_with_a_session() {
    let server = TestServer::with(|config| {
        config.liveness.lease_duration = Duration::from_secs(60);
    })
    .await;
    let session = server.worker("demo", 1).await.session;
    assert!(uuid::Uuid::parse_str(&session.session_id).is_ok(), "{session:?}");
    assert!(!session.resumed);
    assert_eq!(session.lease_duration, seconds(60));
    assert_eq!(session.heartbeat_interval, seconds(20));
    let other = server.worker("demo", 10_000).await.session;
    assert_ne!(other.session_id, session.session_id);
}

#[tokio::test]
async fn a_bad_hello_is_refused_by_its_fields() {
    let server = TestServer::start().await;
    let kinds = |kinds: &[&str]| Hello {
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        ..hello("demo", 1)
    };
    let worker = |id: &str| Hello { worker_id: id.to_owned(), ..hello("demo", 1) };
    let running = vec![AttemptRef { operation: "x".to_owned(), attempt: 1 }];
    let many: Vec<String> = (0..101).map(|n| format!("k{n}")).collect();
    let cases = [
        ("hello.worker_id", worker("")),
        ("hello.worker_id", worker("é")),
        ("hello.worker_id", worker(&"w".repeat(256))),
        ("hello.kinds", kinds(&[])),
        ("hello.kinds", Hello { kinds: many, ..hello("demo", 1) }),
        ("hello.kinds[1]", kinds(&["fine", "not a kind"])),
        ("hello.max_in_flight", hello("demo", 0)),
        ("hello.max_in_flight", hello("demo", -1)),
        ("hello.max_in_flight", hello("demo", 10_001)),
        ("hello.running[0].operation", Hello { running, ..hello("demo", 1) }),
    ];
    for (field, hello) in cases {
        refusal(&server, Up::Hello(hello)).await.is_about(field);
    }
    let refused = refusal(&server, Up::Hello(Hello::default())).await;
    let all = ["hello.worker_id", "hello.kinds", "hello.max_in_flight"];
    assert_eq!(refused.fields(), all, "named together");
}

#[tokio::test]
async fn the_hello_comes_first_and_only_once() {
    let server = TestServer::start().await;
    refusal(&server, Up::Heartbeat(Heartbeat {})).await.is_about("hello");
    let (up, down) = open_stream(&server, None).await;
    drop(up);
    Watching(down).refused().await.is_about("hello");

    let mut worker = server.worker("demo", 1).await;
    worker.send(Up::Hello(hello("demo", 1))).await;
    Refused::read(&worker.next().await.unwrap_err()).is_about("hello");
}

#[tokio::test]
async fn a_message_without_content_ends_the_stream() {
    let server = TestServer::start().await;
    let (up, down) = open_stream(&server, Some(Up::Hello(hello("demo", 1)))).await;
    let mut down = Watching(down);
    assert!(matches!(down.next().await.message, Some(Down::Session(_))));
    up.try_send(WorkRequest { message: None }).unwrap();
    down.refused().await.is_about("message");
}

#[tokio::test]
async fn a_worker_that_has_no_more_to_say_hears_its_last_acks() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let (up, down) = open_stream(&server, Some(Up::Hello(hello("demo", 1)))).await;
    let mut down = Watching(down);
    assert!(matches!(down.next().await.message, Some(Down::Session(_))));
    let Some(Down::Assignment(assignment)) = down.next().await.message else {
        panic!("expected an assignment")
    };
    let complete =
        Complete { attempt: attempt_of(&assignment), report_id: 7, ..Default::default() };
    up.try_send(WorkRequest { message: Some(Up::Complete(complete)) }).unwrap();
    drop(up);
    let rest = down.rest().await;
    let [WorkResponse { message: Some(Down::Ack(ack)) }] = &rest[..] else { panic!("{rest:?}") };
    assert_eq!((ack.report_id, ack.error.as_ref()), (7, None));
    assert!(server.get(&name).await.done);
}

#[tokio::test]
async fn silence_is_broken_three_times_per_lease() {
    let tuning = Tuning { lease_duration: Duration::from_secs(30), ..Tuning::default() };
    let server = ClockedServer::with(tuning).await;
    let mut worker = server.worker("demo", 1).await;
    assert_eq!(worker.session.heartbeat_interval, seconds(10));
    soon(server.clock.is_awaited_in(Duration::from_secs(10))).await;
    server.advance(Duration::from_secs(10));
    worker.heartbeat().await;
}

#[tokio::test]
async fn an_old_stream_is_drained_and_its_session_goes_on_in_the_next() {
    let tuning = Tuning { max_stream_age: Duration::from_secs(300), ..Tuning::default() };
    let server = ClockedServer::with(tuning).await;
    server.submit(submission("demo")).await;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    server.advance(Duration::from_secs(360));
    worker.told_to_drain().await;
    worker.ended().await;
    let again = Hello {
        session_id: worker.session.session_id.clone(),
        running: attempt_of(&assignment).into_iter().collect(),
        ..hello("demo", 1)
    };
    let mut worker = TestWorker::connect(&server, again).await;
    assert!(worker.session.resumed);
    worker.complete(&assignment, None).await;
    worker.heard_nothing_else();
}
