//! What is submitted is kept as it was sent, or refused: nothing is changed in silence.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use longrun::operation::PayloadForm;
use serde_json::json;

use crate::support::{JSON, Server};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("room");
    encoder.finish().expect("room")
}

#[tokio::test]
async fn the_coding_of_an_input_is_kept_with_it() {
    let server = Server::start().await;
    let coded = gzip(b"a,b\n");
    let headers = [
        ("content-type", "text/csv"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("content-disposition", "attachment; filename=\"a.csv\""),
        ("x-other", "left out"),
    ];
    let path = "/v1/kinds/table/operations?label=a%3Db";
    let accepted = server.ask("POST", path, &headers, coded.clone()).await.expect(202);

    let (_, _, input) = server.work("table").await.next().await;
    let input = input.expect("an input");
    assert_eq!((&input.data[..], input.info.form), (&coded[..], PayloadForm::Data));
    let http = input.info.http.as_deref().expect("a request around it");
    assert_eq!(
        (http.method.as_str(), http.target.as_str()),
        ("POST", "/v1/kinds/table/operations")
    );
    let kept: Vec<&str> = http.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(kept, ["content-encoding", "content-language", "content-disposition"]);

    let url = format!("{}/input", accepted.location());
    for range in [None, Some(("range", "bytes=0-1"))] {
        let range: Vec<_> = range.into_iter().collect();
        let input = server.ask("GET", &url, &range, "").await;
        assert_eq!(input.header("content-type"), "text/csv");
        for (name, value) in &headers[1..4] {
            assert_eq!(input.header(name), *value);
        }
        assert_eq!(input.header("x-other"), "");
        assert!(coded.starts_with(&input.body));
    }
    let operation = server.get(&format!("{}?view=FULL", accepted.location())).await.json();
    assert_eq!(operation["input"]["http"]["headers"][0]["value"], "gzip");
    // `identity` is no coding, and an input without any has nothing around it.
    let headers = [("content-encoding", "identity")];
    server.ask("POST", "/v1/kinds/plain/operations", &[], "x").await.expect(202);
    let (_, _, input) = server.work("plain").await.next().await;
    assert_eq!(input.expect("an input").info.http, None);
    server.ask("POST", "/v1/kinds/plain/operations", &headers, "x").await.expect(202);
    let headers = [("content-encoding", "g zip")];
    let refused = server.ask("POST", "/v1/kinds/plain/operations", &headers, "x").await;
    assert_eq!(
        refused.problem(400, "INVALID_ARGUMENT")["violations"][0]["field"],
        "Content-Encoding"
    );
}

#[tokio::test]
async fn a_coded_document_is_read_or_refused() {
    let server = Server::start().await;
    let document = gzip(br#"{"kind": "coded", "labels": {"a": "b"}}"#);
    let coded = |name: &'static str| [JSON, ("content-encoding", name)];
    for name in ["gzip", "x-gzip", "identity, GZIP"] {
        let accepted = server.ask("POST", "/v1/operations", &coded(name), document.clone()).await;
        assert_eq!(accepted.expect(202).json()["labels"], json!({"a": "b"}));
    }
    for name in ["br", "zstd", "deflate", "gzip, gzip"] {
        let refused = server.ask("POST", "/v1/operations", &coded(name), document.clone()).await;
        assert_eq!(refused.header("accept-encoding"), "gzip");
        refused.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let broken = server.ask("POST", "/v1/operations", &coded("gzip"), "{}").await;
    let problem = broken.problem(400, "INVALID_ARGUMENT");
    assert_eq!(problem["detail"], "body must be gzip, as its Content-Encoding says");
    let bomb = gzip(&vec![b' '; 10_000_000]);
    let refused = server.ask("POST", "/v1/operations", &coded("gzip"), bomb).await;
    refused.problem(413, "PAYLOAD_TOO_LARGE");

    let path = server.submit("other").await;
    let cancel = format!("{path}:cancel");
    let reason = gzip(br#"{"reason": "coded"}"#);
    let cancelled = server.ask("POST", &cancel, &coded("gzip"), reason).await.expect(200).json();
    assert_eq!(cancelled["error"]["message"], "the operation was cancelled: coded");
}

#[tokio::test]
async fn what_is_no_text_is_no_parameter() {
    let server = Server::start().await;
    for (url, field) in
        [("/v1/kinds/a/operations?label=u=%ff", "label"), ("/v1/kinds/a/operations?%ff=1", "query")]
    {
        let problem = server.ask("POST", url, &[], "x").await.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["violations"][0]["field"], field);
        assert_eq!(problem["violations"][0]["description"], "must be UTF-8, percent-encoded");
    }
    let url = "/v1/kinds/a/operations?label=u%3D%c3%a4+50%25";
    let accepted = server.ask("POST", url, &[], "x").await.expect(202).json();
    assert_eq!(accepted["labels"], json!({"u": "ä 50%"}));
}

#[tokio::test]
async fn documents_are_refused_by_field_rule_and_place() {
    let server = Server::start().await;
    let deep = format!(
        r#"{{"kind": "a", "input": {{"json": {}1{}}}}}"#,
        "{\"a\":".repeat(33),
        "}".repeat(33)
    );
    let cases = [
        ("", "body", "must be a JSON object, and is empty"),
        ("{\n", "body", "must be JSON, and ends within an object (line 2 column 1)"),
        ("[]", "body", "must be an object, and is an array (line 1 column 1)"),
        (r#"{"kind": 3}"#, "kind", "must be a string, and is 3 (line 1 column 10)"),
        (r#"{"labels": 3}"#, "labels", "must be an object, and is 3 (line 1 column 12)"),
        (r#"{"kind": "a", "kind": "b"}"#, "body", "must give \"kind\" once (line 1 column 20)"),
    ];
    for (body, field, rule) in cases {
        let answer = server.ask("POST", "/v1/operations", &[JSON], body).await;
        let violation = &answer.problem(400, "INVALID_ARGUMENT")["violations"][0];
        assert_eq!((&violation["field"], &violation["description"]), (&json!(field), &json!(rule)));
    }
    let answer = server.ask("POST", "/v1/operations", &[JSON], deep).await;
    let problem = answer.problem(400, "INVALID_ARGUMENT");
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.starts_with("input.json.a.a"), "{detail}");
    assert!(
        detail.contains("must be nested at most 34 deep, objects and arrays (line 1 "),
        "{detail}"
    );
    assert!(detail.len() < 250, "{detail}");
    for path in ["/v1/operations", "/v1/kinds/a/operations"] {
        let headers = [JSON, ("idempotency-key", &"k".repeat(256))];
        let answer = server.ask("POST", path, &headers, r#"{"kind": "a"}"#).await;
        let problem = answer.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["violations"][0]["field"], "Idempotency-Key");
    }
    let two = [("content-type", "text/plain"), ("content-type", "text/csv")];
    let problem = server.ask("POST", "/v1/kinds/a/operations", &two, "a").await;
    let violation = &problem.problem(400, "INVALID_ARGUMENT")["violations"][0];
    assert_eq!(violation["field"], "Content-Type");
    assert_eq!(violation["description"], "must be given once");
    let path = "/v1/kinds/a/operations?max_attempts=5000&backoff_jitter=2&cancel_grace=2h";
    let problem = server.ask("POST", path, &[], "x").await.problem(400, "INVALID_ARGUMENT");
    let detail = problem["detail"].as_str().expect("a text");
    for field in
        ["max_attempts must be from 1 to 1000", "backoff_jitter must be", "cancel_grace must be"]
    {
        assert!(detail.contains(field), "{detail}");
    }
    let filter = server.get("/v1/operations?filter=state%3Dnone").await;
    let detail = filter.problem(400, "INVALID_ARGUMENT")["detail"].to_string();
    assert!(detail.contains("at character 7"), "{detail}");
}
