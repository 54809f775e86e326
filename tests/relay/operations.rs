//! Requests that become operations: what is stored, what is executed, what is answered.

use std::sync::atomic::Ordering;

use crate::support::Setup;

const ASYNC: (&str, &str) = ("prefer", "respond-async");

#[tokio::test]
async fn every_answer_of_the_upstream_is_the_result_as_it_was() {
    let setup = Setup::new("").await;
    for (method, name, status, content_type, body, more) in [
        ("GET", "json", 200, "application/json", &b"{\"target\":\"/base/json\"}"[..], ("", "")),
        ("GET", "csv", 200, "text/csv", b"a,b\n1,2\n", ("content-disposition", "attachment")),
        ("POST", "made", 201, "text/plain; charset=utf-8", b"{}", ("x-made", "7")),
        ("DELETE", "none", 204, "", b"", ("", "")),
        ("GET", "missing", 404, "text/plain; charset=utf-8", b"no", ("set-cookie", "")),
        ("POST", "broken", 503, "text/plain; charset=utf-8", b"sorry", ("retry-after", "9")),
        ("GET", "binary", 200, "application/octet-stream", b"\x00\xff\x1f\x8b", ("", "")),
    ] {
        let result = setup.result(method, &format!("/api/{name}"), "x").await.expect(status);
        assert_eq!(result.header("content-type"), content_type, "{name}");
        assert_eq!(&result.body[..], body, "{name}");
        if !more.0.is_empty() {
            assert_eq!(result.header(more.0), more.1, "{name}");
        }
    }
    let large = setup.result("GET", "/api/large", "").await;
    assert_eq!(large.json()["reason"], "RESULT_TOO_LARGE");
    assert_eq!(large.header("longrun-error-source"), "operation");
}

#[tokio::test]
async fn the_trigger_and_what_is_not_to_be_stored_stay_here() {
    let more = "[relay.trigger]\nquery = \"bgrs\"\n[relay.headers]\ndeny = [\"x-secret\"]\n";
    let mut setup = Setup::new(more).await;
    let headers = [
        ("prefer", "return=minimal, respond-async"),
        ("authorization", "Bearer t"),
        ("cookie", "a=b"),
        ("x-secret", "1"),
        ("x-kept", "2"),
        ("connection", "x-hop"),
        ("x-hop", "3"),
        ("x-forwarded-for", "9.9.9.9"),
    ];
    let path = "/api/echo?a=%20b&bgrs=1&c";
    let accepted = setup.ask("POST", path, &headers, "body").await.expect(202);
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    assert_eq!(accepted.header("retry-after"), "1");
    let location = accepted.header("location").to_owned();
    assert_eq!(accepted.header("operation-location"), format!("{location}/status"));
    assert_eq!(accepted.json()["kind"], "relay.api");
    let asked = setup.asked().await;
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/base/echo?a=%20b&c"));
    assert_eq!(&asked.body[..], b"body");
    for gone in ["authorization", "cookie", "x-secret", "x-hop"] {
        assert!(!asked.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(asked.headers["x-kept"], "2");
    assert_eq!(asked.headers["prefer"], "return=minimal");
    assert_eq!(asked.headers["x-forwarded-for"], "9.9.9.9, 127.0.0.1");
    assert_eq!(asked.headers["via"], "1.1 longrun");
    assert!(!asked.headers.contains_key("content-type"), "a body of no type gets none");
    setup.result_at(&location).await.expect(200);

    setup.ask("GET", "/api/echo?bgrs=1", &[], "").await.expect(202);
    assert_eq!(setup.asked().await.target, "/base/echo");
    // Neither value nor name of another parameter is a trigger.
    setup.ask("GET", "/api/echo?bgrs=0", &[], "").await.expect(200);
    setup.ask("GET", "/api/echo?xbgrs=1", &[], "").await.expect(200);
}

#[tokio::test]
async fn a_mount_may_answer_303_and_store_credentials() {
    let more = "answer = 303\n[relay.headers]\ncredentials = [\"authorization\"]\n";
    let mut setup = Setup::new(more).await;
    let headers = [ASYNC, ("authorization", "Bearer t"), ("cookie", "a=b")];
    let accepted = setup.ask("GET", "/api/echo", &headers, "").await.expect(303);
    let asked = setup.asked().await;
    assert_eq!(asked.headers["authorization"], "Bearer t");
    assert!(!asked.headers.contains_key("cookie"));
    setup.result_at(accepted.header("location")).await.expect(200);
}

#[tokio::test]
async fn a_key_gives_the_same_operation_and_a_wait_the_result() {
    let setup = Setup::new("").await;
    let submit = async |body: &'static str, trace: &str| {
        let headers = [ASYNC, ("idempotency-key", "\"k\""), ("traceparent", trace)];
        setup.ask("POST", "/api/made", &headers, body).await
    };
    let first = submit("a", "1").await.expect(202);
    setup.result_at(first.header("location")).await.expect(201);
    let again = submit("a", "2").await.expect(303);
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(submit("b", "1").await.expect(422).json()["reason"], "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(setup.api.count.load(Ordering::SeqCst), 1);

    let headers = [("prefer", "respond-async, wait=10")];
    let waited = setup.ask("POST", "/api/made", &headers, "c").await.expect(201);
    assert_eq!(waited.header("preference-applied"), "wait=10");
    assert_eq!(waited.header("location"), format!("http://{}/things/7", setup.addr));
    let headers = [("prefer", "respond-async, wait=1")];
    let waited = setup.ask("POST", "/api/slow", &headers, "c").await.expect(202);
    assert_eq!(waited.header("preference-applied"), "respond-async, wait=1");
}

#[tokio::test]
async fn what_the_upstream_does_not_answer_fails_with_the_reason() {
    let more = "[relay.limits]\nattempt_timeout = \"300ms\"\n[relay.retries]\nmax_attempts = 2\n";
    let nobody = Setup::in_front_of_nothing(more).await;
    for method in ["GET", "POST"] {
        let failed = nobody.result(method, "/api/x", "").await;
        assert_eq!(failed.json()["reason"], "UPSTREAM_UNREACHABLE", "{method}");
        assert_eq!(failed.expect(502).header("longrun-error-source"), "operation");
    }
    let setup = Setup::new(more).await;
    let slow = setup.result("POST", "/api/slow", "").await.expect(504).json();
    assert_eq!(slow["reason"], "UPSTREAM_TIMEOUT");
    assert!(
        slow["detail"].as_str().expect("a text").contains("it may have taken effect"),
        "{slow}"
    );
    assert_eq!(setup.api.count.load(Ordering::SeqCst), 1, "a POST is sent once");
    setup.result("GET", "/api/slow", "").await.expect(504);
    assert_eq!(setup.api.count.load(Ordering::SeqCst), 3, "a GET is sent again");
}

#[tokio::test]
async fn a_crash_repeats_what_may_be_repeated_and_fails_the_rest() {
    for (method, status) in [("GET", 200), ("POST", 503)] {
        let mut setup = Setup::new("").await;
        let accepted = setup.ask(method, "/api/stuck", &[ASYNC], "").await.expect(202);
        let location = accepted.header("location").to_owned();
        setup.asked().await;
        setup.crash().await;
        let path = location.split_once("/v1/").expect("a path").1;
        let result = setup.result_at(&format!("/v1/{path}")).await.expect(status);
        if method == "POST" {
            let problem = result.json();
            assert_eq!(problem["reason"], "WORKER_LOST", "{problem}");
            let detail = problem["detail"].as_str().expect("a text");
            assert!(detail.contains("no further attempt"), "{detail}");
            assert_eq!(setup.api.count.load(Ordering::SeqCst), 1);
        }
    }
}

#[tokio::test]
async fn a_stop_gives_back_what_may_be_repeated_and_fails_the_rest() {
    for (method, reason) in [("GET", None), ("POST", Some("UPSTREAM_INTERRUPTED"))] {
        let mut setup = Setup::new("").await;
        let accepted = setup.ask(method, "/api/stuck", &[ASYNC], "").await.expect(202);
        let location = accepted.header("location").to_owned();
        setup.asked().await;
        setup.stop_worker.cancel();
        let result = setup.ask("GET", &format!("{location}/result?wait=3"), &[], "").await;
        match reason {
            Some(reason) => assert_eq!(result.expect(502).json()["reason"], reason),
            None => assert_eq!(result.expect(202).json()["state"], "STATE_QUEUED"),
        }
    }
}
