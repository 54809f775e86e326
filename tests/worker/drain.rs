//! How a worker stops.

use std::sync::Arc;
use std::time::Duration;

use longrun::worker::{CancelCause, Failure, Outcome, WorkerError};
use tokio::sync::{Semaphore, mpsc};

use crate::fake::{Fake, Running, attempt, step};

#[tokio::test]
async fn running_work_finishes_and_late_assignments_are_given_back() {
    let mut fake = Fake::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let handler_gate = Arc::clone(&gate);
    let (started, mut starts) = mpsc::channel(1);
    let worker = Running::start(fake.worker().handler("test", move |_context| {
        let (gate, started) = (Arc::clone(&handler_gate), started.clone());
        async move {
            started.send(()).await?;
            gate.acquire().await?.forget();
            Ok(Outcome::text("finished"))
        }
    }));
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "").await;
    step("the start", starts.recv()).await.unwrap();
    // Without a slot it has not begun: it is given back like one that comes too late.
    stream.assign("operations/2", "").await;
    worker.stop.cancel();
    stream.drain().await;
    stream.assign("operations/3", "").await;
    let releases = [stream.release().await, stream.release().await];
    let mut released: Vec<_> = releases.iter().map(|release| release.attempt.clone()).collect();
    released.sort_by_key(|attempt| attempt.clone().map(|attempt| attempt.operation));
    assert_eq!(released, [attempt("operations/2"), attempt("operations/3")]);
    for release in releases {
        stream.ack(release.report_id).await;
    }
    gate.add_permits(1);
    let complete = stream.complete().await;
    assert_eq!(complete.attempt, attempt("operations/1"));
    stream.ack(complete.report_id).await;
    worker.ended().await.unwrap();
    assert!(stream.any().await.is_none());
}

#[tokio::test]
async fn what_does_not_finish_is_told_to_stop_and_given_back() {
    let mut fake = Fake::start().await;
    let (started, mut starts) = mpsc::channel(2);
    let (seen, mut causes) = mpsc::channel(1);
    let worker = fake.worker().concurrency(2).drain_timeout(Duration::from_millis(50));
    let worker = Running::start(worker.handler("test", move |context| {
        let (started, seen) = (started.clone(), seen.clone());
        async move {
            started.send(()).await?;
            if context.input().text()? == "deaf" {
                std::future::pending::<()>().await;
            }
            seen.send(context.cancelled().await.cause).await?;
            // Failing because the worker stops uses up no attempt.
            Err(Failure::permanent("Interrupted", "told to stop"))
        }
    }));
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "polite").await;
    stream.assign("operations/2", "deaf").await;
    step("the starts", starts.recv()).await.unwrap();
    step("the starts", starts.recv()).await.unwrap();
    worker.stop.cancel();
    stream.drain().await;
    let cause = step("the cancellation", causes.recv()).await;
    assert_eq!(cause, Some(CancelCause::WorkerStopping));
    for name in ["operations/1", "operations/2"] {
        let release = stream.release().await;
        assert_eq!(release.attempt, attempt(name));
        stream.ack(release.report_id).await;
    }
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_the_acknowledgement_but_not_for_ever() {
    let mut fake = Fake::start().await;
    let worker = fake.worker().drain_timeout(Duration::from_millis(50));
    let worker = Running::start(worker.handler("test", async |_| Ok(Outcome::empty())));
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "").await;
    stream.complete().await;
    worker.stop.cancel();
    match worker.ended().await {
        Err(WorkerError::Unacknowledged(reports)) => assert_eq!(reports, 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_idle_worker_stops_at_once_connected_or_not() {
    let mut fake = Fake::start().await;
    let worker = Running::start(fake.worker().handler("test", async |_| Ok(Outcome::empty())));
    let mut stream = fake.session("s1").await;
    worker.stop.cancel();
    worker.ended().await.unwrap();
    assert!(stream.any().await.is_none());
    let client = longrun::client::Client::connect_lazy("127.0.0.1:0").unwrap();
    let worker = longrun::worker::Worker::new(client);
    let worker = Running::start(worker.handler("test", async |_| Ok(Outcome::empty())));
    worker.stop.cancel();
    worker.ended().await.unwrap();
}
