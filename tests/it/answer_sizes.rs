//! Answers that a stock client takes: it refuses messages over 4 MiB, and trailers over 8 KiB.

use std::collections::BTreeMap;

use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::submit_batch_result::Outcome;
use longrun::proto::v1::*;
use prost::Message as _;
use tonic::Status;
use tonic::codegen::http::HeaderMap;
use tonic::transport::Channel;

use crate::support::*;

/// With the limits that every client has by default.
fn stock(server: &TestServer) -> OperationsClient<Channel> {
    OperationsClient::new(server.channel.clone())
}

/// As large as labels can be: about 70 KB.
fn labelled() -> SubmitRequest {
    let label = |n: usize| (format!("k{n:02}{}", "x".repeat(60)), "\u{1f600}".repeat(255));
    SubmitRequest { labels: (0..64).map(label).collect(), ..submission("demo") }
}

/// 180 KiB of text.
fn large_error() -> Error {
    let part = |code: &str| Error {
        code: code.to_owned(),
        message: "e".repeat(60 << 10),
        ..Error::default()
    };
    Error { causes: vec![part("b"), part("c")], ..part("a") }
}

/// Fails what comes, each time with a large error.
async fn fail_all(worker: &mut TestWorker, count: usize, is_final: bool) {
    for _ in 0..count {
        let attempt = attempt_of(&worker.assignment().await);
        let error = Some(large_error());
        let failed = Fail { attempt, error, r#final: is_final, ..Fail::default() };
        assert_eq!(worker.try_fail(failed).await, None);
    }
}

/// The names on all pages of this size, each of which must have something on it.
async fn listed(server: &TestServer, page_size: i32) -> Vec<String> {
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListOperationsRequest { page_size, page_token, ..Default::default() };
        let page = soon(stock(server).list_operations(request)).await.unwrap().into_inner();
        assert!(!page.operations.is_empty());
        names.extend(page.operations.into_iter().map(|operation| operation.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return names;
        }
    }
}

#[tokio::test]
async fn batches_and_lists_with_the_largest_labels_fit() {
    let server = TestServer::start().await;
    let requests = vec![labelled(); 100];
    let request = SubmitBatchRequest { requests, batch: None };
    let answer = soon(stock(&server).submit_batch(request)).await.unwrap().into_inner();
    assert!(answer.encoded_len() > 2 << 20, "what fits is whole");
    let mut names = Vec::new();
    for result in &answer.results {
        let Some(Outcome::Operation(operation)) = &result.outcome else { panic!("{result:?}") };
        assert_eq!(operation.labels.is_empty(), result.abridged);
        assert_eq!((operation.kind.as_str(), operation.revision), ("demo", 1));
        names.push(operation.name.clone());
    }
    assert!(answer.results[99].abridged && !answer.results[0].abridged);
    names.reverse();
    for page_size in [0, 1, 1_000] {
        assert_eq!(listed(&server, page_size).await, names, "{page_size}");
    }
}

#[tokio::test]
async fn a_batch_of_bad_items_fits() {
    let server = TestServer::start().await;
    let bad = |n: usize| (format!("-{n:02}{}", "y".repeat(60)), String::new());
    let labels: BTreeMap<String, String> = (0..64).map(bad).collect();
    let requests = vec![SubmitRequest { labels, ..submission("demo") }; 1_000];
    let request = SubmitBatchRequest { requests, batch: None };
    let answer = soon(stock(&server).submit_batch(request)).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 1_000);
    for result in answer.results {
        let Some(Outcome::Error(error)) = result.outcome else { panic!("{result:?}") };
        assert_eq!(error.reason, "INVALID_ARGUMENT");
        assert_eq!(error.field_violations.is_empty(), result.abridged);
    }
}

#[tokio::test]
async fn lists_of_large_errors_fit() {
    let server = TestServer::start().await;
    let mut names = Vec::new();
    for _ in 0..26 {
        names.insert(0, server.submit(submission("demo")).await.name);
    }
    let mut worker = server.worker("demo", 1).await;
    fail_all(&mut worker, names.len(), true).await;
    assert_eq!(listed(&server, 0).await, names);
}

#[tokio::test]
async fn histories_of_large_errors_fit() {
    let server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(26))).await.name;
    let mut worker = server.worker("demo", 1).await;
    fail_all(&mut worker, 26, false).await;
    for page_size in [0, 3, 1_000] {
        let (mut revisions, mut page_token) = (Vec::new(), String::new());
        loop {
            let name = name.clone();
            let request = ListEventsRequest { name, page_size, page_token };
            let page = soon(stock(&server).list_events(request)).await.unwrap().into_inner();
            revisions.extend(page.events.into_iter().map(|event| event.revision));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(revisions, (1..=53).collect::<Vec<_>>(), "{page_size}");
    }
    let watch = soon(stock(&server).watch_operation(watch_from(&name, 0))).await.unwrap();
    let revisions = Watching(watch.into_inner()).revisions().await;
    assert_eq!(revisions, (1..=53).collect::<Vec<_>>());
}

/// What a refusal takes of the trailers.
fn trailer_bytes(status: &Status) -> usize {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).unwrap();
    trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

#[tokio::test]
async fn refusals_fit_into_trailers() {
    const MOST: usize = 6 << 10;
    let server = TestServer::start().await;
    let filter = "\u{1f600}".repeat(4_096);
    let request = ListOperationsRequest { filter, ..Default::default() };
    let refused = soon(stock(&server).list_operations(request)).await.unwrap_err();
    assert!(trailer_bytes(&refused) <= MOST, "{}", trailer_bytes(&refused));
    assert!(Refused::read(&refused).is_about("filter").message.contains("only state, kind"));

    let kinds = (0..101).map(|n| format!("{n}")).collect();
    let hello = Hello { kinds, ..hello("demo", 1) };
    let (_up, mut down) = open_stream(&server, Some(work_request::Message::Hello(hello))).await;
    let refused = soon(down.message()).await.unwrap_err();
    assert!(trailer_bytes(&refused) <= MOST, "{}", trailer_bytes(&refused));
    let counted = "(99 others break the same rule)";
    assert!(refused.message().ends_with(counted), "{}", refused.message());
    let refused = Refused::read(&refused);
    assert!((4..=16).contains(&refused.violations.len()), "{refused:?}");

    let bad = |n: usize| (format!("-{n:02}{}", "\u{1f600}".repeat(250)), String::new());
    let request = SubmitRequest { labels: (0..64).map(bad).collect(), ..submission("demo") };
    let refused = soon(stock(&server).submit(request)).await.unwrap_err();
    assert!(trailer_bytes(&refused) <= MOST, "{}", trailer_bytes(&refused));
    let refused = Refused::read(&refused);
    assert!(!refused.violations.is_empty() && refused.message.contains("more"), "{refused:?}");

    let name = format!("operations/{}", "\u{1f600}".repeat(50_000));
    let request = GetOperationRequest { name, view: 0 };
    let refused = soon(stock(&server).get_operation(request)).await.unwrap_err();
    assert!(trailer_bytes(&refused) <= MOST, "{}", trailer_bytes(&refused));
}
