//! Sessions outlive their streams, and servers; workers that are gone for longer lose their work.

use std::time::Duration;

use longrun::engine::{ToWorker, WorkerHello};
use longrun::operation::{Kind, SessionId, TenantId, WorkerId};
use longrun::proto::v1::cancel_attempt::Cause;
use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::*;
use longrun::server::Stopped;
use longrun::service::Caller;
use tonic::Code;

use crate::support::*;

const LEASE: Duration = Duration::from_secs(30);

fn resume(session: &SessionStarted, running: &[&Assignment]) -> Hello {
    Hello {
        session_id: session.session_id.clone(),
        running: running.iter().filter_map(|assignment| attempt_of(assignment)).collect(),
        ..hello("demo", 3)
    }
}

async fn with_lease() -> ClockedServer {
    ClockedServer::with(Tuning { lease_duration: LEASE, ..Tuning::default() }).await
}

fn kinds(events: &[Event]) -> Vec<EventType> {
    events.iter().map(Event::r#type).collect()
}

#[tokio::test]
async fn an_assignment_that_did_not_arrive_is_sent_again_and_one_that_did_is_not() {
    let server = TestServer::start().await;
    let known = server.submit(submission("demo")).await.name;
    let missed = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 3).await;
    let first = worker.assignment().await;
    let second = worker.assignment().await;
    assert_eq!(attempt_of(&first).unwrap().operation, known);
    let session = worker.disconnect();
    let mut worker = TestWorker::connect(&server, resume(&session, &[&first])).await;
    assert!(worker.session.resumed);
    assert_eq!(worker.session.session_id, session.session_id);
    let again = worker.assignment().await;
    assert_eq!(again, second, "the same attempt");
    worker.complete(&again, None).await;
    worker.complete(&first, None).await;
    worker.heard_nothing_else();
    for name in [known, missed] {
        let expected = [EventType::Submitted, EventType::Started, EventType::Finished];
        assert_eq!(kinds(&server.events(&name).await), expected);
    }
}

#[tokio::test]
async fn what_a_worker_believes_to_run_and_does_not_it_is_told_to_stop() {
    let server = TestServer::start().await;
    let mut other = server.worker("demo", 1).await;
    server.submit(submission("demo")).await;
    let others = other.assignment().await;
    let mut claims = hello("demo", 1);
    claims.running = attempt_of(&others).into_iter().collect();
    let mut worker = TestWorker::connect(&server, claims).await;
    let told = worker.told_to_stop().await;
    assert_eq!((told.cause(), told.attempt), (Cause::NotCurrent, attempt_of(&others)));
    other.complete(&others, None).await;
}

#[tokio::test]
async fn a_session_that_is_unknown_is_answered_with_a_new_one() {
    let server = TestServer::start().await;
    for unknown in ["01890000-0000-7000-8000-000000000000", "nonsense"] {
        let hello = Hello { session_id: unknown.to_owned(), ..hello("demo", 1) };
        let worker = TestWorker::connect(&server, hello).await;
        assert!(!worker.session.resumed);
        assert_ne!(worker.session.session_id, unknown);
    }
}

#[tokio::test]
async fn a_cancel_during_the_break_is_told_on_return() {
    let server = TestServer::start().await;
    let running = server.submit(submission("demo")).await.name;
    let missed = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 3).await;
    let first = worker.assignment().await;
    worker.assignment().await;
    let session = worker.disconnect();
    server.cancel(&running, "while away").await;
    server.cancel(&missed, "never arrived").await;
    let mut worker = TestWorker::connect(&server, resume(&session, &[&first])).await;
    let mut told = [worker.told_to_stop().await, worker.told_to_stop().await];
    told.sort_by_key(CancelAttempt::cause);
    let [cancel, gone] = told;
    assert_eq!((cancel.cause(), cancel.attempt), (Cause::CancelRequested, attempt_of(&first)));
    assert_eq!(cancel.reason, "while away");
    assert_eq!(
        (gone.cause(), gone.attempt.unwrap().operation),
        (Cause::NotCurrent, missed.clone())
    );
    let ended = server.done(&missed).await;
    assert_eq!(ended.state(), State::Cancelled, "nobody runs it, so nobody is waited for");
    worker.release(&first).await;
    assert_eq!(server.done(&running).await.state(), State::Cancelled);
}

#[tokio::test]
async fn the_newest_stream_has_the_session() {
    let server = TestServer::start().await;
    server.submit(submission("demo")).await;
    let mut old = server.worker("demo", 3).await;
    let assignment = old.assignment().await;
    let mut new = TestWorker::connect(&server, resume(&old.session, &[&assignment])).await;
    let superseded = Refused::read(&old.next().await.unwrap_err());
    superseded.is(Code::FailedPrecondition, "SESSION_SUPERSEDED");
    drop(old);
    new.complete(&assignment, None).await;
    server.submit(submission("demo")).await;
    new.assignment().await;
}

#[tokio::test]
async fn a_worker_whose_report_was_recorded_is_told_so() {
    let server = TestServer::start().await;
    let mut worker = server.worker("demo", 3).await;
    let mut attempts_made = Vec::new();
    for _ in 0..4 {
        server.submit(with_settings(submission("demo"), attempts(2))).await;
        let assignment = worker.assignment().await;
        match attempts_made.len() {
            0 => worker.complete(&assignment, None).await,
            1 => worker.fail(&assignment, "again").await,
            2 => worker.release(&assignment).await,
            _ => {
                server.cancel(&assignment.operation.as_ref().unwrap().name, "").await;
                worker.told_to_stop().await;
                worker.fail(&assignment, "cancelled").await;
            }
        }
        attempts_made.push(assignment);
        // What was to be done again runs, so that the first attempt is long over.
        if matches!(attempts_made.len(), 2 | 3) {
            let again = worker.assignment().await;
            worker.complete(&again, None).await;
        }
    }
    // The acknowledgements are lost with the stream.
    let running: Vec<&Assignment> = attempts_made.iter().collect();
    let session = worker.disconnect();
    let mut worker = TestWorker::connect(&server, resume(&session, &running)).await;
    for assignment in &attempts_made {
        let told = worker.told_to_stop().await;
        assert_eq!((told.cause(), told.attempt), (Cause::Recorded, attempt_of(assignment)));
    }
    // Progress is not acknowledged: who sends it for what is over is told in the same way.
    let attempt = attempt_of(&attempts_made[0]);
    worker.send(Up::Progress(ReportProgress { attempt: attempt.clone(), progress: None })).await;
    let told = worker.told_to_stop().await;
    assert_eq!((told.cause(), told.attempt), (Cause::Recorded, attempt));
}

#[tokio::test]
async fn a_lost_worker_costs_a_lease_and_an_attempt() {
    let server = with_lease().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let mut watch = server.watch(watch_from(&name, 2)).await;
    let session = worker.disconnect();
    server.live_through(LEASE - Duration::from_secs(1)).await;
    server.submit(submission("other")).await;
    assert_eq!(server.get(&name).await.state(), State::Running, "not a moment too early");
    server.live_through(Duration::from_secs(1)).await;
    let lost = watch.next().await.event.unwrap();
    assert_eq!((lost.r#type(), lost.state()), (EventType::RetryScheduled, State::Queued));
    let error = lost.error.unwrap();
    assert_eq!((error.code.as_str(), error.status_code), ("WORKER_LOST", 14));
    assert_eq!(error.source(), error::Source::Service);

    // The one that comes too late has a new session, and what it ran is not current.
    let mut late = TestWorker::connect(&server, resume(&session, &[&assignment])).await;
    assert!(!late.session.resumed);
    let told = late.told_to_stop().await;
    assert_eq!((told.cause(), told.attempt), (Cause::NotCurrent, attempt_of(&assignment)));
    let second = late.assignment().await;
    assert_eq!((second.attempt, second.operation.as_ref().unwrap().attempts_used), (2, 2));
    let complete = Complete { attempt: attempt_of(&assignment), ..Complete::default() };
    assert_eq!(late.try_complete(complete).await.unwrap().reason, "STALE_ATTEMPT");
    late.complete(&second, None).await;
}

#[tokio::test]
async fn losing_workers_uses_the_attempts_up() {
    let server = with_lease().await;
    let name = server.submit(with_settings(submission("demo"), attempts(2))).await.name;
    for _ in 0..2 {
        let mut worker = server.worker("demo", 1).await;
        worker.assignment().await;
        let revision = server.get(&name).await.revision;
        drop(worker);
        let mut watch = server.watch(watch_from(&name, revision)).await;
        server.live_through(LEASE).await;
        watch.next().await;
    }
    let failed = server.done(&name).await;
    assert_eq!((failed.state(), failed.attempts_used), (State::Failed, 2));
    assert_eq!(failed.error.unwrap().code, "WORKER_LOST");
}

#[tokio::test]
async fn a_silent_worker_is_lost_although_its_stream_is_open() {
    let server = with_lease().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    worker.assignment().await;
    let mut watch = server.watch(watch_from(&name, 2)).await;
    server.live_through(LEASE).await;
    assert_eq!(watch.next().await.event.unwrap().r#type(), EventType::RetryScheduled);
    worker.told_to_drain().await;
}

#[tokio::test]
async fn any_message_renews_the_lease() {
    let server = with_lease().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let progress = ReportProgress { attempt: attempt_of(&assignment), progress: None };
    let lines = vec!["line".to_owned()];
    let signs = [
        Up::Heartbeat(Heartbeat {}),
        Up::Progress(progress),
        Up::Log(ReportLog { attempt: attempt_of(&assignment), report_id: 99, lines }),
        Up::Heartbeat(Heartbeat {}),
    ];
    for sign in signs {
        server.live_through(Duration::from_secs(20)).await;
        worker.send(sign).await;
        // Refused before it gets as far as the lease, so it only says what was heard before it.
        worker.try_complete(Complete::default()).await.unwrap();
    }
    server.submit(submission("other")).await;
    let operation = server.get(&name).await;
    assert_eq!(
        (operation.state(), operation.attempt),
        (State::Running, 1),
        "80 s in a lease of 30"
    );
    worker.complete(&assignment, None).await;
}

#[tokio::test]
async fn an_attempt_goes_on_across_a_restart_and_completes_once() {
    let mut server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 3).await;
    let assignment = worker.assignment().await;
    server.begin_to_stop();
    worker.told_to_drain().await;
    worker.ended().await;
    let session = worker.disconnect();
    assert_eq!(server.stop().await, Stopped::Drained);
    server.start_again().await;
    assert_eq!(server.get(&name).await.state(), State::Running);
    let mut worker = TestWorker::connect(&server, resume(&session, &[&assignment])).await;
    assert!(worker.session.resumed);
    worker.complete(&assignment, Some(text("result"))).await;
    worker.heard_nothing_else();
    let expected = [EventType::Submitted, EventType::Started, EventType::Finished];
    assert_eq!(kinds(&server.events(&name).await), expected);
}

#[tokio::test]
async fn after_a_restart_workers_have_a_lease_to_come_back() {
    let mut server = with_lease().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    worker.assignment().await;
    drop(worker);
    server.restart_after(10 * LEASE).await;
    server.live_through(LEASE - Duration::from_secs(1)).await;
    server.submit(submission("other")).await;
    assert_eq!(server.get(&name).await.state(), State::Running, "the time away does not count");
    let mut watch = server.watch(watch_from(&name, 2)).await;
    server.live_through(Duration::from_secs(1)).await;
    assert_eq!(watch.next().await.event.unwrap().error.unwrap().code, "WORKER_LOST");
    let mut worker = server.worker("demo", 1).await;
    assert_eq!(worker.assignment().await.attempt, 2);
}

/// The second stream comes before the first has been told anything.
#[tokio::test]
async fn a_session_that_is_resumed_twice_at_once_is_told_once_what_it_missed() {
    let server = ClockedServer::start().await;
    let (caller, hello) = (Caller::anonymous(), worker_hello(None));
    let (session, first) = soon(server.service.connect_worker(&caller, hello)).await.unwrap();
    let name = server.submit(submission("demo")).await.name;
    drop(first);
    let again = || server.service.connect_worker(&caller, worker_hello(Some(session.id())));
    let (one, other) = soon(async { tokio::join!(again(), again()) }).await;
    let (_, mut missed) = other.unwrap();
    drop(one.unwrap().1);
    let assigned = soon(missed.recv()).await;
    assert!(matches!(assigned, Some(ToWorker::Assignment { .. })), "{assigned:?}");
    // Whatever is told from here on was caused from here on.
    server.cancel(&name, "").await;
    let cancelled = soon(missed.recv()).await;
    assert!(matches!(cancelled, Some(ToWorker::CancelRequested { .. })), "{cancelled:?}");
}

fn worker_hello(resume: Option<SessionId>) -> WorkerHello {
    WorkerHello {
        in_process: false,
        scope: TenantId::default_tenant().into(),
        worker: WorkerId::parse("worker").unwrap(),
        kinds: vec![Kind::parse("demo").unwrap()],
        max_in_flight: 1,
        resume,
        running: Vec::new(),
    }
}
