//! Attempts without a stream: their tokens are good at every replica, and outlive the one that gave them out.

use longrun::proto::v1::cancel_attempt::Cause;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::{
    AcquireRequest, AcquiredAttempt, AddLogRequest, CompleteRequest, FailRequest,
    GetOperationRequest, Operation, RenewRequest,
};
use tonic::Code;

use crate::postgres_support::database;
use crate::support::{Replica, soon};

async fn acquire(replica: &Replica, kind: &str, lease_seconds: i64) -> AcquiredAttempt {
    acquire_named(replica, kind, lease_seconds, "").await
}

async fn acquire_named(
    replica: &Replica,
    kind: &str,
    lease_seconds: i64,
    request_id: &str,
) -> AcquiredAttempt {
    let request = AcquireRequest {
        worker_id: "caller".to_owned(),
        kinds: vec![kind.to_owned()],
        lease_duration: Some(prost_types::Duration { seconds: lease_seconds, nanos: 0 }),
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    let answer = soon(replica.workers().acquire(request)).await.unwrap().into_inner();
    answer.attempts.into_iter().next().expect("an attempt")
}

fn renewal(attempt: &AcquiredAttempt) -> RenewRequest {
    RenewRequest { token: attempt.token.clone(), ..Default::default() }
}

fn completion(attempt: &AcquiredAttempt) -> CompleteRequest {
    CompleteRequest { token: attempt.token.clone(), ..Default::default() }
}

fn log(attempt: &AcquiredAttempt, line: &str) -> AddLogRequest {
    AddLogRequest { token: attempt.token.clone(), lines: vec![line.to_owned()] }
}

async fn get(replica: &Replica, operation: &Operation) -> Operation {
    let request = GetOperationRequest { name: operation.name.clone(), ..Default::default() };
    replica.operations().get_operation(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn an_attempt_is_acquired_at_one_and_renewed_and_reported_at_others() {
    let store = database().await.url;
    let [a, b, c] = [(); 3].map(|()| Replica::start(&store, &[]));
    let operation = b.submit("count").await;
    let mut watch = c.watch(&operation).await;
    assert_eq!(watch.transition().await, (1, State::Queued));
    let attempt = acquire(&a, "count", 60).await;
    assert_eq!(watch.transition().await, (2, State::Running));
    // Wherever they come in, lines have their numbers.
    for (replica, line) in [(&a, "1"), (&b, "2"), (&a, "3"), (&c, "4")] {
        soon(replica.workers().add_log(log(&attempt, line))).await.unwrap();
        soon(replica.workers().renew(renewal(&attempt))).await.unwrap();
    }
    soon(b.workers().complete(completion(&attempt))).await.unwrap();
    assert_eq!(watch.transition().await, (3, State::Succeeded));
    for replica in [&a, &b, &c] {
        soon(replica.workers().complete(completion(&attempt))).await.unwrap();
        let over = soon(replica.workers().renew(renewal(&attempt))).await.unwrap().into_inner();
        assert_eq!(over.cancel.unwrap().cause(), Cause::Recorded);
    }
}

#[tokio::test]
async fn a_token_outlives_the_replica_that_gave_it_out() {
    let store = database().await.url;
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    let (pulled, pushed) = (b.submit("pulled").await, b.submit("pushed").await);
    let attempt = acquire(&a, "pulled", 3_600).await;
    let mut work = a.work("pushed", None, Vec::new()).await;
    work.assignment().await;
    let mut watch = b.watch(&pushed).await;
    assert_eq!(watch.transition().await, (1, State::Queued));
    assert_eq!(watch.transition().await, (2, State::Running));
    a.kill();
    // The worker of the stream is lost.
    assert_eq!(watch.transition().await, (3, State::Queued));
    assert_eq!(get(&b, &pulled).await.state(), State::Running);
    soon(b.workers().renew(renewal(&attempt))).await.unwrap();
    soon(b.workers().complete(completion(&attempt))).await.unwrap();
    assert_eq!(get(&b, &pulled).await.attempt, 1);
}

#[tokio::test]
async fn a_call_that_is_repeated_at_another_replica_gets_the_same_attempt() {
    let store = database().await.url;
    let [a, b, c] = [(); 3].map(|()| Replica::start(&store, &[]));
    for replica in [&b, &a] {
        let operation = b.submit("count").await;
        // The same name for one call after the other.
        let first = acquire_named(&a, "count", 60, "slot 1").await;
        assert_eq!(first.operation.as_ref().unwrap().name, operation.name);
        for _ in 0..2 {
            assert_eq!(acquire_named(replica, "count", 60, "slot 1").await, first);
        }
        soon(c.workers().renew(renewal(&first))).await.unwrap();
        assert_eq!(acquire_named(&a, "count", 60, "slot 1").await, first);
        soon(a.workers().complete(completion(&first))).await.unwrap();
    }
    let lost = c.submit("count").await;
    let first = acquire_named(&a, "count", 60, "slot 1").await;
    a.kill();
    assert_eq!(acquire_named(&b, "count", 60, "slot 1").await, first);
    soon(b.workers().complete(completion(&first))).await.unwrap();
    assert_eq!(get(&b, &lost).await.attempts_used, 1);
}

#[tokio::test]
async fn an_attempt_of_a_replica_that_is_gone_is_lost_when_its_lease_is_over() {
    let store = database().await.url;
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    let operation = b.submit("count").await;
    let attempt = acquire(&a, "count", 1).await;
    let mut watch = b.watch(&operation).await;
    assert_eq!(watch.transition().await, (1, State::Queued));
    assert_eq!(watch.transition().await, (2, State::Running));
    a.kill();
    assert_eq!(watch.transition().await, (3, State::Queued));
    let next = acquire(&b, "count", 60).await;
    assert_eq!(next.attempt, 2);
    let error = Some(longrun::proto::v1::Error { code: "Late".to_owned(), ..Default::default() });
    let late = FailRequest { token: attempt.token, error, ..Default::default() };
    let refused = soon(b.workers().fail(late)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    soon(b.workers().complete(completion(&next))).await.unwrap();
}
