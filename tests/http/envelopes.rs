//! Results that are HTTP responses, answered as they were given.

use bytes::Bytes;
use longrun::operation::{HttpEnvelope, HttpHeader, Payload};
use serde_json::json;

use crate::support::{JSON, Server};

fn response(
    status: u16,
    headers: &[(&str, &str)],
    content_type: &str,
    body: &'static str,
) -> Payload {
    let header = |(name, value): &(&str, &str)| HttpHeader {
        name: (*name).to_owned(),
        value: value.as_bytes().to_vec(),
    };
    let headers = headers.iter().map(header).collect();
    let envelope = HttpEnvelope { status, headers, ..HttpEnvelope::default() };
    Payload::sniffed(content_type, Bytes::from_static(body.as_bytes())).within(envelope)
}

#[tokio::test]
async fn a_result_that_is_a_response_is_answered_as_it_was() {
    let server = Server::start().await;
    let cases = [
        response(200, &[("etag", "\"v7\"")], "application/json", "{\"a\": 1e400}"),
        response(201, &[("location", "/things/7"), ("link", "<x>")], "text/csv", "a,b\n"),
        response(204, &[("x-left", "3")], "", ""),
        response(404, &[("set-cookie", "a=b")], "application/problem+json", "{}"),
        response(503, &[("retry-after", "7")], "text/html", "<h1>Sorry</h1>"),
    ];
    let mut worker = server.work("call").await;
    for case in cases {
        let path = server.submit("call").await;
        worker.complete(Some(case.clone())).await;
        let envelope = case.info.http.expect("an envelope");
        let answer = server.get(&format!("{path}/result")).await.expect(envelope.status);
        assert_eq!(answer.body, case.data);
        for HttpHeader { name, value } in &envelope.headers {
            let expected =
                if name == "set-cookie" { "" } else { std::str::from_utf8(value).unwrap() };
            assert_eq!(answer.header(name), expected, "{name}");
        }
        let no_content = envelope.status == 204;
        assert_eq!(answer.header("content-type").is_empty(), no_content);
        let source = if envelope.status >= 400 { "operation" } else { "" };
        assert_eq!(answer.header("longrun-error-source"), source);
        let status = server.get(&format!("{path}/status")).await.json();
        assert_eq!(status["status"], "Succeeded");
        // The operation itself says what it was, its headers only beside the contents.
        let operation = server.get(&format!("{path}?view=RESULT")).await.json();
        assert_eq!(operation["result"]["http"]["status"], envelope.status);
        let basic = server.get(&format!("{path}?view=BASIC")).await.json();
        assert_eq!(basic["result"]["http"], json!({"status": envelope.status}));
    }
}

#[tokio::test]
async fn an_input_may_be_a_request_and_tells_submissions_apart() {
    let server = Server::start().await;
    let submit = async |target: &str, name: &str, value: &str| {
        let headers = json!([{"name": name, "value": value}]);
        let http = json!({"method": "POST", "target": target, "headers": headers});
        let body =
            json!({"kind": "call", "idempotencyKey": "k", "input": {"text": "x", "http": http}});
        server.ask("POST", "/v1/operations", &[JSON], body.to_string()).await
    };
    let first = submit("/a?b=c", "X-Of", "caf\u{e9}").await.expect(202).location();
    assert_eq!(submit("/a?b=c", "x-of", "caf\u{e9}").await.expect(202).location(), first);
    submit("/a?b=d", "x-of", "caf\u{e9}").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    submit("/a?b=c", "x-of", "cafe").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let input = &server.get(&first).await.json()["input"];
    let headers = json!([{"name": "x-of", "value": "caf\u{e9}"}]);
    assert_eq!(input["http"], json!({"method": "POST", "target": "/a?b=c", "headers": headers}));

    for (target, name, value, field) in [
        ("http://evil/", "x-a", "", "input.http.target"),
        ("/", "content-length", "3", "input.http.headers[0].name"),
        ("/", "x-a", "b\r\nc: d", "input.http.headers[0].value"),
        ("/", "x-a", "\u{100}", "input.http.headers[0].value"),
    ] {
        let problem = submit(target, name, value).await.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["violations"][0]["field"], field);
    }
}
