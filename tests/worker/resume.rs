//! What survives a stream.

use std::sync::Arc;

use longrun::proto::v1::AttemptRef;
use longrun::proto::v1::ServerDrain;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::worker::{CancelCause, Outcome, Progress};
use tokio::sync::{Semaphore, mpsc};
use tonic::Status;

use crate::fake::{Fake, NO_HEARTBEAT, Running, attempt, result_of, step};

#[tokio::test]
async fn work_goes_on_and_unacknowledged_reports_are_sent_again() {
    let mut fake = Fake::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let handler_gate = Arc::clone(&gate);
    let worker = fake.worker().concurrency(2).handler("test", move |context| {
        let gate = Arc::clone(&handler_gate);
        async move {
            let text = context.input().text()?.to_owned();
            if text == "slow" {
                context.progress(Progress::percent(50.0));
                gate.acquire().await?.forget();
            }
            context.log("almost").await;
            Ok(Outcome::text(text))
        }
    });
    let _worker = Running::start(worker);

    let mut stream = fake.session("s1").await;
    stream.assign("operations/slow", "slow").await;
    assert!(matches!(stream.next().await, Up::Progress(_)));
    stream.assign("operations/fast", "fast").await;
    let Up::Log(log) = stream.next().await else { panic!("not a log") };
    let complete = stream.complete().await;
    stream.fail(Status::unavailable("restarting")).await;

    let (mut stream, hello) = fake.accept().await;
    assert_eq!(hello.session_id, "s1");
    let mut running = hello.running;
    running.sort_by(|a, b| a.operation.cmp(&b.operation));
    let held = |name: &str| AttemptRef { operation: name.to_owned(), attempt: 1 };
    assert_eq!(running, [held("operations/fast"), held("operations/slow")]);
    stream.started("s1", true, NO_HEARTBEAT).await;
    // The same reports in the same order; progress may come in between.
    let mut again = Vec::new();
    let mut progress = None;
    while again.len() < 2 || progress.is_none() {
        match stream.next().await {
            Up::Progress(report) => progress = report.progress,
            report => again.push(report),
        }
    }
    assert_eq!(again, [Up::Log(log.clone()), Up::Complete(complete.clone())]);
    assert_eq!(progress.unwrap().percent, Some(50.0));
    stream.ack(log.report_id).await;
    stream.ack(complete.report_id).await;

    // The server ends the stream with OK after saying so; nothing is lost, nothing said twice.
    stream.send(Down::Drain(ServerDrain {})).await;
    drop(stream);
    let (mut stream, hello) = fake.accept().await;
    assert_eq!(hello.running, [held("operations/slow")]);
    gate.add_permits(1);
    stream.started("s1", true, NO_HEARTBEAT).await;
    loop {
        match stream.next().await {
            Up::Complete(complete) => {
                assert_eq!(result_of(&complete), b"slow");
                break;
            }
            Up::Progress(_) | Up::Log(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_ends_while_there_is_no_stream_is_reported_on_the_next() {
    let mut fake = Fake::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let handler_gate = Arc::clone(&gate);
    let (started, mut starts) = mpsc::channel(1);
    let _worker = Running::start(fake.worker().handler("test", move |_context| {
        let (gate, started) = (Arc::clone(&handler_gate), started.clone());
        async move {
            started.send(()).await?;
            gate.acquire().await?.forget();
            Ok(Outcome::text("kept"))
        }
    }));
    let stream = fake.session("s1").await;
    stream.assign("operations/1", "").await;
    step("the start", starts.recv()).await.unwrap();
    drop(stream);
    gate.add_permits(1);
    let (mut stream, hello) = fake.accept().await;
    // Running or ended, it is named either way.
    assert_eq!(hello.running.len(), 1);
    stream.started("s1", true, NO_HEARTBEAT).await;
    assert_eq!(result_of(&stream.complete().await), b"kept");
}

#[tokio::test]
async fn a_new_session_ends_what_belonged_to_the_old_one() {
    let mut fake = Fake::start().await;
    let (started, mut starts) = mpsc::channel(1);
    let (seen, mut causes) = mpsc::channel(1);
    let worker = fake.worker().concurrency(2).handler("test", move |context| {
        let (started, seen) = (started.clone(), seen.clone());
        async move {
            if context.input().text()? == "wait" {
                started.send(()).await?;
                seen.send(context.cancelled().await.cause).await?;
            }
            Ok(Outcome::text("late"))
        }
    });
    let _worker = Running::start(worker);
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "wait").await;
    step("the start", starts.recv()).await.unwrap();
    stream.assign("operations/2", "go").await;
    assert_eq!(stream.complete().await.attempt, attempt("operations/2"));
    drop(stream);

    let (mut stream, hello) = fake.accept().await;
    assert_eq!(hello.running.len(), 2);
    stream.started("s2", false, NO_HEARTBEAT).await;
    let cause = step("the cancellation", causes.recv()).await;
    assert_eq!(cause, Some(CancelCause::NotCurrent));
    // Nothing of the old session is said on this stream: its first report is of new work.
    stream.assign("operations/3", "go").await;
    assert_eq!(stream.complete().await.attempt, attempt("operations/3"));
    drop(stream);
    assert_eq!(fake.accept().await.1.session_id, "s2");
}
