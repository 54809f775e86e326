//! Watching a filter: current matches, a mark, then every change to what matches.

use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::watch_operations_response::Type;
use longrun::proto::v1::*;

use crate::support::*;

fn over(filter: &str) -> WatchOperationsRequest {
    WatchOperationsRequest { filter: filter.to_owned(), ..Default::default() }
}

/// A submission whose operation takes 2 KiB in every message.
fn large() -> SubmitRequest {
    let labels = (0..8).map(|n| (format!("l{n}"), "x".repeat(255))).collect();
    SubmitRequest { labels, ..submission("demo") }
}

impl Watching<WatchOperationsResponse> {
    /// The next message must be this, about this operation.
    async fn tells(&mut self, expected: Type, name: &str) -> WatchOperationsResponse {
        let message = self.next().await;
        let about = message.operation.as_ref().map_or("", |operation| operation.name.as_str());
        assert_eq!((message.r#type(), about), (expected, name), "{message:?}");
        message
    }
}

#[tokio::test]
async fn current_matches_then_a_mark_then_every_transition() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(text("input")), ..submission("demo") };
    let first = server.submit(request).await;
    let mut watch = server.watch_all(over("")).await;
    let current = watch.tells(Type::Current, &first.name).await;
    assert_eq!((current.operation, current.event), (Some(first.clone()), None));
    watch.tells(Type::Synced, "").await;

    let second = server.submit(submission("demo")).await;
    let new = watch.tells(Type::Transition, &second.name).await;
    assert_eq!(new.event.unwrap().r#type(), EventType::Submitted);
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let started = watch.tells(Type::Transition, &first.name).await;
    assert_eq!(started.event.unwrap().r#type(), EventType::Started);
    worker.complete(&assignment, Some(text("result"))).await;
    let finished = watch.tells(Type::Transition, &first.name).await;
    assert_eq!(finished.event.unwrap().state(), operation::State::Succeeded);
    let operation = finished.operation.unwrap();
    assert_eq!(operation.result.unwrap().content, None, "BASIC view");
}

#[tokio::test]
async fn what_stops_matching_has_left_and_what_is_deleted_says_so() {
    let server = TestServer::start().await;
    let mut queued = server.watch_all(over("state=QUEUED")).await;
    let mut cancelled = server.watch_all(over("state=CANCELLED AND kind=demo")).await;
    queued.tells(Type::Synced, "").await;
    cancelled.tells(Type::Synced, "").await;

    let name = server.submit(submission("demo")).await.name;
    let other = server.submit(submission("other")).await.name;
    queued.tells(Type::Transition, &name).await;
    queued.tells(Type::Transition, &other).await;
    server.cancel(&name, "").await;
    let left = queued.tells(Type::Left, &name).await;
    assert_eq!(left.event.unwrap().state(), operation::State::Cancelled);
    cancelled.tells(Type::Transition, &name).await;

    server.cancel(&other, "").await;
    queued.tells(Type::Left, &other).await;
    server.delete(&name).await;
    cancelled.tells(Type::Deleted, &name).await;
    let last = server.submit(submission("demo")).await.name;
    queued.tells(Type::Transition, &last).await;
}

#[tokio::test]
async fn current_matches_can_be_left_out() {
    let server = TestServer::start().await;
    server.submit(submission("demo")).await;
    let request = WatchOperationsRequest { skip_current: true, ..over("kind=demo") };
    let mut watch = server.watch_all(request).await;
    watch.tells(Type::Synced, "").await;
    let name = server.submit(submission("demo")).await.name;
    watch.tells(Type::Transition, &name).await;
}

#[tokio::test]
async fn current_matches_are_complete_and_in_order_beyond_a_page() {
    let server = TestServer::start().await;
    server.submit_batch(vec![submission("demo"); 450]).await;
    server.submit(submission("other")).await;
    let expected = server.matching("kind=demo").await;
    let mut watch = server.watch_all(over("kind=demo")).await;
    for name in &expected {
        watch.tells(Type::Current, name).await;
    }
    watch.tells(Type::Synced, "").await;
}

#[tokio::test]
async fn nothing_is_lost_or_told_twice_while_the_beginning_is_read() {
    let server = TestServer::start().await;
    server.submit_batch(vec![large(); 600]).await;
    // Much more than is sent ahead of a reader that does not read yet.
    let mut watch = Api::narrow(server.addr).watch_all(over("")).await;
    let busy = server.api.clone();
    let busy = spawn(async move {
        for name in busy.matching("").await.iter().step_by(10) {
            busy.cancel(name, "").await;
            busy.submit(submission("demo")).await;
        }
    });
    soon(busy).await.unwrap();
    let marker = server.submit(submission("marker")).await.name;
    // Folding the messages gives the operations as they are.
    let mut known = std::collections::BTreeMap::new();
    loop {
        let message = watch.next().await;
        let Some(operation) = &message.operation else { continue };
        let (name, revision) = (operation.name.clone(), operation.revision);
        let before = known.insert(name.clone(), revision);
        match message.r#type() {
            Type::Current => assert_eq!(before, None, "{name}"),
            _ => assert_eq!(before.unwrap_or(0) + 1, revision, "{name}"),
        }
        if name == marker {
            break;
        }
    }
    let everything = ListOperationsRequest { page_size: 1_000, ..Default::default() };
    let stored = server.list(everything).await.operations.into_iter();
    assert_eq!(known, stored.map(|operation| (operation.name, operation.revision)).collect());
}

#[tokio::test]
async fn a_reader_that_is_slow_misses_nothing() {
    let server = TestServer::start().await;
    let mut watch = Api::narrow(server.addr).watch_all(over("")).await;
    watch.tells(Type::Synced, "").await;
    // More changes than are kept in memory, and more bytes than are sent ahead of a reader.
    for _ in 0..6 {
        server.submit_batch(vec![large(); 1_000]).await;
    }
    for name in server.matching("").await {
        watch.tells(Type::Transition, &name).await;
    }
}

#[tokio::test]
async fn a_watch_goes_on_behind_any_position() {
    let server = TestServer::start().await;
    let first = server.submit(submission("demo")).await.name;
    let mut watch = server.watch_all(over("")).await;
    watch.tells(Type::Current, &first).await;
    let mut positions = vec![watch.next().await.position];
    let second = server.submit(submission("demo")).await.name;
    positions.push(watch.next().await.position);
    server.cancel(&first, "").await;
    positions.push(watch.next().await.position);
    server.delete(&first).await;
    positions.push(watch.next().await.position);
    let resume = async |position: &str| {
        let after_position = position.to_owned();
        server.watch_all(WatchOperationsRequest { after_position, ..over("") }).await
    };
    for (number, position) in positions.iter().enumerate() {
        let mut again = resume(position).await;
        // What is gone meanwhile is told as that only.
        if number < 3 {
            again.tells(Type::Deleted, &first).await;
        }
        if number < 1 {
            again.tells(Type::Transition, &second).await;
        }
        let last = positions.last().unwrap();
        let mut last = resume(last).await;
        server.cancel(&server.submit(submission("marker")).await.name, "").await;
        assert_eq!(again.next().await.operation, last.next().await.operation, "nothing between");
    }
    // What no server over this store has given out begins again.
    let mut again = resume("elsewhere").await;
    assert_eq!(again.next().await.r#type(), Type::Reset);
    again.tells(Type::Current, &second).await;
}

#[tokio::test]
async fn bad_filters_are_refused_before_the_stream() {
    let server = TestServer::start().await;
    for filter in ["state=", "nonsense=1", "(", "state=NOPE"] {
        let refused = soon(server.operations().watch_operations(over(filter))).await.refused();
        refused.is_about("filter");
    }
}
