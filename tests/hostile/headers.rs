//! Headers that are too many, too large, or none.

use crate::stage::{OWN, RELAYED, Stage};

async fn all_refused(requests: &[(String, &[u16])]) {
    let stage = Stage::new().await;
    for path in [OWN, RELAYED] {
        for (request, expected) in requests {
            let request = request.replace("{path}", path);
            let answers = stage.say(&request).await;
            let statuses = answers.statuses();
            let start = &request[..request.len().min(80)];
            assert!(
                statuses.len() == 1 && expected.contains(&statuses[0]),
                "{start:?}: {statuses:?} {answers:?}"
            );
        }
    }
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}

#[tokio::test]
async fn bombs_are_refused() {
    let many = "X: y\r\n".repeat(200);
    let large = format!("X: {}\r\n", "y".repeat(70 << 10));
    let endless = "y".repeat(2 << 20);
    let requests = [
        format!("GET {{path}} HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
        format!("GET {{path}} HTTP/1.1\r\nHost: localhost\r\n{large}\r\n"),
        format!("GET {{path}} HTTP/1.1\r\nHost: localhost\r\nX: {endless}"),
        format!("GET {{path}} HTTP/1.1\r\nHost: localhost\r\n{endless}"),
    ];
    all_refused(&requests.map(|request| (request, [431].as_slice()))).await;
}

#[tokio::test]
async fn lines_that_are_no_fields_are_refused() {
    let fields = [
        "X : y",
        " X: y",
        "X: y\r\n folded",
        "X: y\r\n\tfolded",
        "X\0: y",
        "X: y\0z",
        "X: y\rz",
        "X: \x01",
        "X: \x7f",
        ": y",
        "X",
        "X\u{e9}: y",
        "(X): y",
        "X\"Y: z",
    ];
    let requests = fields.map(|field| {
        let text = format!("GET {{path}} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n");
        (text, [400].as_slice())
    });
    all_refused(&requests).await;
}

#[tokio::test]
async fn first_lines_that_are_none_are_refused() {
    let lines = [
        "GET  {path} HTTP/1.1",
        "GET\t{path} HTTP/1.1",
        "GET {path}  HTTP/1.1",
        "GET {path} HTTP/1.1 ",
        "GET {path} HTTP/1.2",
        "GET {path} HTTP/2.0",
        "GET {path} HTTP/0.9",
        "GET {path} http/1.1",
        "GET {path} HTTP/1.1 GET /",
        "GET {path}",
        "{path} HTTP/1.1",
        "G@T {path} HTTP/1.1",
        "G\0T {path} HTTP/1.1",
        "GET {path}\0 HTTP/1.1",
        "GET {path}\u{7f} HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}",
    ];
    let requests =
        lines.map(|line| (format!("{line}\r\nHost: localhost\r\n\r\n"), [400].as_slice()));
    all_refused(&requests).await;
}

#[tokio::test]
async fn hosts_are_named_once_and_are_this_server() {
    let fields = [
        ("", 400),
        ("Host: localhost\r\nHost: localhost\r\n", 400),
        ("Host: localhost\r\nHost: evil.example\r\n", 400),
        ("Host: \r\n", 400),
        ("Host: user@localhost\r\n", 400),
        ("Host: user:word@localhost\r\n", 400),
        ("Host: localhost/x\r\n", 400),
        ("Host: http://localhost\r\n", 400),
        ("Host: a b\r\n", 400),
        ("Host: localhost:port\r\n", 400),
        ("Host: evil.example\r\n", 421),
        ("Host: evil.example:80\r\n", 421),
        ("Host: localhost.evil.example\r\n", 421),
        ("Host: 127.0.0.1.evil.example\r\n", 421),
    ];
    let requests = fields.map(|(field, status)| {
        let expected: &[u16] = if status == 421 { &[421] } else { &[400] };
        (format!("GET {{path}} HTTP/1.1\r\n{field}Connection: close\r\n\r\n"), expected)
    });
    all_refused(&requests).await;
}

#[tokio::test]
async fn values_that_are_no_text_are_refused_where_they_are_read() {
    let stage = Stage::new().await;
    for (field, value) in [
        ("Content-Type", b"text/\xff\xfe".as_slice()),
        ("Idempotency-Key", b"\xc3\x28"),
        ("Host", b"\xff\xff"),
    ] {
        for (path, more) in [(OWN, ""), (RELAYED, "Prefer: respond-async\r\n")] {
            let host = if field == "Host" { "" } else { "Host: localhost\r\n" };
            let mut request = format!("POST {path} HTTP/1.1\r\n{host}{more}{field}: ").into_bytes();
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
            let statuses = stage.say(request).await.statuses();
            assert_eq!(statuses, [400], "{path} {field}");
        }
    }
    let body = b"{\"kind\": \"work\", \"labels\": {\"a\": \"\xff\xfe\"}}";
    let mut request = b"POST /v1/operations HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
        Content-Type: application/json\r\nContent-Length: "
        .to_vec();
    request.extend_from_slice(format!("{}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    assert_eq!(stage.say(request).await.statuses(), [400]);
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}
