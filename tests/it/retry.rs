//! Trying again: a new operation with the old one's input.

use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

fn retry(name: &str, key: &str) -> RetryOperationRequest {
    RetryOperationRequest { name: name.to_owned(), idempotency_key: key.to_owned() }
}

#[tokio::test]
async fn a_retry_is_a_new_operation_that_names_the_old_one() {
    let server = TestServer::start().await;
    let request = SubmitRequest {
        input: Some(text("input")),
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        idempotency_key: "original".to_owned(),
        ..with_settings(submission("demo"), Settings { priority: 7, ..attempts(1) })
    };
    let old = server.submit(request).await;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.fail(&assignment, "Broken").await;
    let old = server.get(&old.name).await;

    let request = retry(&old.name, "again");
    let new = soon(server.operations().retry_operation(request)).await.unwrap().into_inner();
    assert_ne!(new.name, old.name);
    assert_eq!(new.retry_of, old.name);
    assert_eq!(new.idempotency_key, "again");
    assert_eq!((&new.kind, &new.labels), (&old.kind, &old.labels));
    assert_eq!((&new.settings, new.error), (&old.settings, None));
    let assignment = worker.assignment().await;
    assert_eq!(assignment.attempt, 1);
    let content = assignment.input.unwrap().content.unwrap();
    assert_eq!(content, payload::Content::Data("input".into()));
    assert_eq!(server.get(&old.name).await, old, "the old one stays as it was");
}

#[tokio::test]
async fn a_key_makes_a_retry_itself_safe_to_repeat() {
    let server = TestServer::start().await;
    let old = server.cancelled(submission("demo")).await;
    let other = server.cancelled(submission("demo")).await;
    let mut rpc = server.operations();
    let first = soon(rpc.retry_operation(retry(&old.name, "again"))).await.unwrap().into_inner();
    let same = soon(rpc.retry_operation(retry(&old.name, "again"))).await.unwrap().into_inner();
    assert_eq!(same, first);
    let refused = soon(rpc.retry_operation(retry(&other.name, "again"))).await.refused();
    refused.is(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let unkeyed = soon(rpc.retry_operation(retry(&old.name, ""))).await.unwrap().into_inner();
    assert_ne!(unkeyed.name, first.name);
    // The old one is gone; its retry is not.
    server.delete(&old.name).await;
    let same = soon(rpc.retry_operation(retry(&old.name, "again"))).await.unwrap().into_inner();
    assert_eq!(same, first);
    soon(rpc.retry_operation(retry(&old.name, "new"))).await.refused().is_not_found();
    soon(rpc.retry_operation(retry(&first.name, "again"))).await.refused();
}

#[tokio::test]
async fn only_what_is_done_is_tried_again() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut rpc = server.operations();
    let refused = soon(rpc.retry_operation(retry(&name, ""))).await.refused();
    refused.is(Code::FailedPrecondition, "OPERATION_NOT_DONE");
    let refused = soon(rpc.retry_operation(retry(&name, "é"))).await.refused();
    refused.is_about("idempotency_key");
    let unknown = "operations/01890000-0000-7000-8000-000000000000";
    soon(rpc.retry_operation(retry(unknown, ""))).await.refused().is_not_found();
}

#[tokio::test]
async fn a_retry_counts_against_the_limit_of_outstanding_operations() {
    let server = TestServer::with(|config| config.limits.max_outstanding = 1).await;
    let old = server.cancelled(submission("demo")).await;
    server.submit(submission("demo")).await;
    let refused = soon(server.operations().retry_operation(retry(&old.name, ""))).await.refused();
    refused.is(Code::ResourceExhausted, "RESOURCE_EXHAUSTED");
}
