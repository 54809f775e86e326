//! All violations of one request are named in one answer, be they in its path, its query, its header or its body.

use serde_json::json;

use crate::support::{JSON, Server};

#[tokio::test]
async fn every_request_is_refused_for_everything_at_once() {
    let server = Server::start().await;
    let page = "page_size=x&page_token=a&page_token=b&bogus=1&more=%ff";
    let of_page = ["more", "bogus", "page_size", "page_token"];
    let list = [&of_page[..], &["view", "filter", "order_by"]].concat();
    let with_name = |fields: &[&'static str]| [fields, &["name"]].concat();
    let submission = json!({
        "kind": "1",
        "idempotencyKey": "a",
        "input": {"text": "x".repeat(1_001)},
        "settings": {"priority": 101},
    });
    let cancel = json!({"reason": "x".repeat(1_001), "name": "y"});
    let fail = json!({"token": "y", "error": {"code": ""}, "retryDelay": "-1s"});
    let key = ("idempotency-key", "b");
    let long_key = "k".repeat(256);
    let long_key = ("idempotency-key", long_key.as_str());
    let bad_type = ("content-type", "text/\u{e9}");
    let events = ("accept", "text/event-stream");
    let cases: Vec<(&str, String, Vec<(&str, &str)>, String, Vec<&str>)> = vec![
        (
            "GET",
            format!("/v1/operations?{page}&view=x&filter=(&order_by=x"),
            vec![],
            String::new(),
            list,
        ),
        ("GET", format!("/v1/operations/x/events?{page}"), vec![], String::new(), with_name(&of_page)),
        (
            "GET",
            "/v1/operations/x/events?include_progress=2&view=x".to_owned(),
            vec![events, ("last-event-id", "x")],
            String::new(),
            vec!["include_progress", "view", "name", "Last-Event-ID"],
        ),
        (
            "GET",
            "/v1/operations/events?include_progress=2&skip_current=2&filter=(".to_owned(),
            vec![("last-event-id", "\u{e9}")],
            String::new(),
            vec!["include_progress", "skip_current", "Last-Event-ID", "filter"],
        ),
        (
            "GET",
            "/v1/operations/x?wait=x&view=x&a=1".to_owned(),
            vec![],
            String::new(),
            vec!["a", "wait", "view", "name"],
        ),
        ("GET", "/v1/operations/x/status?wait=x".to_owned(), vec![], String::new(), vec!["wait", "name"]),
        ("GET", "/v1/operations/x/result?wait=x".to_owned(), vec![], String::new(), vec!["wait", "name"]),
        (
            "DELETE",
            "/v1/operations/x?a=1".to_owned(),
            vec![("if-match", "x")],
            String::new(),
            vec!["a", "name", "If-Match"],
        ),
        (
            "POST",
            "/v1/operations/x:cancel?a=1".to_owned(),
            vec![JSON, ("if-match", "x")],
            cancel.to_string(),
            vec!["a", "name", "If-Match", "reason"],
        ),
        (
            "POST",
            "/v1/operations/x:retry?a=1".to_owned(),
            vec![JSON, ("if-match", "x"), long_key],
            "{]".to_owned(),
            vec!["a", "name", "If-Match", "body", "Idempotency-Key"],
        ),
        (
            "POST",
            "/v1/operations?a=1".to_owned(),
            vec![JSON, key],
            submission.to_string(),
            vec!["a", "Idempotency-Key", "kind", "settings.priority", "input"],
        ),
        (
            "POST",
            "/v1/operations?a=1".to_owned(),
            vec![JSON, long_key],
            "[".to_owned(),
            vec!["a", "body", "Idempotency-Key"],
        ),
        (
            "POST",
            "/v1/kinds/1/operations?a=1&label=x&label=b=%0a&start_time=x&priority=101&deadline=x&max_attempts=z"
                .to_owned(),
            vec![bad_type, long_key, ("content-encoding", "a b")],
            String::new(),
            vec![
                "a",
                "label",
                "start_time",
                "deadline",
                "max_attempts",
                "Idempotency-Key",
                "kind",
                "labels.b",
                "priority",
                "Content-Type",
                "Content-Encoding",
            ],
        ),
        (
            "POST",
            "/v1/kinds/1:acquire?worker_id=&wait=x&lease_duration=0&a=1".to_owned(),
            vec![],
            String::new(),
            vec!["a", "wait", "worker_id", "kind", "lease_duration"],
        ),
        (
            "POST",
            "/v1/attempts/x:fail?a=1".to_owned(),
            vec![JSON],
            fail.to_string(),
            vec!["a", "token", "token", "error.code", "retry_delay"],
        ),
        (
            "POST",
            "/v1/attempts/x:fail?a=1&final=x&retry_delay=x&code=".to_owned(),
            vec![],
            "text".to_owned(),
            vec!["a", "final", "retry_delay", "token", "error.code"],
        ),
        (
            "POST",
            "/v1/attempts/x:log?a=1".to_owned(),
            vec![],
            "\n".repeat(1_001),
            vec!["a", "token", "lines"],
        ),
        (
            "POST",
            "/v1/attempts/x:complete?a=1".to_owned(),
            vec![bad_type, ("content-encoding", "a b")],
            "text".to_owned(),
            vec!["a", "token", "Content-Type", "Content-Encoding"],
        ),
    ];
    for (method, path, headers, body, expected) in cases {
        let answer = server.ask(method, &path, &headers, body).await;
        let document = answer.json();
        let violations = document["violations"].as_array();
        let violations = violations.unwrap_or_else(|| panic!("{method} {path}: {document}"));
        let fields: Vec<&str> =
            violations.iter().map(|violation| violation["field"].as_str().unwrap()).collect();
        assert_eq!(fields, expected, "{method} {path}: {document}");
    }
}
