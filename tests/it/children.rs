//! Batches: operations with children, which end by a rule.

use longrun::operation::limits::{Limit, LimitName, LimitTable};
use longrun::proto::v1::batch::Rule;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::submit_batch_result::Outcome;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::*;
use prost_types::Value;
use prost_types::value::Kind;
use tonic::Code;

use crate::support::*;

fn batch(rule: Rule) -> Batch {
    Batch { rule: rule.into(), ..Batch::default() }
}

fn request(batch: Batch, children: usize) -> SubmitBatchRequest {
    let once = with_settings(submission("demo"), attempts(1));
    SubmitBatchRequest { requests: vec![once; children], batch: Some(batch) }
}

fn child_of(parent: &Operation) -> SubmitRequest {
    SubmitRequest { parent: parent.name.clone(), ..with_settings(submission("demo"), attempts(1)) }
}

fn operations(response: &SubmitBatchResponse) -> Vec<Operation> {
    let operation = |result: &SubmitBatchResult| match result.outcome.clone() {
        Some(Outcome::Operation(operation)) => operation,
        other => panic!("{other:?}"),
    };
    response.results.iter().map(operation).collect()
}

async fn submit(server: &TestServer, request: SubmitBatchRequest) -> (Operation, Vec<Operation>) {
    let response = soon(server.operations().submit_batch(request)).await.unwrap().into_inner();
    let children = operations(&response);
    (response.batch.expect("a batch"), children)
}

async fn refused(server: &TestServer, request: SubmitBatchRequest) -> Refused {
    soon(server.operations().submit_batch(request)).await.refused()
}

async fn retry(server: &TestServer, name: &str, key: &str) -> Result<Operation, Refused> {
    let (name, idempotency_key) = (name.to_owned(), key.to_owned());
    let request = RetryOperationRequest { name, idempotency_key };
    match soon(server.operations().retry_operation(request)).await {
        Ok(retried) => Ok(retried.into_inner()),
        Err(status) => Err(Refused::read(&status)),
    }
}

/// Waits until the operation is as it should be.
async fn until(server: &TestServer, name: &str, is: impl Fn(&Operation) -> bool) -> Operation {
    soon(async {
        loop {
            let operation = server.look(name).await;
            if is(&operation) {
                return operation;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

/// The counts: total, succeeded, failed, cancelled.
fn ended(operation: &Operation) -> [i64; 4] {
    let counts = operation.children.expect("counts");
    [counts.total, counts.succeeded, counts.failed, counts.cancelled]
}

/// A number of the result.
fn in_result(operation: &Operation, name: &str) -> f64 {
    let content = operation.result.clone().and_then(|result| result.content);
    let Some(payload::Content::Json(Value { kind: Some(Kind::StructValue(fields)) })) = content
    else {
        panic!("{operation:?}");
    };
    match fields.fields.get(name).and_then(|value| value.kind.clone()) {
        Some(Kind::NumberValue(number)) => number,
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test]
async fn a_batch_ends_when_all_its_children_have_succeeded() {
    let server = TestServer::start().await;
    let (parent, children) = submit(&server, request(batch(Rule::All), 3)).await;
    assert_eq!((parent.kind.as_str(), children.len()), ("longrun.batch", 3));
    assert!(children.iter().all(|child| child.parent == parent.name));
    assert_eq!(children[0].create_time, parent.create_time, "they come in one commit");
    assert_eq!(ended(&server.look(&parent.name).await), [3, 0, 0, 0]);
    let filter = format!("parent=\"{}\"", parent.name);
    let names: Vec<String> = children.iter().map(|child| child.name.clone()).collect();
    assert_eq!(server.matching(&filter).await, names);
    assert_eq!(server.matching("parent:*").await, names);

    let mut worker = server.worker("demo", 3).await;
    for done in 1..=3 {
        let assignment = worker.assignment().await;
        worker.complete(&assignment, None).await;
        until(&server, &parent.name, |it| ended(it)[1] == done).await;
        if done == 1 {
            let counted = |it: &Operation| {
                let progress = it.progress.clone().unwrap_or_default();
                (progress.done_units, progress.total_units) == (Some(1), Some(3))
            };
            until(&server, &parent.name, counted).await;
        }
    }
    let parent = server.done(&parent.name).await;
    assert_eq!((parent.state(), ended(&parent)), (State::Succeeded, [3, 3, 0, 0]));
    assert_eq!(in_result(&server.look(&parent.name).await, "succeeded"), 3.0);
    assert_eq!(parent.attempt, 1);
}

#[tokio::test]
async fn the_first_failure_ends_a_batch_of_all_and_cancels_the_rest() {
    let server = TestServer::start().await;
    let mut asked = request(batch(Rule::All), 30);
    asked.requests[29].settings.as_mut().expect("settings").priority = 100;
    let (parent, children) = submit(&server, asked).await;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.fail(&assignment, "Broken").await;
    let done = server.done(&parent.name).await;
    assert_eq!(done.state(), State::Failed);
    let error = done.error.clone().expect("an error");
    assert_eq!(error.code, "BATCH_FAILED");
    assert!(error.message.contains("ALL") && error.message.contains("1 failed"), "{error:?}");
    let first = &error.causes[0];
    assert_eq!(
        (first.code.as_str(), &first.metadata["operation"]),
        ("CHILD_FAILED", &children[29].name)
    );
    assert!(first.message.contains("Broken"), "{error:?}");
    // The worker may have begun another in between.
    let operation = until(&server, &parent.name, |it| {
        let counts = it.children.expect("counts");
        counts.queued + counts.running == 0
    });
    assert_eq!(ended(&operation.await)[2], 1);
}

#[tokio::test]
async fn a_cancel_that_fails_a_batch_is_named_before_those_that_follow_from_it() {
    let server = TestServer::start().await;
    let (parent, children) = submit(&server, request(batch(Rule::All), 30)).await;
    server.cancel(&children[29].name, "not needed").await;
    let done = server.done(&parent.name).await;
    let error = done.error.clone().expect("an error");
    let first = &error.causes[0];
    assert_eq!(
        (first.code.as_str(), &first.metadata["operation"]),
        ("CHILD_CANCELLED", &children[29].name)
    );
    assert!(first.message.contains("not needed"), "{error:?}");
}

#[tokio::test]
async fn the_first_success_ends_a_batch_of_any() {
    let server = TestServer::start().await;
    let (parent, _) = submit(&server, request(batch(Rule::Any), 3)).await;
    let mut worker = server.worker("demo", 1).await;
    let first = worker.assignment().await;
    worker.fail(&first, "Broken").await;
    let second = worker.assignment().await;
    worker.complete(&second, None).await;
    assert_eq!(server.done(&parent.name).await.state(), State::Succeeded);

    let (parent, children) = submit(&server, request(batch(Rule::Any), 2)).await;
    for child in &children {
        server.cancel(&child.name, "").await;
    }
    let done = server.done(&parent.name).await;
    assert_eq!((done.state(), ended(&done)), (State::Failed, [2, 0, 0, 2]));
}

#[tokio::test]
async fn a_batch_may_have_some_failures() {
    let server = TestServer::start().await;
    let some = Batch { max_failures: 1, ..batch(Rule::MaxFailures) };
    let (parent, _) = submit(&server, request(some.clone(), 3)).await;
    let mut worker = server.worker("demo", 1).await;
    for number in 0..3 {
        let assignment = worker.assignment().await;
        match number {
            1 => worker.fail(&assignment, "Broken").await,
            _ => worker.complete(&assignment, None).await,
        };
    }
    let done = server.done(&parent.name).await;
    assert_eq!((done.state(), ended(&done)), (State::PartiallySucceeded, [3, 2, 1, 0]));
    assert_eq!(done.errors.len(), 1);
    assert_eq!(done.errors[0].code, "CHILD_FAILED");
    assert!(done.errors[0].metadata["operation"].starts_with("operations/"));

    let (parent, _) = submit(&server, request(some, 3)).await;
    for _ in 0..2 {
        let assignment = worker.assignment().await;
        worker.fail(&assignment, "Broken").await;
    }
    assert_eq!(server.done(&parent.name).await.state(), State::Failed);
}

#[tokio::test]
async fn a_batch_waits_for_the_children_that_it_expects() {
    let server = TestServer::start().await;
    let expecting = Batch { expected_children: 2, ..batch(Rule::All) };
    let (parent, children) = submit(&server, request(expecting, 0)).await;
    assert_eq!(children, []);
    let mut worker = server.worker("demo", 1).await;
    for number in 1..=2 {
        let child = server.submit(child_of(&parent)).await;
        assert_eq!(child.parent, parent.name);
        assert_eq!(ended(&server.look(&parent.name).await)[0], number, "its submitter sees it");
        let assignment = worker.assignment().await;
        worker.complete(&assignment, None).await;
        if number == 1 {
            let one = until(&server, &parent.name, |it| {
                it.progress.as_ref().is_some_and(|it| it.done_units == Some(1))
            });
            let one = one.await;
            assert_eq!((one.done, one.progress.and_then(|it| it.total_units)), (false, Some(2)));
        }
    }
    assert_eq!(server.done(&parent.name).await.state(), State::Succeeded);
    let late = soon(server.operations().submit(child_of(&parent))).await.refused();
    late.is(Code::FailedPrecondition, "PARENT_NOT_OPEN");
}

#[tokio::test]
async fn a_batch_is_cancelled_as_one() {
    let server = TestServer::start().await;
    let (parent, children) = submit(&server, request(batch(Rule::All), 600)).await;
    let mut worker = server.worker("demo", 1).await;
    let running = worker.assignment().await;
    let cancelled = server.cancel(&parent.name, "enough").await;
    assert!(matches!(cancelled.state(), State::Cancelling | State::Cancelled), "{cancelled:?}");
    let counts = server.look(&parent.name).await.children.expect("counts");
    assert_eq!(counts.queued + counts.running, 0, "all were asked before the answer");
    let late = soon(server.operations().submit(child_of(&parent))).await.refused();
    late.is(Code::FailedPrecondition, "PARENT_NOT_OPEN");
    let name = running.operation.as_ref().expect("an operation").name.clone();
    assert_eq!(server.get(&name).await.state(), State::Cancelling);
    assert!(!server.look(&parent.name).await.done, "it waits for its children");
    worker.fail(&running, "Stopped").await;
    let done = server.done(&parent.name).await;
    assert_eq!((done.state(), ended(&done)), (State::Cancelled, [600, 0, 0, 600]));
    let child = server.get(&children[599].name).await;
    assert!(child.error.expect("why").message.contains("enough"));
    server.cancel(&parent.name, "again").await;
}

#[tokio::test]
async fn a_retry_of_a_batch_tries_its_unsuccessful_children_alone() {
    let server = TestServer::start().await;
    let lenient = Batch { max_failures: 5, ..batch(Rule::MaxFailures) };
    let with_inputs = |number: usize| SubmitRequest {
        input: Some(text(&number.to_string())),
        ..with_settings(submission("demo"), attempts(1))
    };
    let asked = SubmitBatchRequest {
        requests: (0..5).map(with_inputs).collect(),
        batch: Some(Batch { labels: [("team".to_owned(), "a".to_owned())].into(), ..lenient }),
    };
    let (old, children) = submit(&server, asked).await;
    let early = retry(&server, &old.name, "").await.expect_err("it is not done");
    early.is(Code::FailedPrecondition, "OPERATION_NOT_DONE");
    let mut worker = server.worker("demo", 1).await;
    let mut failed = Vec::new();
    for number in 0..5 {
        let assignment = worker.assignment().await;
        if number % 2 == 0 {
            worker.complete(&assignment, None).await;
        } else {
            failed.push(assignment.operation.clone().expect("an operation").name);
            worker.fail(&assignment, "Broken").await;
        }
    }
    assert_eq!(server.done(&old.name).await.state(), State::PartiallySucceeded);

    let new = retry(&server, &old.name, "again").await.expect("a batch");
    let same = retry(&server, &old.name, "again").await.expect("the same");
    assert_eq!((&same.name, &new.retry_of, &new.labels), (&new.name, &old.name, &old.labels));
    for _ in 0..2 {
        let assignment = worker.assignment().await;
        let operation = assignment.operation.clone().expect("an operation");
        assert_eq!(operation.parent, new.name);
        assert!(failed.contains(&operation.retry_of), "{operation:?}");
        worker.complete(&assignment, None).await;
    }
    let done = server.done(&new.name).await;
    assert_eq!((done.state(), ended(&done)), (State::Succeeded, [2, 2, 0, 0]));
    let none = retry(&server, &new.name, "").await.expect_err("all have succeeded");
    none.is(Code::FailedPrecondition, "NOTHING_TO_RETRY");
    server.delete(&failed[0]).await;
    let counts = server.look(&old.name).await.children.expect("counts");
    assert_eq!((counts.total, counts.failed, counts.removed), (5, 2, 1), "it had it");
    let gone = retry(&server, &old.name, "").await.expect_err("one is gone");
    gone.is(Code::FailedPrecondition, "NOTHING_TO_RETRY");
    assert_eq!(server.get(&children[0].name).await.parent, old.name);
}

#[tokio::test]
async fn a_child_alone_is_tried_again_without_the_batch() {
    let server = TestServer::start().await;
    let (_, children) = submit(&server, request(batch(Rule::Any), 2)).await;
    server.cancel(&children[0].name, "").await;
    let alone = retry(&server, &children[0].name, "").await.expect("a retry");
    assert_eq!((alone.parent.as_str(), &alone.retry_of), ("", &children[0].name));
}

#[tokio::test]
async fn a_key_makes_a_batch_safe_to_repeat() {
    let server = TestServer::start().await;
    let keyed = Batch { idempotency_key: "nightly".to_owned(), ..batch(Rule::All) };
    let mut asked = request(keyed, 3);
    asked.requests[1].idempotency_key = "mine".to_owned();
    let (parent, children) = submit(&server, asked.clone()).await;
    let keys: Vec<&str> = children.iter().map(|it| it.idempotency_key.as_str()).collect();
    assert_eq!(keys, ["nightly/0", "mine", "nightly/2"]);
    let names = |children: &[Operation]| -> Vec<String> {
        children.iter().map(|child| child.name.clone()).collect()
    };
    let (same, known) = submit(&server, asked.clone()).await;
    assert_eq!((same.name, names(&known)), (parent.name.clone(), names(&children)));
    assert_eq!(server.matching("").await.len(), 4);

    let mut other = asked.clone();
    other.requests.pop();
    refused(&server, other).await.is(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let mut taken = asked.clone();
    taken.batch = Some(batch(Rule::All));
    refused(&server, taken).await.is(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(server.matching("").await.len(), 4, "nothing of either was stored");

    server.cancel(&children[0].name, "").await;
    server.done(&parent.name).await;
    server.delete(&children[0].name).await;
    let again = soon(server.operations().submit_batch(asked)).await.unwrap().into_inner();
    let Some(Outcome::Error(error)) = &again.results[0].outcome else { panic!("{again:?}") };
    assert_eq!(error.reason, "OPERATION_NOT_FOUND");
}

#[tokio::test]
async fn a_child_is_found_by_its_key_when_its_batch_takes_no_more() {
    let server = TestServer::start().await;
    let expecting = Batch { expected_children: 2, ..batch(Rule::All) };
    let (parent, _) = submit(&server, request(expecting, 0)).await;
    let keyed = SubmitRequest { idempotency_key: "late".to_owned(), ..child_of(&parent) };
    let child = server.submit(keyed.clone()).await;
    server.cancel(&parent.name, "").await;
    server.done(&parent.name).await;
    assert_eq!(server.submit(keyed.clone()).await.name, child.name, "its answer was lost");
    let repeated = server.submit_batch(vec![keyed.clone(), child_of(&parent)]).await;
    let Some(Outcome::Operation(known)) = &repeated[0].outcome else { panic!("{repeated:?}") };
    assert_eq!(known.name, child.name);
    let Some(Outcome::Error(late)) = &repeated[1].outcome else { panic!("{repeated:?}") };
    assert_eq!(late.reason, "PARENT_NOT_OPEN");
    let other = SubmitRequest { input: Some(text("other")), ..keyed };
    let reused = soon(server.operations().submit(other)).await.refused();
    reused.is(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn a_child_is_found_by_its_key_when_its_batch_is_gone() {
    let server = TestServer::start().await;
    let expecting = Batch { expected_children: 2, ..batch(Rule::All) };
    let (parent, _) = submit(&server, request(expecting, 0)).await;
    let keyed = SubmitRequest { idempotency_key: "late".to_owned(), ..child_of(&parent) };
    let child = server.submit(keyed.clone()).await;
    server.cancel(&parent.name, "").await;
    server.done(&parent.name).await;
    server.delete(&parent.name).await;
    assert_eq!(server.submit(keyed.clone()).await.name, child.name, "its answer was lost");
    let new = SubmitRequest { idempotency_key: "new".to_owned(), ..keyed.clone() };
    let several = vec![child_of(&parent), keyed.clone(), new.clone()];
    let repeated = server.submit_batch(several).await;
    let Some(Outcome::Operation(known)) = &repeated[1].outcome else { panic!("{repeated:?}") };
    assert_eq!(known.name, child.name);
    for late in [&repeated[0], &repeated[2]] {
        let Some(Outcome::Error(late)) = &late.outcome else { panic!("{repeated:?}") };
        assert_eq!(late.reason, "OPERATION_NOT_FOUND");
    }
    for absent in [new, child_of(&parent)] {
        let refused = soon(server.operations().submit(absent)).await.refused();
        refused.is(Code::NotFound, "OPERATION_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let server = TestServer::with(|config| config.limits.max_outstanding = 3).await;
    let mut bad = request(Batch { max_failures: 1, ..batch(Rule::All) }, 2);
    bad.requests[1].kind = "not a kind".to_owned();
    let refusal = refused(&server, bad).await;
    assert_eq!(refusal.fields(), ["batch.max_failures", "requests[1].kind"]);
    refusal.is(Code::InvalidArgument, "INVALID_ARGUMENT");
    refused(&server, request(batch(Rule::All), 3))
        .await
        .is(Code::ResourceExhausted, "RESOURCE_EXHAUSTED");
    refused(&server, request(batch(Rule::All), 0)).await.is_about("requests");
    let mut twice = request(batch(Rule::All), 2);
    twice.requests.iter_mut().for_each(|it| it.idempotency_key = "one".to_owned());
    refused(&server, twice).await.is_about("requests[1].idempotency_key");
    for (own, made) in [(1, 0), (0, 1)] {
        let keyed = Batch { idempotency_key: "night".to_owned(), ..batch(Rule::All) };
        let mut met = request(keyed, 2);
        met.requests[own].idempotency_key = format!("night/{made}");
        refused(&server, met).await.is_about(&format!("requests[{own}].idempotency_key"));
    }
    let mut of_another = request(batch(Rule::All), 1);
    of_another.requests[0].parent = "operations/0191e2ab-7c1d-7000-8000-0123456789ab".to_owned();
    refused(&server, of_another).await.is_about("requests[0].parent");
    assert_eq!(server.matching("").await, Vec::<String>::new());
    submit(&server, request(batch(Rule::All), 2)).await;
}

#[tokio::test]
async fn only_a_batch_has_children_and_only_the_server_executes_it() {
    let server = TestServer::start().await;
    let ordinary = server.submit(submission("demo")).await;
    let not_open = soon(server.operations().submit(child_of(&ordinary))).await.refused();
    not_open.is(Code::FailedPrecondition, "PARENT_NOT_OPEN");
    let nowhere = Operation {
        name: "operations/0191e2ab-7c1d-7000-8000-0123456789ab".to_owned(),
        ..Operation::default()
    };
    let not_found = soon(server.operations().submit(child_of(&nowhere))).await.refused();
    not_found.is(Code::NotFound, "OPERATION_NOT_FOUND");
    let by_hand = soon(server.operations().submit(submission("longrun.batch"))).await.refused();
    by_hand.is_about("kind").is(Code::InvalidArgument, "INVALID_ARGUMENT");
    let (_up, mut down) = open_stream(&server, Some(Up::Hello(hello("longrun.batch", 1)))).await;
    Refused::read(&soon(down.message()).await.unwrap_err()).is_about("hello.kinds");
    assert_eq!(ordinary.children, None);
}

#[tokio::test]
async fn ten_thousand_children_are_counted_listed_and_cancelled() {
    let server = TestServer::start().await;
    let expecting = Batch { expected_children: 10_000, ..batch(Rule::All) };
    let (parent, _) = submit(&server, request(expecting, 1_000)).await;
    for _ in 0..9 {
        let results = server.submit_batch(vec![child_of(&parent); 1_000]).await;
        assert!(results.iter().all(|it| matches!(it.outcome, Some(Outcome::Operation(_)))));
    }
    assert_eq!(ended(&server.look(&parent.name).await), [10_000, 0, 0, 0]);
    let cancelled = server.cancel(&parent.name, "").await;
    assert!(cancelled.cancel_time.is_some());
    let done = server.done(&parent.name).await;
    assert_eq!((done.state(), ended(&done)), (State::Cancelled, [10_000, 0, 0, 10_000]));
}

#[tokio::test]
async fn a_batch_goes_on_after_a_restart_and_takes_no_place_of_its_tenant() {
    let mut server = TestServer::with(|config| {
        let limit = Limit { name: LimitName::Running, tenant: None, kind: None, label: None };
        config.tenants = LimitTable::new([(limit, 2)]).expect("a table");
    })
    .await;
    let (parent, _) = submit(&server, request(batch(Rule::All), 2)).await;
    let running = |it: &Operation| it.state() == State::Running;
    until(&server, &parent.name, running).await;
    server.restart().await;
    let mut worker = server.worker("demo", 2).await;
    for _ in 0..2 {
        let assignment = worker.assignment().await;
        worker.complete(&assignment, None).await;
    }
    let done = server.done(&parent.name).await;
    assert_eq!((done.state(), done.attempts_used), (State::Succeeded, 1));
}
