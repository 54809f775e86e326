//! Clocks that are set, and servers that stand still: what is promised by the wall clock goes by it, and no worker
//! loses its lease by it.

use std::time::Duration;

use longrun::engine::Clock as _;
use longrun::operation::Timestamp;
use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::*;

use crate::support::*;

const LEASE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: i64 = 3_600;

async fn with_lease() -> ClockedServer {
    ClockedServer::with(Tuning { lease_duration: LEASE, ..Tuning::default() }).await
}

/// Sets the wall clock by so many seconds.
fn set_by(server: &ClockedServer, seconds: i64) {
    let now = server.clock.now();
    server.clock.set(Timestamp::from_micros(now.micros() + seconds * 1_000_000));
}

async fn heartbeat(worker: &mut TestWorker) {
    worker.send(Up::Heartbeat(Heartbeat {})).await;
    // Refused before it gets as far as the lease, so it only says what was heard before it.
    worker.try_complete(Complete::default()).await.unwrap();
}

/// A worker with an attempt, and a watch that sees what becomes of it.
async fn running(server: &ClockedServer) -> (String, TestWorker, Assignment) {
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    (name, worker, assignment)
}

async fn still_runs(server: &ClockedServer, name: &str) {
    server.cancelled(submission("barrier")).await;
    let operation = server.get(name).await;
    assert_eq!((operation.state(), operation.attempt), (State::Running, 1));
}

#[tokio::test]
async fn a_clock_that_is_set_takes_no_lease_from_a_worker_that_is_heard() {
    let server = with_lease().await;
    let (name, mut worker, assignment) = running(&server).await;
    for seconds in [HOUR, -HOUR, -24 * HOUR, 48 * HOUR] {
        set_by(&server, seconds);
        for _ in 0..4 {
            server.live_through(10 * SECOND).await;
            heartbeat(&mut worker).await;
        }
        still_runs(&server, &name).await;
    }
    worker.complete(&assignment, None).await;
}

#[tokio::test]
async fn a_worker_that_is_gone_is_missed_after_one_lease_whatever_the_clock_shows() {
    for seconds in [0, HOUR, -HOUR, -24 * HOUR] {
        let server = with_lease().await;
        let (name, worker, _) = running(&server).await;
        let mut watch = server.watch(watch_from(&name, 2)).await;
        drop(worker);
        set_by(&server, seconds);
        server.live_through(LEASE - SECOND).await;
        still_runs(&server, &name).await;
        server.live_through(SECOND).await;
        let lost = watch.next().await.event.unwrap();
        assert_eq!(
            (lost.r#type(), lost.error.unwrap().code.as_str()),
            (EventType::RetryScheduled, "WORKER_LOST")
        );
    }
}

#[tokio::test]
async fn a_sign_of_life_while_the_clock_is_ahead_counts_for_one_lease_only() {
    let server = with_lease().await;
    let (name, mut worker, _) = running(&server).await;
    let mut watch = server.watch(watch_from(&name, 2)).await;
    set_by(&server, 24 * HOUR);
    heartbeat(&mut worker).await;
    set_by(&server, -24 * HOUR);
    drop(worker);
    server.live_through(LEASE).await;
    assert_eq!(watch.next().await.event.unwrap().r#type(), EventType::RetryScheduled);
}

#[tokio::test]
async fn a_server_that_stood_still_gives_every_worker_one_lease_to_be_heard_in() {
    let server = with_lease().await;
    let (name, mut worker, _) = running(&server).await;
    let mut watch = server.watch(watch_from(&name, 2)).await;
    // The engine has no turn within this time.
    server.advance(10 * LEASE);
    still_runs(&server, &name).await;
    server.live_through(LEASE - SECOND).await;
    heartbeat(&mut worker).await;
    server.live_through(LEASE - SECOND).await;
    still_runs(&server, &name).await;
    drop(worker);
    server.advance(LEASE);
    still_runs(&server, &name).await;
    server.live_through(LEASE).await;
    let lost = watch.next().await.event.unwrap();
    assert_eq!(lost.r#type(), EventType::RetryScheduled, "it had its time to come back");
}

#[tokio::test]
async fn what_is_promised_for_a_time_of_day_goes_by_the_wall_clock() {
    let server = ClockedServer::start().await;
    let start = server.clock.now().after(3_600 * SECOND);
    let start_time = Some(prost_types::Timestamp { seconds: start.micros() / 1_000_000, nanos: 0 });
    let name = server.submit(SubmitRequest { start_time, ..submission("demo") }).await.name;
    let mut worker = server.worker("demo", 1).await;
    set_by(&server, HOUR);
    assert_eq!(worker.assignment().await.operation.unwrap().name, name);
}

#[tokio::test]
async fn a_wait_lasts_as_long_as_was_asked_for_whatever_the_clock_shows() {
    let server = ClockedServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let request = WaitOperationRequest { name, timeout: seconds(10), ..Default::default() };
    let mut operations = server.operations();
    let waiting = spawn(async move { operations.wait_operation(request).await.unwrap() });
    soon(server.clock.is_awaited_in(10 * SECOND)).await;
    set_by(&server, HOUR);
    set_by(&server, -2 * HOUR);
    server.advance(9 * SECOND);
    server.cancelled(submission("barrier")).await;
    assert!(!waiting.is_finished());
    server.advance(SECOND);
    assert!(!soon(waiting).await.unwrap().into_inner().done);
}
