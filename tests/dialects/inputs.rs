//! Inputs come to workers, and are shown, as they were sent.

use serde_json::json;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Answer, Setup};

#[tokio::test]
async fn the_coding_of_an_input_is_kept_with_it() {
    let setup = Setup::five().await;
    let headers = [("content-type", "text/csv"), ("content-encoding", "gzip")];
    for path in ["/api/management-server/fileshares", "/provisioning/things?async=true"] {
        setup.ask("POST", path, &headers, "coded").await.expect(202);
        // The newest first.
        let list = setup.get("/v1/operations?page_size=1").await.expect(200).json();
        let name = list["operations"][0]["name"].as_str().expect("a name").to_owned();
        let input = setup.get(&format!("/v1/{name}/input")).await.expect(200);
        assert_eq!((input.header("content-encoding"), &input.body[..]), ("gzip", &b"coded"[..]));
        assert_eq!(input.header("content-type"), "text/csv");
    }
}

/// What a request asks for is read from it also where it is larger than what is within operations.
#[tokio::test]
async fn a_large_request_keeps_its_meaning() {
    let config = r#"
        [[dialect]]
        use = "openai-responses"
        prefix = "/openai/v1"
        [[dialect.submit]]
        path = "/responses"
        kind = "Response"
    "#;
    let setup = Setup::without_workers(config).await;
    let large = "x".repeat(200_000);
    let request = json!({"model": "m-1", "input": large, "background": true}).to_string();
    let headers = [("content-type", "application/json")];
    let submitted = setup.ask("POST", "/openai/v1/responses", &headers, request).await.expect(200);
    assert_eq!(submitted.json()["model"], "m-1");
    let id = submitted.json()["id"].as_str().expect("an id").to_owned();
    let read = setup.get(&format!("/openai/v1/responses/{id}")).await.expect(200).json();
    assert_eq!(read["model"], "m-1");
}

/// A log line changes such a document and not the operation: no tag of that may say that nothing has changed.
#[tokio::test]
async fn a_document_with_a_history_has_no_entity_tag() {
    let setup = Setup::five().await;
    let mine = ("authorization", "Bearer mine");
    let submitted = setup.ask("GET", "/v2.5/users/me?bgrs=yes", &[mine], "").await.expect(200);
    let id = submitted.json()["request"].as_str().expect("an id").to_owned();
    let plain = setup.ask("GET", &format!("/bgrs/{id}"), &[mine], "").await.expect(200);
    let known = [mine, ("if-none-match", plain.header("etag"))];
    let details = setup.ask("GET", &format!("/bgrs/{id}/details"), &known, "").await.expect(200);
    assert!(!details.headers.contains_key("etag"));
}

#[tokio::test]
async fn a_dialect_that_takes_objects_refuses_what_is_none() {
    let config = r#"
        [[dialect]]
        use = "ga4gh-tes"
        prefix = "/tes"
        [[dialect.submit]]
        path = "/tasks"
        kind = "Task"
    "#;
    let setup = Setup::without_workers(config).await;
    let json = ("content-type", "application/json");
    let told = |answer: Answer| String::from_utf8_lossy(&answer.body).into_owned();
    for (body, rule) in [
        ("", "body must be a JSON object, and is empty"),
        ("{\"name\": \"a\"\n \"executors\": []}", "is expected here (line 2 column 2)"),
        (" [{}]", "body must be an object, and is an array (line 1 column "),
        ("\"a task\"", "body must be an object, and is"),
    ] {
        let refused = told(setup.ask("POST", "/tes/tasks", &[json], body).await.expect(400));
        assert!(refused.contains(rule), "{refused}");
    }
    for headers in [&[][..], &[("content-type", "text/plain")], &[json, ("content-encoding", "br")]]
    {
        setup.ask("POST", "/tes/tasks", headers, "{}").await.expect(415);
    }
    // Nothing of these was stored; what is coded with gzip is read.
    let (mut encoder, task) =
        (GzEncoder::new(Vec::new(), Compression::fast()), br#"{"name": "a"}"#);
    encoder.write_all(task).unwrap();
    let coded = [json, ("content-encoding", "gzip")];
    setup.ask("POST", "/tes/tasks", &coded, encoder.finish().unwrap()).await.expect(200);
    let list = setup.get("/v1/operations").await.expect(200).json();
    assert_eq!(list["operations"].as_array().map(Vec::len), Some(1));
    let name = list["operations"][0]["name"].as_str().expect("a name");
    let input = setup.get(&format!("/v1/{name}/input")).await.expect(200);
    assert_eq!(input.body, &task[..]);
    assert!(!input.headers.contains_key("content-encoding"));
}
