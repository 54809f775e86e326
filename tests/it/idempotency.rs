//! Idempotency keys: one submission, however often it arrives.

use std::time::Duration;

use futures_util::future::join_all;
use longrun::proto::v1::*;
use tonic::Code;

use crate::support::*;

fn keyed(key: &str) -> SubmitRequest {
    SubmitRequest { idempotency_key: key.to_owned(), ..submission("demo") }
}

#[tokio::test]
async fn a_hundred_copies_at_once_are_one_operation() {
    let server = TestServer::start().await;
    let copies = (0..100).map(|_| server.submit(keyed("once")));
    let names: Vec<String> = join_all(copies).await.into_iter().map(|op| op.name).collect();
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(server.matching("").await, [names[0].clone()]);
    assert_eq!(server.events(&names[0]).await.len(), 1);
}

#[tokio::test]
async fn a_known_key_answers_the_operation_as_it_is_now() {
    let mut server = TestServer::start().await;
    let first = server.submit(keyed("once")).await;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let again = server.submit(keyed("once")).await;
    assert_eq!((again.name.as_str(), again.revision), (first.name.as_str(), 2));
    worker.complete(&assignment, None).await;
    drop(worker);
    server.restart().await;
    let again = server.submit(keyed("once")).await;
    assert_eq!((again.name.as_str(), again.revision), (first.name.as_str(), 3));
    assert!(again.done);
    assert_eq!(server.matching("").await.len(), 1);
}

#[tokio::test]
async fn other_content_under_a_known_key_is_refused_whatever_differs() {
    let mut server = TestServer::start().await;
    let full = SubmitRequest {
        input: Some(text("a")),
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        settings: Some(attempts(3)),
        start_time: Some(prost_types::Timestamp { seconds: 4_102_444_800, nanos: 0 }),
        ..keyed("once")
    };
    let first = server.submit(full.clone()).await;
    let others = [
        SubmitRequest { kind: "other".to_owned(), ..full.clone() },
        SubmitRequest { input: Some(text("b")), ..full.clone() },
        SubmitRequest { input: Some(data("a")), ..full.clone() },
        SubmitRequest { input: None, ..full.clone() },
        SubmitRequest { labels: [("team".to_owned(), "red".to_owned())].into(), ..full.clone() },
        SubmitRequest { settings: Some(attempts(4)), ..full.clone() },
        SubmitRequest { start_time: None, ..full.clone() },
        SubmitRequest {
            start_in: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            ..full.clone()
        },
    ];
    for restarted in [false, true] {
        for other in others.clone() {
            let refused = soon(server.operations().submit(other)).await.refused();
            refused.is(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
            assert_eq!(refused.metadata["operation"], first.name);
        }
        assert_eq!(server.submit(full.clone()).await, first);
        if !restarted {
            server.restart().await;
        }
    }
}

#[tokio::test]
async fn defaults_spelled_out_are_the_same_content() {
    let server = TestServer::start().await;
    let first = server.submit(keyed("once")).await;
    let spelled = with_settings(keyed("once"), first.settings.unwrap());
    assert_eq!(server.submit(spelled).await.name, first.name);
}

#[tokio::test]
async fn a_deleted_operation_frees_its_key() {
    let server = TestServer::start().await;
    let first = server.cancelled(keyed("once")).await;
    server.delete(&first.name).await;
    let second = server.submit(keyed("once")).await;
    assert_ne!(second.name, first.name);
    assert_eq!(second.revision, 1);
}

#[tokio::test]
async fn without_a_key_every_submission_is_new() {
    let server = TestServer::start().await;
    let first = server.submit(submission("demo")).await;
    assert_ne!(server.submit(submission("demo")).await.name, first.name);
}

/// What the server's configuration adds is not the client's: a retry that comes after a restart with another
/// configuration is still a retry.
#[tokio::test]
async fn a_key_is_known_under_another_default_retention() {
    let mut server =
        TestServer::with(|config| config.limits.retention = Duration::from_secs(3_600)).await;
    let first = server.submit(keyed("once")).await;
    assert_eq!(first.settings.unwrap().retention.unwrap().seconds, 3_600);
    server.restart_with(|config| config.limits.retention = Duration::from_secs(60)).await;
    assert_eq!(server.submit(keyed("once")).await.name, first.name);
    let asking = Settings { retention: seconds(60), ..Settings::default() };
    let refused =
        soon(server.operations().submit(with_settings(keyed("once"), asking))).await.refused();
    refused.is(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn the_same_delay_under_a_known_key_is_the_same_submission() {
    let server = TestServer::start().await;
    let wait = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let delayed = SubmitRequest { start_in: wait(3_600), ..keyed("later") };
    let first = server.submit(delayed.clone()).await;
    let due = first.not_before_time.unwrap().seconds - first.create_time.unwrap().seconds;
    assert_eq!(due, 3_600);
    assert_eq!(server.submit(delayed.clone()).await, first);
    let other = SubmitRequest { start_in: wait(60), ..delayed.clone() };
    let refused = soon(server.operations().submit(other)).await.refused();
    refused.is(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let negative = SubmitRequest { start_in: wait(-1), ..keyed("never") };
    let refused = soon(server.operations().submit(negative)).await.refused();
    refused.is_about("start_in");
    // `start_at` and its former name mean the same.
    let at = Some(prost_types::Timestamp { seconds: 4_102_444_800, nanos: 0 });
    let former = server.submit(SubmitRequest { start_time: at, ..keyed("at") }).await;
    assert_eq!(server.submit(SubmitRequest { start_at: at, ..keyed("at") }).await, former);
}
