//! Limits of tenants: what is refused, what waits, and what others do not feel of it.

use std::time::Duration;

use longrun::engine::{ToWorker, WorkerHello};
use longrun::operation::filter::Filter;
use longrun::operation::limits::{Limit, LimitName, LimitTable};
use longrun::operation::{Kind, NewOperation, Payload, PayloadForm, Scope, TenantId, WorkerId};
use longrun::service::{
    Caller, FeedStart, OperationName, Reason, Report, Roles, ServiceError, View, WorkerSession,
};
use tokio::sync::mpsc;

use crate::support::*;

fn tenant(name: &str) -> Caller {
    Caller::of(TenantId::parse(name).unwrap(), Roles::all())
}

fn new(kind: &str) -> NewOperation {
    NewOperation::of(Kind::parse(kind).unwrap())
}

fn labelled(value: &str) -> NewOperation {
    let labels = [("customer".to_owned(), value.to_owned())].into();
    NewOperation { labels, ..new("a") }
}

fn limit(name: LimitName, tenant: &str, kind: &str) -> Limit {
    Limit { name, tenant: TenantId::parse(tenant).ok(), kind: Kind::parse(kind).ok(), label: None }
}

async fn set(server: &ClockedServer, limits: &[(Limit, u64)]) {
    let table = LimitTable::new(limits.iter().cloned()).unwrap();
    soon(server.service.set_limits(&tenant("operator"), table)).await.unwrap();
}

fn refused<T: std::fmt::Debug>(answer: Result<T, ServiceError>, what: &str, most: u64) {
    let error = answer.unwrap_err();
    assert_eq!(error.reason, Reason::ResourceExhausted, "{error:?}");
    assert!(error.retry_after.is_some());
    assert_eq!(error.metadata.get("what").map(String::as_str), Some(what));
    assert_eq!(error.metadata.get("limit"), Some(&most.to_string()));
}

async fn submit(server: &ClockedServer, caller: &Caller, new: NewOperation) -> OperationName {
    let submitted = soon(server.service.submit(caller, new)).await.unwrap();
    OperationName { tenant: None, id: submitted.document.operation.id() }
}

type Worker = (WorkerSession, mpsc::Receiver<ToWorker>);

async fn connect(server: &ClockedServer, slots: usize) -> Worker {
    let hello = WorkerHello {
        scope: Scope::All,
        worker: WorkerId::parse("worker").unwrap(),
        kinds: ["a", "b"].map(|kind| Kind::parse(kind).unwrap()).into(),
        max_in_flight: slots,
        resume: None,
        in_process: true,
        running: Vec::new(),
    };
    soon(server.service.connect_worker(&Caller::in_process(), hello)).await.unwrap()
}

async fn given(worker: &mut Worker) -> OperationName {
    match soon(worker.1.recv()).await {
        Some(ToWorker::Assignment { operation, .. }) => {
            OperationName { tenant: None, id: operation.id() }
        }
        other => panic!("{other:?}"),
    }
}

async fn complete(server: &ClockedServer, worker: &Worker, name: &OperationName) {
    let found = soon(server.service.get(&Caller::in_process(), name, View::Basic)).await.unwrap();
    let report =
        Report::Complete { result: None, contents: None, warnings: Vec::new(), errors: Vec::new() };
    soon(worker.0.report(name.id, found.operation.life.attempt, report)).await.unwrap();
}

#[tokio::test]
async fn outstanding_operations_are_limited_by_tenant_and_by_kind() {
    let server = ClockedServer::start().await;
    let (ours, theirs) = (tenant("ours"), tenant("theirs"));
    set(
        &server,
        &[
            (limit(LimitName::Outstanding, "ours", ""), 3),
            (limit(LimitName::Outstanding, "", "a"), 2),
        ],
    )
    .await;
    let first = submit(&server, &ours, new("a")).await;
    submit(&server, &ours, new("a")).await;
    refused(soon(server.service.submit(&ours, new("a"))).await, "outstanding", 2);
    refused(soon(server.service.admit(&ours, &new("a"))).await, "outstanding", 2);
    submit(&server, &ours, new("b")).await;
    refused(soon(server.service.submit(&ours, new("b"))).await, "outstanding", 3);
    submit(&server, &theirs, new("b")).await;
    soon(server.service.cancel(&ours, &first, String::new())).await.unwrap();
    submit(&server, &ours, new("a")).await;
}

#[tokio::test]
async fn a_tenants_attempts_run_as_many_at_once_as_its_limit_and_others_beside_them() {
    let server = ClockedServer::start().await;
    let (ours, theirs) = (tenant("ours"), tenant("theirs"));
    set(
        &server,
        &[(limit(LimitName::Running, "ours", ""), 2), (limit(LimitName::Running, "ours", "b"), 1)],
    )
    .await;
    let mut names = Vec::new();
    for kind in ["a", "a", "a", "b", "b"] {
        names.push(submit(&server, &ours, new(kind)).await);
    }
    let mut worker = connect(&server, 10).await;
    let mut running = vec![given(&mut worker).await, given(&mut worker).await];
    let other = submit(&server, &theirs, new("a")).await;
    assert_eq!(given(&mut worker).await, other, "nothing else of ours comes before");
    let mut seen = running.clone();
    while seen.len() < names.len() {
        complete(&server, &worker, &running.remove(0)).await;
        let next = given(&mut worker).await;
        running.push(next.clone());
        seen.push(next);
        let kinds = running.iter().filter(|it| names[3..].contains(it)).count();
        assert!(kinds <= 1, "one of kind b at once: {running:?}");
    }
    seen.sort_unstable_by_key(|it| it.id);
    assert_eq!(seen, names);
    // A higher limit takes effect while it runs.
    let more = [submit(&server, &ours, new("a")).await, submit(&server, &ours, new("a")).await];
    set(&server, &[(limit(LimitName::Running, "ours", ""), 4)]).await;
    for name in more {
        assert_eq!(given(&mut worker).await, name);
    }
}

#[tokio::test]
async fn one_at_a_time_of_each_value_of_a_label() {
    let server = ClockedServer::start().await;
    let ours = tenant("ours");
    let one = Limit { label: Some("customer".to_owned()), ..limit(LimitName::Running, "", "") };
    set(&server, &[(one.clone(), 1)]).await;
    let mut names = Vec::new();
    for value in ["x", "x", "x", "y", "x", "y"] {
        names.push(submit(&server, &ours, labelled(value)).await);
    }
    let bare = submit(&server, &ours, new("a")).await;
    let mut worker = connect(&server, 10).await;
    assert_eq!(
        [given(&mut worker).await, given(&mut worker).await, given(&mut worker).await],
        [names[0].clone(), names[3].clone(), bare]
    );
    // One that waits for its place may go, and another has it then.
    soon(server.service.cancel(&ours, &names[1], String::new())).await.unwrap();
    complete(&server, &worker, &names[0]).await;
    assert_eq!(given(&mut worker).await, names[2]);
    complete(&server, &worker, &names[3]).await;
    assert_eq!(given(&mut worker).await, names[5]);
    complete(&server, &worker, &names[2]).await;
    assert_eq!(given(&mut worker).await, names[4]);
}

#[tokio::test]
async fn submissions_per_second_are_a_bucket_that_says_when_to_come_again() {
    let server = ClockedServer::start().await;
    let ours = tenant("ours");
    set(&server, &[(limit(LimitName::SubmissionsPerSecond, "ours", ""), 2)]).await;
    for _ in 0..20 {
        submit(&server, &ours, new("a")).await;
    }
    let error = soon(server.service.submit(&ours, new("a"))).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_millis(500)));
    refused::<()>(Err(error), "submissions-per-second", 2);
    submit(&server, &tenant("theirs"), new("a")).await;
    server.advance(Duration::from_millis(500));
    submit(&server, &ours, new("a")).await;
    assert!(soon(server.service.submit(&ours, new("a"))).await.is_err());
    server.advance(Duration::from_secs(60));
    let rate = server.service.rate(&ours).unwrap();
    assert_eq!((rate.quota, rate.remaining, rate.reset), (20, 20, Duration::ZERO));
    // A batch that is larger than the quota takes all of it, and of the time after it.
    let batch = (0..30).map(|_| Ok(new("a"))).collect();
    soon(server.service.submit_batch(&ours, batch)).await.unwrap();
    let error = soon(server.service.submit(&ours, new("a"))).await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_millis(5_500)));
}

#[tokio::test]
async fn watches_and_sessions_are_counted_while_they_last() {
    let server = ClockedServer::start().await;
    let ours = tenant("ours");
    set(
        &server,
        &[(limit(LimitName::Watches, "ours", ""), 2), (limit(LimitName::Sessions, "ours", ""), 1)],
    )
    .await;
    let feed = || server.service.watch_all(&ours, Filter::default(), false, FeedStart::Now, None);
    let (first, _second) = (feed().unwrap(), feed().unwrap());
    refused(feed().map(drop), "watches", 2);
    drop(first);
    feed().unwrap();
    let hello = || WorkerHello {
        scope: Scope::All,
        worker: WorkerId::parse("worker").unwrap(),
        kinds: vec![Kind::parse("a").unwrap()],
        max_in_flight: 1,
        resume: None,
        in_process: false,
        running: Vec::new(),
    };
    let (session, _told) = soon(server.service.connect_worker(&ours, hello())).await.unwrap();
    refused(soon(server.service.connect_worker(&ours, hello())).await.map(drop), "sessions", 1);
    soon(server.service.connect_worker(&tenant("theirs"), hello())).await.unwrap();
    session.disconnect();
    soon(server.service.connect_worker(&ours, hello())).await.unwrap();
}

#[tokio::test]
async fn payloads_and_retention_have_a_ceiling() {
    let server = ClockedServer::start().await;
    let ours = tenant("ours");
    set(
        &server,
        &[
            (limit(LimitName::PayloadBytes, "ours", ""), 10),
            (limit(LimitName::RetentionSeconds, "", ""), 60),
        ],
    )
    .await;
    let of = |size: usize| NewOperation {
        input: Some(Payload::new(PayloadForm::Data, "text/plain", vec![b'x'; size].into())),
        ..new("a")
    };
    let name = submit(&server, &ours, of(10)).await;
    let error = soon(server.service.submit(&ours, of(11))).await.unwrap_err();
    assert_eq!(error.reason, Reason::PayloadTooLarge, "{error:?}");
    submit(&server, &tenant("theirs"), of(11)).await;
    let found = soon(server.service.get(&ours, &name, View::Basic)).await.unwrap();
    assert_eq!(found.operation.submission.settings.retention, Duration::from_secs(60));
}
