//! Tenants are walls: through the use cases, as two callers, since all gRPC callers are one for now. Workers within the
//! process, and whoever has an attempt's token, stand in no tenant.

use std::time::Duration;

use longrun::engine::{FeedItem, ToWorker, WorkerHello};
use longrun::operation::{
    IdempotencyKey, Kind, NewOperation, OperationId, Scope, TenantId, WorkerId,
};
use longrun::proto::v1::SubmitRequest;
use longrun::service::{
    Acquire, Caller, FeedMessage, FeedStart, HistoryRequest, ListParameters, OperationName, Reason,
    Report, Roles, ServiceError, View, Violations, WatchOptions, WorkerSession, parse_filter,
};
use longrun::wire::decode;
use longrun::wire::size;
use tokio::sync::mpsc;

use crate::support::*;

fn tenant(name: &str) -> Caller {
    Caller::of(TenantId::parse(name).unwrap(), Roles::all())
}

fn new(server: &ClockedServer, kind: &str) -> NewOperation {
    let request = SubmitRequest { input: Some(text("secret")), ..submission(kind) };
    let mut found = Violations::default();
    let new = decode::new_operation(request, "", server.service.limits(), &mut found);
    found.settle(new).unwrap()
}

async fn submit(server: &ClockedServer, caller: &Caller) -> OperationName {
    let submitted = soon(server.service.submit(caller, new(server, "demo"))).await.unwrap();
    OperationName { tenant: None, id: submitted.document.operation.id() }
}

async fn connect(
    server: &ClockedServer,
    caller: &Caller,
) -> (WorkerSession, mpsc::Receiver<ToWorker>) {
    let hello = WorkerHello {
        scope: TenantId::parse("whoever").unwrap().into(),
        worker: WorkerId::parse("worker").unwrap(),
        kinds: vec![Kind::parse("demo").unwrap()],
        max_in_flight: 10,
        resume: None,
        in_process: false,
        running: Vec::new(),
    };
    soon(server.service.connect_worker(caller, hello)).await.unwrap()
}

fn not_found<T: std::fmt::Debug>(answer: Result<T, ServiceError>) {
    assert_eq!(answer.unwrap_err().reason, Reason::OperationNotFound);
}

async fn listed(server: &ClockedServer, caller: &Caller) -> Vec<OperationName> {
    let all = ListParameters::default().read(caller, &mut Violations::default()).unwrap();
    let list = server.service.list(caller, all, View::Full, size::operation);
    let entries = soon(list).await.unwrap().entries.into_iter();
    entries.map(|found| OperationName { tenant: None, id: found.operation.id() }).collect()
}

#[tokio::test]
async fn another_tenants_operation_is_not_found_in_any_use_case() {
    let server = ClockedServer::start().await;
    let (ours, theirs) = (tenant("ours"), tenant("theirs"));
    let (session, mut assignments) = connect(&server, &ours).await;
    let done = submit(&server, &ours).await;
    let Some(ToWorker::Assignment { operation, .. }) = soon(assignments.recv()).await else {
        panic!("expected an assignment")
    };
    let (id, attempt) = (operation.id(), operation.life.attempt);
    let report =
        Report::Complete { result: None, contents: None, warnings: Vec::new(), errors: Vec::new() };
    soon(session.report(id, attempt, report)).await.unwrap();
    soon(session.drain()).await.unwrap();
    let queued = submit(&server, &ours).await;

    let spelled =
        |name: &OperationName| OperationName { tenant: Some(ours.tenant.clone()), ..name.clone() };
    let service = &server.service;
    let options =
        WatchOptions { after: None, include_progress: true, view: View::Full, timeout: None };
    for name in [done.clone(), queued.clone(), spelled(&done), spelled(&queued)] {
        not_found(soon(service.get(&theirs, &name, View::Full)).await);
        not_found(soon(service.wait(&theirs, &name, Duration::ZERO, View::Full)).await);
        not_found(soon(service.watch(&theirs, &name, options)).await);
        let history = HistoryRequest::read(Some(name.clone()), 0, "", &mut Violations::default());
        not_found(soon(service.events(&theirs, history.unwrap(), size::event)).await);
        not_found(soon(service.result(&theirs, &name)).await);
        not_found(soon(service.cancel(&theirs, &name, String::new())).await);
        not_found(soon(service.delete(&theirs, &name)).await);
        not_found(soon(service.retry(&theirs, &name, None, None)).await);
        soon(service.get(&ours, &name, View::Full)).await.unwrap();
    }
    assert_eq!(listed(&server, &theirs).await, []);
    assert_eq!(listed(&server, &ours).await, [queued, done], "nothing has changed");
}

#[tokio::test]
async fn watches_over_a_filter_do_not_leak() {
    let server = ClockedServer::start().await;
    let (ours, theirs) = (tenant("ours"), tenant("theirs"));
    submit(&server, &ours).await;
    let all = parse_filter("").unwrap();
    let mut feed = server.service.watch_all(&theirs, all, true, FeedStart::Current, None).unwrap();
    let mut next = async || match soon(feed.next()).await.unwrap().unwrap() {
        FeedMessage::Item(item) => item,
        FeedMessage::Heartbeat => panic!("time stands still"),
    };
    assert!(matches!(next().await, FeedItem::Synced));
    let name = submit(&server, &ours).await;
    soon(server.service.cancel(&ours, &name, String::new())).await.unwrap();
    soon(server.service.delete(&ours, &name)).await.unwrap();
    let own = submit(&server, &theirs).await;
    match next().await {
        FeedItem::Transition(change) => assert_eq!(change.operation.id(), own.id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_idempotency_key_in_two_tenants_is_two_operations() {
    let server = ClockedServer::start().await;
    let keyed = || NewOperation {
        idempotency_key: Some(IdempotencyKey::parse("same").unwrap()),
        ..new(&server, "demo")
    };
    let mut ids = Vec::new();
    for caller in [tenant("ours"), tenant("theirs")] {
        let first = soon(server.service.submit(&caller, keyed())).await.unwrap();
        let again = soon(server.service.submit(&caller, keyed())).await.unwrap();
        assert!(!first.existing && again.existing);
        assert_eq!(first.document.operation.id(), again.document.operation.id());
        assert_eq!(first.document.operation.submission.tenant, caller.tenant);
        ids.push(first.document.operation.id());
    }
    assert_ne!(ids[0], ids[1]);
    // The same at once, in one commit.
    let at_once = || NewOperation {
        idempotency_key: Some(IdempotencyKey::parse("at once").unwrap()),
        ..new(&server, "demo")
    };
    let (ours, theirs) = (tenant("ours"), tenant("theirs"));
    let (a, b) = soon(async {
        tokio::join!(
            server.service.submit(&ours, at_once()),
            server.service.submit(&theirs, at_once()),
        )
    })
    .await;
    assert_ne!(a.unwrap().document.operation.id(), b.unwrap().document.operation.id());
}

#[tokio::test]
async fn workers_get_and_report_their_own_tenants_work_only() {
    let server = ClockedServer::start().await;
    let (ours, theirs) = (tenant("ours"), tenant("theirs"));
    let (our_session, mut our_work) = connect(&server, &ours).await;
    let (their_session, mut their_work) = connect(&server, &theirs).await;
    let name = submit(&server, &ours).await;
    let Some(ToWorker::Assignment { operation, .. }) = soon(our_work.recv()).await else {
        panic!("expected an assignment")
    };
    assert_eq!(operation.id(), name.id);
    let attempt = operation.life.attempt;
    let complete = || Report::Complete {
        result: None,
        contents: None,
        warnings: Vec::new(),
        errors: Vec::new(),
    };
    not_found(soon(their_session.report(name.id, attempt, complete())).await);
    let own = submit(&server, &theirs).await;
    let Some(ToWorker::Assignment { operation, .. }) = soon(their_work.recv()).await else {
        panic!("expected an assignment")
    };
    assert_eq!(operation.id(), own.id, "the first thing that they hear of");
    soon(our_session.report(name.id, attempt, complete())).await.unwrap();
}

#[tokio::test]
async fn another_tenants_session_cannot_be_resumed() {
    let server = ClockedServer::start().await;
    let (ours, theirs) = (tenant("ours"), tenant("theirs"));
    let (session, mut work) = connect(&server, &ours).await;
    submit(&server, &ours).await;
    soon(work.recv()).await.unwrap();
    let hello = WorkerHello {
        scope: ours.tenant.clone().into(),
        worker: WorkerId::parse("thief").unwrap(),
        kinds: vec![Kind::parse("demo").unwrap()],
        max_in_flight: 1,
        resume: Some(session.id()),
        in_process: false,
        running: Vec::new(),
    };
    let (stolen, mut told) = soon(server.service.connect_worker(&theirs, hello)).await.unwrap();
    assert!(!stolen.resumed());
    assert_ne!(stolen.id(), session.id());
    let own = submit(&server, &theirs).await;
    match soon(told.recv()).await.unwrap() {
        ToWorker::Assignment { operation, .. } => assert_eq!(operation.id(), own.id),
        other => panic!("{other:?}"),
    }
}

fn done() -> Report {
    Report::Complete { result: None, contents: None, warnings: Vec::new(), errors: Vec::new() }
}

#[tokio::test]
async fn a_worker_within_the_process_executes_every_tenants_operations() {
    let server = ClockedServer::start().await;
    let callers = ["ours", "theirs", "others"].map(tenant);
    // Some wait before it comes, some come while it waits.
    let first = submit(&server, &callers[0]).await;
    let (session, mut work) = connect(&server, &Caller::in_process()).await;
    let mut names = vec![first];
    for caller in &callers[1..] {
        names.push(submit(&server, caller).await);
    }
    for name in names {
        let Some(ToWorker::Assignment { operation, .. }) = soon(work.recv()).await else {
            panic!("expected an assignment")
        };
        assert_eq!(operation.id(), name.id);
        soon(session.report(name.id, operation.life.attempt, done())).await.unwrap();
    }
    for caller in &callers {
        let list = listed(&server, caller).await;
        let name = list.first().unwrap();
        let found = soon(server.service.get(caller, name, View::Basic)).await.unwrap();
        assert!(found.operation.is_done());
    }
}

#[tokio::test]
async fn a_tenants_own_worker_goes_before_one_of_all_tenants() {
    let server = ClockedServer::start().await;
    let (ours, theirs) = (tenant("ours"), tenant("theirs"));
    let (_all, mut of_all) = connect(&server, &Caller::in_process()).await;
    let (_own, mut own) = connect(&server, &ours).await;
    let (our_name, their_name) = (submit(&server, &ours).await, submit(&server, &theirs).await);
    for (messages, name) in [(&mut own, our_name), (&mut of_all, their_name)] {
        let Some(ToWorker::Assignment { operation, .. }) = soon(messages.recv()).await else {
            panic!("expected an assignment")
        };
        assert_eq!(operation.id(), name.id);
    }
}

#[tokio::test]
async fn a_session_of_all_tenants_is_nobodys_to_resume() {
    let server = ClockedServer::start().await;
    let (session, mut work) = connect(&server, &Caller::in_process()).await;
    submit(&server, &tenant("ours")).await;
    soon(work.recv()).await.unwrap();
    let hello = WorkerHello {
        scope: Scope::All,
        worker: WorkerId::parse("thief").unwrap(),
        kinds: vec![Kind::parse("demo").unwrap()],
        max_in_flight: 1,
        resume: Some(session.id()),
        in_process: false,
        running: Vec::new(),
    };
    let ours = tenant("ours");
    let connected = server.service.connect_worker(&ours, hello);
    let (stolen, _told) = soon(connected).await.unwrap();
    assert!(!stolen.resumed() && stolen.id() != session.id());
}

#[tokio::test]
async fn the_token_of_an_attempt_is_enough_by_itself_and_not_for_another_tenant() {
    let server = ClockedServer::start().await;
    let (ours, theirs, nobody) = (tenant("ours"), tenant("theirs"), Caller::nobody());
    let name = submit(&server, &ours).await;
    let acquire = Acquire {
        worker: WorkerId::parse("worker").unwrap(),
        kinds: vec![Kind::parse("demo").unwrap()],
        most: 1,
        lease: Some(Duration::from_secs(3_600)),
        wait: Duration::ZERO,
        request: None,
    };
    let service = &server.service;
    let acquired = soon(service.acquire(&ours, acquire)).await.unwrap();
    let token = acquired[0].token;
    not_found(soon(service.renew_attempt(&theirs, &token, None)).await);
    not_found(soon(service.attempt(&theirs, &token)).await);
    not_found(soon(service.report_attempt(&theirs, &token, done())).await);
    not_found(soon(service.input(&theirs, &name, Some(token.session()))).await);

    soon(service.renew_attempt(&nobody, &token, None)).await.unwrap();
    assert_eq!(soon(service.attempt(&nobody, &token)).await.unwrap().operation.id(), name.id);
    soon(service.input(&nobody, &name, Some(token.session()))).await.unwrap();
    // Without the token there is nothing to be learnt, not even whether it is there.
    let absent = OperationName { tenant: None, id: OperationId::from_bytes([7; 16]) };
    for (name, session) in [(&name, None), (&absent, None), (&absent, Some(token.session()))] {
        let refused = soon(service.input(&nobody, name, session)).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Unauthenticated);
    }
    soon(service.report_attempt(&nobody, &token, done())).await.unwrap();
    let found = soon(service.get(&ours, &name, View::Basic)).await.unwrap();
    assert!(found.operation.is_done());
}

#[tokio::test]
async fn a_batch_takes_children_of_its_own_tenant_and_owner() {
    let server = ClockedServer::start().await;
    let (ours, theirs) = (tenant("ours"), tenant("theirs"));
    let secret = longrun::operation::secret::Secret::of(b"secret");
    let owner = |name: &str| {
        let owner = longrun::operation::Owner::of_credentials(&secret, name.as_bytes());
        ours.clone().with_owner(owner)
    };
    let request = longrun::proto::v1::SubmitBatchRequest {
        requests: vec![submission("demo")],
        batch: Some(longrun::proto::v1::Batch::default()),
    };
    let asked = longrun::wire::batches::read(request, server.service.limits()).unwrap();
    let stored = soon(server.service.submit_many(&owner("a"), asked)).await.unwrap();
    let batch = stored.batch.expect("a batch").document.operation.id();
    let child = NewOperation { parent: Some(batch), ..new(&server, "demo") };
    not_found(soon(server.service.submit(&theirs, child.clone())).await);
    not_found(soon(server.service.submit(&ours, child.clone())).await);
    not_found(soon(server.service.submit(&owner("b"), child.clone())).await);
    let many = server.service.submit_batch(&theirs, vec![Ok(child.clone())]);
    not_found(soon(many).await.unwrap().remove(0));
    soon(server.service.submit(&owner("a"), child)).await.unwrap();
    // A filter leads to no other tenant's.
    let filter = format!("parent=\"{batch}\"");
    let parameters = ListParameters { filter: &filter, ..ListParameters::default() };
    for (caller, count) in [(&owner("a"), 2), (&owner("b"), 0), (&theirs, 0)] {
        let asked = parameters.read(caller, &mut Violations::default()).unwrap();
        let list = server.service.list(caller, asked, View::Full, size::operation);
        assert_eq!(soon(list).await.unwrap().entries.len(), count);
    }
}
