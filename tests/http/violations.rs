//! All violations of one request are named in one answer, be they in its path, its query, its header or its body.

use serde_json::json;

use crate::support::{JSON, Server};

/// The fields that a request is refused for.
async fn refused(
    server: &Server,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: String,
) -> Vec<String> {
    let document = server.ask(method, path, headers, body).await.json();
    let violations = document["violations"].as_array();
    let violations = violations.unwrap_or_else(|| panic!("{method} {path}: {document}"));
    violations.iter().map(|it| it["field"].as_str().expect("a field").to_owned()).collect()
}

/// As many characters as make anything too long.
fn long() -> String {
    "k".repeat(256)
}

#[tokio::test]
async fn what_is_asked_is_refused_for_everything_at_once() {
    let server = Server::start().await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        refused(&server, ("GET", path), headers, String::new()).await
    };
    let page = "page_size=x&page_token=a&page_token=b&bogus=1&more=%ff";
    let list = get(&format!("/v1/operations?{page}&view=x&filter=(&order_by=x"), &[]).await;
    let of_page = ["more", "bogus", "page_size", "page_token"];
    assert_eq!(list, [&of_page[..], &["view", "filter", "order_by"]].concat());
    let list = "/v1/operations?page_size=-1&page_token=a&filter=(&order_by=x";
    let fields = ["page_size", "page_token", "filter", "order_by"];
    assert_eq!(get(list, &[]).await, fields);
    let events = get(&format!("/v1/operations/x/events?{page}"), &[]).await;
    assert_eq!(events, [&of_page[..], &["name"]].concat());

    let stream = [("accept", "text/event-stream"), ("last-event-id", "x")];
    let events = get("/v1/operations/x/events?include_progress=2&view=x", &stream).await;
    assert_eq!(events, ["include_progress", "view", "name", "Last-Event-ID"]);
    let events = "/v1/operations/events?include_progress=2&skip_current=2&filter=(";
    assert_eq!(get(events, &[]).await, ["include_progress", "skip_current", "filter"]);

    let one = get("/v1/operations/x?wait=x&view=x&a=1", &[]).await;
    assert_eq!(one, ["a", "wait", "view", "name"]);
    for part in ["status", "result"] {
        let path = format!("/v1/operations/x/{part}?wait=x");
        assert_eq!(get(&path, &[]).await, ["wait", "name"]);
    }
}

#[tokio::test]
async fn administration_is_refused_for_everything_at_once() {
    let server = Server::start().await;
    let get = async |path: &str| refused(&server, ("GET", path), &[], String::new()).await;
    let deliveries = "/v1/deliveries?state=x&operation=x&page_size=-1&page_token=a&tenant=A";
    let fields = ["tenant", "state", "operation", "page_size", "page_token"];
    assert_eq!(get(deliveries).await, fields);
    let keys = get("/v1/keys?tenant=A&page_size=-1&page_token=a").await;
    assert_eq!(keys, ["tenant", "page_size", "page_token"]);

    let webhook = json!({"url": "ftp://a/", "filter": "(", "format": "x", "states": ["x"]});
    let fields = refused(&server, ("POST", "/v1/webhooks"), &[JSON], webhook.to_string()).await;
    assert_eq!(fields, ["url", "format", "states", "filter"]);

    let set = async |path: &str, body: serde_json::Value| {
        refused(&server, ("POST", path), &[JSON], body.to_string()).await
    };
    let limit = json!({"what": "x", "tenant": "A", "kind": "1", "label": "!", "most": "1"});
    let fields = ["a", "what", "tenant", "kind", "label"];
    assert_eq!(set("/v1/limits?a=1", limit).await, fields);
    let limit = json!({"what": "weight", "kind": "k", "label": "l", "most": "0"});
    assert_eq!(set("/v1/limits", limit).await, ["kind", "label", "most"]);
    let limit = json!({"what": "watches", "kind": "k", "most": "1"});
    let answer = server.ask("POST", "/v1/limits", &[JSON], limit.to_string()).await;
    let problem = answer.problem(400, "INVALID_ARGUMENT");
    assert_eq!(problem["detail"], "kind must be empty, because watches has no kind");
    for (path, field) in [
        ("/v1/webhooks/:pause?tenant=A", "webhook_id"),
        ("/v1/deliveries/:redeliver?tenant=A", "delivery_id"),
    ] {
        assert_eq!(set(path, json!({})).await, ["tenant", field], "{path}");
    }
    assert_eq!(set("/v1/keys/:revoke", json!({})).await, ["key_id"]);
}

#[tokio::test]
async fn what_would_be_ignored_in_a_body_is_refused() {
    let server = Server::start().await;
    let asked = json!({"requestId": "r"}).to_string();
    for path in ["/v1/kinds/k:acquire?a=1", "/v1/kinds/k:pause?a=1", "/v1/attempts/x:release?a=1"] {
        for body in [asked.clone(), "junk".to_owned(), " ".repeat(2_000)] {
            let fields = refused(&server, ("POST", path), &[JSON], body).await;
            assert_eq!(fields[..2], ["a", "body"], "{path}");
        }
        let fields = refused(&server, ("POST", path), &[], " {}\n".to_owned()).await;
        assert!(!fields.contains(&"body".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn what_is_to_change_is_refused_for_everything_at_once() {
    let server = Server::start().await;
    let (if_match, long) = (("if-match", "x"), long());
    let delete = ("DELETE", "/v1/operations/x?a=1");
    let fields = refused(&server, delete, &[if_match], String::new()).await;
    assert_eq!(fields, ["a", "name", "If-Match"]);

    let cancel = ("POST", "/v1/operations/x:cancel?a=1");
    let body = json!({"reason": "x".repeat(1_001), "name": "y"});
    let fields = refused(&server, cancel, &[JSON, if_match], body.to_string()).await;
    assert_eq!(fields, ["a", "name", "If-Match", "reason"]);

    let retry = ("POST", "/v1/operations/x:retry?a=1");
    let headers = [JSON, if_match, ("idempotency-key", &long)];
    let fields = refused(&server, retry, &headers, "{]".to_owned()).await;
    assert_eq!(fields, ["a", "name", "If-Match", "body", "Idempotency-Key"]);
}

#[tokio::test]
async fn a_submission_is_refused_for_everything_at_once() {
    let server = Server::start().await;
    let (long, submit) = (long(), ("POST", "/v1/operations?a=1"));
    let body = json!({
        "kind": "1",
        "idempotencyKey": "a",
        "input": {"text": "x".repeat(1_001)},
        "settings": {"priority": 101},
    });
    let other = [JSON, ("idempotency-key", "b")];
    let fields = refused(&server, submit, &other, body.to_string()).await;
    assert_eq!(fields, ["a", "Idempotency-Key", "kind", "settings.priority", "input"]);

    let batch = json!({"batch": {}, "requests": [{"kind": "1"}, {"kind": "longrun.batch"}]});
    let fields = refused(&server, ("POST", "/v1/batches"), &[JSON], batch.to_string()).await;
    assert_eq!(fields, ["requests[0].kind", "requests[1].kind"]);

    // A field has one name, whether the document cannot be read or its value breaks a rule.
    for start in ["soon", "9999-01-01T00:00:00Z"] {
        let body = json!({"kind": "k", "startAt": start}).to_string();
        let fields = refused(&server, ("POST", "/v1/operations"), &[JSON], body).await;
        assert_eq!(fields, ["start_at"], "{start}");
    }

    let media_type = format!("text/{long}");
    let headers = [
        ("idempotency-key", long.as_str()),
        ("content-type", &media_type),
        ("content-encoding", "a b"),
    ];
    let path =
        "/v1/kinds/1/operations?a=1&label=x&label=b=%0a&start_time=x&priority=101&deadline=x";
    let fields = refused(&server, ("POST", path), &headers, String::new()).await;
    let in_query = ["a", "label", "start_time", "deadline"];
    let in_header = ["Content-Type", "Content-Encoding"];
    let decoded = ["Idempotency-Key", "kind", "labels.b", "priority"];
    assert_eq!(fields, [&in_query[..], &decoded, &in_header].concat());
}

#[tokio::test]
async fn a_worker_is_refused_for_everything_at_once() {
    let server = Server::start().await;
    let post = async |path: &str, headers: &[(&str, &str)], body: &str| {
        refused(&server, ("POST", path), headers, body.to_owned()).await
    };
    let acquire = "/v1/kinds/1:acquire?worker_id=&wait=x&lease_duration=0&a=1";
    let fields = ["a", "wait", "worker_id", "kind", "lease_duration"];
    assert_eq!(post(acquire, &[], "").await, fields);

    let failure = json!({"token": "y", "error": {"code": ""}, "retryDelay": "-1s"}).to_string();
    let fields = post("/v1/attempts/x:fail?a=1", &[JSON], &failure).await;
    assert_eq!(fields, ["a", "token", "token", "error.code", "retry_delay"]);
    let in_query = "/v1/attempts/x:fail?a=1&final=x&retry_delay=x&code=";
    let fields = post(in_query, &[], "text").await;
    assert_eq!(fields, ["a", "final", "retry_delay", "token", "error.code"]);

    let lines = "\n".repeat(1_001);
    let fields = post("/v1/attempts/x:log?a=1", &[], &lines).await;
    assert_eq!(fields, ["a", "token", "lines"]);

    let media_type = format!("text/{}", long());
    let headers = [("content-type", media_type.as_str()), ("content-encoding", "a b")];
    let fields = post("/v1/attempts/x:complete?a=1", &headers, "text").await;
    assert_eq!(fields, ["a", "token", "Content-Type", "Content-Encoding"]);
}
