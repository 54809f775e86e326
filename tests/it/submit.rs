//! Submitting: what is stored, in which form it comes back, and what is filled in.

use std::collections::BTreeMap;

use longrun::operation::Range;
use longrun::proto::json;
use longrun::proto::v1::payload::Content;
use longrun::proto::v1::*;
use prost_types::value::Kind;
use prost_types::{Any, ListValue, Struct, Value};

use crate::support::*;

#[tokio::test]
async fn a_submission_is_queued_with_its_defaults_filled_in() {
    let server = TestServer::start().await;
    let operation = server.submit(submission("report.build")).await;

    let id = operation.name.strip_prefix("operations/").unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    assert_eq!(operation.tenant, "default");
    assert_eq!(operation.kind, "report.build");
    assert_eq!(operation.state(), operation::State::Queued);
    assert_eq!((operation.done, operation.revision), (false, 1));
    assert_eq!((operation.attempt, operation.attempts_used), (0, 0));
    assert_eq!(operation.create_time, operation.update_time);
    assert_eq!(operation.create_time, operation.not_before_time);
    let settings = Settings {
        retry_policy: Some(RetryPolicy {
            max_attempts: 5,
            initial_backoff: seconds(1),
            multiplier: 2.0,
            max_backoff: seconds(60),
            jitter: Some(0.2),
        }),
        cancel_grace: seconds(30),
        retention: seconds(7 * 24 * 3600),
        ..Settings::default()
    };
    let expected = Operation {
        name: operation.name.clone(),
        tenant: "default".to_owned(),
        kind: "report.build".to_owned(),
        state: operation::State::Queued.into(),
        revision: 1,
        create_time: operation.create_time,
        update_time: operation.create_time,
        not_before_time: operation.create_time,
        settings: Some(settings),
        ..Operation::default()
    };
    assert_eq!(operation, expected, "nothing else is set");
    assert_eq!(server.get(&operation.name).await, expected);
}

#[tokio::test]
async fn everything_that_was_chosen_comes_back() {
    let server = TestServer::start().await;
    // Every setting at its most, of which none is its default.
    let all = longrun::operation::Settings::ALL.iter().map(|setting| {
        let most = match setting.range {
            Range::Whole(_, most) => most.into(),
            Range::Real(_, most) => most.into(),
            Range::Time(_, most) => format!("{}s", most.as_secs()).into(),
        };
        (setting.path, most)
    });
    let all: Settings = json::from_fields(all).unwrap();
    let settings = Settings { queue_timeout: nanos(1_000_000), deadline: seconds(3600), ..all };
    let start_time = prost_types::Timestamp { seconds: 4_102_444_800, nanos: 123_456_000 };
    let labels = BTreeMap::from([
        ("team".to_owned(), "blue".to_owned()),
        ("k8s.io/app-name_2".to_owned(), "é".repeat(255)),
        ("empty".to_owned(), String::new()),
    ]);
    let request = SubmitRequest {
        kind: "demo".to_owned(),
        labels: labels.clone(),
        settings: Some(settings),
        start_time: Some(start_time),
        idempotency_key: "a key, ~ with spaces".to_owned(),
        ..SubmitRequest::default()
    };
    let operation = server.submit(request).await;
    assert_eq!(operation.labels, labels);
    assert_eq!(operation.settings, Some(settings));
    assert_eq!(operation.not_before_time, Some(start_time));
    assert_eq!(operation.idempotency_key, "a key, ~ with spaces");
    let created = operation.create_time.unwrap().seconds;
    assert_eq!(operation.deadline_time.unwrap().seconds, created + 3600);
    let queue_deadline = prost_types::Timestamp { nanos: 124_456_000, ..start_time };
    // The whole operation's deadline is earlier, so the queue's is never reached.
    assert_eq!(operation.queue_deadline_time.unwrap_or(queue_deadline), queue_deadline);
}

#[tokio::test]
async fn payloads_keep_their_form_and_their_type() {
    let server = TestServer::start().await;
    let number = |number| Value { kind: Some(Kind::NumberValue(number)) };
    let list = ListValue { values: vec![number(1.0), number(2.5), number(-9e15)] };
    let json = Value {
        kind: Some(Kind::StructValue(Struct {
            fields: [
                ("list".to_owned(), Value { kind: Some(Kind::ListValue(list)) }),
                ("null".to_owned(), Value { kind: Some(Kind::NullValue(0)) }),
                ("text".to_owned(), Value { kind: Some(Kind::StringValue("é\"".to_owned())) }),
                ("yes".to_owned(), Value { kind: Some(Kind::BoolValue(true)) }),
            ]
            .into(),
        })),
    };
    let unknown =
        Any { type_url: "type.example.com/some.Unknown".to_owned(), value: vec![0xff, 0x00, 0xfe] };
    let every_byte: Vec<u8> = (0..=255).collect();
    let forms = [
        (Content::Data(every_byte.into()), "application/octet-stream", 256),
        (Content::Text("grüße\n".to_owned()), "text/plain; charset=utf-8", 8),
        (Content::Json(json), "application/json", 71),
        (Content::Any(unknown), "application/protobuf", 3),
        (Content::Data(bytes::Bytes::new()), "application/octet-stream", 0),
    ];
    for (content, default_type, size) in forms {
        for given in ["", "application/vnd.example+thing"] {
            let input = Payload {
                content_type: given.to_owned(),
                content: Some(content.clone()),
                ..Payload::default()
            };
            let request = SubmitRequest { input: Some(input), ..submission("demo") };
            let submitted = server.submit(request).await;
            let content_type = if given.is_empty() { default_type } else { given };
            let basic = Payload {
                content_type: content_type.to_owned(),
                content: None,
                size_bytes: size,
                omitted: size > 0,
                http: None,
            };
            assert_eq!(submitted.input, Some(basic.clone()), "BASIC is the default of Submit");
            let got = server.get(&submitted.name).await.input.unwrap();
            let full = Payload { content: Some(content.clone()), omitted: false, ..basic };
            assert_eq!(got, full, "FULL is the default of Get");
        }
    }
}

#[tokio::test]
async fn an_empty_payload_message_is_empty_data_and_none_is_none() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(Payload::default()), ..submission("demo") };
    let operation = server.submit(request).await;
    assert_eq!(operation.input.unwrap().content_type, "application/octet-stream");
    assert_eq!(server.submit(submission("demo")).await.input, None);
}

#[tokio::test]
async fn a_start_time_in_the_past_means_now() {
    let server = TestServer::start().await;
    let past = prost_types::Timestamp { seconds: 1_000_000, nanos: 0 };
    let request = SubmitRequest { start_time: Some(past), ..submission("demo") };
    let operation = server.submit(request).await;
    assert_eq!(operation.not_before_time, operation.create_time);
}

#[tokio::test]
async fn what_was_submitted_is_there_after_a_restart() {
    let mut server = TestServer::start().await;
    let input = Some(text("keep me"));
    let operation = server.submit(SubmitRequest { input, ..submission("demo") }).await;
    let before = server.get(&operation.name).await;
    server.restart().await;
    assert_eq!(server.get(&operation.name).await, before);
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    assert_eq!(assignment.operation.as_ref().unwrap().name, operation.name);
    let content = assignment.input.unwrap().content;
    assert_eq!(content, Some(Content::Data("keep me".into())), "workers get exact bytes");
}
