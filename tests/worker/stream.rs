//! What goes over one stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longrun::proto::v1::cancel_attempt::Cause;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::{Assignment, CancelAttempt, ServerHeartbeat};
use longrun::worker::{Failure, Outcome, Problem, Progress, WorkerError};
use tokio::sync::{Semaphore, mpsc};
use tonic::{Code, Status};

use crate::fake::{Fake, NO_HEARTBEAT, Running, assignment, attempt, result_of, step};

#[tokio::test]
async fn an_assignment_is_run_and_completed() {
    let mut fake = Fake::start().await;
    let worker = fake.worker().concurrency(3).handler("test", async |context| {
        let text = context.input().text()?.to_uppercase();
        let outcome = Outcome::text(format!("{text} {}", context.labels()["team/Name"]));
        let warning = Problem::new("Odd", "looks odd").with_metadata("row", "7");
        Ok(outcome.with_warning(warning).with_error(Problem::new("RowInvalid", "row 9")))
    });
    let worker = Running::start(worker);
    let (mut stream, hello) = fake.accept().await;
    assert_eq!(hello.worker_id, "test-worker");
    assert_eq!(hello.kinds, ["test"]);
    assert_eq!(hello.max_in_flight, 3);
    assert_eq!(hello.session_id, "");
    stream.started("s1", false, NO_HEARTBEAT).await;
    stream.assign("operations/1", "hello").await;
    let complete = stream.complete().await;
    assert_eq!(complete.attempt, attempt("operations/1"));
    assert_eq!(result_of(&complete), b"HELLO blue");
    assert_eq!(complete.warnings[0].metadata["row"], "7");
    assert_eq!(complete.errors[0].code, "RowInvalid");
    stream.ack(complete.report_id).await;
    worker.stop.cancel();
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn the_last_progress_and_every_line_arrive_before_the_end() {
    let mut fake = Fake::start().await;
    let _worker = Running::start(fake.worker().handler("test", async |context| {
        for done in 0..=1_000 {
            context.progress(Progress::units(done, 1_000).with_message("copying"));
            context.log(format!("line {done}")).await;
        }
        Ok(Outcome::empty())
    }));
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "").await;
    let (mut lines, mut last_progress, mut reports) = (Vec::new(), None, 0);
    loop {
        match stream.next().await {
            Up::Progress(report) => {
                reports += 1;
                last_progress = report.progress;
            }
            Up::Log(log) => {
                lines.extend(log.lines);
                stream.ack(log.report_id).await;
            }
            Up::Complete(complete) => {
                assert!(complete.result.is_none());
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let last_progress = last_progress.unwrap();
    assert_eq!(last_progress.done_units, Some(1_000));
    assert_eq!(last_progress.message, "copying");
    assert!(reports < 100, "{reports} reports of progress were not coalesced");
    let expected: Vec<String> = (0..=1_000).map(|done| format!("line {done}")).collect();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn lines_that_nobody_takes_hold_the_handler_up_and_nothing_else() {
    let mut fake = Fake::start().await;
    let logged = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&logged);
    let _worker = Running::start(fake.worker().handler("test", move |context| {
        let counter = Arc::clone(&counter);
        async move {
            for _ in 0..1_000 {
                context.log("x".repeat(8 * 1024)).await;
                counter.fetch_add(1, Ordering::SeqCst);
            }
            Ok(Outcome::empty())
        }
    }));
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "").await;
    let mut unacked = Vec::new();
    let mut bytes = 0;
    // Unacknowledged lines are bounded: nothing more comes once the worker holds its fill.
    while bytes < 1_000_000 {
        match stream.next().await {
            Up::Log(log) => {
                bytes += log.lines.iter().map(String::len).sum::<usize>();
                unacked.push(log.report_id);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(logged.load(Ordering::SeqCst) < 1_000);
    for report_id in unacked {
        stream.ack(report_id).await;
    }
    loop {
        match stream.next().await {
            Up::Log(log) => stream.ack(log.report_id).await,
            Up::Complete(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(logged.load(Ordering::SeqCst), 1_000);
}

#[tokio::test]
async fn failures_say_whether_and_when_to_try_again() {
    let mut fake = Fake::start().await;
    let _worker = Running::start(fake.worker().handler("test", async |context| {
        match context.input().text()? {
            "retry" => {
                Err(Failure::retryable("Busy", "later").with_retry_delay(Duration::from_secs(7)))
            }
            "final" => Err(Failure::permanent("DeviceNotExists", "no such device")
                .with_status_code(Code::NotFound)
                .with_metadata("device", "d1")
                .with_cause(Problem::new("Inner", "why"))),
            "error" => Err(std::io::Error::other("disk full"))?,
            _ => panic!("did not expect {:?}", context.input().bytes()),
        }
    }));
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "retry").await;
    let fail = stream.failure().await;
    assert!(!fail.r#final);
    assert_eq!(fail.retry_delay.unwrap().seconds, 7);
    stream.assign("operations/2", "final").await;
    let fail = stream.failure().await;
    assert!(fail.r#final);
    let error = fail.error.unwrap();
    assert_eq!((error.code.as_str(), error.status_code), ("DeviceNotExists", 5));
    assert_eq!(error.metadata["device"], "d1");
    assert_eq!(error.causes[0].code, "Inner");
    stream.assign("operations/3", "error").await;
    let fail = stream.failure().await;
    assert!(!fail.r#final);
    assert_eq!(fail.error.unwrap().message, "disk full");
    // A panic is a failure of its attempt and of nothing else.
    stream.assign("operations/4", "surprise").await;
    let fail = stream.failure().await;
    let error = fail.error.unwrap();
    assert!(!fail.r#final);
    assert_eq!(error.code, "PANIC");
    assert!(error.message.contains("did not expect b\"surprise\""), "{}", error.message);
    stream.assign("operations/5", "final").await;
    assert_eq!(stream.failure().await.attempt, attempt("operations/5"));
}

#[tokio::test]
async fn a_cancel_reaches_the_handler_with_its_reason() {
    let mut fake = Fake::start().await;
    let (started, mut starts) = mpsc::channel(1);
    let _worker = Running::start(fake.worker().handler("test", move |context| {
        let started = started.clone();
        async move {
            assert!(!context.is_cancelled());
            started.send(()).await?;
            let why = context.cancelled().await;
            assert!(why.grace_deadline.is_some());
            Err(Failure::retryable("Stopped", why.reason))
        }
    }));
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "").await;
    step("the start", starts.recv()).await.unwrap();
    let cancel = CancelAttempt {
        attempt: attempt("operations/1"),
        cause: Cause::CancelRequested.into(),
        reason: "not needed".to_owned(),
        grace_deadline_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
    };
    stream.send(Down::Cancel(cancel)).await;
    let error = stream.failure().await.error.unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("Stopped", "not needed"));
}

#[tokio::test]
async fn an_attempt_that_is_not_current_reports_nothing() {
    let mut fake = Fake::start().await;
    let (seen, mut causes) = mpsc::channel(1);
    let _worker = Running::start(fake.worker().handler("test", move |context| {
        let seen = seen.clone();
        async move {
            if context.input().text()? == "wait" {
                seen.send(context.cancelled().await.cause).await?;
            }
            Ok(Outcome::text("done"))
        }
    }));
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "wait").await;
    stream.cancel("operations/1", Cause::NotCurrent, "").await;
    // Told before its handler began, there is nothing to see; told later, the handler sees it.
    let _seen = tokio::time::timeout(Duration::from_millis(200), causes.recv()).await;
    stream.assign("operations/2", "go").await;
    assert_eq!(stream.complete().await.attempt, attempt("operations/2"));
}

#[tokio::test]
async fn no_more_run_at_once_than_were_offered() {
    let mut fake = Fake::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let (handler_gate, counts) = (Arc::clone(&gate), Arc::clone(&running));
    let (started, mut starts) = mpsc::channel(8);
    let worker = fake.worker().concurrency(2).handler("test", move |_context| {
        let (gate, counts) = (Arc::clone(&handler_gate), Arc::clone(&counts));
        let started = started.clone();
        async move {
            let (now, most) = &*counts;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            started.send(()).await?;
            gate.acquire().await?.forget();
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(Outcome::empty())
        }
    });
    let _worker = Running::start(worker);
    let mut stream = fake.session("s1").await;
    // A service that forgets what it was told: what finds no slot waits, what is far too much is
    // given back.
    for number in 0..5 {
        stream.assign(&format!("operations/{number}"), "").await;
    }
    let release = stream.release().await;
    assert_eq!(release.attempt, attempt("operations/4"));
    step("two starts", starts.recv()).await.unwrap();
    step("two starts", starts.recv()).await.unwrap();
    gate.add_permits(4);
    for _ in 0..4 {
        let complete = stream.complete().await;
        stream.ack(complete.report_id).await;
    }
    assert_eq!(running.1.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_second_assignment_of_the_same_attempt_is_ignored() {
    let mut fake = Fake::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let handler_gate = Arc::clone(&gate);
    let worker = fake.worker().concurrency(4).handler("test", move |_context| {
        let gate = Arc::clone(&handler_gate);
        async move {
            gate.acquire().await?.forget();
            Ok(Outcome::empty())
        }
    });
    let _worker = Running::start(worker);
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "").await;
    stream.assign("operations/1", "").await;
    gate.add_permits(3);
    let complete = stream.complete().await;
    // Ended but not acknowledged: still the same attempt.
    stream.assign("operations/1", "").await;
    stream.ack(complete.report_id).await;
    stream.assign("operations/2", "").await;
    assert_eq!(stream.complete().await.attempt, attempt("operations/2"));
}

#[tokio::test]
async fn heartbeats_come_on_the_stream_and_silence_ends_it() {
    let mut fake = Fake::start().await;
    let _worker = Running::start(fake.worker().handler("test", async |_| Ok(Outcome::empty())));
    let (mut stream, _hello) = fake.accept().await;
    stream.started("s1", false, Duration::from_millis(100)).await;
    for _ in 0..8 {
        stream.send(Down::Heartbeat(ServerHeartbeat {})).await;
        assert!(matches!(stream.any().await, Some(Up::Heartbeat(_))));
    }
    // From here on the service says nothing: the worker gives the stream up and comes back.
    let (_stream, hello) = fake.accept().await;
    assert_eq!(hello.session_id, "s1");
}

#[tokio::test]
async fn refused_reports_do_not_leave_the_operation_running() {
    let mut fake = Fake::start().await;
    let worker = fake.worker().max_report_bytes(10_000).handler("test", async |context| {
        let size = context.input().text()?.parse()?;
        let value = "x".repeat(size).into();
        Ok(Outcome::any(prost_types::Any { type_url: "type/x".to_owned(), value }))
    });
    let _worker = Running::start(worker);
    let mut stream = fake.session("s1").await;
    // The service is busy: the same again.
    stream.assign("operations/1", "1").await;
    let first = stream.complete().await;
    stream.refuse(first.report_id, Code::Unavailable).await;
    let second = stream.complete().await;
    assert_eq!(second.report_id, first.report_id);
    stream.ack(second.report_id).await;
    // The report is not acceptable: a failure that says so.
    stream.assign("operations/2", "2").await;
    let refused = stream.complete().await;
    stream.refuse(refused.report_id, Code::InvalidArgument).await;
    let fail = stream.failure().await;
    assert!(fail.r#final);
    assert_eq!(fail.error.unwrap().code, "REPORT_REFUSED");
    stream.ack(fail.report_id).await;
    // The attempt is over: nothing more to say.
    stream.assign("operations/3", "3").await;
    let stale = stream.complete().await;
    stream.refuse(stale.report_id, Code::FailedPrecondition).await;
    // Too large to be sent at all.
    stream.assign("operations/4", "20000").await;
    let fail = stream.failure().await;
    assert_eq!(fail.attempt, attempt("operations/4"));
    assert_eq!(fail.error.unwrap().code, "RESULT_TOO_LARGE");
}

#[tokio::test]
async fn a_result_that_is_too_large_for_a_report_is_sent_in_chunks_as_often_as_it_takes() {
    let mut fake = Fake::start().await;
    let worker = fake.worker().max_report_bytes(10_000).handler("test", async |context| {
        let size: usize = context.input().text()?.parse()?;
        Ok(Outcome::text("x".repeat(size)))
    });
    let _worker = Running::start(worker);
    let mut stream = fake.session("s1").await;
    stream.assign("operations/1", "600000").await;
    let chunked = async |stream: &mut crate::fake::Stream| {
        let mut size = 0;
        loop {
            match stream.next().await {
                Up::ResultChunk(chunk) => {
                    assert_eq!(chunk.attempt, attempt("operations/1"));
                    assert_eq!(chunk.offset_bytes, size);
                    assert!(chunk.data.len() <= 256 << 10 && chunk.data.iter().all(|b| *b == b'x'));
                    size += chunk.data.len() as i64;
                }
                Up::Complete(complete) => {
                    assert_eq!((complete.chunked_bytes, size), (600_000, 600_000));
                    let result = complete.result.unwrap();
                    assert_eq!(result.content, None);
                    assert_eq!(result.content_type, "text/plain; charset=utf-8");
                    return complete.report_id;
                }
                other => panic!("neither a chunk nor a complete: {other:?}"),
            }
        }
    };
    let report = chunked(&mut stream).await;
    stream.refuse(report, Code::Unavailable).await;
    assert_eq!(chunked(&mut stream).await, report);
    // Not acknowledged when the stream breaks: all of it again on the next one.
    drop(stream);
    let (mut stream, hello) = fake.accept().await;
    assert_eq!(hello.running.len(), 1);
    stream.started("s1", true, Duration::from_secs(600)).await;
    assert_eq!(chunked(&mut stream).await, report);
    stream.ack(report).await;
}

#[tokio::test]
async fn what_cannot_be_run_here_is_given_back() {
    let mut fake = Fake::start().await;
    let _worker = Running::start(fake.worker().handler("test", async |_| Ok(Outcome::empty())));
    let mut stream = fake.session("s1").await;
    stream.send(Down::Assignment(Assignment::default())).await;
    stream.send(Down::Assignment(assignment("operations/1", "other", ""))).await;
    assert_eq!(stream.release().await.attempt, attempt("operations/1"));
}

#[tokio::test]
async fn a_worker_that_is_refused_says_so() {
    let mut fake = Fake::start().await;
    assert!(matches!(Running::start(fake.worker()).ended().await, Err(WorkerError::NoHandlers)));
    let worker = Running::start(fake.worker().handler("test", async |_| Ok(Outcome::empty())));
    let (stream, _hello) = fake.accept().await;
    stream.fail(Status::invalid_argument("bad kinds")).await;
    match worker.ended().await {
        Err(WorkerError::Refused(error)) => assert_eq!(error.message(), "bad kinds"),
        other => panic!("{other:?}"),
    }
}
