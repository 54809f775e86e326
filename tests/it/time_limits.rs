//! What time does to an operation: start time, backoff, and the limits, each with its own reason.

use std::time::Duration;

use longrun::proto::v1::cancel_attempt::Cause;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::*;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// The server's answer to anything comes after what was due before it.
async fn let_the_engine_look(server: &ClockedServer) {
    server.cancelled(submission("barrier")).await;
}

fn backing_off(max_attempts: i32) -> SubmitRequest {
    let policy = RetryPolicy {
        max_attempts,
        initial_backoff: seconds(10),
        max_backoff: seconds(35),
        multiplier: 2.0,
        jitter: Some(0.0),
    };
    let settings = Settings { retry_policy: Some(policy), ..Settings::default() };
    with_settings(submission("demo"), settings)
}

/// Fails unless the operation failed by this limit.
fn failed_by(operation: &Operation, code: &str) {
    assert_eq!((operation.state(), operation.done), (State::Failed, true), "{operation:?}");
    let error = operation.error.as_ref().unwrap();
    assert_eq!((error.code.as_str(), error.status_code), (code, 4));
    assert_eq!(error.source(), error::Source::Service);
}

#[tokio::test]
async fn work_with_a_start_time_is_handed_out_when_it_comes() {
    let server = ClockedServer::start().await;
    let mut worker = server.worker("demo", 1).await;
    let now = server.submit(submission("barrier")).await.create_time.unwrap();
    let at = prost_types::Timestamp { seconds: now.seconds + 60, nanos: 0 };
    let request = SubmitRequest { start_time: Some(at), ..submission("demo") };
    let later = server.submit(request).await;
    assert_eq!(later.not_before_time, Some(at));
    let sooner = server.submit(submission("demo")).await.name;
    let assignment = worker.assignment().await;
    assert_eq!(assignment.operation.as_ref().unwrap().name, sooner, "it does not block others");
    worker.complete(&assignment, None).await;
    server.advance(59 * SECOND);
    let_the_engine_look(&server).await;
    assert_eq!(server.get(&later.name).await.state(), State::Queued);
    server.advance(SECOND);
    let assignment = worker.assignment().await;
    assert_eq!(assignment.operation.unwrap().start_time, Some(at));
}

#[tokio::test]
async fn failed_attempts_back_off_longer_and_longer_up_to_a_maximum() {
    let server = ClockedServer::start().await;
    let name = server.submit(backing_off(5)).await.name;
    let mut worker = server.worker("demo", 1).await;
    for (attempt, wait) in [(1, 10), (2, 20), (3, 35), (4, 35)] {
        let assignment = worker.assignment().await;
        assert_eq!(assignment.attempt, attempt);
        worker.fail(&assignment, "Again").await;
        let queued = server.get(&name).await;
        assert_eq!((queued.state(), queued.attempts_used), (State::Queued, attempt));
        assert_eq!(queued.error.unwrap().code, "Again");
        let backoff = queued.not_before_time.unwrap().seconds - queued.update_time.unwrap().seconds;
        assert_eq!(backoff, wait);
        server.advance(wait as u32 * SECOND - Duration::from_millis(1));
        let_the_engine_look(&server).await;
        assert_eq!(server.get(&name).await.state(), State::Queued);
        server.advance(Duration::from_millis(1));
    }
    let assignment = worker.assignment().await;
    let operation = assignment.operation.as_ref().unwrap();
    assert_eq!(operation.error.as_ref().unwrap().code, "Again", "why the attempt before failed");
    worker.fail(&assignment, "Broken").await;
    let failed = server.get(&name).await;
    assert_eq!((failed.state(), failed.attempt, failed.attempts_used), (State::Failed, 5, 5));
    let error = failed.error.unwrap();
    assert_eq!((error.code.as_str(), error.source()), ("Broken", error::Source::Application));
}

#[tokio::test]
async fn jitter_only_shortens_a_wait_and_only_by_its_share() {
    let server = ClockedServer::start().await;
    let mut worker = server.worker("demo", 1).await;
    let policy =
        RetryPolicy { initial_backoff: seconds(10), jitter: Some(0.5), ..RetryPolicy::default() };
    let settings = Settings { retry_policy: Some(policy), ..Settings::default() };
    let mut waits = Vec::new();
    for _ in 0..20 {
        let request = with_settings(submission("demo"), settings);
        let name = server.submit(request).await.name;
        let assignment = worker.assignment().await;
        worker.fail(&assignment, "Again").await;
        let queued = server.get(&name).await;
        let micros = |t: prost_types::Timestamp| t.seconds * 1_000_000 + i64::from(t.nanos) / 1_000;
        waits.push(micros(queued.not_before_time.unwrap()) - micros(queued.update_time.unwrap()));
        server.cancel(&name, "").await;
    }
    assert!(waits.iter().all(|wait| (5_000_000..=10_000_000).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
}

#[tokio::test]
async fn a_worker_may_say_when_to_try_again_or_that_it_is_of_no_use() {
    let server = ClockedServer::start().await;
    let name = server.submit(backing_off(5)).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let fail = |assignment: &Assignment| Fail {
        attempt: attempt_of(assignment),
        error: Some(Error { code: "Busy".to_owned(), ..Error::default() }),
        ..Fail::default()
    };
    let delayed = Fail { retry_delay: seconds(3_600), ..fail(&assignment) };
    assert_eq!(worker.try_fail(delayed).await, None);
    server.advance(3_599 * SECOND);
    let_the_engine_look(&server).await;
    assert_eq!(server.get(&name).await.state(), State::Queued);
    server.advance(SECOND);
    let assignment = worker.assignment().await;
    let last = Fail { r#final: true, ..fail(&assignment) };
    assert_eq!(worker.try_fail(last).await, None);
    let failed = server.get(&name).await;
    assert_eq!((failed.state(), failed.attempts_used), (State::Failed, 2));
}

#[tokio::test]
async fn a_released_attempt_does_not_count() {
    let server = ClockedServer::start().await;
    let name = server.submit(backing_off(1)).await.name;
    let mut worker = server.worker("demo", 1).await;
    for attempt in 1..=3 {
        let assignment = worker.assignment().await;
        let operation = assignment.operation.as_ref().unwrap();
        assert_eq!((assignment.attempt, operation.attempts_used), (attempt, 1));
        worker.release(&assignment).await;
    }
    let assignment = worker.assignment().await;
    assert_eq!(assignment.attempt, 4, "the fencing token rises all the same");
    worker.fail(&assignment, "Broken").await;
    assert_eq!(server.get(&name).await.state(), State::Failed);
    let released = server.events(&name).await;
    assert_eq!(released[2].r#type(), event::Type::Released);
}

#[tokio::test]
async fn what_nobody_starts_in_time_fails_by_its_queue_timeout() {
    let server = ClockedServer::start().await;
    let settings = Settings { queue_timeout: seconds(30), ..Settings::default() };
    let queued = server.submit(with_settings(submission("demo"), settings)).await;
    let deadline = queued.queue_deadline_time.unwrap().seconds;
    assert_eq!(deadline, queued.create_time.unwrap().seconds + 30);
    let later = SubmitRequest {
        start_time: Some(prost_types::Timestamp { seconds: deadline, nanos: 0 }),
        ..with_settings(submission("demo"), queued.settings.unwrap())
    };
    let later = server.submit(later).await;
    assert_eq!(later.queue_deadline_time.unwrap().seconds, deadline + 30, "from the start time");
    server.advance(Duration::from_millis(29_999));
    let_the_engine_look(&server).await;
    assert_eq!(server.get(&queued.name).await.state(), State::Queued);
    server.advance(Duration::from_millis(1));
    failed_by(&server.done(&queued.name).await, "QUEUE_TIMEOUT");
    assert_eq!(server.get(&later.name).await.state(), State::Queued);
    server.advance(30 * SECOND);
    failed_by(&server.done(&later.name).await, "QUEUE_TIMEOUT");
}

#[tokio::test]
async fn once_started_the_queue_timeout_is_over() {
    let server = ClockedServer::start().await;
    let settings = Settings { queue_timeout: seconds(30), ..backing_off(3).settings.unwrap() };
    let name = server.submit(with_settings(submission("demo"), settings)).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    assert_eq!(assignment.operation.as_ref().unwrap().queue_deadline_time, None);
    worker.send(work_request::Message::Drain(WorkerDrain {})).await;
    worker.fail(&assignment, "Again").await;
    server.advance(3_600 * SECOND);
    let_the_engine_look(&server).await;
    let queued = server.get(&name).await;
    assert_eq!((queued.state(), queued.queue_deadline_time), (State::Queued, None));
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_given_up_and_tried_again() {
    let server = ClockedServer::start().await;
    let mut settings = backing_off(2).settings.unwrap();
    settings.attempt_timeout = seconds(60);
    let name = server.submit(with_settings(submission("demo"), settings)).await.name;
    let mut watch = server.watch(watch_from(&name, 1)).await;
    let mut worker = server.worker("demo", 1).await;
    let first = worker.assignment().await;
    let started = watch.next().await.operation.unwrap();
    let due = started.start_time.unwrap().seconds + 60;
    assert_eq!(started.attempt_deadline_time.unwrap().seconds, due);
    assert_eq!(first.deadline_time.unwrap().seconds, due);

    server.advance(60 * SECOND);
    let event = watch.next().await.event.unwrap();
    assert_eq!(event.r#type(), event::Type::RetryScheduled);
    assert_eq!(event.error.unwrap().code, "ATTEMPT_TIMEOUT");
    let told = worker.told_to_stop().await;
    assert_eq!((told.cause(), told.attempt), (Cause::NotCurrent, attempt_of(&first)));
    let late = Complete { attempt: attempt_of(&first), ..Complete::default() };
    assert_eq!(worker.try_complete(late).await.unwrap().reason, "STALE_ATTEMPT");

    server.advance(10 * SECOND);
    let second = worker.assignment().await;
    assert_eq!(second.attempt, 2);
    server.advance(60 * SECOND);
    failed_by(&server.done(&name).await, "ATTEMPT_TIMEOUT");
}

#[tokio::test]
async fn the_deadline_ends_the_operation_whatever_it_is_doing() {
    let server = ClockedServer::start().await;
    let with_deadline = |kind: &str, mut settings: Settings| {
        settings.deadline = seconds(60);
        with_settings(submission(kind), settings)
    };
    let queued = server.submit(with_deadline("other", Settings::default())).await;
    let created = queued.create_time.unwrap().seconds;
    assert_eq!(queued.deadline_time.unwrap().seconds, created + 60);
    let running = server.submit(with_deadline("demo", Settings::default())).await.name;
    let waiting = server
        .submit(with_deadline(
            "demo",
            Settings {
                retry_policy: Some(RetryPolicy {
                    initial_backoff: seconds(3_600),
                    max_backoff: seconds(3_600),
                    ..RetryPolicy::default()
                }),
                ..Settings::default()
            },
        ))
        .await
        .name;
    let mut worker = server.worker("demo", 2).await;
    let first = worker.assignment().await;
    let second = worker.assignment().await;
    worker.fail(&second, "Again").await;
    server.advance(60 * SECOND);
    for name in [&queued.name, &running, &waiting] {
        failed_by(&server.done(name).await, "DEADLINE_EXCEEDED");
    }
    let causes = server.get(&waiting).await.error.unwrap().causes;
    assert_eq!(causes[0].code, "Again", "the last attempt's error is behind it");
    let told = worker.told_to_stop().await;
    assert_eq!((told.cause(), told.attempt), (Cause::NotCurrent, attempt_of(&first)));
    assert_eq!(server.get(&running).await.deadline_time, None, "done is done");
}

#[tokio::test]
async fn limits_that_were_up_while_the_server_was_away_are_applied_at_its_start() {
    let mut server = ClockedServer::start().await;
    let settings = Settings { deadline: seconds(60), ..Settings::default() };
    let name = server.submit(with_settings(submission("demo"), settings)).await.name;
    server.restart_after(3_600 * SECOND).await;
    let mut worker = server.worker("demo", 1).await;
    failed_by(&server.done(&name).await, "DEADLINE_EXCEEDED");
    assert_eq!(server.get(&name).await.attempt, 0, "it was not started any more");
    server.submit(submission("demo")).await;
    worker.assignment().await;
}

#[tokio::test]
async fn a_worker_that_gives_everything_back_is_slowed_down() {
    let server = ClockedServer::start().await;
    let name = server.submit(backing_off(1)).await.name;
    let mut worker = server.worker("demo", 1).await;
    for _ in 0..3 {
        let assignment = worker.assignment().await;
        worker.release(&assignment).await;
    }
    for pause in [1, 2, 4] {
        let assignment = worker.assignment().await;
        worker.release(&assignment).await;
        let_the_engine_look(&server).await;
        assert_eq!(server.get(&name).await.state(), State::Queued);
        server.advance(pause * SECOND - Duration::from_millis(1));
        let_the_engine_look(&server).await;
        assert_eq!(server.get(&name).await.state(), State::Queued, "{pause} s are not over");
        server.advance(Duration::from_millis(1));
    }
    let assignment = worker.assignment().await;
    assert_eq!((assignment.attempt, assignment.operation.unwrap().attempts_used), (7, 1));
}
