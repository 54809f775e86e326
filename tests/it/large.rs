//! Payloads that are too large for rows and messages: in by HTTP or in chunks, out as streams, kept in objects.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use longrun::objects::{Objects, sweep};
use longrun::operation::{ObjectId, Timestamp};
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::*;
use longrun::worker::{Outcome, Worker};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::*;

pub(crate) const SIZE: usize = 3_000_000;

/// A server that keeps in rows what is up to 1 KiB, and where it keeps the rest.
pub(crate) async fn a_server() -> (TestServer, TempDir) {
    server_with_at_most(5 << 30).await
}

async fn server_with_at_most(max_payload_bytes: usize) -> (TestServer, TempDir) {
    let objects = TempDir::new().unwrap();
    let place = objects.path().join("objects").display().to_string();
    let server = TestServer::with(|config| {
        config.store.objects = Some(place);
        config.store.object_threshold_bytes = 1 << 10;
        config.limits.inline_payload_bytes = 1 << 10;
        config.limits.max_payload_bytes = max_payload_bytes;
    });
    (server.await, objects)
}

pub(crate) fn contents() -> Bytes {
    (0..SIZE).map(|n| (n * n % 251) as u8).collect()
}

/// The files that there are, unfinished ones among them.
pub(crate) fn files(objects: &TempDir) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(objects.path().join("objects")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Waits until there are so many files.
async fn files_become(objects: &TempDir, count: usize) {
    soon(async {
        while files(objects).len() != count {
            // Nothing tells when a file is gone.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) async fn ask(
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (Response<()>, Bytes) {
    let client = HttpClient::builder(TokioExecutor::new()).build_http::<Body>();
    let url = format!("http://{}{path}", server.addr);
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = soon(client.request(request.body(body.into()).unwrap())).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = soon(body.collect()).await.unwrap().to_bytes();
    (Response::from_parts(parts, ()), body)
}

/// Uploads an input; answers the operation's name.
pub(crate) async fn upload(server: &TestServer, key: &str, body: Bytes) -> (StatusCode, String) {
    let headers = [("content-type", "image/x-thing"), ("idempotency-key", key)];
    let pieces = body.chunks(70_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let pieces: Vec<_> = pieces.collect();
    let body = Body::from_stream(tokio_stream::iter(pieces));
    let (answer, body) = ask(server, "POST", "/v1/kinds/demo/operations", &headers, body).await;
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (answer.status(), document["name"].as_str().unwrap_or_default().to_owned())
}

async fn read_input(server: &TestServer, name: &str, offset_bytes: i64) -> Vec<u8> {
    let request = ReadInputRequest { name: name.to_owned(), offset_bytes, ..Default::default() };
    let mut chunks = soon(server.operations().read_input(request)).await.unwrap().into_inner();
    let mut data = Vec::new();
    while let Some(chunk) = soon(chunks.message()).await.unwrap() {
        assert!(chunk.data.len() <= 128 << 10);
        data.extend_from_slice(&chunk.data);
    }
    data
}

/// Sends `data` as the chunks of a result.
pub(crate) async fn send_chunks(worker: &mut TestWorker, assignment: &Assignment, data: &Bytes) {
    let mut offset_bytes = 0;
    for piece in data.chunks(200_000) {
        let (attempt, data) = (attempt_of(assignment), Bytes::copy_from_slice(piece));
        worker.send(Up::ResultChunk(ResultChunk { attempt, offset_bytes, data })).await;
        offset_bytes += piece.len() as i64;
    }
}

pub(crate) fn complete(assignment: &Assignment, chunked_bytes: usize) -> Complete {
    let result = Payload { content_type: "image/x-other".to_owned(), ..Payload::default() };
    Complete {
        attempt: attempt_of(assignment),
        result: Some(result),
        chunked_bytes: chunked_bytes as i64,
        ..Complete::default()
    }
}

#[tokio::test]
async fn large_payloads_are_streamed_both_ways_and_gone_with_their_operation() {
    let (server, objects) = a_server().await;
    let input = contents();
    let (status, name) = upload(&server, "one", input.clone()).await;
    assert_eq!(status, 202);
    assert_eq!(files(&objects).len(), 1);
    let shown = server.get(&name).await.input.unwrap();
    assert_eq!((shown.content, shown.omitted, shown.size_bytes), (None, true, SIZE as i64));

    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let given = assignment.input.clone().unwrap();
    assert_eq!((given.content, given.omitted, given.size_bytes), (None, true, SIZE as i64));
    assert_eq!(given.content_type, "image/x-thing");
    assert!(read_input(&server, &name, 0).await == input);
    assert!(read_input(&server, &name, 2_999_999).await == input[2_999_999..]);

    let result: Bytes = input.iter().rev().copied().collect();
    send_chunks(&mut worker, &assignment, &result).await;
    assert_eq!(worker.try_complete(complete(&assignment, SIZE)).await, None);
    assert_eq!(files(&objects).len(), 2);
    let stored = soon(server.client().read_result(&name)).await.unwrap();
    assert!(stored.data == result && stored.content_type == "image/x-other");

    let path = format!("/v1/{name}");
    let (answer, whole) = ask(&server, "GET", &format!("{path}/result"), &[], "").await;
    assert_eq!(
        (answer.status(), &answer.headers()["content-length"]),
        (StatusCode::OK, &"3000000".parse().unwrap())
    );
    assert!(whole == result);
    let etag = answer.headers()["etag"].to_str().unwrap();
    let range = [("range", "bytes=1500000-"), ("if-range", etag)];
    let (answer, rest) = ask(&server, "GET", &format!("{path}/result"), &range, "").await;
    assert_eq!(answer.headers()["content-range"], "bytes 1500000-2999999/3000000");
    assert!(answer.status() == 206 && rest == result[1_500_000..]);
    let (answer, none) = ask(&server, "HEAD", &format!("{path}/result"), &[], "").await;
    assert_eq!(answer.headers()["content-length"], "3000000");
    assert!(none.is_empty());
    let (answer, part) =
        ask(&server, "GET", &format!("{path}/input"), &[("range", "bytes=-5")], "").await;
    assert_eq!(
        (answer.status(), &answer.headers()["content-type"]),
        (StatusCode::PARTIAL_CONTENT, &"image/x-thing".parse().unwrap())
    );
    assert!(part == input[SIZE - 5..]);

    server.delete(&name).await;
    files_become(&objects, 0).await;
}

#[tokio::test]
async fn a_key_that_is_known_leaves_no_second_object() {
    let (server, objects) = a_server().await;
    let (_, name) = upload(&server, "one", contents()).await;
    let (status, again) = upload(&server, "one", contents()).await;
    assert_eq!((status.as_u16(), &again), (202, &name));
    let (status, _) = upload(&server, "one", contents().slice(1..)).await;
    assert_eq!(status, 422);
    assert_eq!(files(&objects).len(), 1);
    assert!(read_input(&server, &name, 0).await == contents());
}

#[tokio::test]
async fn what_is_over_the_limit_or_cut_off_leaves_nothing() {
    let (server, objects) = server_with_at_most(1_000_000).await;
    let (status, _) = upload(&server, "one", contents()).await;
    assert_eq!(status, 413);
    files_become(&objects, 0).await;

    // Twenty of thirty promised pieces, then the connection is gone.
    let (server, objects) = a_server().await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let client = HttpClient::builder(TokioExecutor::new()).build_http::<Body>();
    let url = format!("http://{}/v1/kinds/demo/operations", server.addr);
    let request = Request::post(url).header("content-length", 2_100_000).body(body).unwrap();
    let sending = spawn(async move { client.request(request).await });
    for _ in 0..20 {
        soon(sender.send(Ok(vec![1; 70_000]))).await.unwrap();
    }
    files_become(&objects, 1).await;
    sending.abort();
    files_become(&objects, 0).await;
    assert_eq!(server.matching("").await, Vec::<String>::new());
}

#[tokio::test]
async fn chunks_that_do_not_fit_are_told_with_the_completion_and_can_be_sent_again() {
    let (server, objects) = server_with_at_most(4_000_000).await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let attempt = attempt_of(&assignment);
    let data = contents();
    let refusal = |error: Option<RequestError>| {
        let error = error.expect("a refusal");
        (error.reason, error.message)
    };

    // None at all: perhaps another stream had them.
    let (reason, _) = refusal(worker.try_complete(complete(&assignment, 5)).await);
    assert_eq!(reason, "UNAVAILABLE");
    // A gap.
    send_chunks(&mut worker, &assignment, &data).await;
    let chunk = ResultChunk { attempt: attempt.clone(), offset_bytes: 7, data: data.slice(..9) };
    worker.send(Up::ResultChunk(chunk.clone())).await;
    let (_, message) = refusal(worker.try_complete(complete(&assignment, SIZE)).await);
    assert!(message.contains("result_chunk.offset_bytes"), "{message}");
    // Another size than was sent.
    send_chunks(&mut worker, &assignment, &data).await;
    let (_, message) = refusal(worker.try_complete(complete(&assignment, SIZE - 1)).await);
    assert!(message.contains("complete.chunked_bytes"), "{message}");
    // More than the limit.
    send_chunks(&mut worker, &assignment, &[&data[..], &data[..]].concat().into()).await;
    let (reason, _) = refusal(worker.try_complete(complete(&assignment, 2 * SIZE)).await);
    assert_eq!(reason, "PAYLOAD_TOO_LARGE");
    // An attempt that is not this worker's.
    let stale = attempt.map(|it| AttemptRef { attempt: 9, ..it });
    let chunk = ResultChunk { attempt: stale.clone(), offset_bytes: 0, ..chunk };
    worker.send(Up::ResultChunk(chunk)).await;
    let stale = Complete { attempt: stale, ..complete(&assignment, 9) };
    let (reason, _) = refusal(worker.try_complete(stale).await);
    assert_eq!(reason, "STALE_ATTEMPT");
    files_become(&objects, 0).await;

    // Begun, and begun anew.
    send_chunks(&mut worker, &assignment, &data.slice(..400_000)).await;
    send_chunks(&mut worker, &assignment, &data).await;
    assert_eq!(worker.try_complete(complete(&assignment, SIZE)).await, None);
    assert!(soon(server.client().read_result(&name)).await.unwrap().data == data);
    files_become(&objects, 1).await;
}

#[tokio::test]
async fn a_result_in_chunks_that_is_sent_again_is_acknowledged_again() {
    let (server, objects) = a_server().await;
    let data = contents();
    for size in [SIZE, 300] {
        let result = data.slice(..size);
        let name = server.submit(submission("demo")).await.name;
        let mut worker = server.worker("demo", 1).await;
        let assignment = worker.assignment().await;
        send_chunks(&mut worker, &assignment, &result).await;
        assert_eq!(worker.try_complete(complete(&assignment, size)).await, None);
        let done = server.get(&name).await;
        let kept = files(&objects);
        // The acknowledgement was lost: everything again.
        send_chunks(&mut worker, &assignment, &result).await;
        assert_eq!(worker.try_complete(complete(&assignment, size)).await, None, "{size}");
        // Other contents of the same size.
        send_chunks(&mut worker, &assignment, &vec![7; size].into()).await;
        let refused = worker.try_complete(complete(&assignment, size)).await.expect("a refusal");
        assert_eq!(refused.reason, "STALE_ATTEMPT");
        // Nor may a stranger send them.
        let mut stranger = server.worker("other", 1).await;
        send_chunks(&mut stranger, &assignment, &result).await;
        let refused = stranger.try_complete(complete(&assignment, size)).await;
        assert_eq!(refused.expect("a refusal").reason, "STALE_ATTEMPT");
        assert_eq!(server.get(&name).await, done);
        assert!(soon(server.client().read_result(&name)).await.unwrap().data == result);
        assert_eq!(files(&objects), kept, "no object is left behind");
    }
}

#[tokio::test]
async fn the_largest_payload_is_taken_and_a_byte_more_is_not() {
    let (server, _objects) = server_with_at_most(SIZE).await;
    let more = [&contents()[..], b"!"].concat().into();
    let (status, _) = upload(&server, "one", contents()).await;
    assert_eq!(status, 202);
    let (status, _) = upload(&server, "two", Bytes::clone(&more)).await;
    assert_eq!(status, 413);
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    send_chunks(&mut worker, &assignment, &more).await;
    let refused = worker.try_complete(complete(&assignment, SIZE + 1)).await;
    assert_eq!(refused.expect("a refusal").reason, "PAYLOAD_TOO_LARGE");
    send_chunks(&mut worker, &assignment, &contents()).await;
    assert_eq!(worker.try_complete(complete(&assignment, SIZE)).await, None);
}

#[tokio::test]
async fn a_retry_has_an_input_of_its_own() {
    let (server, objects) = a_server().await;
    let (_, first) = upload(&server, "one", contents()).await;
    server.cancel(&first, "").await;
    let request = RetryOperationRequest { name: first.clone(), ..Default::default() };
    let second = soon(server.operations().retry_operation(request)).await.unwrap().into_inner();
    server.delete(&first).await;
    files_become(&objects, 1).await;
    assert!(read_input(&server, &second.name, 0).await == contents());
}

#[tokio::test]
async fn workers_of_the_library_need_not_know_how_large_a_payload_is() {
    let (mut server, objects) = a_server().await;
    let (_, name) = upload(&server, "one", contents()).await;
    let reverse = async |context: longrun::worker::Context| {
        let reversed: Vec<u8> = context.input().bytes().iter().rev().copied().collect();
        Ok(Outcome::bytes("image/x-other", reversed))
    };
    let stop = CancellationToken::new();
    let worker = Worker::new(server.client()).handler("demo", reverse);
    let working = spawn(worker.run(stop.clone()));
    assert_eq!(server.done(&name).await.state(), operation::State::Succeeded);
    let reversed: Bytes = contents().iter().rev().copied().collect();
    assert!(soon(server.client().read_result(&name)).await.unwrap().data == reversed);
    stop.cancel();
    soon(working).await.unwrap().unwrap();
    // Objects are found again, and known, after a restart.
    server.restart().await;
    assert!(soon(server.client().read_result(&name)).await.unwrap().data == reversed);
    assert_eq!(files(&objects).len(), 2);
}

#[tokio::test]
async fn objects_that_nothing_refers_to_are_swept_once_they_are_old() {
    let directory = TempDir::new().unwrap();
    let objects = Objects::in_directory(&directory.path().join("objects")).unwrap();
    let nothing = sweep::orphans(&objects, Timestamp::MAX, async |_: Vec<ObjectId>| {
        Err::<Vec<bool>, _>("nobody is to be asked")
    });
    assert_eq!(soon(nothing).await, Ok(0), "without a directory there is nothing");
    let mut ids = Vec::new();
    for n in 0..3_u8 {
        let mut upload = objects.upload();
        upload.write(vec![n; 10].into()).await.unwrap();
        ids.push(upload.finish().await.unwrap().id);
    }
    let unfinished = directory.path().join("objects").join(format!("{}#1", ids[0]));
    std::fs::write(&unfinished, "x").unwrap();
    let modified = std::fs::metadata(&unfinished).unwrap().modified().unwrap();
    let written = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    let written = Timestamp::from_micros(written.as_micros() as i64);
    let kept = ids[1];
    let known = async |ids: Vec<ObjectId>| {
        Ok::<_, String>(ids.into_iter().map(|id| id == kept).collect::<Vec<_>>())
    };
    let young = written.after(sweep::GRACE - Duration::from_secs(60));
    assert_eq!(soon(sweep::orphans(&objects, young, known)).await, Ok(0));
    let unsure = async |_: Vec<ObjectId>| Err::<Vec<bool>, _>("the store is away");
    let old = written.after(sweep::GRACE + Duration::from_secs(60));
    assert!(soon(sweep::orphans(&objects, old, unsure)).await.is_err());
    assert_eq!(soon(sweep::orphans(&objects, old, known)).await, Ok(2));
    assert!(unfinished.exists(), "it may still be written to");
    let older = written.after(Duration::from_secs(25 * 3600));
    assert_eq!(soon(sweep::orphans(&objects, older, known)).await, Ok(0));
    let left: Vec<_> = std::fs::read_dir(directory.path().join("objects")).unwrap().collect();
    assert_eq!(left.len(), 1);
}

/// A copy in a directory is a hard link: its file is as old as the original.
#[tokio::test]
async fn a_copy_is_as_young_as_its_id() {
    let directory = TempDir::new().unwrap();
    let objects = Objects::in_directory(&directory.path().join("objects")).unwrap();
    let mut upload = objects.upload();
    upload.write("input".into()).await.unwrap();
    let original = upload.finish().await.unwrap().id;
    let file = directory.path().join("objects").join(original.to_string());
    let written = std::fs::metadata(&file).unwrap().modified().unwrap();
    let three_hours_ago = written - Duration::from_secs(3 * 3600);
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(three_hours_ago)
        .unwrap();
    let copy = objects.copy(original).await.unwrap();
    assert_ne!(copy, original);

    // Nothing refers to either yet: the retry's commit is under way.
    let unknown = async |ids: Vec<ObjectId>| Ok::<_, String>(vec![false; ids.len()]);
    let now = written.duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_micros(now.as_micros() as i64).after(Duration::from_secs(60));
    assert_eq!(soon(sweep::orphans(&objects, now, unknown)).await, Ok(0));
    assert_eq!(files(&directory).len(), 2);
    let old = now.after(sweep::GRACE);
    assert_eq!(soon(sweep::orphans(&objects, old, unknown)).await, Ok(2));
}
