//! Reading a result in chunks, from any offset.

use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

/// An operation that succeeded with this result.
async fn with_result(server: &TestServer, result: Option<Payload>) -> String {
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, result).await;
    name
}

#[tokio::test]
async fn a_large_result_comes_in_chunks_and_not_within_the_operation() {
    let server = TestServer::start().await;
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let result = Payload { content_type: "application/x-thing".to_owned(), ..data(bytes.clone()) };
    let name = with_result(&server, Some(result)).await;
    let shown = server.get(&name).await.result.unwrap();
    assert_eq!((shown.content, shown.omitted, shown.size_bytes), (None, true, 1_000_000));

    let chunks = server.read_result(&name, 0).await;
    assert_eq!(chunks[0].content_type, "application/x-thing");
    assert_eq!(chunks[0].size_bytes, 1_000_000);
    assert!(chunks[1..].iter().all(|c| c.content_type.is_empty() && c.size_bytes == 0));
    assert!(chunks.iter().all(|chunk| chunk.data.len() <= 128 << 10));
    let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.data.clone()).collect();
    assert!(joined == bytes);

    for offset in [1, 131_072, 999_999, 1_000_000] {
        let chunks = server.read_result(&name, offset as i64).await;
        assert_eq!(chunks[0].size_bytes, 1_000_000, "the whole result's");
        let joined: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.data.clone()).collect();
        assert!(joined == bytes[offset..], "{offset}");
    }
    let stored = soon(server.client().read_result(&name)).await.unwrap();
    assert!(stored.data == bytes && stored.content_type == "application/x-thing");
}

#[tokio::test]
async fn offsets_outside_the_result_are_refused() {
    let server = TestServer::start().await;
    let name = with_result(&server, Some(text("result"))).await;
    for offset_bytes in [-1, 7, i64::MAX] {
        let request = ReadResultRequest { name: name.clone(), offset_bytes };
        let refused = soon(server.operations().read_result(request)).await.refused();
        refused.is_about("offset_bytes");
    }
}

#[tokio::test]
async fn an_empty_result_is_a_result() {
    let server = TestServer::start().await;
    let name = with_result(&server, Some(text(""))).await;
    let chunks = server.read_result(&name, 0).await;
    let [only] = &chunks[..] else { panic!("{chunks:?}") };
    assert_eq!(only.content_type, "text/plain; charset=utf-8");
    assert_eq!((only.size_bytes, only.data.len()), (0, 0));
}

#[tokio::test]
async fn before_the_end_and_without_a_result_there_is_nothing_to_read() {
    let server = TestServer::start().await;
    let read = |name: &str| {
        let request = ReadResultRequest { name: name.to_owned(), ..Default::default() };
        let mut rpc = server.operations();
        async move { soon(rpc.read_result(request)).await.refused() }
    };
    let queued = server.submit(submission("other")).await.name;
    read(&queued).await.is(Code::FailedPrecondition, "OPERATION_NOT_DONE");
    let cancelled = server.cancelled(submission("other")).await.name;
    read(&cancelled).await.is(Code::NotFound, "RESULT_NOT_FOUND");
    let empty = with_result(&server, None).await;
    assert_eq!(server.get(&empty).await.result, None);
    read(&empty).await.is(Code::NotFound, "RESULT_NOT_FOUND");
    read("operations/01890000-0000-7000-8000-000000000000").await.is_not_found();
}
