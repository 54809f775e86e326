//! Inputs and results that are too large for rows: refused, or in a directory that the replicas share.

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use longrun::proto::v1::payload::Content;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::{Complete, Payload, ResultChunk, SubmitRequest};
use serde_json::Value;
use tonic::Code;

use crate::postgres_support::database;
use crate::support::{Replica, attempt, soon};

/// More than goes into a row, less than the longest message.
const SIZE: usize = 600_000;

fn contents() -> Vec<u8> {
    (0..SIZE).map(|n| b'a' + (n * n % 26) as u8).collect()
}

fn payload() -> Payload {
    Payload { content: Some(Content::Data(contents().into())), ..Payload::default() }
}

async fn ask(replica: &Replica, method: &str, path: &str, body: Vec<u8>) -> (u16, Bytes) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let request = Request::builder().method(method).uri(format!("{}{path}", replica.url));
    let request = request.header("content-type", "text/plain").body(Body::from(body)).unwrap();
    let response = soon(client.request(request)).await.unwrap();
    let status = response.status().as_u16();
    (status, soon(response.into_body().collect()).await.unwrap().to_bytes())
}

#[tokio::test]
async fn without_a_place_for_objects_they_are_refused_in_words_that_help() {
    let replica = Replica::start(&database().await.url, &[]);
    let helps =
        |said: &str| said.contains("--objects") && said.contains("--object-threshold-bytes");

    let (status, body) = ask(&replica, "POST", "/v1/kinds/large/operations", contents()).await;
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &problem["reason"]), (413, &Value::from("PAYLOAD_TOO_LARGE")));
    assert!(helps(problem["detail"].as_str().unwrap()), "{problem}");

    let large = SubmitRequest {
        kind: "large".to_owned(),
        input: Some(payload()),
        ..SubmitRequest::default()
    };
    let refused = replica.operations().submit(large).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert!(helps(refused.message()), "{refused:?}");

    // Results too, whole or in chunks; the worker may send a smaller one.
    let mut work = replica.work("large", None, Vec::new()).await;
    replica.submit("large").await;
    let attempt = Some(attempt(&work.assignment().await));
    let whole =
        Complete { attempt: attempt.clone(), result: Some(payload()), ..Complete::default() };
    let chunk = ResultChunk { attempt: attempt.clone(), offset_bytes: 0, data: contents().into() };
    let chunked_bytes = SIZE as i64;
    let chunked = Complete { attempt: attempt.clone(), chunked_bytes, ..Complete::default() };
    let small = Complete { attempt, ..Complete::default() };
    for (report_id, chunk, complete) in
        [(1, None, whole), (2, Some(chunk), chunked), (3, None, small)]
    {
        if let Some(chunk) = chunk {
            work.say(Up::ResultChunk(chunk)).await;
        }
        work.say(Up::Complete(Complete { report_id, ..complete })).await;
        match work.heard().await {
            Down::Ack(ack) if report_id == 3 => assert_eq!(ack.error, None),
            Down::Ack(ack) => {
                let error = ack.error.unwrap();
                assert_eq!(error.reason, "PAYLOAD_TOO_LARGE");
                assert!(helps(&error.message), "{error:?}");
            }
            other => panic!("no answer but {other:?}"),
        }
    }
}

#[tokio::test]
async fn in_a_directory_that_is_shared_every_replica_finds_them() {
    let store = database().await.url;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("objects").display().to_string();
    // Both ways to say it.
    let a = Replica::start(&store, &["--objects", &format!("file://{path}")]);
    let b = Replica::start(&store, &["--objects", &path, "--handler", "shout=tr a-z A-Z"]);
    let (status, body) = ask(&a, "POST", "/v1/kinds/shout/operations", contents()).await;
    let operation: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 202, "{operation}");
    let operation = operation["name"].as_str().unwrap();
    let result = format!("/v1/{operation}/result?wait=30");
    for replica in [&a, &b] {
        let (status, result) = ask(replica, "GET", &result, Vec::new()).await;
        assert_eq!(status, 200);
        assert!(result == contents().to_ascii_uppercase());
    }
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2, "the input and the result");
    // They go with the operation, wherever it is deleted.
    let (status, said) = ask(&a, "DELETE", &format!("/v1/{operation}"), Vec::new()).await;
    assert!(status < 300, "{status} {said:?}");
    soon(async {
        while std::fs::read_dir(&path).unwrap().count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}
