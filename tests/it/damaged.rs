//! Objects that are not as they were written: what is left of them is not taken for the whole.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use longrun::proto::v1::{ReadInputRequest, ReadResultRequest};
use tonic::{Code, Response, Status, Streaming};

use crate::large::{SIZE, a_server, ask, complete, contents, files, send_chunks, upload};
use crate::support::*;

fn flip_a_bit(file: &Path) {
    let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1_000_000).unwrap();
    file.write_all_at(&[byte[0] ^ 4], 1_000_000).unwrap();
}

fn cut_off(file: &Path) {
    std::fs::File::options().write(true).open(file).unwrap().set_len(1_000).unwrap();
}

/// The bytes that came, and how the stream ended.
async fn read<M>(
    opened: Result<Response<Streaming<M>>, Status>,
    data: impl Fn(M) -> Vec<u8>,
) -> (Vec<u8>, Code) {
    let mut stream = match opened {
        Ok(opened) => opened.into_inner(),
        Err(status) => return (Vec::new(), status.code()),
    };
    let mut bytes = Vec::new();
    loop {
        match soon(stream.message()).await {
            Ok(Some(message)) => bytes.extend(data(message)),
            Ok(None) => return (bytes, Code::Ok),
            Err(status) => return (bytes, status.code()),
        }
    }
}

async fn read_input(server: &TestServer, name: &str, offset_bytes: i64) -> (Vec<u8>, Code) {
    let request = ReadInputRequest { name: name.to_owned(), offset_bytes, ..Default::default() };
    read(soon(server.operations().read_input(request)).await, |message| message.data.to_vec()).await
}

async fn read_result(server: &TestServer, name: &str) -> (Vec<u8>, Code) {
    let request = ReadResultRequest { name: name.to_owned(), offset_bytes: 0 };
    read(soon(server.operations().read_result(request)).await, |message| message.data.to_vec())
        .await
}

/// The bytes of a response's body, unless it breaks off.
async fn get(server: &TestServer, path: &str) -> Option<usize> {
    let client = HttpClient::builder(TokioExecutor::new()).build_http::<Body>();
    let request = Request::get(format!("http://{}{path}", server.addr)).body(Body::empty());
    let response = soon(client.request(request.unwrap())).await.unwrap();
    assert_eq!(response.status(), 200);
    soon(response.into_body().collect()).await.ok().map(|body| body.to_bytes().len())
}

#[tokio::test]
async fn an_object_that_was_cut_off_is_refused() {
    let (server, objects) = a_server().await;
    let (_, name) = upload(&server, "one", contents()).await;
    cut_off(&files(&objects)[0]);
    for offset in [0, 500, 2_000_000] {
        assert_eq!(read_input(&server, &name, offset).await, (Vec::new(), Code::DataLoss));
    }
    for headers in [&[][..], &[("range", "bytes=0-99")], &[("range", "bytes=2000000-")]] {
        let (answer, body) = ask(&server, "GET", &format!("/v1/{name}/input"), headers, "").await;
        assert_eq!(answer.status(), 500);
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["reason"], "DATA_LOSS", "{problem}");
    }
}

#[tokio::test]
async fn a_flipped_bit_ends_a_whole_read_before_its_last_bytes() {
    let (server, objects) = a_server().await;
    let (_, name) = upload(&server, "one", contents()).await;
    assert_eq!(get(&server, &format!("/v1/{name}/input")).await, Some(SIZE));
    let input = files(&objects)[0].clone();
    flip_a_bit(&input);
    let (bytes, code) = read_input(&server, &name, 0).await;
    assert_eq!(code, Code::DataLoss);
    assert!(bytes.len() < SIZE);
    assert_eq!(get(&server, &format!("/v1/{name}/input")).await, None);
    // A part has no digest of its own.
    let (bytes, code) = read_input(&server, &name, 2_000_000).await;
    assert_eq!((bytes.len(), code), (SIZE - 2_000_000, Code::Ok));

    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    send_chunks(&mut worker, &assignment, &contents()).await;
    assert_eq!(worker.try_complete(complete(&assignment, SIZE)).await, None);
    assert_eq!(read_result(&server, &name).await.1, Code::Ok);
    let result = files(&objects).into_iter().find(|file| *file != input).unwrap();
    flip_a_bit(&result);
    let (bytes, code) = read_result(&server, &name).await;
    assert_eq!(code, Code::DataLoss);
    assert!(bytes.len() < SIZE);
    assert_eq!(get(&server, &format!("/v1/{name}/result")).await, None);
    let refused = soon(server.client().read_result(&name)).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::DataLoss, "DATA_LOSS"));
}
