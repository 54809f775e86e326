//! The history: transitions and log lines, oldest first, in pages, and capped.

use longrun::proto::v1::event::Type;
use longrun::proto::v1::*;

use crate::support::*;

fn page(name: &str, page_size: i32, page_token: &str) -> ListEventsRequest {
    ListEventsRequest { name: name.to_owned(), page_size, page_token: page_token.to_owned() }
}

/// What a history says, in short.
fn script(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match &event.log {
        Some(log) => format!("{} log {} {}", event.revision, log.number, log.text),
        None => {
            format!("{} {:?} {:?} {}", event.revision, event.r#type(), event.state(), event.attempt)
        }
    };
    events.iter().map(line).collect()
}

#[tokio::test]
async fn log_lines_stand_after_the_transition_that_they_followed() {
    let mut server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(2))).await.name;
    let mut worker = server.worker("demo", 1).await;
    let first = worker.assignment().await;
    worker.log(&first, &["one", "two"]).await;
    worker.log(&first, &["three"]).await;
    worker.fail(&first, "Again").await;
    let second = worker.assignment().await;
    worker.log(&second, &["four"]).await;
    server.cancel(&name, "enough").await;
    worker.log(&second, &["five"]).await;
    worker.complete(&second, None).await;
    drop(worker);
    let expected = [
        "1 Submitted Queued 0",
        "2 Started Running 1",
        "2 log 1 one",
        "2 log 2 two",
        "2 log 3 three",
        "3 RetryScheduled Queued 1",
        "4 Started Running 2",
        "4 log 4 four",
        "5 CancelRequested Cancelling 2",
        "5 log 5 five",
        "6 Finished Succeeded 2",
    ];
    for restarted in [false, true] {
        let events = server.events(&name).await;
        assert_eq!(script(&events), expected, "{restarted}");
        let log = &events[2];
        assert_eq!((log.r#type(), log.attempt), (Type::Log, 1));
        assert_eq!(log.worker_id, "test-worker");
        assert!(events.iter().all(|event| event.time.is_some()));
        assert_eq!(events[5].error.as_ref().unwrap().code, "Again");
        assert_eq!(events[8].reason, "enough");
        if !restarted {
            server.restart().await;
        }
    }
}

#[tokio::test]
async fn pages_of_every_size_add_up_to_the_whole() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.log(&assignment, &["one", "two", "three"]).await;
    worker.complete(&assignment, None).await;
    let whole = server.events(&name).await;
    assert_eq!(whole.len(), 6);
    for size in 1..=7 {
        let (mut events, mut token) = (Vec::new(), String::new());
        loop {
            let request = page(&name, size, &token);
            let page = soon(server.operations().list_events(request)).await.unwrap().into_inner();
            assert!(!page.events.is_empty() && page.events.len() <= size as usize);
            events.extend(page.events);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(events, whole, "{size}");
    }
}

#[tokio::test]
async fn page_sizes_and_tokens_are_checked() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let other = server.cancelled(submission("demo")).await.name;
    let mut rpc = server.operations();
    soon(rpc.list_events(page(&name, -1, ""))).await.refused().is_about("page_size");
    soon(rpc.list_events(page(&name, 1_000_000, ""))).await.unwrap();
    let first = soon(rpc.list_events(page(&other, 1, ""))).await.unwrap().into_inner();
    let token = first.next_page_token;
    soon(rpc.list_events(page(&name, 1, &token))).await.refused().is_about("page_token");
    for nonsense in ["x", "é", "AAAA", &token[1..], &format!("{token}AA")] {
        let refused = soon(rpc.list_events(page(&other, 1, nonsense))).await.refused();
        refused.is_about("page_token");
    }
}

#[tokio::test]
async fn the_default_page_is_a_hundred_and_the_largest_a_thousand() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.log(&assignment, &["x"; 1_000]).await;
    for (asked, given) in [(0, 100), (1_000, 1_000), (2_000, 1_000)] {
        let page = soon(server.operations().list_events(page(&name, asked, ""))).await.unwrap();
        assert_eq!(page.into_inner().events.len(), given);
    }
}

#[tokio::test]
async fn beyond_a_thousand_lines_the_oldest_go_behind_a_marker() {
    let mut server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let lines: Vec<String> = (1..=600).map(|n| format!("line {n}")).collect();
    for _ in 0..2 {
        assert_eq!(worker.try_log(&assignment, lines.clone()).await, None);
    }
    worker.complete(&assignment, None).await;
    drop(worker);
    for restarted in [false, true] {
        let client = server.client();
        let mut logs = Vec::new();
        let mut events = std::pin::pin!(client.events_all(&name));
        while let Some(event) = soon(futures_util::StreamExt::next(&mut events)).await {
            logs.extend(event.unwrap().log);
        }
        assert_eq!(logs.len(), 1_000);
        assert_eq!((logs[0].number, logs[0].text.as_str()), (201, "line 201"));
        assert_eq!(logs[999].number, 1_200);
        assert_eq!(logs[0].dropped_before, 200, "{restarted}");
        assert!(logs[1..].iter().all(|log| log.dropped_before == 0));
        if !restarted {
            server.restart().await;
        }
    }
}

#[tokio::test]
async fn bytes_are_capped_and_long_lines_cut() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    assert_eq!(worker.try_log(&assignment, vec!["é".repeat(5_000)]).await, None);
    let logs: Vec<_> = server.events(&name).await.into_iter().filter_map(|e| e.log).collect();
    assert_eq!(logs[0].text, "é".repeat(4_096), "8 KiB");
    for _ in 0..2 {
        let lines = vec!["x".repeat(8 << 10); 32];
        assert_eq!(worker.try_log(&assignment, lines).await, None);
    }
    let logs: Vec<_> = server.events(&name).await.into_iter().filter_map(|e| e.log).collect();
    assert_eq!((logs.len(), logs[0].number, logs[31].number), (32, 34, 65));
    assert_eq!(logs[0].dropped_before, 33);
}

#[tokio::test]
async fn reports_of_too_many_lines_are_refused_and_the_stream_goes_on() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    for lines in [vec![String::new(); 1_001], vec!["x".repeat(1 << 10); 257]] {
        let refused = worker.try_log(&assignment, lines).await.unwrap();
        assert_eq!((refused.status_code, refused.reason.as_str()), (3, "INVALID_ARGUMENT"));
        assert_eq!(refused.field_violations[0].field, "log.lines");
    }
    worker.log(&assignment, &["fine"]).await;
    let logs = server.events(&name).await.into_iter().filter_map(|e| e.log).count();
    assert_eq!(logs, 1);
}
