//! A worker of plain HTTP: it acquires an attempt, and reports at its URL.

use serde_json::{Value, json};

use crate::support::{JSON, Server};

const TEXT: (&str, &str) = ("content-type", "text/plain");

async fn acquire(server: &Server, kind: &str) -> (Value, String) {
    let answer =
        server.ask("POST", &format!("/v1/kinds/{kind}:acquire"), &[], "").await.expect(200);
    let location = answer.location();
    let document = answer.json();
    assert_eq!(document["location"], format!("http://lro.test{location}"));
    assert_eq!(location, format!("/v1/attempts/{}", document["token"].as_str().unwrap()));
    (document, location)
}

async fn submit(server: &Server, kind: &str, input: &'static str) -> String {
    let path = format!("/v1/kinds/{kind}/operations?initial_backoff=0s");
    server.ask("POST", &path, &[("content-type", "text/csv")], input).await.expect(202).location()
}

async fn state(server: &Server, operation: &str) -> Value {
    server.get(&format!("{operation}/status")).await.expect(200).json()
}

#[tokio::test]
async fn an_attempt_has_a_url_from_its_start_to_its_end() {
    let server = Server::start().await;
    let nothing = server.ask("POST", "/v1/kinds/count:acquire", &[], "").await.expect(204);
    assert!(nothing.body.is_empty() && nothing.header("location").is_empty());
    let operation = submit(&server, "count", "a,b").await;
    let path = "/v1/kinds/count:acquire?wait=30s&worker_id=curl&leaseDuration=90s";
    let answer = server.ask("POST", path, &[], "").await.expect(200);
    let (attempt, document) = (answer.location(), answer.json());
    assert_eq!(document["attempt"], 1);
    assert_eq!(document["leaseDuration"], "90s");
    assert_eq!(document["operation"]["workerId"], "curl");
    assert_eq!(document["operation"]["state"], "STATE_RUNNING");
    assert_eq!(document["operation"]["location"], format!("http://lro.test{operation}"));
    assert_eq!(document["input"]["contentType"], "text/csv");
    // Whoever has the URL sees what it is about.
    assert_eq!(server.get(&attempt).await.expect(200).json(), document);
    let input = server.get(&format!("{attempt}/input")).await.expect(200);
    assert_eq!((input.header("content-type"), &input.body[..]), ("text/csv", &b"a,b"[..]));
    let part = [("range", "bytes=1-")];
    let part = server.ask("GET", &format!("{attempt}/input"), &part, "").await.expect(206);
    assert_eq!(&part.body[..], b",b");

    let renew = format!("{attempt}:renew");
    let renewed = server.ask("POST", &renew, &[], "").await.expect(200).json();
    assert_eq!(renewed, json!({"leaseDuration": "90s"}));
    let progress = json!({"progress": {"percent": 40, "message": "half"}}).to_string();
    server.ask("POST", &renew, &[JSON], progress).await.expect(200);
    assert_eq!(state(&server, &operation).await["percentComplete"], 40.0);
    server.ask("POST", &format!("{attempt}:log"), &[TEXT], "one\r\ntwo\n").await.expect(204);
    let lines = json!({"lines": ["three"]}).to_string();
    server.ask("POST", &format!("{attempt}:log"), &[JSON], lines).await.expect(204);

    let complete = format!("{attempt}:complete");
    let image = [("content-type", "image/svg+xml; charset=utf-8"), ("content-encoding", "br")];
    for _ in 0..2 {
        // It may be sent again, if the answer was lost.
        server.ask("POST", &complete, &image, "<svg/>").await.expect(204);
    }
    let result = server.get(&format!("{operation}/result")).await.expect(200);
    assert_eq!(result.header("content-type"), "image/svg+xml; charset=utf-8");
    assert_eq!(result.header("content-encoding"), "br");
    assert_eq!(&result.body[..], b"<svg/>");
    let events = server.get(&format!("{operation}/events")).await.expect(200).json();
    let logged: Vec<&str> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["log"]["text"].as_str())
        .collect();
    assert_eq!(logged, ["one", "two", "three"]);

    // It is over.
    let other = server.ask("POST", &complete, &[TEXT], "another").await;
    let problem = other.problem(409, "STALE_ATTEMPT");
    assert!(problem["detail"].as_str().unwrap().contains("another report has ended it"));
    for (method, verb) in
        [("GET", ""), ("GET", "/input"), ("POST", ":log"), ("POST", ":fail"), ("POST", ":release")]
    {
        let over = server.ask(method, &format!("{attempt}{verb}"), &[TEXT], "").await;
        over.problem(409, "STALE_ATTEMPT");
    }
    let renewed = server.ask("POST", &renew, &[], "").await.expect(200).json();
    assert_eq!(renewed["cancel"]["cause"], "CAUSE_RECORDED");
    assert_eq!(renewed["leaseDuration"], Value::Null);
}

#[tokio::test]
async fn a_failure_is_told_as_text_or_as_json() {
    let server = Server::start().await;
    let operation = submit(&server, "count", "a").await;
    let (_, attempt) = acquire(&server, "count").await;
    let path = format!("{attempt}:fail?code=Busy&retry_delay=0s");
    server.ask("POST", &path, &[TEXT], "no room\n").await.expect(204);
    let (document, attempt) = acquire(&server, "count").await;
    assert_eq!(document["attempt"], 2);
    let error = &document["operation"]["error"];
    assert_eq!((&error["code"], &error["message"]), (&json!("Busy"), &json!("no room")));
    server.ask("POST", &format!("{attempt}:release"), &[], "").await.expect(204);
    let (document, attempt) = acquire(&server, "count").await;
    assert_eq!(document["operation"]["attemptsUsed"], 2, "the release does not count");
    let failure = json!({"error": {"code": "NoSuchFile", "statusCode": 5}, "final": true});
    let fail = format!("{attempt}:fail");
    server.ask("POST", &fail, &[JSON], failure.to_string()).await.expect(204);
    let done = state(&server, &operation).await;
    assert_eq!((&done["state"], &done["error"]["code"]), (&json!("FAILED"), &json!("NoSuchFile")));
    // A body of no type is a message as well, and what says nothing is a failure all the same.
    let operation = submit(&server, "count", "b").await;
    let (_, attempt) = acquire(&server, "count").await;
    server.ask("POST", &format!("{attempt}:fail?final=true"), &[], "").await.expect(204);
    let result = server.get(&format!("{operation}/result")).await;
    assert_eq!(result.json()["detail"], "FAILED", "the code, where there is no message");
}

#[tokio::test]
async fn a_cancel_is_heard_with_the_next_sign_of_life() {
    let server = Server::start().await;
    let operation = submit(&server, "count", "a").await;
    let (_, attempt) = acquire(&server, "count").await;
    let reason = json!({"reason": "enough"}).to_string();
    server.ask("POST", &format!("{operation}:cancel"), &[JSON], reason).await.expect(202);
    let renewed = server.ask("POST", &format!("{attempt}:renew"), &[], "").await.expect(200).json();
    assert_eq!(renewed["cancel"]["cause"], "CAUSE_CANCEL_REQUESTED");
    assert_eq!(renewed["cancel"]["reason"], "enough");
    server.ask("POST", &format!("{attempt}:release"), &[], "").await.expect(204);
    assert_eq!(state(&server, &operation).await["state"], "CANCELLED");
}

#[tokio::test]
async fn what_breaks_rules_is_refused_and_the_attempt_goes_on() {
    let server = Server::start().await;
    for (query, field) in [
        ("?wait=soon", "wait"),
        ("?lease_duration=8d", "lease_duration"),
        ("?lease_duration=0s", "lease_duration"),
        ("?worker_id=", "worker_id"),
        ("?request_id=%C3%A4", "request_id"),
        ("?max_attempts=2", "max_attempts"),
    ] {
        let path = format!("/v1/kinds/count:acquire{query}");
        let problem = server.ask("POST", &path, &[], "").await.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["violations"][0]["field"], field, "{query}");
    }
    let problem = server.ask("POST", "/v1/kinds/1:acquire", &[], "").await;
    let problem = problem.problem(400, "INVALID_ARGUMENT");
    assert_eq!(problem["violations"][0]["field"], "kind");
    server.ask("GET", "/v1/kinds/count:acquire", &[], "").await.problem(405, "METHOD_NOT_ALLOWED");
    server.ask("POST", "/v1/kinds/count", &[], "").await.problem(404, "ROUTE_NOT_FOUND");

    submit(&server, "count", "a").await;
    let (document, attempt) = acquire(&server, "count").await;
    let token = document["token"].as_str().unwrap();
    let forged = format!("{}{}", &token[1..], &token[..1]);
    for stranger in ["x", forged.as_str()] {
        for (method, verb) in [("GET", ""), ("POST", ":renew"), ("POST", ":complete")] {
            let path = format!("/v1/attempts/{stranger}{verb}");
            let problem = server.ask(method, &path, &[], "").await;
            let problem = problem.problem(400, "INVALID_ARGUMENT");
            assert_eq!(problem["violations"][0]["field"], "token");
        }
    }
    let other = json!({"token": "other"}).to_string();
    let renew = format!("{attempt}:renew");
    server.ask("POST", &renew, &[JSON], other).await.problem(400, "INVALID_ARGUMENT");
    server.ask("POST", &renew, &[TEXT], "x").await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    for (verb, bytes) in [(":complete", 1_001), (":fail", 70_000), (":log", 300_000)] {
        let path = format!("{attempt}{verb}");
        let too_large = server.ask("POST", &path, &[TEXT], vec![b'x'; bytes]).await;
        too_large.problem(413, "PAYLOAD_TOO_LARGE");
    }
    let failure = json!({"error": {"message": "no code"}}).to_string();
    let problem = server.ask("POST", &format!("{attempt}:fail"), &[JSON], failure).await;
    let problem = problem.problem(400, "INVALID_ARGUMENT");
    assert_eq!(problem["violations"][0]["field"], "error.code");
    let same = json!({"token": token}).to_string();
    server.ask("POST", &renew, &[JSON], same).await.expect(200);
}

#[tokio::test]
async fn an_attempt_may_have_no_input_and_no_result() {
    let server = Server::start().await;
    let operation = server.submit("nothing").await;
    let (document, attempt) = acquire(&server, "nothing").await;
    assert_eq!(document["input"], Value::Null);
    server.get(&format!("{attempt}/input")).await.expect(204);
    server.ask("POST", &format!("{attempt}:complete"), &[], "").await.expect(204);
    server.get(&format!("{operation}/result")).await.expect(204);
    // And it may be forgotten.
    server.ask("DELETE", &operation, &[], "").await.expect(204);
    let gone = server.ask("POST", &format!("{attempt}:complete"), &[], "").await;
    gone.problem(404, "OPERATION_NOT_FOUND");
}
