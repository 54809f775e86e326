//! All violations of one message are named in one answer, wherever in the message they are: the client mends it once.

use std::collections::BTreeMap;
use std::fmt::Debug;

use longrun::proto::google::longrunning;
use longrun::proto::google::longrunning::operations_client::OperationsClient as GoogleClient;
use longrun::proto::v1::payload::Content;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::*;
use tonic::{Code, Response, Status};

use crate::support::*;

/// Most bytes of a payload within a message.
const MOST: usize = 1 << 10;

async fn a_server() -> TestServer {
    TestServer::with(|config| config.limits.max_message_bytes = MOST).await
}

const NEGATIVE: Option<prost_types::Duration> =
    Some(prost_types::Duration { seconds: -1, nanos: 0 });

fn too_large() -> Payload {
    let headers = vec![
        HttpHeader { name: "no name".to_owned(), value: String::new() },
        HttpHeader { name: "x".to_owned(), value: "\u{100}".to_owned() },
    ];
    let http =
        HttpEnvelope { method: "GE T".to_owned(), target: "x".to_owned(), headers, status: 0 };
    Payload {
        content_type: "\u{e9}".to_owned(),
        content: Some(Content::Any(prost_types::Any {
            value: vec![0; MOST + 1],
            ..Default::default()
        })),
        http: Some(http),
        ..Payload::default()
    }
}

const OF_PAYLOAD: [&str; 7] = [
    "http.headers[1].value",
    "http.method",
    "http.target",
    "http.headers[0].name",
    "content_type",
    "any.type_url",
    "",
];

fn of_payload(field: &str) -> Vec<String> {
    OF_PAYLOAD
        .map(|part| if part.is_empty() { field.to_owned() } else { format!("{field}.{part}") })
        .into()
}

fn bad_submission() -> SubmitRequest {
    let settings = Settings { priority: 101, queue_timeout: NEGATIVE, ..Settings::default() };
    SubmitRequest {
        kind: "1".to_owned(),
        labels: BTreeMap::from([("a".to_owned(), "\n".to_owned())]),
        start_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        start_at: None,
        start_in: None,
        idempotency_key: "k".repeat(256),
        input: Some(too_large()),
        settings: Some(settings),
        callback_url: "no URL".to_owned(),
        parent: "no name".to_owned(),
    }
}

fn of_submission(path: &str) -> Vec<String> {
    let fields = [
        "kind",
        "labels.a",
        "settings.priority",
        "settings.queue_timeout",
        "start_time",
        "idempotency_key",
        "callback_url",
        "parent",
    ];
    let fields = fields.map(str::to_owned).into_iter().chain(of_payload("input"));
    fields.map(|field| format!("{path}{field}")).collect()
}

#[track_caller]
fn names<T: Debug>(answer: Result<Response<T>, Status>, fields: &[&str]) {
    let refused = answer.refused();
    assert_eq!((refused.code, refused.fields()), (Code::InvalidArgument, fields.to_vec()));
}

#[tokio::test]
async fn a_submission_is_refused_for_everything_at_once() {
    let server = a_server().await;
    let mut client = server.operations();
    let expected = of_submission("");
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    let refused = soon(client.submit(bad_submission())).await.refused();
    assert_eq!(refused.fields(), expected);
    refused.is(Code::InvalidArgument, "PAYLOAD_TOO_LARGE");
    names(soon(client.submit_and_watch(bad_submission())).await, &expected);
    let results = server.submit_batch(vec![submission("demo"), bad_submission()]).await;
    let Some(submit_batch_result::Outcome::Error(refused)) = &results[1].outcome else {
        panic!("{results:?}");
    };
    let fields: Vec<_> = refused.field_violations.iter().map(|it| it.field.clone()).collect();
    assert_eq!(fields, of_submission("requests[1]."));

    // More than fit are counted.
    let labels = (0..100).map(|n| (format!("l{n}"), "\n".to_owned())).collect();
    let many = SubmitRequest { labels, ..submission("1") };
    let refused = soon(client.submit(many)).await.refused();
    assert_eq!(refused.violations.len(), 16);
    assert!(refused.message.ends_with(" more"), "{refused:?}");
}

#[tokio::test]
async fn every_call_is_refused_for_everything_at_once() {
    let server = a_server().await;
    let mut client = server.operations();
    let (name, view) = ("x".to_owned(), 9);
    let get = GetOperationRequest { name: name.clone(), view };
    names(soon(client.get_operation(get)).await, &["name", "view"]);
    let wait = WaitOperationRequest { name: name.clone(), view, timeout: NEGATIVE };
    names(soon(client.wait_operation(wait)).await, &["name", "view", "timeout"]);
    let after_revision = Some(-1);
    let watch =
        WatchOperationRequest { name: name.clone(), view, after_revision, ..Default::default() };
    names(soon(client.watch_operation(watch)).await, &["name", "view", "after_revision"]);
    let list = ListOperationsRequest {
        page_size: -1,
        page_token: "x".to_owned(),
        filter: "(".to_owned(),
        order_by: "x".to_owned(),
        view,
        ..Default::default()
    };
    let fields = ["view", "page_size", "page_token", "filter", "order_by"];
    names(soon(client.list_operations(list)).await, &fields);
    let cancel = CancelOperationRequest { name: name.clone(), reason: "x".repeat(1_001) };
    names(soon(client.cancel_operation(cancel)).await, &["name", "reason"]);
    let retry = RetryOperationRequest { name: name.clone(), idempotency_key: "\n".to_owned() };
    names(soon(client.retry_operation(retry)).await, &["name", "idempotency_key"]);
    let events =
        ListEventsRequest { name: name.clone(), page_size: -1, page_token: "x".to_owned() };
    names(soon(client.list_events(events)).await, &["name", "page_size", "page_token"]);
    let result = ReadResultRequest { name: name.clone(), offset_bytes: -1 };
    names(soon(client.read_result(result)).await, &["name", "offset_bytes"]);
    let input = ReadInputRequest {
        name: name.clone(),
        offset_bytes: -1,
        attempt_token: "x".to_owned(),
        ..Default::default()
    };
    names(soon(client.read_input(input)).await, &["name", "offset_bytes", "attempt_token"]);

    let mut google = GoogleClient::new(server.channel.clone());
    let wait = longrunning::WaitOperationRequest { name: name.clone(), timeout: NEGATIVE };
    names(soon(google.wait_operation(wait)).await, &["name", "timeout"]);
    let list = longrunning::ListOperationsRequest {
        name,
        filter: "(".to_owned(),
        page_size: -1,
        page_token: "x".to_owned(),
        return_partial_success: true,
    };
    let fields = ["name", "page_size", "page_token", "filter"];
    names(soon(google.list_operations(list)).await, &fields);
}

#[tokio::test]
async fn every_call_of_a_worker_is_refused_for_everything_at_once() {
    let server = a_server().await;
    let mut client = server.workers();
    let acquire = AcquireRequest {
        max_attempts: 101,
        timeout: NEGATIVE,
        lease_duration: NEGATIVE,
        ..AcquireRequest::default()
    };
    let fields = ["worker_id", "kinds", "max_attempts", "timeout", "lease_duration"];
    names(soon(client.acquire(acquire)).await, &fields);
    let token = "x".to_owned();
    let complete = CompleteRequest {
        token: token.clone(),
        result: Some(too_large()),
        warnings: vec![Error::default()],
        errors: vec![Error { code: "C".to_owned(), ..Error::default() }; 1_001],
    };
    let more = ["warnings[0].code", "errors", "token"].map(str::to_owned);
    let fields = [of_payload("result"), more.into()].concat();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    names(soon(client.complete(complete)).await, &fields);
    let large = Error { message: "x".repeat(60 << 10), code: "C".to_owned(), ..Error::default() };
    let error = Error { causes: vec![large; 5], ..Error::default() };
    let fail = FailRequest {
        token: token.clone(),
        error: Some(error),
        retry_delay: NEGATIVE,
        ..FailRequest::default()
    };
    names(soon(client.fail(fail)).await, &["error.code", "error", "retry_delay", "token"]);
    let log = AddLogRequest { token, lines: vec![String::new(); 1_001] };
    names(soon(client.add_log(log)).await, &["lines", "token"]);
}

#[tokio::test]
async fn every_message_of_a_stream_is_refused_for_everything_at_once() {
    let server = a_server().await;
    let nothing = AttemptRef { operation: "x".to_owned(), attempt: 0 };
    let hello = Hello { running: vec![nothing.clone()], ..Hello::default() };
    let (_up, mut down) = open_stream(&server, Some(Up::Hello(hello))).await;
    let refused = Refused::read(&soon(down.message()).await.unwrap_err());
    let fields = [
        "hello.worker_id",
        "hello.kinds",
        "hello.max_in_flight",
        "hello.running[0].operation",
        "hello.running[0].attempt",
    ];
    assert_eq!(refused.fields(), fields);

    server.submit(submission("demo")).await;
    let mut worker = server.worker("demo", 1).await;
    let attempt = attempt_of(&worker.assignment().await);
    let chunk = |size| ResultChunk {
        attempt: attempt.clone(),
        offset_bytes: 0,
        data: vec![0; size].into(),
    };
    worker.send(Up::ResultChunk(chunk(5))).await;
    let complete = Complete {
        attempt: attempt.clone(),
        result: Some(too_large()),
        warnings: vec![Error::default()],
        chunked_bytes: 6,
        ..Complete::default()
    };
    let refused = worker.try_complete(complete.clone()).await.unwrap();
    let more = ["warnings[0].code", "result", "chunked_bytes"].map(|it| format!("complete.{it}"));
    let expected = [of_payload("complete.result"), more.into()].concat();
    let fields: Vec<_> = refused.field_violations.iter().map(|it| it.field.clone()).collect();
    assert_eq!(fields, expected);

    let wrong = ResultChunk { attempt: Some(nothing), offset_bytes: -1, ..chunk(MOST + 1) };
    for (chunk, expected) in [
        (wrong, &["attempt.operation", "attempt.attempt", "offset_bytes", "data"][..]),
        (chunk(MOST + 1), &["data"]),
    ] {
        worker.send(Up::ResultChunk(chunk)).await;
        let Some(Down::Ack(Ack { error: Some(refused), report_id: 0 })) =
            worker.next().await.unwrap()
        else {
            panic!("no refusal");
        };
        let fields: Vec<_> = refused.field_violations.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(
            fields,
            expected.iter().map(|it| format!("result_chunk.{it}")).collect::<Vec<_>>()
        );
    }

    // What came in chunks need not be sent again.
    let complete = Complete { result: None, warnings: Vec::new(), chunked_bytes: 5, ..complete };
    assert_eq!(worker.try_complete(complete).await, None);
}
