//! What people ask when nothing moves: why an operation waits, who works, and how much there is of each kind.

use std::time::Duration;

use longrun::operation::TenantId;
use longrun::operation::limits::{Limit, LimitName, LimitTable};
use longrun::proto::v1::waiting::Reason;
use longrun::proto::v1::worker::State as WorkerState;
use longrun::proto::v1::*;
use longrun::service::{Caller, Roles};

use crate::support::*;

/// What is shown once it is as expected: workers are shown after the commit that made them so.
async fn until<T>(look: impl AsyncFn() -> T, is_so: impl Fn(&T) -> bool) -> T {
    soon(async {
        loop {
            let seen = look().await;
            if is_so(&seen) {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn waits(api: &Api, name: &str, reason: Reason) -> Waiting {
    let look = async || api.look(name).await.waiting.unwrap_or_default();
    until(look, |waiting| waiting.reason() == reason).await
}

async fn kinds(api: &Api) -> Vec<KindSummary> {
    soon(api.operations().list_kinds(ListKindsRequest {})).await.unwrap().into_inner().kinds
}

async fn workers(api: &Api, kind: &str) -> Vec<Worker> {
    let request = ListWorkersRequest { kind: kind.to_owned() };
    soon(api.operations().list_workers(request)).await.unwrap().into_inner().workers
}

#[tokio::test]
async fn an_operation_says_why_it_is_not_running() {
    let server = ClockedServer::start().await;
    let lonely = server.submit(submission("lonely")).await.name;
    let waiting = waits(&server, &lonely, Reason::NoWorker).await;
    assert_eq!(waiting.message, "no worker serves lonely (no worker is connected)");

    let mut worker = server.worker("busy", 1).await;
    let look = async || server.look(&lonely).await.waiting.unwrap().message;
    let named = "no worker serves lonely (serving now: busy)";
    until(look, |message| message == named).await;

    let later = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let request = SubmitRequest { start_time: later, ..submission("busy") };
    let scheduled = server.submit(request).await.name;
    assert_eq!(waits(&server, &scheduled, Reason::Scheduled).await.until_time, later);

    server.submit(submission("busy")).await;
    let assignment = worker.assignment().await;
    let second = server.submit(submission("busy")).await.name;
    let waiting = waits(&server, &second, Reason::WorkersBusy).await;
    assert_eq!(waiting.message, "all 1 places of the worker that serves busy are taken");

    let listed = server.list(ListOperationsRequest::default()).await.operations;
    let reasons = listed.iter().map(|it| it.waiting.as_ref().map(Waiting::reason));
    let expected =
        [Some(Reason::WorkersBusy), None, Some(Reason::Scheduled), Some(Reason::NoWorker)];
    assert_eq!(reasons.collect::<Vec<_>>(), expected);

    let limit = Limit { name: LimitName::Running, tenant: None, kind: None, label: None };
    let operator = Caller::of(TenantId::default_tenant(), Roles::all());
    let table = LimitTable::new([(limit, 1)]).unwrap();
    soon(server.service.set_limits(&operator, table)).await.unwrap();
    let waiting = waits(&server, &second, Reason::LimitReached).await;
    assert_eq!(waiting.message, "tenant default runs 1 operations, which is its limit");
    soon(server.service.set_limits(&operator, LimitTable::default())).await.unwrap();

    worker.complete(&assignment, None).await;
    let assignment = worker.assignment().await;
    assert_eq!(server.look(&second).await.waiting, None, "it runs");
    let fail = Fail {
        attempt: attempt_of(&assignment),
        error: Some(Error { code: "DISK".into(), message: "full".into(), ..Default::default() }),
        retry_delay: seconds(30),
        ..Fail::default()
    };
    assert!(worker.try_fail(fail).await.is_none());
    let waiting = waits(&server, &second, Reason::BackingOff).await;
    assert_eq!(waiting.message, "attempt 1 failed (DISK: full); it is retried");
    assert!(waiting.until_time.is_some());
}

#[tokio::test]
async fn only_looks_in_full_say_why() {
    let server = TestServer::start().await;
    let submitted = server.submit(submission("lonely")).await;
    assert_eq!(submitted.waiting, None);
    let view = OperationView::Basic.into();
    let request = GetOperationRequest { name: submitted.name.clone(), view };
    let basic = soon(server.operations().get_operation(request)).await.unwrap().into_inner();
    assert_eq!(basic, submitted);
}

#[tokio::test]
async fn workers_and_kinds_are_listed_as_they_are() {
    let server = ClockedServer::start().await;
    assert_eq!((workers(&server, "").await, kinds(&server).await), (vec![], vec![]));
    let waiting = server.submit(submission("waiting")).await;
    let mut worker = server.worker("done", 2).await;
    for outcome in ["good", "bad"] {
        server.submit(submission("done")).await;
        let assignment = worker.assignment().await;
        match outcome {
            "good" => worker.complete(&assignment, None).await,
            _ => worker.fail(&assignment, "BAD").await,
        }
    }
    let running = server.submit(submission("done")).await;
    worker.assignment().await;
    let seen = until(async || kinds(&server).await, |kinds| kinds[0].running == 1).await;
    let [done, lonely] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((done.kind.as_str(), done.running, done.workers), ("done", 1, 1));
    assert_eq!((lonely.kind.as_str(), lonely.queued, lonely.workers), ("waiting", 1, 0));
    assert_eq!(lonely.oldest_queued_time, waiting.create_time);
    assert!((1..=2).contains(&done.ended_last_minute), "{done:?}");
    assert_eq!((done.submitted_last_minute, done.started_last_minute), (3, 3));
    let no_time = Some(prost_types::Duration::default());
    let at_once = Some(DurationPercentiles { p50: no_time, p95: no_time, p99: no_time });
    assert_eq!((done.queue_durations, done.attempt_durations), (at_once, at_once));
    assert_eq!((lonely.submitted_last_minute, lonely.queue_durations), (1, None));

    let seen = until(async || workers(&server, "done").await, |it| it[0].running > 0).await;
    let [listed] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(listed.worker_id, "test-worker");
    assert_eq!((listed.places, listed.state()), (2, WorkerState::Serving));
    assert_eq!(listed.kinds, ["done"]);
    assert_eq!(workers(&server, "waiting").await, []);

    server.cancel(&waiting.name, "").await;
    server.advance(Duration::from_secs(61));
    let seen = until(async || kinds(&server).await, |kinds| kinds.len() == 1).await;
    assert_eq!(seen[0].ended_last_minute, 0);
    drop(worker);
    until(async || workers(&server, "").await, |it| it[0].state() == WorkerState::Away).await;
    let again = server.submit(submission("done")).await;
    waits(&server, &again.name, Reason::NoWorker).await;
    assert!(!server.get(&running.name).await.done);
}

#[tokio::test]
async fn a_worker_that_polls_is_one_worker_while_it_waits_and_while_it_works() {
    let server = TestServer::start().await;
    let acquire = AcquireRequest {
        worker_id: "poller".to_owned(),
        kinds: vec!["demo".to_owned()],
        ..AcquireRequest::default()
    };
    let mut api = server.workers();
    let poll = spawn(async move { api.acquire(acquire).await });
    until(async || workers(&server, "demo").await, |it| it.len() == 1).await;
    server.submit(submission("demo")).await;
    assert_eq!(soon(poll).await.unwrap().unwrap().into_inner().attempts.len(), 1);
    let second = server.submit(submission("demo")).await.name;
    waits(&server, &second, Reason::WorkersBusy).await;
    let seen = workers(&server, "").await;
    assert_eq!((seen.len(), seen[0].running, seen[0].worker_id.as_str()), (1, 1, "poller"));
}

#[tokio::test]
async fn workers_of_a_tenant_are_its_own() {
    let server = ClockedServer::start().await;
    let _worker = server.worker("demo", 1).await;
    until(async || workers(&server, "").await, |it| it.len() == 1).await;
    let other = Caller::of(TenantId::parse("other").unwrap(), Roles::all());
    let (seen, total) = soon(server.service.list_workers(&other, None)).await.unwrap();
    assert!(seen.is_empty() && total == 0, "{seen:?}");
    assert!(soon(server.service.list_kinds(&other)).await.unwrap().0.is_empty());
}
