//! One tenant's flood is not felt by another: neither where work is handed out, nor where it is submitted.

use std::time::Instant;

use longrun::engine::{ToWorker, WorkerHello};
use longrun::operation::{Kind, NewOperation, OperationId, Scope, TenantId, WorkerId};
use longrun::service::{Caller, Report, Roles, WorkerSession};
use tokio::sync::mpsc;

use crate::support::*;

fn tenant(name: &str) -> Caller {
    Caller::of(TenantId::parse(name).unwrap(), Roles::all())
}

fn new(kind: &str) -> NewOperation {
    NewOperation::of(Kind::parse(kind).unwrap())
}

async fn submit(server: &ClockedServer, caller: &Caller, kind: &str, count: usize) {
    for chunk in vec![(); count].chunks(1_000) {
        let items = chunk.iter().map(|()| Ok(new(kind))).collect();
        let answers = server.service.submit_batch(caller, items).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }
}

async fn connect(
    server: &ClockedServer,
    kinds: &[&str],
    slots: usize,
) -> (WorkerSession, mpsc::Receiver<ToWorker>) {
    let hello = WorkerHello {
        scope: Scope::All,
        worker: WorkerId::parse("worker").unwrap(),
        kinds: kinds.iter().map(|kind| Kind::parse(kind).unwrap()).collect(),
        max_in_flight: slots,
        resume: None,
        in_process: true,
        running: Vec::new(),
    };
    soon(server.service.connect_worker(&Caller::in_process(), hello)).await.unwrap()
}

/// Whose the next operations are, and of which kind, each completed when as many run as there are slots.
async fn handed_out(
    worker: &mut (WorkerSession, mpsc::Receiver<ToWorker>),
    slots: usize,
    most: usize,
) -> Vec<(String, String)> {
    let (mut order, mut held) = (Vec::new(), std::collections::VecDeque::new());
    while order.len() < most {
        let Some(ToWorker::Assignment { operation, .. }) = soon(worker.1.recv()).await else {
            panic!("expected an assignment")
        };
        let submission = &operation.submission;
        order.push((submission.tenant.to_string(), submission.kind.to_string()));
        held.push_back((operation.id(), operation.life.attempt));
        if held.len() == slots {
            let (id, attempt): (OperationId, _) = held.pop_front().unwrap();
            let report = Report::Complete {
                result: None,
                contents: None,
                warnings: Vec::new(),
                errors: Vec::new(),
            };
            soon(worker.0.report(id, attempt, report)).await.unwrap();
        }
    }
    order
}

#[tokio::test]
async fn anothers_first_operation_starts_within_one_round_whatever_waits_in_front() {
    let server = ClockedServer::start().await;
    submit(&server, &tenant("flood"), "a", 10_000).await;
    submit(&server, &tenant("flood"), "b", 10).await;
    for (name, count) in [("steady", 3), ("zebra", 3)] {
        submit(&server, &tenant(name), "a", count).await;
    }
    for slots in [1, 3] {
        let mut worker = connect(&server, &["a", "b"], slots).await;
        let order = handed_out(&mut worker, slots, 3).await;
        for name in ["flood", "steady", "zebra"] {
            assert_eq!(order.iter().filter(|it| it.0 == name).count(), 1, "{order:?}");
        }
        soon(worker.0.drain()).await.unwrap();
    }
}

#[tokio::test]
async fn the_kinds_of_a_tenant_share_its_turns() {
    let server = ClockedServer::start().await;
    submit(&server, &tenant("flood"), "a", 100).await;
    submit(&server, &tenant("flood"), "b", 100).await;
    submit(&server, &tenant("steady"), "a", 100).await;
    let mut worker = connect(&server, &["a", "b"], 1).await;
    let order = handed_out(&mut worker, 1, 20).await;
    let count =
        |tenant: &str, kind: &str| order.iter().filter(|it| it.0 == tenant && it.1 == kind).count();
    assert_eq!([count("steady", "a"), count("flood", "a"), count("flood", "b")], [10, 5, 5]);
}

/// How long a submission takes depends on the machine. Beside a flood of batches of which each waits for all others, a
/// single submission of another tenant waits for one or two.
#[tokio::test(flavor = "multi_thread")]
async fn a_steady_submitter_hardly_feels_anothers_flood() {
    let server = ClockedServer::start().await;
    let (told, mut answered) = mpsc::unbounded_channel();
    let flooding: Vec<_> = (0..32)
        .map(|_| {
            let (service, told) = (server.service.clone(), told.clone());
            spawn(async move {
                let flood = tenant("flood");
                loop {
                    let begun = Instant::now();
                    let items = (0..400).map(|_| Ok(new("a"))).collect();
                    service.submit_batch(&flood, items).await.unwrap();
                    let _ = told.send(begun.elapsed());
                }
            })
        })
        .collect();
    let mut flooded = Vec::new();
    let mut steadily = Vec::new();
    // All of them wait by then.
    while flooded.len() < 32 {
        flooded.push(soon(answered.recv()).await.unwrap());
    }
    flooded.clear();
    for _ in 0..10 {
        let begun = Instant::now();
        soon(server.service.submit(&tenant("steady"), new("a"))).await.unwrap();
        steadily.push(begun.elapsed());
        flooded.extend(std::iter::from_fn(|| answered.try_recv().ok()));
    }
    flooding.iter().for_each(tokio::task::JoinHandle::abort);
    flooded.sort_unstable();
    steadily.sort_unstable();
    let (batch, single) = (flooded[flooded.len() / 2], steadily[8]);
    assert!(5 * single < batch, "{single:?} of one submission beside {batch:?} of a batch");
}
