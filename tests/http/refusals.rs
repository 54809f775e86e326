//! What is refused, and how.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use longrun::engine::Clock as _;
use longrun::operation::{
    Event, Kind, OperationId, Settings, Submission, TenantId, Timestamp, transition,
};
use longrun::store::sqlite::SqliteOptions;
use longrun::store::{Batch, Write};
use serde_json::json;

use crate::support::{JSON, Server};

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_a_reason() {
    let server = Server::start().await;
    let post = async |content_type: &str, body: String| {
        let headers = [("content-type", content_type)];
        server.ask("POST", "/v1/operations", &headers, body).await
    };
    let form = "application/x-www-form-urlencoded";
    post(form, "{}".to_owned()).await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let missing = server.ask("POST", "/v1/operations", &[], r#"{"kind": "a"}"#).await;
    missing.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let broken = post("application/json", "{\n  \"kind\": }".to_owned()).await;
    let detail = broken.problem(400, "INVALID_ARGUMENT")["detail"].to_string();
    assert!(detail.contains("line 2 column 11"), "{detail}");
    let unknown =
        post("application/json", r#"{"kind": "a", "settings": {"priority": "x"}}"#.to_owned());
    let unknown = unknown.await.problem(400, "INVALID_ARGUMENT");
    assert_eq!(unknown["violations"][0]["field"], "settings.priority");
    post("application/json", String::new()).await.problem(400, "INVALID_ARGUMENT");
    post("application/json", r#"{"kind": "1"}"#.to_owned()).await.problem(400, "INVALID_ARGUMENT");

    let json = |bytes| json!({"kind": "a", "input": {"text": "x".repeat(bytes)}}).to_string();
    let accepted = post("application/json", json(1_000)).await.expect(202);
    // What stands in the path is no parameter of the query.
    let path = format!("/v1/{}", accepted.json()["name"].as_str().unwrap());
    let misled = server.ask("DELETE", &format!("{path}?id=x"), &[], String::new()).await;
    let misled = misled.problem(400, "INVALID_ARGUMENT");
    assert_eq!(misled["violations"][0]["field"], "id");
    post("application/json", json(1_001)).await.problem(413, "PAYLOAD_TOO_LARGE");
    post("application/json", json(100_000)).await.problem(413, "PAYLOAD_TOO_LARGE");
    let chunks = tokio_stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(vec![0; 100])));
    let streamed = Body::from_stream(chunks);
    let streamed = server.ask("POST", "/v1/kinds/a/operations", &[], streamed).await;
    streamed.problem(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn costly_filters_are_refused_and_lists_that_take_too_long_are_stopped() {
    let options = SqliteOptions { list_time: Duration::ZERO, ..SqliteOptions::default() };
    let server = Server::start_with(&[], &options).await;
    let first = server.submit("a").await;
    for _ in 0..200 {
        server.submit("a").await;
    }
    let filter =
        |tests: usize| format!("NOT(labels.a:*{})", "%20OR%20labels.b:*".repeat(tests - 1));
    for list in ["/v1/operations", "/v1/operations/events"] {
        let costly = server.get(&format!("{list}?filter={}", filter(250))).await;
        let problem = costly.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["violations"][0]["field"], "filter");
        let rule = problem["violations"][0]["description"].to_string();
        assert!(rule.contains("tests labels at most 16 times"), "{rule}");
    }
    let slow = server.get(&format!("/v1/operations?filter={}", filter(16))).await;
    let detail = slow.problem(504, "LIST_TIMEOUT")["detail"].to_string();
    assert!(detail.contains("narrow its filter"), "{detail}");
    let slow = format!("/v1/operations/events?filter={}", filter(16));
    let slow = server.ask("GET", &slow, &[("accept", "text/event-stream")], "").await.expect(200);
    let events = String::from_utf8(slow.body.to_vec()).expect("text");
    assert!(events.contains("event: problem") && events.contains("LIST_TIMEOUT"), "{events}");
    // What is quick goes on.
    server.get("/v1/operations?filter=kind%3Da&page_size=2").await.expect(200);
    server.get(&first).await.expect(202);
}

#[tokio::test]
async fn every_time_that_is_taken_can_be_written() {
    let server = Server::start().await;
    let post =
        async |body: &str| server.ask("POST", "/v1/operations", &[JSON], body.to_owned()).await;
    for start in ["9999-12-31T23:59:59Z", "9000-01-01T00:00:00.000001Z"] {
        let late = json!({
            "kind": "x",
            "startTime": start,
            "settings": {"queueTimeout": "300000000s"},
        });
        let refused = post(&late.to_string()).await.problem(400, "INVALID_ARGUMENT");
        assert_eq!(refused["violations"][0]["field"], "start_time");
    }
    let latest = json!({
        "kind": "x",
        "startTime": "9000-01-01T00:00:00Z",
        "settings": {"queueTimeout": "300000000s"},
    });
    post(&latest.to_string()).await.expect(202);

    // One that an earlier version has stored is shown all the same.
    let at = server.clock.now();
    let submission = Submission {
        id: OperationId::parse("0190a1b2-0000-7000-8000-000000000000").unwrap(),
        tenant: TenantId::default_tenant(),
        kind: Kind::parse("x").unwrap(),
        labels: BTreeMap::new(),
        settings: Settings { queue_timeout: Some(Settings::MAX_DURATION), ..Settings::default() },
        created_at: at,
        start_at: Timestamp::from_unix(253_402_300_799, 0).unwrap(),
        idempotency: None,
        retry_of: None,
        parent: None,
        trace: None,
        callback: None,
        input: None,
    };
    let (operation, event_type) = transition::submit(Arc::new(submission));
    let event = Event { event_type, life: operation.life.clone() };
    let batch = Batch {
        events: vec![(operation.id(), event)],
        writes: vec![Write { operation, expected: None, input: None, result: None }],
        ..Batch::default()
    };
    server.store.commit(batch).await.unwrap();
    let path = "/v1/operations/0190a1b2-0000-7000-8000-000000000000";
    let shown = server.get(path).await.expect(202).json();
    assert_eq!(shown["queueDeadlineTime"], "9999-12-31T23:59:59.999999Z");
    let listed = server.get("/v1/operations").await.expect(200).json();
    assert_eq!(listed["operations"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_not_there_is_answered_in_the_callers_protocol() {
    let server = Server::start().await;
    let id = "0190a1b2-0000-7000-8000-000000000000";
    let operation = format!("/v1/operations/{id}");
    server.get(&operation).await.problem(404, "OPERATION_NOT_FOUND");
    server
        .get(&format!("/v1/tenants/other/operations/{id}/status"))
        .await
        .problem(404, "OPERATION_NOT_FOUND");
    for bad in ["x", "%ff", &"9".repeat(5_000), "%00", "0190A1B2-0000-7000-8000-000000000000"] {
        server.get(&format!("/v1/operations/{bad}")).await.problem(400, "INVALID_ARGUMENT");
        server.get(&format!("/v1/operations/{bad}/status")).await.problem(400, "INVALID_ARGUMENT");
    }
    for path in [
        "/",
        "/v1",
        "/v2/operations",
        "/v1/operations/",
        &format!("/v1/operations/operations%2F{id}"),
    ] {
        server.get(path).await.problem(404, "ROUTE_NOT_FOUND");
    }
    server
        .ask("POST", &format!("{operation}:explode"), &[], "")
        .await
        .problem(404, "ROUTE_NOT_FOUND");
    server.get(&format!("{operation}:explode")).await.problem(404, "ROUTE_NOT_FOUND");

    let grpc = [("content-type", "application/grpc+proto")];
    let answer = server.ask("POST", "/acme.v1.Service/Call", &grpc, "").await.expect(200);
    assert_eq!(answer.header("grpc-status"), "12");
    assert_eq!(answer.header("content-type"), "application/grpc+proto");
    assert_eq!(answer.body.len(), 0);
}

#[tokio::test]
async fn every_resource_tells_its_methods() {
    let server = Server::start().await;
    let id = "0190a1b2-0000-7000-8000-000000000000";
    let (mut operation, mut read_only) = (Vec::new(), vec!["/v1/operations/events".to_owned()]);
    for parent in ["/v1", "/v1/tenants/default"] {
        operation.push(format!("{parent}/operations/{id}"));
        let parts = ["status", "result", "events"];
        read_only.extend(parts.map(|part| format!("{parent}/operations/{id}/{part}")));
    }
    let verbs = ["cancel", "retry"].map(|verb| format!("{}:{verb}", operation[0]));
    for (paths, allow, others) in [
        (vec!["/v1/operations".to_owned()], "GET,HEAD,POST,OPTIONS", &["PUT", "DELETE"][..]),
        (vec!["/v1/kinds/a/operations".to_owned()], "POST,OPTIONS", &["GET", "HEAD"]),
        (operation, "GET,HEAD,DELETE,OPTIONS", &["POST", "PATCH", "BREW"]),
        (verbs.to_vec(), "POST,OPTIONS", &["GET", "DELETE", "PUT"]),
        (read_only, "GET,HEAD,OPTIONS", &["POST", "DELETE"]),
    ] {
        for path in paths {
            let answer = server.ask("OPTIONS", &path, &[], "").await.expect(204);
            assert_eq!(answer.header("allow"), allow, "{path}");
            for other in others {
                let answer = server.ask(other, &path, &[], "").await.expect(405);
                assert_eq!(answer.header("allow"), allow, "{other} {path}");
                if *other != "HEAD" {
                    answer.problem(405, "METHOD_NOT_ALLOWED");
                }
            }
        }
    }
    for path in [format!("/v1/operations/{id}:explode"), "/v2".to_owned()] {
        server.ask("OPTIONS", &path, &[], "").await.problem(404, "ROUTE_NOT_FOUND");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::start().await;
    let path = server.submit("h").await;
    for (path, status) in [
        ("/v1/operations".to_owned(), 200),
        (path.clone(), 202),
        (format!("{path}/status"), 200),
        (format!("{path}/result"), 202),
        (format!("{path}/events"), 200),
        ("/v1/operations/events".to_owned(), 200),
        ("/nowhere".to_owned(), 404),
    ] {
        let head = server.ask("HEAD", &path, &[], "").await.expect(status);
        assert_eq!(head.body.len(), 0, "{path}");
        if path.ends_with("operations/events") {
            assert_eq!(head.header("content-type"), "text/event-stream");
            continue;
        }
        let get = server.get(&path).await.expect(status);
        for name in ["content-type", "content-length", "etag", "vary", "location"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
}
