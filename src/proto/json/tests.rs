use proptest::prelude::*;
use prost_types::{Any, Duration, Timestamp};
use serde_json::json;

use super::*;
use crate::proto::v1;

fn operation() -> v1::Operation {
    v1::Operation {
        name: "operations/1".to_owned(),
        kind: "report.build".to_owned(),
        labels: ["team", "b", "a"].map(|key| (key.to_owned(), "x".to_owned())).into(),
        state: v1::operation::State::Running as i32,
        revision: 9_007_199_254_740_993,
        progress: Some(v1::Progress {
            percent: Some(50.0),
            done_units: Some(0),
            ..Default::default()
        }),
        create_time: Some(Timestamp { seconds: 1_767_225_600, nanos: 500_000_000 }),
        settings: Some(v1::Settings {
            queue_timeout: Some(Duration { seconds: 3, nanos: 500_000_000 }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn a_message_is_written_as_grpcurl_does_in_the_order_of_its_fields() {
    let text = to_string(&operation()).unwrap();
    let expected = concat!(
        r#"{"name":"operations/1","kind":"report.build","#,
        r#""labels":{"a":"x","b":"x","team":"x"},"state":"STATE_RUNNING","#,
        r#""revision":"9007199254740993","progress":{"percent":50,"doneUnits":"0"},"#,
        r#""createTime":"2026-01-01T00:00:00.500Z","settings":{"queueTimeout":"3.500s"}}"#,
    );
    assert_eq!(text, expected);
}

#[test]
fn what_is_written_is_read_again() {
    let operation = operation();
    let text = to_string(&operation).unwrap();
    assert_eq!(from_slice::<v1::Operation>(text.as_bytes()), Ok(operation));
}

#[test]
fn both_spellings_of_names_are_read() {
    for name in ["idempotencyKey", "idempotency_key"] {
        let text = format!(r#"{{"kind": "k", "{name}": "x", "settings": {{"deadline": "90s"}}}}"#);
        let request: v1::SubmitRequest = from_slice(text.as_bytes()).unwrap();
        assert_eq!(request.idempotency_key, "x");
        assert_eq!(request.settings.unwrap().deadline.unwrap().seconds, 90);
    }
}

fn refused(text: &str) -> JsonError {
    from_slice::<v1::SubmitRequest>(text.as_bytes()).unwrap_err()
}

#[test]
fn errors_say_where() {
    let error = refused("{\"kind\": \"k\",\n  \"settings\": {\"queueTimeout\": \"soon\"}}");
    assert_eq!(error.field, "settings.queue_timeout");
    assert_eq!(error.position.unwrap().0, 2);

    let error = refused("{\"kind\": \"k\",\n\"labels\": }");
    assert_eq!((error.field.as_str(), error.position), ("", Some((2, 11))));
}

#[test]
fn errors_say_field_rule_and_place_in_words() {
    let deep = format!(r#"{{"input": {{"json": {}1{}}}}}"#, "[".repeat(33), "]".repeat(33));
    let cases = [
        ("", "the document must be a JSON object, and is empty"),
        (" \n", "the document must be a JSON object, and is empty"),
        ("{", "the document must be JSON, and ends within an object (line 1 column 1)"),
        ("{\n", "the document must be JSON, and ends within an object (line 2 column 1)"),
        ("{\"kind\": [\n", "the document must be JSON, and ends within an array (line 2 column 1)"),
        ("[]", "the document must be an object, and is an array (line 1 column 1)"),
        ("3", "the document must be an object, and is 3 (line 1 column 1)"),
        ("null", "the document must be an object, and is null (line 1 column 4)"),
        ("\u{feff}{}", "the document must be JSON: a value is expected here (line 1 column 1)"),
        ("{} x", "the document must be JSON: something follows its end (line 1 column 4)"),
        ("{\"kind\" 3}", "the document must be JSON: `:` is expected here (line 1 column 9)"),
        (r#"{"kind": 3}"#, "kind must be a string, and is 3 (line 1 column 10)"),
        (r#"{"kind": {}}"#, "kind must be a string, and is an object (line 1 column 9)"),
        (r#"{"labels": []}"#, "labels must be an object, and is an array (line 1 column 13)"),
        (r#"{"labels": {"a": 1.5}}"#, "labels.a must be a string, and is 1.5 (line 1 column 20)"),
        (r#"{"priorty": 3}"#, "priorty is no field of this document (line 1 column 10)"),
        (
            r#"{"settings": {"priorty": 3}}"#,
            "settings.priorty is no field of this document (line 1 column 23)",
        ),
        (
            r#"{"kind": "a", "kind": "b"}"#,
            "the document must give \"kind\" once (line 1 column 20)",
        ),
        (
            r#"{"startAt": "2026-01-01T00:00:00Z", "start_at": "2027-01-01T00:00:00Z"}"#,
            "the document must give \"start_at\" once (line 1 column 46)",
        ),
        (
            r#"{"settings": {"retryPolicy": {}, "retry_policy": {}}}"#,
            "settings must give \"retry_policy\" once (line 1 column 47)",
        ),
        (
            r#"{"settings": {"priority": "x"}}"#,
            "settings.priority must be a number (line 1 column 29)",
        ),
        (
            r#"{"settings": {"priority": 1.5}}"#,
            "settings.priority must be a whole number (line 1 column 29)",
        ),
        (
            r#"{"settings": {"priority": 5000000000}}"#,
            "settings.priority must be a number within the range of its type (line 1 column 36)",
        ),
        (
            r#"{"settings": {"deadline": 5}}"#,
            "settings.deadline must be a duration such as \"90s\", \"1.5s\" or \"1h30m\", and is 5 (line 1 column 27)",
        ),
        (
            r#"{"settings": {"deadline": "soon"}}"#,
            "settings.deadline must be a duration such as \"90s\", \"1.5s\" or \"1h30m\" (line 1 column 32)",
        ),
        (
            r#"{"startTime": "now"}"#,
            "start_time must be a time such as \"2026-01-31T12:00:00Z\" (line 1 column 19)",
        ),
        (r#"{"input": {"data": "%"}}"#, "input.data must be base64 (line 1 column 22)"),
        (
            r#"{"input": {"text": "a", "json": 1}}"#,
            "input must have one sort of content at most (line 1 column 34)",
        ),
        (
            deep.as_str(),
            "input.json[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]\
             [0][0] must be nested at most 34 deep, objects and arrays (line 1 column 52)",
        ),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .map(|(text, expected)| (refused(text).to_string(), *expected))
        .filter(|(said, expected)| said != expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_of_maps_and_of_contents_are_no_names_of_fields() {
    let names = r#"{"startAt": "a", "start_at": "b"}"#;
    let text = format!(r#"{{"labels": {names}, "input": {{"json": {names}}}}}"#);
    let request: v1::SubmitRequest = from_slice(text.as_bytes()).unwrap();
    assert_eq!(request.labels.len(), 2);
}

#[test]
fn durations_are_read_as_people_write_them() {
    let read = |text: &str| from_slice::<v1::SubmitRequest>(text.as_bytes());
    let text = r#"{"kind": "k", "startIn": "1h30m",
        "settings": {"deadline": "90", "retry_policy": {"maxBackoff": "1.5m"}, "retention": "7s"}}"#;
    let request = read(text).unwrap();
    let settings = request.settings.unwrap();
    let seconds = |time: Option<Duration>| time.unwrap().seconds;
    assert_eq!(seconds(request.start_in), 5_400);
    assert_eq!(seconds(settings.deadline), 90);
    assert_eq!(seconds(settings.retention), 7);
    assert_eq!(seconds(settings.retry_policy.unwrap().max_backoff), 90);
    let refused = read(r#"{"startIn": "1h", "settings": {"deadline": "soon"}}"#).unwrap_err();
    assert_eq!(refused.field, "settings.deadline");
}

#[test]
fn what_is_as_deep_as_may_be_is_read() {
    for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
        let (open, close) = (open.repeat(32), close.repeat(32));
        let text = format!(r#"{{"kind": "k", "input": {{"json": {open}1{close}}}}}"#);
        from_slice::<v1::SubmitRequest>(text.as_bytes()).unwrap();
    }
}

fn with_any(any: Any) -> v1::Payload {
    v1::Payload { content: Some(v1::payload::Content::Any(any)), ..Default::default() }
}

#[test]
fn an_any_of_a_known_type_is_written_out_and_read() {
    let progress = v1::Progress { message: "half".to_owned(), ..Default::default() };
    let payload = with_any(Any::from_msg(&progress).unwrap());
    let value = to_value(&payload).unwrap();
    let expected = json!({"any": {"@type": "/longrun.v1.Progress", "message": "half"}});
    assert_eq!(value, expected);
    assert_eq!(from_slice::<v1::Payload>(value.to_string().as_bytes()), Ok(payload));

    let payload = with_any(Any::from_msg(&Duration { seconds: 2, nanos: 0 }).unwrap());
    let value = to_value(&payload).unwrap();
    assert_eq!(value["any"]["value"], json!("2s"));
    assert_eq!(from_slice::<v1::Payload>(value.to_string().as_bytes()), Ok(payload));
}

#[test]
fn an_any_that_cannot_be_written_out_keeps_its_bytes() {
    for (type_url, value) in [
        ("type.googleapis.com/acme.Unknown", &b"\x08\x01"[..]),
        ("type.googleapis.com/longrun.v1.Progress", b"\xff\xff"),
        ("type.googleapis.com/google.protobuf.Timestamp", b"\x08\xff\xff\xff\xff\xff\xff\xff\x7f"),
        ("no slash", b""),
        ("", b"\x01"),
    ] {
        let any = Any { type_url: type_url.to_owned(), value: value.to_vec() };
        let written = &to_value(&with_any(any)).unwrap()["any"];
        assert_eq!(written["@type"], json!(type_url));
        assert_eq!(written["@value"], json!(STANDARD.encode(value)), "{written}");
    }
}

#[test]
fn depth_is_an_error_or_bytes_and_never_a_crash() {
    for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
        for depth in [33, 60, 127, 128, 200_000] {
            let bomb = format!(
                r#"{{"kind": "k", "input": {{"json": {}1{}}}}}"#,
                open.repeat(depth),
                close.repeat(depth)
            );
            refused(&bomb);
        }
    }
    let nested = r#"{"@type": "t/google.protobuf.Any", "value": "#;
    let bomb = format!(r#"{{"input": {{"any": {}"#, nested.repeat(100_000));
    refused(&bomb);

    let mut any = Any { type_url: "t/acme.Core".to_owned(), value: Vec::new() };
    for _ in 0..2_000 {
        any = Any { type_url: "t/google.protobuf.Any".to_owned(), value: any.encode_to_vec() };
    }
    assert!(to_string(&with_any(any)).unwrap().contains("@value"));
}

#[test]
fn numbers_are_written_as_they_are_typed() {
    let cases = [
        (0.0, "0"),
        (-0.0, "-0.0"),
        (1.5, "1.5"),
        (-3.0, "-3"),
        (9_007_199_254_740_992.0, "9007199254740992"),
        (1e300, "1e+300"),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
        (f64::NAN, "\"NaN\""),
    ];
    for (value, text) in cases {
        assert_eq!(number(value).to_string(), text);
    }
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1e18..1e18f64).prop_map(number),
        any::<i32>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn submissions_survive_the_round_trip(
        labels in prop::collection::hash_map("[a-z]{1,4}", ".{0,8}", 0..4),
        json in json_values(),
        data in prop::collection::vec(any::<u8>(), 0..32),
        millis in 1..1_000_000_000i64,
        jitter in prop::option::of(0.0..1.0f64),
    ) {
        let text = json!({
            "kind": "k",
            "labels": labels,
            "input": {"json": json},
            "settings": {"retryPolicy": {"maxAttempts": 3}},
        });
        let mut request: v1::SubmitRequest = from_slice(text.to_string().as_bytes()).unwrap();
        let settings = request.settings.get_or_insert_default();
        let nanos = i32::try_from(millis % 1_000).unwrap() * 1_000_000;
        settings.deadline = Some(Duration { seconds: millis / 1_000, nanos });
        settings.retry_policy.get_or_insert_default().jitter = jitter;
        let written = to_value(&request).unwrap();
        prop_assert_eq!(&written["input"]["json"], &text["input"]["json"]);
        prop_assert_eq!(from_slice::<v1::SubmitRequest>(written.to_string().as_bytes()), Ok(request));

        let chunk = v1::ReadResultResponse { data: data.into(), ..Default::default() };
        let written = to_string(&chunk).unwrap();
        prop_assert_eq!(from_slice::<v1::ReadResultResponse>(written.as_bytes()), Ok(chunk));
    }

    #[test]
    fn any_bytes_as_json_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = from_slice::<v1::SubmitRequest>(&text);
    }

    #[test]
    fn any_bytes_as_a_message_are_written(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(operation) = v1::Operation::decode(bytes.as_slice()) {
            let _ = to_value(&operation);
        }
    }
}
