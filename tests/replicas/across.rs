//! Submitted at one, watched at another, done by a worker of a third.

use longrun::proto::v1::cancel_attempt::Cause;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::payload::Content;
use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::{
    CancelOperationRequest, Complete, GetOperationRequest, Payload, Progress, ReportProgress,
    SubmitRequest, WatchOperationRequest,
};

use crate::postgres_support::database;
use crate::support::{Replica, attempt, soon};

fn complete(attempt: longrun::proto::v1::AttemptRef) -> Up {
    Up::Complete(Complete { attempt: Some(attempt), report_id: 1, ..Default::default() })
}

#[tokio::test]
async fn what_is_submitted_at_one_is_done_at_another_and_watched_at_a_third() {
    let store = database().await.url;
    let [a, b, c] = [(); 3].map(|()| Replica::start(&store, &[]));
    // Both ways round: the worker is there before the work, and after it.
    for worker_first in [true, false] {
        let kind = if worker_first { "waited.for" } else { "waiting" };
        let early = if worker_first { Some(c.work(kind, None, Vec::new()).await) } else { None };
        let operation = a.submit(kind).await;
        let mut watch = b.watch(&operation).await;
        assert_eq!(watch.transition().await, (1, State::Queued));
        let mut work = match early {
            Some(work) => work,
            None => c.work(kind, None, Vec::new()).await,
        };
        let assignment = work.assignment().await;
        assert_eq!(assignment.operation.as_ref().unwrap().name, operation.name);
        assert_eq!(watch.transition().await, (2, State::Running));
        work.say(complete(attempt(&assignment))).await;
        assert!(matches!(work.heard().await, Down::Ack(ack) if ack.error.is_none()));
        assert_eq!(watch.transition().await, (3, State::Succeeded));
    }
}

#[tokio::test]
async fn what_is_submitted_and_watched_in_one_call_may_be_done_anywhere_and_asked_for_again_elsewhere()
 {
    let store = database().await.url;
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    for place in [&a, &b] {
        let kind = if place.url == a.url { "here" } else { "there" };
        let mut work = place.work(kind, None, Vec::new()).await;
        for number in 0..3 {
            let request = SubmitRequest {
                kind: kind.to_owned(),
                idempotency_key: format!("{kind} {number}"),
                ..Default::default()
            };
            let mut watch = a.submit_and_watch(request.clone()).await;
            let snapshot = watch.message().await;
            assert_eq!((snapshot.r#type(), snapshot.revision), (Type::Snapshot, 1));
            assert_eq!(watch.transition().await, (2, State::Running));
            let mut again = b.submit_and_watch(request).await;
            let name = again.message().await.operation.unwrap().name;
            assert_eq!(name, snapshot.operation.unwrap().name);
            let assignment = work.assignment().await;
            work.say(complete(attempt(&assignment))).await;
            assert!(matches!(work.heard().await, Down::Ack(ack) if ack.error.is_none()));
            assert_eq!(watch.transition().await, (3, State::Succeeded));
            assert_eq!(again.transition().await, (3, State::Succeeded));
        }
    }
}

#[tokio::test]
async fn progress_that_is_reported_at_one_is_seen_at_another() {
    let store = database().await.url;
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    let mut work = a.work("slow", None, Vec::new()).await;
    let operation = b.submit("slow").await;
    let request = WatchOperationRequest {
        name: operation.name.clone(),
        include_progress: true,
        ..Default::default()
    };
    let mut watch = b.operations().watch_operation(request).await.unwrap().into_inner();
    let assignment = work.assignment().await;
    let progress = Progress { percent: Some(40.0), ..Default::default() };
    let attempt = Some(attempt(&assignment));
    work.say(Up::Progress(ReportProgress { attempt, progress: Some(progress) })).await;
    loop {
        let message = soon(watch.message()).await.unwrap().expect("the watch has ended");
        if message.r#type() == Type::Progress {
            let seen = message.operation.unwrap().progress.unwrap();
            assert_eq!(seen.percent, Some(40.0));
            break;
        }
    }
    let request = GetOperationRequest { name: operation.name, ..Default::default() };
    let got = b.operations().get_operation(request).await.unwrap().into_inner();
    assert_eq!(got.progress.unwrap().percent, Some(40.0));
}

#[tokio::test]
async fn a_cancel_at_one_reaches_the_worker_at_another() {
    let store = database().await.url;
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    let mut work = a.work("long", None, Vec::new()).await;
    let operation = a.submit("long").await;
    let assignment = work.assignment().await;
    let cancel = CancelOperationRequest { name: operation.name.clone(), ..Default::default() };
    b.operations().cancel_operation(cancel).await.unwrap();
    match work.heard().await {
        Down::Cancel(cancel) => {
            assert_eq!(cancel.cause(), Cause::CancelRequested);
            assert_eq!(cancel.attempt, Some(attempt(&assignment)));
        }
        other => panic!("no cancel but {other:?}"),
    }
}

#[tokio::test]
async fn a_worker_takes_its_session_along_to_another_replica() {
    let store = database().await.url;
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    let mut work = a.work("moving", None, Vec::new()).await;
    let operation = a.submit("moving").await;
    let assignment = work.assignment().await;
    let session = work.session.clone();
    drop(work);
    let running = vec![attempt(&assignment)];
    let mut work = b.work("moving", Some(&session), running).await;
    assert!(work.session.resumed, "{:?}", work.session);
    work.say(complete(attempt(&assignment))).await;
    assert!(matches!(work.heard().await, Down::Ack(ack) if ack.error.is_none()));
    let mut watch = a.watch(&operation).await;
    while watch.transition().await != (3, State::Succeeded) {}
    // Its place is free again, whoever submits.
    let next = a.submit("moving").await;
    assert_eq!(work.assignment().await.operation.unwrap().name, next.name);
}

#[tokio::test]
async fn a_report_that_is_sent_again_is_acknowledged_at_any_replica_and_no_other_is() {
    let store = database().await.url;
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    let mut work = a.work("again", None, Vec::new()).await;
    a.submit("again").await;
    let attempt = attempt(&work.assignment().await);
    let said = |report_id, text: &str| {
        let result =
            Payload { content: Some(Content::Text(text.to_owned())), ..Payload::default() };
        let attempt = Some(attempt.clone());
        Up::Complete(Complete { attempt, report_id, result: Some(result), ..Complete::default() })
    };
    let reason = |message: Down| match message {
        Down::Ack(ack) => ack.error.map(|error| error.reason).unwrap_or_default(),
        other => panic!("no answer but {other:?}"),
    };
    work.say(said(1, "result")).await;
    assert_eq!(reason(work.heard().await), "");
    let session = work.session.clone();
    drop(work);
    let mut again = b.work("again", Some(&session), Vec::new()).await;
    let mut stranger = b.work("other", None, Vec::new()).await;
    for (is_stranger, text, expected) in [
        (false, "result", ""),
        (false, "another", "STALE_ATTEMPT"),
        (true, "result", "STALE_ATTEMPT"),
    ] {
        let work = if is_stranger { &mut stranger } else { &mut again };
        work.say(said(2, text)).await;
        assert_eq!(reason(work.heard().await), expected, "{text}");
    }
}

#[tokio::test]
async fn work_of_a_replica_that_died_is_done_by_another_once() {
    let store = database().await.url;
    let dying = Replica::start(&store, &["--handler", "sleepy=sleep 600"]);
    let operation = dying.submit("sleepy").await;
    let b = Replica::start(&store, &[]);
    let mut watch = b.watch(&operation).await;
    while watch.transition().await != (2, State::Running) {}
    dying.kill();
    let mut work = b.work("sleepy", None, Vec::new()).await;
    let assignment = work.assignment().await;
    assert_eq!(
        (assignment.attempt, &assignment.operation.as_ref().unwrap().name),
        (2, &operation.name)
    );
    work.say(complete(attempt(&assignment))).await;
    // Lost once, started once, done.
    assert_eq!(watch.transition().await, (3, State::Queued));
    assert_eq!(watch.transition().await, (4, State::Running));
    assert_eq!(watch.transition().await, (5, State::Succeeded));
}
