//! Requests that pass straight through.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::Setup;

#[tokio::test]
async fn what_asks_for_nothing_goes_straight_through() {
    let mut setup = Setup::new("").await;
    let headers = [("authorization", "Bearer t"), ("prefer", "wait=5"), ("te", "trailers")];
    let answer = setup.ask("PUT", "/api/echo?a=b&a=%2F", &headers, "body").await.expect(200);
    assert_eq!(answer.header("via"), "1.1 longrun");
    assert_eq!(answer.header("cache-control"), "", "nothing is added to the upstream's answer");
    // But what they depend on: who prefers so gets an operation.
    assert_eq!(answer.header("vary"), "prefer");
    let asked = setup.asked().await;
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("PUT", "/base/echo?a=b&a=%2F"));
    assert_eq!(asked.headers["authorization"], "Bearer t");
    assert_eq!(asked.headers["prefer"], "wait=5");
    assert_eq!(asked.headers["x-forwarded-host"], setup.addr.to_string());
    assert_eq!(asked.headers["x-forwarded-proto"], "http");
    assert!(!asked.headers.contains_key("te"));
    assert_ne!(asked.headers["host"], setup.addr.to_string());

    // The upstream's gRPC-Web is not taken for this server's.
    let web = [("content-type", "application/grpc-web+proto")];
    let answer = setup.ask("POST", "/api/echo", &web, "body").await.expect(200);
    assert_eq!(answer.header("via"), "1.1 longrun");

    let missing = setup.ask("GET", "/api/missing", &[], "").await.expect(404);
    assert_eq!(missing.header("set-cookie"), "a=b");
    assert_eq!(missing.header("longrun-error-source"), "");
    let large = setup.ask("GET", "/api/large", &[], "").await.expect(200);
    assert_eq!(large.body.len(), 3 << 20);
    // The prefix alone is the upstream's root; what merely begins like it is not under it.
    setup.ask("GET", "/api", &[], "").await.expect(200);
    setup.ask("GET", "/apix", &[], "").await.expect(404);
    setup.ask("GET", "/v1/operations", &[], "").await.expect(200);
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let setup = Setup::new("").await;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let stream = Body::from_stream(ReceiverStream::new(receiver));
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<Body>();
    let uri = format!("http://{}/api/echo-stream", setup.addr);
    let request = http::Request::post(uri).body(stream).expect("a request");
    let exchange = async {
        sender.send(Ok(Bytes::from_static(b"one"))).await.expect("a reader");
        let mut body = client.request(request).await.expect("an answer").into_body();
        // The first part comes back before the second is sent.
        for (part, next) in [("one", Some("two")), ("two", None)] {
            let frame = http_body_util::BodyExt::frame(&mut body).await.expect("a frame");
            assert_eq!(frame.expect("a frame").into_data().expect("data"), part);
            if let Some(next) = next {
                sender.send(Ok(Bytes::from_static(next.as_bytes()))).await.expect("a reader");
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), exchange).await.expect("both in time");
}

#[tokio::test]
async fn answers_tell_what_they_depend_on() {
    let setup = Setup::new("").await;
    let vary = |answer: &crate::support::Answer| -> Vec<String> {
        let fields = answer.headers.get_all("vary").iter();
        fields.map(|field| field.to_str().expect("a text").to_owned()).collect()
    };
    let held = [("prefer", "respond-async, wait=10")];
    for (path, expected) in
        [("/api/csv", &["prefer"][..]), ("/api/varied", &["accept, Origin", "prefer"])]
    {
        let passed = setup.ask("GET", path, &[], "").await.expect(200);
        assert_eq!(vary(&passed), expected);
        let waited = setup.ask("GET", path, &held, "").await.expect(200);
        assert_eq!(vary(&waited), expected);
    }
    let accepted = setup.ask("GET", "/api/csv", &[("prefer", "respond-async")], "").await;
    assert_eq!(vary(&accepted.expect(202)), ["prefer"]);
    // Where Prefer is no trigger nothing depends on it.
    let setup = Setup::new("[relay.trigger]\nprefer = false\n").await;
    assert_eq!(vary(&setup.ask("GET", "/api/csv", &[], "").await), [""; 0]);
}

#[tokio::test]
async fn an_upstream_that_fails_is_the_gateways_problem() {
    let nobody = Setup::in_front_of_nothing("").await;
    let refused = nobody.ask("GET", "/api/x", &[], "").await.expect(502);
    assert_eq!(refused.header("longrun-error-source"), "gateway");
    assert_eq!(refused.json()["reason"], "UPSTREAM_UNREACHABLE");
    let setup = Setup::new("[relay.limits]\nresponse_timeout = \"200ms\"\n").await;
    let late = setup.ask("GET", "/api/slow", &[], "").await.expect(504);
    assert_eq!(late.json()["reason"], "UPSTREAM_TIMEOUT");
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let refused = setup.ask("GET", "/api/x", &upgrade, "").await.expect(501);
    assert_eq!(refused.json()["reason"], "UPGRADE_REFUSED");
}

/// Writes these bytes and gives what comes back until the server ends the connection.
pub async fn raw(setup: &Setup, text: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(setup.addr).await.expect("a connection");
    socket.write_all(text.as_bytes()).await.expect("a reader");
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.expect("an end in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_upstream_that_takes_no_more_of_a_body_is_late() {
    // The system accepts connections and fills its buffers; nobody reads.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (api, asked) = crate::support::Api::new();
    let more = "[relay.limits]\nresponse_timeout = \"300ms\"\n";
    let others = tokio::task::JoinSet::new();
    let setup = Setup::over(&url, more, asked, api, others).await;
    let late = setup.ask("POST", "/api/x", &[], vec![0; 32 << 20]).await.expect(504);
    assert_eq!(late.json()["reason"], "UPSTREAM_TIMEOUT");
}
