//! Watches as long calls: heartbeats in silence, and an end with OK to resume from.

use std::time::Duration;

use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::*;
use tonic::Request;

use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn silence_is_broken_by_heartbeats_that_name_the_revision() {
    let heartbeat_interval = Duration::from_secs(15);
    let tuning = Tuning { heartbeat_interval, ..Tuning::default() };
    let server = ClockedServer::with(tuning).await;
    let name = server.submit(submission("demo")).await.name;
    let mut watch = server.watch(watch_now(&name)).await;
    let mut all = server.watch_all(WatchOperationsRequest::default()).await;
    watch.expect(Type::Snapshot).await;
    for expected in
        [watch_operations_response::Type::Current, watch_operations_response::Type::Synced]
    {
        assert_eq!(all.next().await.r#type(), expected);
    }
    for _ in 0..3 {
        soon(server.clock.is_awaited_in(heartbeat_interval)).await;
        server.advance(heartbeat_interval);
        let heartbeat = watch.expect(Type::Heartbeat).await;
        assert_eq!((heartbeat.revision, heartbeat.operation, heartbeat.event), (1, None, None));
        let heartbeat = all.next().await;
        assert_eq!(heartbeat.r#type(), watch_operations_response::Type::Heartbeat);
        assert_eq!(heartbeat.operation, None);
    }
    server.cancel(&name, "").await;
    assert_eq!(watch.expect(Type::Transition).await.revision, 2);
    watch.ended().await;
}

#[tokio::test]
async fn an_old_stream_ends_with_ok_and_the_next_one_goes_on() {
    let tuning = Tuning { max_stream_age: 5 * MINUTE, ..Tuning::default() };
    let server = ClockedServer::with(tuning).await;
    let name = server.submit(with_settings(submission("demo"), attempts(9))).await.name;
    let mut watch = server.watch(watch_from(&name, 0)).await;
    let request = WatchOperationsRequest { skip_current: true, ..Default::default() };
    let mut all = server.watch_all(request).await;
    assert_eq!(all.next().await.r#type(), watch_operations_response::Type::Synced);
    assert_eq!(watch.next().await.revision, 1);
    server.advance(6 * MINUTE);
    watch.ended().await;
    all.ended().await;
    server.cancel(&name, "").await;
    assert_eq!(server.watch(watch_from(&name, 1)).await.revisions().await, [2]);
}

#[tokio::test]
async fn no_stream_is_ended_before_four_fifths_of_its_age() {
    let tuning = Tuning { max_stream_age: 5 * MINUTE, ..Tuning::default() };
    let server = ClockedServer::with(tuning).await;
    let name = server.submit(submission("demo")).await.name;
    let mut watches = Vec::new();
    for _ in 0..20 {
        let mut watch = server.watch(watch_now(&name)).await;
        watch.expect(Type::Snapshot).await;
        watches.push(watch);
    }
    server.advance(4 * MINUTE - Duration::from_millis(1));
    server.cancel(&name, "").await;
    for watch in watches {
        assert_eq!(watch.revisions().await, [2]);
    }
}

#[tokio::test]
async fn the_calls_own_deadline_ends_a_watch_with_ok() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut request = Request::new(watch_now(&name));
    request.set_timeout(Duration::from_secs(1));
    let stream = soon(server.operations().watch_operation(request)).await.unwrap().into_inner();
    let messages = Watching(stream).rest().await;
    let [snapshot] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(snapshot.r#type(), Type::Snapshot);
}

#[tokio::test]
async fn the_calls_own_deadline_ends_a_watch_over_a_filter_with_ok() {
    let server = TestServer::start().await;
    let mut request = Request::new(WatchOperationsRequest::default());
    request.set_timeout(Duration::from_secs(1));
    let stream = soon(server.operations().watch_operations(request)).await.unwrap().into_inner();
    let messages = Watching(stream).rest().await;
    let [synced] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(synced.r#type(), watch_operations_response::Type::Synced);
}

#[tokio::test]
async fn a_reader_that_is_behind_when_the_operation_is_deleted_is_told() {
    let server = TestServer::start().await;
    // More history than is read at a time, and more bytes than are sent ahead of a reader.
    let name = server.submit(with_settings(submission("demo"), attempts(100))).await.name;
    let mut slow = Api::narrow(server.addr).watch(watch_from(&name, 0)).await;
    let mut worker = server.worker("demo", 1).await;
    let message = "why ".repeat(16_000);
    for _ in 0..100 {
        let assignment = worker.assignment().await;
        let error =
            Error { code: "Again".to_owned(), message: message.clone(), ..Error::default() };
        let (attempt, error) = (attempt_of(&assignment), Some(error));
        assert_eq!(worker.try_fail(Fail { attempt, error, ..Fail::default() }).await, None);
    }
    server.delete(&name).await;
    let mut last = 0;
    let status = loop {
        match soon(slow.0.message()).await {
            Ok(Some(message)) => {
                assert_eq!(message.revision, last + 1);
                last = message.revision;
            }
            Ok(None) => panic!("ended with OK at revision {last}"),
            Err(status) => break status,
        }
    };
    assert!(last < 201, "{last}");
    Refused::read(&status).is_not_found();
}
