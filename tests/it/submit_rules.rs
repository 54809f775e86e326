//! The rules for submissions: each broken one is named by its field's path, all of them at once.

use std::collections::BTreeMap;

use longrun::proto::v1::payload::Content;
use longrun::proto::v1::*;
use prost_types::value::Kind;
use prost_types::{Any, Duration, Timestamp, Value};
use tonic::Code;

use crate::support::*;

async fn refusal(server: &TestServer, request: SubmitRequest) -> Refused {
    soon(server.operations().submit(request)).await.refused()
}

fn settings(edit: impl FnOnce(&mut Settings)) -> SubmitRequest {
    let mut settings = Settings::default();
    edit(&mut settings);
    with_settings(submission("demo"), settings)
}

fn policy(edit: impl FnOnce(&mut RetryPolicy)) -> SubmitRequest {
    let mut policy = RetryPolicy::default();
    edit(&mut policy);
    settings(|settings| settings.retry_policy = Some(policy))
}

fn label(key: &str, value: &str) -> SubmitRequest {
    let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    SubmitRequest { labels, ..submission("demo") }
}

fn input(content_type: &str, content: Content) -> SubmitRequest {
    let content_type = content_type.to_owned();
    let payload = Payload { content_type, content: Some(content), ..Payload::default() };
    SubmitRequest { input: Some(payload), ..submission("demo") }
}

#[tokio::test]
async fn kinds_are_a_letter_then_up_to_127_of_a_few_characters() {
    let server = TestServer::start().await;
    for good in ["a", "Report.build_all-2", &"k".repeat(128)] {
        assert_eq!(server.submit(submission(good)).await.kind, good);
    }
    for bad in ["", "1a", ".a", "a b", "a/b", "é", "a\n", &"k".repeat(129)] {
        let refused = refusal(&server, submission(bad)).await;
        refused.is_about("kind").is(Code::InvalidArgument, "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn labels_are_few_and_plain() {
    let server = TestServer::start().await;
    for (key, value) in [("a", ""), (&*"k".repeat(63), "~"), ("a/b.c-d_e", &*"é".repeat(255))] {
        assert_eq!(server.submit(label(key, value)).await.labels[key], value);
    }
    for key in ["", "1a", "a b", "é", &"k".repeat(64)] {
        let refused = refusal(&server, label(key, "")).await;
        let [(field, _)] = &refused.violations[..] else { panic!("{refused:?}") };
        assert!(field.starts_with("labels"), "{refused:?}");
    }
    for value in [&*"é".repeat(256), "a\nb", "\u{7f}"] {
        refusal(&server, label("team", value)).await.is_about("labels.team");
    }
    let many = |n| {
        let labels = (0..n).map(|i| (format!("l{i}"), String::new())).collect();
        SubmitRequest { labels, ..submission("demo") }
    };
    assert_eq!(server.submit(many(64)).await.labels.len(), 64);
    refusal(&server, many(65)).await.is_about("labels");
}

#[tokio::test]
async fn an_input_whose_contents_are_elsewhere_is_no_empty_input() {
    let server = TestServer::start().await;
    let of = |payload| SubmitRequest { input: Some(payload), ..submission("demo") };
    // As in an answer that had no room for it.
    let omitted = Payload { size_bytes: 500, omitted: true, ..Payload::default() };
    refusal(&server, of(omitted.clone())).await.is_about("input.omitted");
    let whole = Payload { content: Some(Content::Text("a".to_owned())), ..omitted };
    server.submit(of(whole)).await;
}

#[tokio::test]
async fn settings_are_within_their_ranges() {
    let server = TestServer::start().await;
    let ten_years = 10 * 366 * 24 * 3600;
    let negative = Some(Duration { seconds: -1, nanos: 0 });
    let of_two_signs = Some(Duration { seconds: 1, nanos: -1 });
    let of_too_many_nanos = Some(Duration { seconds: 1, nanos: 1_000_000_000 });
    let cases: Vec<(&str, SubmitRequest)> = vec![
        ("settings.priority", settings(|s| s.priority = -1)),
        ("settings.priority", settings(|s| s.priority = 101)),
        ("settings.queue_timeout", settings(|s| s.queue_timeout = nanos(999_999))),
        ("settings.queue_timeout", settings(|s| s.queue_timeout = negative)),
        ("settings.queue_timeout", settings(|s| s.queue_timeout = seconds(ten_years + 1))),
        ("settings.queue_timeout", settings(|s| s.queue_timeout = of_two_signs)),
        ("settings.attempt_timeout", settings(|s| s.attempt_timeout = of_too_many_nanos)),
        ("settings.attempt_timeout", settings(|s| s.attempt_timeout = nanos(0))),
        ("settings.attempt_timeout", settings(|s| s.attempt_timeout = seconds(i64::MAX))),
        ("settings.deadline", settings(|s| s.deadline = nanos(0))),
        ("settings.deadline", settings(|s| s.deadline = negative)),
        ("settings.cancel_grace", settings(|s| s.cancel_grace = negative)),
        ("settings.cancel_grace", settings(|s| s.cancel_grace = seconds(3601))),
        ("settings.retention", settings(|s| s.retention = negative)),
        ("settings.retention", settings(|s| s.retention = of_two_signs)),
        ("settings.retention", settings(|s| s.retention = seconds(ten_years + 1))),
        ("settings.retry_policy.max_attempts", policy(|p| p.max_attempts = -1)),
        ("settings.retry_policy.max_attempts", policy(|p| p.max_attempts = 1_001)),
        ("settings.retry_policy.initial_backoff", policy(|p| p.initial_backoff = negative)),
        ("settings.retry_policy.initial_backoff", policy(|p| p.initial_backoff = of_two_signs)),
        (
            "settings.retry_policy.initial_backoff",
            policy(|p| p.initial_backoff = seconds(24 * 3600 + 1)),
        ),
        ("settings.retry_policy.max_backoff", policy(|p| p.max_backoff = negative)),
        ("settings.retry_policy.max_backoff", policy(|p| p.max_backoff = seconds(24 * 3600 + 1))),
        ("settings.retry_policy.multiplier", policy(|p| p.multiplier = 0.9)),
        ("settings.retry_policy.multiplier", policy(|p| p.multiplier = 100.1)),
        ("settings.retry_policy.multiplier", policy(|p| p.multiplier = f64::NAN)),
        ("settings.retry_policy.jitter", policy(|p| p.jitter = Some(-0.1))),
        ("settings.retry_policy.jitter", policy(|p| p.jitter = Some(1.1))),
        ("settings.retry_policy.jitter", policy(|p| p.jitter = Some(f64::NAN))),
    ];
    for (field, request) in cases {
        refusal(&server, request).await.is_about(field);
    }
}

#[tokio::test]
async fn start_times_leave_room_for_all_times_of_an_operation() {
    let server = TestServer::start().await;
    let at = |seconds, nanos| SubmitRequest {
        start_time: Some(Timestamp { seconds, nanos }),
        ..submission("demo")
    };
    let (latest, ten_years) = (221_845_392_000, 10 * 366 * 24 * 3600);
    let longest = Settings {
        queue_timeout: seconds(ten_years),
        attempt_timeout: seconds(ten_years),
        deadline: seconds(ten_years),
        retention: seconds(ten_years),
        ..Settings::default()
    };
    let last = server.submit(with_settings(at(latest, 0), longest)).await;
    assert_eq!(last.not_before_time.unwrap().seconds, latest);
    for (seconds, nanos) in [
        (latest, 1_000),
        (latest + 1, 0),
        (253_402_300_799, 999_999_999),
        (253_402_300_800, 0),
        (-62_135_596_801, 0),
        (0, -1),
        (0, 1 << 30),
    ] {
        refusal(&server, at(seconds, nanos)).await.is_about("start_time");
    }
    server.submit(at(-62_135_596_800, 0)).await;
}

#[tokio::test]
async fn idempotency_keys_are_printable_ascii() {
    let server = TestServer::start().await;
    let keyed = |key: &str| SubmitRequest { idempotency_key: key.to_owned(), ..submission("demo") };
    let longest = "~".repeat(255);
    assert_eq!(server.submit(keyed(&longest)).await.idempotency_key, longest);
    for bad in ["é", "a\n", "\u{7f}", &"k".repeat(256)] {
        refusal(&server, keyed(bad)).await.is_about("idempotency_key");
    }
}

#[tokio::test]
async fn payloads_are_what_they_say() {
    let server = TestServer::start().await;
    let number = |number| Content::Json(Value { kind: Some(Kind::NumberValue(number)) });
    let any = |type_url: String| Content::Any(Any { type_url, value: Vec::new() });
    let longest = "t".repeat(1_024);
    server.submit(input(&"c".repeat(255), any(longest.clone()))).await;
    let cases = [
        ("input.content_type", input(&"c".repeat(256), Content::Text(String::new()))),
        ("input.content_type", input("text/plain\r\nx: y", Content::Text(String::new()))),
        ("input.json", input("", number(f64::NAN))),
        ("input.json", input("", number(f64::INFINITY))),
        ("input.json", input("", Content::Json(Value { kind: None }))),
        ("input.any.type_url", input("", any(String::new()))),
        ("input.any.type_url", input("", any(longest + "t"))),
        // Over HTTP it is a header field.
        ("input.any.type_url", input("", any("example.com/a\nb".to_owned()))),
    ];
    for (field, request) in cases {
        refusal(&server, request).await.is_about(field);
    }
}

#[tokio::test]
async fn payloads_over_the_limit_are_refused_with_a_reason_of_their_own() {
    let server = TestServer::with(|config| {
        config.limits.max_payload_bytes = 2_048;
        config.limits.inline_payload_bytes = 1_024;
    })
    .await;
    let bytes = |n| SubmitRequest { input: Some(data(vec![7; n])), ..submission("demo") };
    let largest = server.submit(bytes(2_048)).await;
    let input = server.get(&largest.name).await.input.unwrap();
    assert_eq!((input.content, input.omitted, input.size_bytes), (None, true, 2_048));
    let inline = server.get(&server.submit(bytes(1_024)).await.name).await.input.unwrap();
    assert!(inline.content.is_some() && !inline.omitted);
    let refused = refusal(&server, bytes(2_049)).await;
    refused.is_about("input").is(Code::InvalidArgument, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn every_broken_rule_is_named_in_one_answer() {
    let server = TestServer::start().await;
    let mut request = settings(|settings| {
        settings.priority = 500;
        settings.retry_policy = Some(RetryPolicy { jitter: Some(2.0), ..RetryPolicy::default() });
    });
    request.kind = "not a kind".to_owned();
    request.labels.insert("team".to_owned(), "\n".to_owned());
    request.idempotency_key = "é".to_owned();
    let refused = refusal(&server, request).await;
    let mut fields = refused.fields();
    fields.sort_unstable();
    let expected = [
        "idempotency_key",
        "kind",
        "labels.team",
        "settings.priority",
        "settings.retry_policy.jitter",
    ];
    assert_eq!(fields, expected);
    assert_eq!(server.matching("").await, Vec::<String>::new(), "nothing was stored");
}
