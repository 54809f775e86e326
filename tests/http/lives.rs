//! Operations from submission to their end.

use std::time::Duration;

use longrun::operation::OperationError;
use longrun::service::Report;
use serde_json::json;

use crate::support::{JSON, Server, csv, failure};

#[tokio::test]
async fn a_submission_is_polled_to_its_result() {
    let server = Server::start().await;
    let body = r#"{"kind": "report", "labels": {"team": "a"}, "input": {"text": "hi"}}"#;
    let accepted = server.ask("POST", "/v1/operations", &[JSON], body).await.expect(202);
    let path = accepted.location();
    assert_eq!(accepted.header("operation-location"), format!("http://lro.test{path}/status"));
    assert_eq!(accepted.header("retry-after"), "1");
    assert_eq!(accepted.header("cache-control"), "no-store");
    assert_eq!(accepted.header("etag"), "\"1\"");
    let operation = accepted.json();
    assert_eq!(operation["location"], format!("http://lro.test{path}"));
    assert_eq!(operation["state"], "STATE_QUEUED");
    assert_eq!(operation["labels"], json!({"team": "a"}));

    server.clock.advance(Duration::from_secs(9));
    let pending = server.get(&path).await.expect(202);
    assert_eq!(pending.header("retry-after"), "8");
    assert_eq!(pending.json()["name"], operation["name"]);
    for path in [path.clone(), path.replace("/v1/", "/v1/tenants/default/")] {
        let status = server.get(&format!("{path}/status")).await.expect(200);
        assert_eq!(status.json()["name"], operation["name"]);
    }
    let pending = server.get(&format!("{path}/result")).await.expect(202);
    assert_eq!(pending.location(), format!("{path}/result"));
    let tags: Vec<_> = pending.headers.get_all("etag").into_iter().collect();
    assert_eq!(tags, ["\"1\""], "once");

    server.work("report").await.complete(Some(csv())).await;
    let done = server.get(&path).await.expect(303);
    assert_eq!(done.location(), format!("{path}/result"));
    assert_eq!((done.header("retry-after"), done.header("etag")), ("", "\"3\""));
    assert_eq!(done.json()["done"], true);

    let result = server.get(&done.location()).await.expect(200);
    assert_eq!(result.header("content-type"), "text/csv; header=present");
    assert_eq!(&result.body[..], b"a,b\n\xff");
    let head = server.ask("HEAD", &done.location(), &[], "").await.expect(200);
    assert_eq!((head.header("content-length"), head.body.len()), ("5", 0));
}

#[tokio::test]
async fn any_body_is_the_input_of_a_kind() {
    let server = Server::start().await;
    let query = "label=team%3Da&label=x%3D1%3D2&priority=7&queue_timeout=90s";
    let path = format!("/v1/kinds/resize/operations?{query}");
    let accepted = server.ask("POST", &path, &[("content-type", "image/png")], "\u{1}\u{2}").await;
    let operation = accepted.expect(202).json();
    assert_eq!(operation["labels"], json!({"team": "a", "x": "1=2"}));
    let (_, _, input) = server.work("resize").await.next().await;
    let input = input.expect("an input");
    assert_eq!((input.info.content_type.as_str(), &input.data[..]), ("image/png", &[1, 2][..]));

    let plain = server.ask("POST", "/v1/kinds/plain/operations", &[], "x").await;
    plain.expect(202);
    let (_, _, input) = server.work("plain").await.next().await;
    assert_eq!(input.expect("an input").info.content_type, "application/octet-stream");

    server.ask("POST", "/v1/kinds/empty/operations", &[], "").await.expect(202);
    let (_, _, input) = server.work("empty").await.next().await;
    assert_eq!(input, None);

    for query in [
        "piority=1",
        "priority=x",
        "label=a",
        "deadline=soon",
        "start_time=now",
        "start_at=2026-01-31T12:00:00",
        "start_in=soon",
        "label=a=1&label=a=2",
    ] {
        let path = format!("/v1/kinds/k/operations?{query}");
        server.ask("POST", &path, &[], "x").await.problem(400, "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn an_input_may_be_nested_deeper_than_messages_can_be() {
    let server = Server::start().await;
    for depth in [10, 31, 32, 60, 120, 180] {
        let (open, close) = ("{\"a\":".repeat(depth), "}".repeat(depth));
        for body in [format!("{open}1{close}"), "[".repeat(depth) + &"]".repeat(depth)] {
            let path = "/v1/kinds/deep/operations";
            let accepted = server.ask("POST", path, &[JSON], body).await;
            if accepted.status != 413 {
                let path = accepted.expect(202).location();
                server.get(&path).await.expect(202);
            }
        }
    }
}

#[tokio::test]
async fn a_known_key_gives_the_operation_that_it_created() {
    let server = Server::start().await;
    let submit = async |key: &str, body: &str| {
        let headers = [JSON, ("idempotency-key", key)];
        server.ask("POST", "/v1/operations", &headers, body.to_owned()).await
    };
    let first = submit("\"k1\"", r#"{"kind": "a"}"#).await.expect(202).location();
    let again = submit("k1", r#"{"kind": "a", "idempotencyKey": "k1"}"#).await.expect(202);
    assert_eq!(again.location(), first);

    let other = submit("k1", r#"{"kind": "b"}"#).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert!(first.ends_with(other["operation"].as_str().expect("a name")), "{other}");
    submit("k1", r#"{"kind": "a", "idempotencyKey": "k2"}"#).await.problem(400, "INVALID_ARGUMENT");
    submit("\"k1", r#"{"kind": "a"}"#).await.problem(400, "INVALID_ARGUMENT");

    server.work("a").await.complete(None).await;
    let done = submit("k1", r#"{"kind": "a"}"#).await.expect(303);
    assert_eq!(done.location(), first);
    server.get(&format!("{first}/result")).await.expect(204);
}

#[tokio::test]
async fn waits_end_with_the_operation_or_with_time() {
    let server = Server::start().await;
    let mut worker = server.work("quick").await;
    let headers = [JSON, ("prefer", "respond-async, wait=5")];
    let submitted = server.ask("POST", "/v1/operations", &headers, r#"{"kind": "quick"}"#);
    let (submitted, ()) = tokio::join!(submitted, worker.complete(None));
    let submitted = submitted.expect(303);
    assert_eq!(submitted.header("preference-applied"), "wait=5");
    assert_eq!(submitted.header("vary"), "prefer");

    let slow = server.submit("slow").await;
    for (path, prefer) in [(format!("{slow}?wait=30s"), ""), (slow.clone(), "wait=999")] {
        let headers = [("prefer", prefer)];
        let held = server.ask("GET", &path, &headers, "");
        // Time goes on until the request, which begins to wait at some moment, has its answer.
        let time = async {
            loop {
                tokio::task::yield_now().await;
                server.clock.advance(Duration::from_secs(301));
            }
        };
        let held = tokio::select! {
            held = held => held,
            () = time => unreachable!("time does not end"),
        };
        let applied = if prefer.is_empty() { "" } else { "wait=300" };
        assert_eq!(held.expect(202).header("preference-applied"), applied);
    }

    let held = format!("{slow}/result?wait=30");
    let mut worker = server.work("slow").await;
    let (held, ()) = tokio::join!(server.get(&held), worker.complete(Some(csv())));
    assert_eq!(&held.expect(200).body[..], b"a,b\n\xff");
    server.get(&format!("{slow}?wait=soon")).await.problem(400, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_failure_is_told_as_the_operations_own() {
    let server = Server::start().await;
    let path = server.submit("fails").await;
    let error =
        OperationError { causes: vec![failure("RowMissing")], ..failure("DeviceNotExists") };
    let report = Report::Fail { error, is_final: true, retry_delay: None };
    server.work("fails").await.report(report).await;

    server.get(&path).await.expect(303);
    let result = server.get(&format!("{path}/result")).await;
    assert_eq!(result.header("longrun-error-source"), "operation");
    let problem = result.problem(404, "DeviceNotExists");
    assert_eq!(problem["code"], "DeviceNotExists");
    assert_eq!(problem["metadata"], json!({"device": "7"}));
    assert_eq!(problem["causes"][0]["code"], "RowMissing");
    assert_eq!(problem["instance"], format!("{path}/result"));

    let status = server.get(&format!("{path}/status")).await.expect(200).json();
    assert_eq!(status["status"], "Failed");
    assert_eq!(status["error"]["code"], "DeviceNotExists");
    assert_eq!(status["error"]["details"][0]["code"], "RowMissing");
}

#[tokio::test]
async fn the_status_document_is_always_there() {
    let server = Server::start().await;
    let path = server.submit("s").await;
    let url = format!("{path}/status");
    let answer = server.get(&url).await.expect(200);
    assert_eq!(answer.header("retry-after"), "1");
    let status = answer.json();
    assert_eq!((&status["status"], &status["done"]), (&json!("NotStarted"), &json!(false)));
    assert_eq!(status["createdDateTime"], "2026-01-01T00:00:00Z");
    assert_eq!(status["links"]["self"], format!("http://lro.test{url}"));
    assert_eq!(status.get("resourceLocation"), None);

    let mut worker = server.work("s").await;
    let (id, attempt, _) = worker.next().await;
    assert_eq!(server.get(&url).await.json()["status"], "Running");
    let errors = vec![failure("Half")];
    let report =
        Report::Complete { result: Some(csv()), contents: None, warnings: Vec::new(), errors };
    worker.session.report(id, attempt, report).await.expect("an acknowledgement");
    let status = server.get(&url).await.expect(200).json();
    assert_eq!(status["status"], "Succeeded");
    assert_eq!(status["state"], "PARTIALLY_SUCCEEDED");
    assert_eq!(status["resourceLocation"], format!("http://lro.test{path}/result"));
    let result = server.get(&format!("{path}/result")).await.expect(200);
    assert_eq!(result.header("longrun-errors"), "1");
}

#[tokio::test]
async fn operations_are_cancelled_retried_listed_and_deleted() {
    let server = Server::start().await;
    let path = server.submit("c").await;
    server.ask("DELETE", &path, &[], "").await.problem(409, "OPERATION_NOT_DONE");
    let cancel = format!("{path}:cancel");
    let body = r#"{"reason": "no longer needed"}"#;
    let cancelled = server.ask("POST", &cancel, &[JSON], body).await.expect(200).json();
    assert_eq!(cancelled["state"], "STATE_CANCELLED");
    server.ask("POST", &cancel, &[], "").await.expect(200);
    server.get(&format!("{path}/result")).await.problem(499, "CANCELLED");

    let retry = format!("{path}:retry");
    let headers = [("idempotency-key", "again")];
    let retried = server.ask("POST", &retry, &headers, "").await.expect(202).location();
    assert_ne!(retried, path);
    let same = server.ask("POST", &retry, &headers, "").await.expect(202).location();
    assert_eq!(same, retried);

    let first = server.get("/v1/operations?pageSize=1").await.expect(200).json();
    assert!(first["operations"][0]["location"].as_str().expect("a location").ends_with(&retried));
    let token = first["nextPageToken"].as_str().expect("a token");
    let last = server.get(&format!("/v1/operations?page_size=1&page_token={token}")).await.json();
    assert!(last["operations"][0]["location"].as_str().expect("a location").ends_with(&path));
    let failed = server.get("/v1/operations?filter=state%3DFAILED").await.expect(200).json();
    assert_eq!(failed, json!({"operations": []}));
    server.get("/v1/operations?filter=%3D").await.problem(400, "INVALID_ARGUMENT");

    let events = server.get(&format!("{path}/events")).await.expect(200).json();
    let types: Vec<_> =
        events["events"].as_array().expect("a list").iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["TYPE_SUBMITTED", "TYPE_FINISHED"]);

    let deleted = server.ask("DELETE", &path, &[], "").await.expect(204);
    assert_eq!(deleted.body.len(), 0);
    server.get(&path).await.problem(404, "OPERATION_NOT_FOUND");
}
