//! Progress in a watch: coalesced, never a transition, the last one of an attempt always sent.

use std::time::Duration;

use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::*;

use crate::support::*;

fn with_progress(name: &str) -> WatchOperationRequest {
    WatchOperationRequest { include_progress: true, ..watch_now(name) }
}

fn done(units: i64, of: i64) -> Progress {
    Progress { done_units: Some(units), total_units: Some(of), ..Progress::default() }
}

fn units(message: &WatchOperationResponse) -> Option<i64> {
    message.operation.as_ref().unwrap().progress.as_ref().and_then(|p| p.done_units)
}

#[tokio::test]
async fn progress_is_coalesced_and_the_last_report_comes_before_the_end() {
    let server = ClockedServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut watch = server.watch(with_progress(&name)).await;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    watch.expect(Type::Snapshot).await;
    assert_eq!(watch.expect(Type::Transition).await.revision, 2);

    worker.progress(&assignment, done(1, 200)).await;
    let first = watch.expect(Type::Progress).await;
    assert_eq!((units(&first), first.revision), (Some(1), 2), "told at once, no transition");
    let progress = first.operation.unwrap().progress.unwrap();
    assert_eq!(progress.percent, Some(0.5), "computed from the units");
    assert!(progress.update_time.is_some());

    for unit in 2..=100 {
        worker.progress(&assignment, done(unit, 200)).await;
    }
    // The ack says that the reports before it have been taken.
    worker.log(&assignment, &["half"]).await;
    soon(server.clock.is_awaited_in(Duration::from_millis(250))).await;
    server.advance(Duration::from_millis(250));
    let second = watch.expect(Type::Progress).await;
    assert_eq!(units(&second), Some(100), "what was reported in between is skipped");

    for unit in 101..=200 {
        worker.progress(&assignment, done(unit, 200)).await;
    }
    worker.complete(&assignment, None).await;
    assert_eq!(units(&watch.expect(Type::Progress).await), Some(200), "the last is always sent");
    let end = watch.expect(Type::Transition).await;
    assert_eq!(units(&end), Some(200), "and stays in the operation");
    watch.ended().await;
}

#[tokio::test]
async fn progress_comes_after_the_transitions_before_it() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    // For a watch that is there all along the server keeps more transitions at hand than otherwise.
    let mut other = server.watch(watch_now(&name)).await;
    other.expect(Type::Snapshot).await;
    let mut worker = server.worker("demo", 1).await;
    for _ in 0..3 {
        let assignment = worker.assignment().await;
        worker.release(&assignment).await;
    }
    let assignment = worker.assignment().await;
    worker.progress(&assignment, done(1, 2)).await;
    worker.log(&assignment, &["told"]).await;
    let resumed = WatchOperationRequest { after_revision: Some(1), ..with_progress(&name) };
    let mut watch = server.watch(resumed).await;
    for revision in 2..=8 {
        assert_eq!(watch.expect(Type::Transition).await.revision, revision);
    }
    assert_eq!(watch.expect(Type::Progress).await.revision, 8);
}

#[tokio::test]
async fn without_being_asked_for_progress_is_not_sent() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let watch = server.watch(watch_from(&name, 0)).await;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.progress(&assignment, done(1, 2)).await;
    worker.complete(&assignment, None).await;
    assert_eq!(watch.revisions().await, [1, 2, 3]);
}

#[tokio::test]
async fn the_latest_progress_shows_wherever_the_operation_does() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let report = Progress { percent: Some(12.5), message: "é".repeat(1_000), ..done(3, 24) };
    worker.progress(&assignment, report.clone()).await;
    worker.log(&assignment, &["told"]).await;
    let got = server.get(&name).await.progress.unwrap();
    assert_eq!(Progress { update_time: None, ..got.clone() }, report);
    let listed = server.list(ListOperationsRequest::default()).await.operations.remove(0);
    assert_eq!(listed.progress.as_ref(), Some(&got));
    assert_eq!(listed.revision, 2, "progress is not a transition");
    let snapshot = server.watch(watch_now(&name)).await.expect(Type::Snapshot).await;
    assert_eq!(snapshot.operation.unwrap().progress, Some(got));
}

#[tokio::test]
async fn what_is_out_of_range_is_brought_into_it() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    for (given, percent) in [
        (Progress { percent: Some(-1.0), ..Progress::default() }, Some(0.0)),
        (Progress { percent: Some(1e9), ..Progress::default() }, Some(100.0)),
        (Progress { percent: Some(f64::NAN), ..Progress::default() }, None),
        (Progress { percent: Some(f64::NAN), ..done(1, 4) }, Some(25.0)),
        (done(9, 4), Some(100.0)),
        (done(1, 0), None),
        (done(-1, -4), None),
        (Progress { message: "x".repeat(1_001), ..Progress::default() }, None),
    ] {
        worker.progress(&assignment, given).await;
        worker.log(&assignment, &["told"]).await;
        let progress = server.get(&name).await.progress.unwrap();
        assert_eq!(progress.percent, percent);
        assert!(progress.done_units.is_none_or(|units| units >= 0));
        assert!(progress.message.chars().count() <= 1_000, "{}", progress.message.len());
    }
}

#[tokio::test]
async fn a_new_attempt_begins_without_the_old_ones_progress() {
    let server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(2))).await.name;
    let mut worker = server.worker("demo", 1).await;
    let first = worker.assignment().await;
    worker.progress(&first, done(1, 2)).await;
    worker.fail(&first, "Again").await;
    let second = worker.assignment().await;
    assert_eq!(server.get(&name).await.progress, None);
    // A late report of the attempt before is no news.
    worker.progress(&first, done(2, 2)).await;
    worker.log(&second, &["told"]).await;
    assert_eq!(server.get(&name).await.progress, None);
}

#[tokio::test]
async fn watches_over_a_filter_tell_progress_when_asked() {
    use watch_operations_response::Type;
    let server = ClockedServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let request = WatchOperationsRequest { include_progress: true, ..Default::default() };
    let mut watch = server.watch_all(request).await;
    // To the end before anything changes: a transition meanwhile may come on either side of it.
    for expected in [Type::Current, Type::Synced] {
        assert_eq!(watch.next().await.r#type(), expected);
    }
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    assert_eq!(watch.next().await.r#type(), Type::Transition);
    for unit in 1..=10 {
        worker.progress(&assignment, done(unit, 10)).await;
    }
    worker.log(&assignment, &["told"]).await;
    soon(server.clock.is_awaited_in(Duration::from_millis(250))).await;
    server.advance(Duration::from_millis(250));
    let news = watch.next().await;
    assert_eq!(news.r#type(), Type::Progress);
    let news = news.operation.unwrap();
    assert_eq!(news.name, name);
    assert_eq!(news.progress.unwrap().done_units, Some(10), "coalesced");
}
