//! Reports that are sent again: acknowledged if they are what was recorded, from the worker that sent it.

use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::*;

use crate::support::*;

fn wrong(code: &str) -> Error {
    Error { code: code.to_owned(), ..Error::default() }
}

#[tokio::test]
async fn a_report_sent_again_is_acknowledged_again_and_changes_nothing() {
    let mut server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(2))).await.name;
    let mut worker = server.worker("demo", 1).await;
    let first = worker.assignment().await;
    worker.send(Up::Drain(WorkerDrain {})).await;
    for _ in 0..3 {
        worker.fail(&first, "Again").await;
    }
    assert_eq!(server.get(&name).await.revision, 3);
    let mut worker = server.worker("demo", 1).await;
    let second = worker.assignment().await;
    assert_eq!(second.attempt, 2);
    for _ in 0..3 {
        worker.complete(&second, Some(text("result"))).await;
    }
    let done = server.get(&name).await;
    assert_eq!(done.revision, 5);
    // Its ack was lost with the stream, and the session is over. The worker names it all the same.
    let SessionStarted { session_id, .. } = worker.disconnect();
    server.restart().await;
    let former = Hello { session_id, ..hello("demo", 1) };
    let mut worker = TestWorker::connect(&server, former).await;
    assert!(!worker.session.resumed);
    worker.complete(&second, Some(text("result"))).await;
    assert_eq!(server.get(&name).await, done);
    assert!(try_complete(&mut worker, &second, Some(text("other"))).await.is_some());
}

async fn try_complete(
    worker: &mut TestWorker,
    assignment: &Assignment,
    result: Option<Payload>,
) -> Option<RequestError> {
    let attempt = attempt_of(assignment);
    worker.try_complete(Complete { attempt, result, ..Complete::default() }).await
}

#[tokio::test]
async fn another_report_of_an_attempt_that_is_over_is_refused_and_no_stranger_is_acknowledged() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let mut stranger = server.worker("other", 1).await;
    let assignment = worker.assignment().await;
    let attempt = attempt_of(&assignment);
    let complete = Complete {
        attempt: attempt.clone(),
        result: Some(text("result")),
        warnings: vec![wrong("Slow")],
        ..Complete::default()
    };
    assert_eq!(worker.try_complete(complete.clone()).await, None);
    let done = server.get(&name).await;

    let release = |report_id| Up::Release(Release { attempt: attempt.clone(), report_id });
    let fail = Fail { attempt: attempt.clone(), error: Some(wrong("Late")), ..Fail::default() };
    let others = [
        Complete { result: Some(text("another")), ..complete.clone() },
        Complete { result: Some(data("result")), ..complete.clone() },
        Complete { result: None, ..complete.clone() },
        Complete { warnings: Vec::new(), ..complete.clone() },
        Complete { warnings: vec![wrong("Slower")], ..complete.clone() },
        Complete { errors: vec![wrong("Slow")], ..complete.clone() },
    ];
    let mut refusals = Vec::new();
    for other in others {
        refusals.push(worker.try_complete(other).await);
    }
    refusals.push(stranger.try_complete(complete.clone()).await);
    refusals.push(stranger.try_fail(fail.clone()).await);
    refusals.push(stranger.report(release).await);
    for refused in refusals {
        let refused = refused.expect("a refusal");
        assert_eq!((refused.status_code, refused.reason.as_str()), (9, "STALE_ATTEMPT"));
        let why = "attempt 1 is not current: another report has ended it";
        assert_eq!(refused.message, format!("{name}: {why}"));
    }
    assert_eq!(worker.try_complete(complete).await, None, "the same again");
    assert_eq!(server.get(&name).await, done);

    // Nor is a stranger acknowledged where a failure or a release ended the attempt.
    for ends_by_failure in [true, false] {
        let name = server.submit(with_settings(submission("once"), attempts(1))).await.name;
        let mut worker = server.worker("once", 1).await;
        let assignment = worker.assignment().await;
        worker.send(Up::Drain(WorkerDrain {})).await;
        let attempt = attempt_of(&assignment);
        if ends_by_failure {
            worker.fail(&assignment, "Late").await;
        } else {
            worker.release(&assignment).await;
            worker.release(&assignment).await;
        }
        let before = server.get(&name).await;
        let fail = Fail { attempt: attempt.clone(), ..fail.clone() };
        let release = |report_id| Up::Release(Release { attempt, report_id });
        for refused in [stranger.try_fail(fail).await, stranger.report(release).await] {
            assert_eq!(refused.expect("a refusal").reason, "STALE_ATTEMPT");
        }
        assert_eq!(server.get(&name).await, before);
        server.cancel(&name, "").await;
    }
}

#[tokio::test]
async fn a_refused_report_is_told_which_attempt_is_current() {
    let server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(3))).await.name;
    let attempt = |attempt| Some(AttemptRef { operation: name.clone(), attempt });
    let complete = |number| Complete { attempt: attempt(number), ..Complete::default() };
    let why = async |worker: &mut TestWorker, number| {
        let refused = worker.try_complete(complete(number)).await.expect("a refusal");
        refused.message.strip_prefix(&format!("{name}: ")).unwrap().to_owned()
    };
    let mut other = server.worker("other", 1).await;
    assert_eq!(why(&mut other, 1).await, "attempt 1 is not current: none has started");
    let mut worker = server.worker("demo", 1).await;
    let first = worker.assignment().await;
    assert_eq!(why(&mut other, 1).await, "attempt 1 is held by another session");
    assert_eq!(why(&mut worker, 2).await, "attempt 2 is not current: attempt 1 is");
    worker.fail(&first, "Again").await;
    let second = worker.assignment().await;
    assert_eq!(why(&mut worker, 1).await, "attempt 1 is not current: attempt 2 is");
    worker.complete(&second, None).await;
    let last = "attempt 1 is not current: attempt 2 was the last, and is over";
    assert_eq!(why(&mut worker, 1).await, last);
}

#[tokio::test]
async fn a_failure_is_acknowledged_again_even_if_the_next_attempt_has_begun() {
    let server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(3))).await.name;
    let mut worker = server.worker("demo", 1).await;
    let first = worker.assignment().await;
    worker.fail(&first, "Again").await;
    let second = worker.assignment().await;
    let before = server.get(&name).await;
    worker.fail(&first, "Again").await;
    assert_eq!(server.get(&name).await, before, "acknowledged, and nothing is changed");
    let error = Some(wrong("Differently"));
    let fail = Fail { attempt: attempt_of(&first), error, ..Fail::default() };
    assert_eq!(worker.try_fail(fail).await.unwrap().reason, "STALE_ATTEMPT");
    worker.complete(&second, None).await;
}
