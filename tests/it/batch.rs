//! Batches: one commit, an answer for each item in its place.

use longrun::proto::v1::submit_batch_result::Outcome;
use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

fn operation(result: &SubmitBatchResult) -> &Operation {
    match result.outcome.as_ref().unwrap() {
        Outcome::Operation(operation) => operation,
        Outcome::Error(error) => panic!("{error:?}"),
    }
}

fn error(result: &SubmitBatchResult) -> &RequestError {
    match result.outcome.as_ref().unwrap() {
        Outcome::Operation(operation) => panic!("{operation:?}"),
        Outcome::Error(error) => error,
    }
}

#[tokio::test]
async fn good_and_bad_items_are_answered_in_their_places() {
    let server = TestServer::with(|config| {
        config.limits.max_payload_bytes = 1_024;
        config.limits.inline_payload_bytes = 1_024;
    })
    .await;
    let keyed =
        |kind: &str| SubmitRequest { idempotency_key: "once".to_owned(), ..submission(kind) };
    let large = SubmitRequest { input: Some(data(vec![0; 1_025])), ..submission("large") };
    let results = server
        .submit_batch(vec![
            submission("first"),
            submission("not a kind"),
            keyed("second"),
            keyed("second"),
            keyed("other"),
            large,
            submission("last"),
        ])
        .await;
    let [first, bad, second, same, reused, large, last] = &results[..] else {
        panic!("{results:?}")
    };
    assert_eq!(operation(first).kind, "first");
    assert_eq!(operation(second).kind, "second");
    assert_eq!(operation(second), operation(same));
    assert_eq!(operation(last).kind, "last");

    assert_eq!((error(bad).status_code, error(bad).reason.as_str()), (3, "INVALID_ARGUMENT"));
    assert_eq!(error(bad).field_violations[0].field, "requests[1].kind");
    assert!(!error(bad).message.is_empty());
    let reused = error(reused);
    assert_eq!((reused.status_code, reused.reason.as_str()), (6, "IDEMPOTENCY_KEY_REUSED"));
    assert_eq!(error(large).reason, "PAYLOAD_TOO_LARGE");
    assert_eq!(error(large).field_violations[0].field, "requests[5].input");

    let stored = [first, second, last].map(|result| operation(result).name.clone());
    assert_eq!(server.matching("").await, stored, "in the order of the request");
}

#[tokio::test]
async fn a_thousand_items_are_taken() {
    let server = TestServer::start().await;
    let results = server.submit_batch(vec![submission("demo"); 1_000]).await;
    let names: Vec<String> = results.iter().map(|result| operation(result).name.clone()).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "ids rise in the order of the request");
    assert_eq!(server.matching("").await, names);
}

#[tokio::test]
async fn none_and_more_than_a_thousand_are_refused_as_a_whole() {
    let server = TestServer::start().await;
    for count in [0, 1_001] {
        let request = SubmitBatchRequest { requests: vec![submission("demo"); count], batch: None };
        let refused = soon(server.operations().submit_batch(request)).await.refused();
        refused.is_about("requests").is(Code::InvalidArgument, "INVALID_ARGUMENT");
    }
    assert_eq!(server.matching("").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_batch_of_bad_items_only_is_still_an_answer() {
    let server = TestServer::start().await;
    let results = server.submit_batch(vec![submission(""), submission("")]).await;
    let fields: Vec<_> =
        results.iter().map(|result| error(result).field_violations[0].field.as_str()).collect();
    assert_eq!(fields, ["requests[0].kind", "requests[1].kind"]);
}

#[tokio::test]
async fn items_beyond_the_limit_of_outstanding_operations_are_refused_one_by_one() {
    let server = TestServer::with(|config| config.limits.max_outstanding = 2).await;
    let results = server.submit_batch(vec![submission("demo"); 3]).await;
    assert_eq!((operation(&results[0]).revision, operation(&results[1]).revision), (1, 1));
    let refused = error(&results[2]);
    assert_eq!(refused.status_code, Code::ResourceExhausted as i32);
    assert_eq!(refused.reason, "RESOURCE_EXHAUSTED");
}
