//! What is secret stays out of operations, and what only a gateway or an upstream may say is not taken from others.

use crate::pass_through::raw;
use crate::raw::{Raw, answer, setup};
use crate::support::Setup;

const ASYNC: (&str, &str) = ("prefer", "respond-async");
const SECRETS: [&str; 13] = [
    "authorization",
    "cookie",
    "x-api-key",
    "x-auth-token",
    "private-token",
    "client-secret",
    "x-goog-api-key",
    "proxy-authorization",
    "authentication",
    "x-forwarded-authorization",
    "x-auth",
    "x_api_key",
    "mcp-session-id",
];

/// Whether the text stands anywhere in what the server has stored.
fn is_stored(setup: &Setup, text: &str) -> bool {
    let mut folders = vec![setup.directory.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(path).expect("a file");
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    return true;
                }
            }
        }
    }
    false
}

#[tokio::test]
async fn no_credential_is_stored_whatever_its_field() {
    let respond = |_: &Raw| {
        answer("200 OK", "Set-Cookie: s=s-e-s-s-i-o-n\r\nX-Subject-Token: s-e-s-s-i-o-n\r\n", "x")
    };
    let (setup, _, mut asked) = setup("", respond).await;
    let mut fields = SECRETS.map(|name| (name, "v-e-r-y-own")).to_vec();
    fields.extend([ASYNC, ("x-kept", "k-e-p-t")]);
    let accepted = setup.ask("POST", "/api/x", &fields, "body").await.expect(202);
    let location = accepted.header("location").to_owned();
    let result = setup.result_at(&location).await.expect(200);
    assert_eq!((result.header("set-cookie"), result.header("x-subject-token")), ("", ""));
    let request = asked.recv().await.expect("a request");
    for name in SECRETS {
        assert!(request.values(name).is_empty(), "{name}");
    }
    assert_eq!(request.values("x-kept"), ["k-e-p-t"]);
    assert!(is_stored(&setup, "k-e-p-t"));
    assert!(!is_stored(&setup, "v-e-r-y-own") && !is_stored(&setup, "s-e-s-s-i-o-n"));
    // What passes through is not ours to keep back.
    let passed = setup.ask("POST", "/api/x", &[("x-api-key", "k")], "").await.expect(200);
    assert_eq!(passed.header("x-subject-token"), "s-e-s-s-i-o-n");
    assert_eq!(asked.recv().await.expect("a request").values("x-api-key"), ["k"]);
}

#[tokio::test]
async fn what_a_mount_keeps_is_sent_and_shown_to_nobody() {
    let more = "[relay.headers]\ncredentials = [\"x-api-key\"]\n";
    let (setup, _, mut asked) = setup(more, |_| answer("200 OK", "", "x")).await;
    let fields = [ASYNC, ("x-api-key", "v-e-r-y-own"), ("authorization", "Bearer x")];
    let accepted = setup.ask("POST", "/api/x", &fields, "body").await.expect(202);
    let request = asked.recv().await.expect("a request");
    assert_eq!(request.values("x-api-key"), ["v-e-r-y-own"]);
    assert!(request.values("authorization").is_empty());
    let shown =
        setup.ask("GET", &format!("{}?view=FULL", accepted.header("location")), &[], "").await;
    let text = String::from_utf8(shown.body.to_vec()).expect("a text");
    assert!(text.contains("x-forwarded-for") && !text.contains("v-e-r-y-own"), "{text}");
}

#[tokio::test]
async fn a_dialects_own_credential_is_neither_stored_nor_sent_on() {
    let dialect = "[[dialect]]\nuse = \"background-request\"\nprefix = \"/\"\nrelay = \"api\"\n\
                   credentials = \"x-caller\"\n";
    let (setup, _, mut asked) = setup(dialect, |_| answer("200 OK", "", "x")).await;
    let fields = [("x-caller", "v-e-r-y-own")];
    setup.ask("GET", "/api/x?bgrs=1", &[], "").await.expect(401);
    setup.ask("GET", "/api/x?bgrs=1", &fields, "").await.expect(200);
    let request = asked.recv().await.expect("a request");
    assert!(request.values("x-caller").is_empty());
    assert!(!is_stored(&setup, "v-e-r-y-own"));
}

#[tokio::test]
async fn a_submitted_request_cannot_say_what_a_gateway_says() {
    let (setup, _, mut asked) = setup("", |_| answer("200 OK", "", "x")).await;
    let submit = async |name: &str| {
        let headers = serde_json::json!([{"name": "accept", "value": "a/b"}, {"name": name, "value": "9.9.9.9"}]);
        let http = serde_json::json!({"method": "GET", "target": "/x", "headers": headers});
        let body = serde_json::json!({"kind": "relay.api", "input": {"http": http}}).to_string();
        setup.ask("POST", "/v1/operations", &[("content-type", "application/json")], body).await
    };
    for name in [
        "X-Forwarded-For",
        "x-forwarded-host",
        "X-Forwarded-Anything",
        "via",
        "Forwarded",
        "Cookie",
        "x-api-key",
    ] {
        let problem = submit(name).await.expect(400).json();
        let violation = &problem["violations"][0];
        assert_eq!(violation["field"], "input.http.headers[1].name", "{problem}");
        let rule = violation["rule"].as_str().unwrap_or_default().to_owned();
        assert!(problem.to_string().contains(&name.to_ascii_lowercase()), "{rule} {problem}");
    }
    submit("x-other").await.expect(202);
    let request = asked.recv().await.expect("a request");
    assert_eq!(request.values("x-other"), ["9.9.9.9"]);
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_result_moves_neither_page_nor_proxy() {
    let fields = "X-Accel-Redirect: /etc\r\nX-Accel-Buffering: no\r\nX-Sendfile: /etc\r\nRefresh: 0;url=/\r\n\
                  X-Kept: 1\r\n";
    let (setup, ..) = setup("", move |_| answer("200 OK", fields, "x")).await;
    let result = setup.result("GET", "/api/x", "").await.expect(200);
    for name in ["x-accel-redirect", "x-accel-buffering", "x-sendfile", "refresh"] {
        assert_eq!(result.header(name), "", "{name}");
    }
    assert_eq!(result.header("x-kept"), "1");
}

#[tokio::test]
async fn one_key_is_one_key_bare_and_quoted() {
    let (setup, _, mut asked) = setup("", |_| answer("200 OK", "", "x")).await;
    let submit = async |key: &str, length: &str| {
        let fields = format!("Prefer: respond-async\r\nIdempotency-Key: {key}\r\n{length}");
        let answer = raw(
            &setup,
            &format!(
                "POST /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
            ),
        )
        .await;
        let location = answer.lines().find(|line| line.starts_with("location: "));
        location.unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let first = submit("k-1", "Content-Length: 0\r\n").await;
    assert_eq!(submit("\"k-1\"", "").await, first);
    assert_ne!(submit("\"k-2\"", "").await, first);
    assert_eq!(asked.recv().await.expect("a request").values("idempotency-key"), ["k-1"]);
}

#[tokio::test]
async fn a_cookie_in_pieces_is_one() {
    let more = "[relay.headers]\ncredentials = [\"cookie\"]\n";
    let (setup, _, mut asked) = setup(more, |_| answer("200 OK", "", "x")).await;
    for prefer in ["", "respond-async"] {
        let pieces = [("cookie", "a=b"), ("prefer", prefer), ("cookie", "c=d")];
        setup.ask("GET", "/api/x", &pieces, "").await;
        assert_eq!(asked.recv().await.expect("a request").values("cookie"), ["a=b; c=d"]);
    }
}
