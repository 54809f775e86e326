//! Targets that name somebody else, and paths that try to be other paths.

use crate::stage::Stage;

#[tokio::test]
async fn targets_of_other_servers_are_refused_and_nobody_is_asked() {
    let stage = Stage::new().await;
    let forbidden = stage.forbidden;
    let other = format!("http://{forbidden}");
    for (line, host) in [
        ("GET http://evil.example/v1/operations".to_owned(), "evil.example"),
        ("GET http://evil.example/api/x".to_owned(), "evil.example"),
        ("GET http://evil.example/api/x".to_owned(), "localhost"),
        (format!("GET {other}/api/x"), "localhost"),
        (format!("POST {other}/v1/kinds/a/operations"), "localhost"),
        (format!("GET http://user@{forbidden}/api/x"), "localhost"),
        ("GET http://user:word@localhost/api/x".to_owned(), "localhost"),
        ("GET ftp://localhost/api/x".to_owned(), "localhost"),
        ("GET file:///etc/passwd".to_owned(), "localhost"),
        ("GET http:///api/x".to_owned(), "localhost"),
        ("GET //evil.example/api/x".to_owned(), "localhost"),
        (format!("CONNECT {forbidden}"), "localhost"),
        (format!("CONNECT {forbidden}"), &forbidden.to_string()),
        ("CONNECT /api/x".to_owned(), "localhost"),
        ("GET *".to_owned(), "localhost"),
        ("GET localhost".to_owned(), "localhost"),
        ("GET api/x".to_owned(), "localhost"),
        ("GET ?x".to_owned(), "localhost"),
        ("GET #x".to_owned(), "localhost"),
        ("TRACE /v1/operations".to_owned(), "localhost"),
        ("PROPFIND /v1/operations".to_owned(), "localhost"),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answers = stage.say(text).await;
        let statuses = answers.statuses();
        let refused = matches!(statuses[..], [400 | 404 | 405 | 421]);
        assert!(refused, "{line} {host}: {answers:?}");
    }
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}

#[tokio::test]
async fn targets_that_name_this_server_are_its_own() {
    let stage = Stage::new().await;
    let addr = stage.addr.to_string();
    for (line, host, status) in [
        (format!("GET http://{addr}/v1/operations"), addr.as_str(), 200),
        (format!("GET http://{addr}/api/x"), &addr, 200),
        ("GET http://localhost/api/x".to_owned(), "LOCALHOST", 200),
        // An address cannot be turned to another one behind a browser's back.
        (format!("GET http://{}/api/x", stage.forbidden), &stage.forbidden.to_string(), 200),
        ("OPTIONS *".to_owned(), "localhost", 204),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answers = stage.say(text).await;
        assert_eq!(answers.statuses(), [status], "{line}: {answers:?}");
    }
    stage.ends_whole().await;
}

#[tokio::test]
async fn paths_that_try_to_be_others_are_refused() {
    let stage = Stage::new().await;
    let long = "a".repeat(17 << 10);
    let deep = format!("/api/%{}2e%{}2e/x", "25".repeat(3_000), "25".repeat(3_000));
    for (path, expected) in [
        ("/v1/operations/%ff", 400),
        ("/v1/operations/%00", 400),
        ("/v1/operations/%2e%2e%2foperations", 404),
        ("/v1/operations/..%2f..%2fapi", 404),
        ("/v1/../api/x", 404),
        ("/v1/%2e%2e/api/x", 404),
        ("/v1//operations", 404),
        ("/v1/operations;x=y", 404),
        ("/v1\\operations", 404),
        ("/v1%2foperations", 404),
        ("/v1/operations?filter=%ff", 400),
        ("/v1/operations?filter=%00", 400),
        ("/v1/operations?%ff=1", 400),
        ("/v1/operations?page_token=%00%ff", 400),
        ("/v1/kinds/%ff/operations", 400),
        ("/api/..", 400),
        ("/api/../v1/operations", 400),
        ("/api/%2e%2e/secret", 400),
        ("/api/%2E%2e%2Fsecret", 400),
        ("/api/%252e%252e/secret", 400),
        ("/api/%25252e%25252e/secret", 400),
        ("/api/..;/secret", 400),
        ("/api/..%3b/secret", 400),
        ("/api/x/..%5c..%5csecret", 400),
        ("/api/..\\secret", 400),
        ("/api/x%00.csv", 400),
        ("/api/x%0d%0aX:%20y", 400),
        ("/api/x%250d%250a", 400),
        ("/api//evil.example/x", 400),
        ("/api/%2f%2fevil.example/x", 400),
        ("/api/\\evil.example", 400),
        ("/api%2f..%2fsecret", 404),
        ("/apisecret", 404),
        ("/API/x", 404),
        ("/%61pi/x", 404),
        (deep.as_str(), 400),
        (&format!("/api/{long}"), 414),
        (&format!("/v1/operations?filter={long}"), 414),
        (&format!("/v1/{long}"), 414),
    ] {
        for more in ["", "Prefer: respond-async\r\n"] {
            let text = format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}Connection: close\r\n\r\n"
            );
            let answers = stage.say(text).await;
            let start = &path[..path.len().min(60)];
            assert_eq!(answers.statuses(), [expected], "{start}: {answers:?}");
        }
    }
    for raw in [b"/api/\xff\xfe".as_slice(), b"/v1/operations/\xc3\x28", b"/api/x?\xff"] {
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(raw);
        request.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(stage.say(request).await.statuses(), [400]);
    }
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}
