//! Requests that took effect, whatever became of the answer: told as that, and never sent twice.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::raw::{Raw, answer, setup};

#[tokio::test]
async fn an_answer_with_too_many_fields_for_a_record_is_kept_without_some() {
    let large = format!("X-Small: 1\r\nX-Large: {}\r\n", "y".repeat(300 << 10));
    let bytes = answer("201 Created", &large, "made");
    let (setup, _, mut asked) = setup("", move |_| bytes.clone()).await;
    let result = setup.result("POST", "/api/x", "x").await.expect(201);
    assert_eq!((&result.body[..], result.header("x-small")), (&b"made"[..], "1"));
    assert_eq!((result.header("x-large"), result.header("longrun-warnings")), ("", "1"));
    asked.recv().await.expect("a request");
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_says_that_the_request_was_received() {
    let header = format!("HTTP/1.1 201 Created\r\nX: {}\r\n\r\n", "y".repeat(900 << 10));
    let fields = format!("HTTP/1.1 201 Created\r\n{}\r\n", "X: y\r\n".repeat(1_500));
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    for bytes in [
        header.as_str(),
        &fields,
        switching,
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 2000 Many\r\n\r\n",
        "HTTP/1.1 201 Created\r\nContent-Length: many\r\n\r\n",
    ] {
        let said = bytes.as_bytes().to_vec();
        let (setup, _, mut asked) = setup("", move |_| said.clone()).await;
        let start: String = bytes.chars().take(40).collect();
        for method in ["POST", "GET"] {
            let passed = setup.ask(method, "/api/x", &[], "").await.expect(502);
            assert_eq!(passed.header("longrun-error-source"), "gateway", "{start}");
            asked.recv().await.expect("a request");
            let failed = setup.result(method, "/api/x", "").await.expect(502).json();
            assert_eq!(failed["reason"], "UPSTREAM_UNREADABLE", "{start}: {failed}");
            let detail = failed["detail"].as_str().expect("a text");
            assert!(detail.contains("the request was received"), "{start}: {detail}");
            asked.recv().await.expect("a request");
            assert!(asked.try_recv().is_err(), "{start}: {method} was sent once each time");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_its_status() {
    let half = b"HTTP/1.1 201 Created\r\nLocation: /x/7\r\nContent-Length: 9\r\nConnection: close\r\n\r\nha";
    let (setup, _, mut asked) = setup("", move |_| half.to_vec()).await;
    let failed = setup.result("POST", "/api/x", "").await.expect(502).json();
    assert_eq!(failed["reason"], "UPSTREAM_UNREACHABLE");
    let detail = failed["detail"].as_str().expect("a text");
    assert!(detail.contains("answered 201, so the request took effect"), "{detail}");
    asked.recv().await.expect("a request");
    assert!(asked.try_recv().is_err());
    let operations = setup.ask("GET", "/v1/operations", &[], "").await.json();
    let metadata = &operations["operations"][0]["error"]["metadata"];
    assert_eq!(
        (&metadata["upstream_status"], &metadata["location"]),
        (&"201".into(), &"/x/7".into())
    );
}

#[tokio::test]
async fn an_answer_that_is_too_large_leaves_its_status() {
    let bytes = answer("201 Created", "", &"x".repeat(3 << 20));
    let (setup, ..) = setup("", move |_| bytes.clone()).await;
    let failed = setup.result("POST", "/api/x", "").await.expect(502).json();
    assert_eq!(failed["reason"], "RESULT_TOO_LARGE");
    let detail = failed["detail"].as_str().expect("a text");
    assert!(detail.contains("answered 201, so the request took effect"), "{detail}");
}

/// Serves one request of each connection and ends it on the second, without having said so.
fn fickle() -> impl Fn(&Raw) -> Vec<u8> + Send + Sync + 'static {
    let last = AtomicUsize::new(0);
    move |request| {
        let is_second = last.swap(request.connection, Ordering::SeqCst) == request.connection;
        if is_second { Vec::new() } else { answer("200 OK", "", "x") }
    }
}

#[tokio::test]
async fn connections_that_the_upstream_ends_cost_no_request() {
    let (setup, _, mut asked) = setup("", fickle()).await;
    for _ in 0..4 {
        // What is idempotent is sent again.
        setup.ask("GET", "/api/x", &[], "").await.expect(200);
        // What is not has a connection of its own, where nobody would send it again.
        setup.result("POST", "/api/x", "y").await.expect(200);
    }
    let (mut posts, mut connections) = (0, Vec::new());
    while let Ok(request) = asked.try_recv() {
        if request.line.starts_with("POST") {
            posts += 1;
            assert!(!connections.contains(&request.connection), "{request:?}");
        }
        connections.push(request.connection);
    }
    assert_eq!(posts, 4, "each was sent once");
}

#[tokio::test]
async fn idle_connections_are_kept_for_as_long_as_is_configured() {
    for (more, connections) in
        [("", &[1, 1][..]), ("[relay.limits]\nidle_timeout = \"1ms\"\n", &[1, 2])]
    {
        let (setup, _, mut asked) = setup(more, |_| answer("200 OK", "", "x")).await;
        let mut seen = Vec::new();
        for _ in connections {
            setup.ask("POST", "/api/x", &[], "y").await.expect(200);
            seen.push(asked.recv().await.expect("a request").connection);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(seen, connections, "{more}");
    }
}
