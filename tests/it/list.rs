//! Lists: pages that stay stable, filters, orders, and what is refused.

use longrun::proto::v1::*;

use crate::support::*;

fn page(page_size: i32) -> ListOperationsRequest {
    ListOperationsRequest { page_size, ..Default::default() }
}

fn ordered(order_by: &str) -> ListOperationsRequest {
    ListOperationsRequest { order_by: order_by.to_owned(), ..Default::default() }
}

async fn submitted(server: &TestServer, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(server.submit(submission("demo")).await.name);
    }
    names
}

#[tokio::test]
async fn pages_add_up_newest_first() {
    let server = TestServer::start().await;
    assert_eq!(server.list(page(0)).await, ListOperationsResponse::default());
    let mut names = submitted(&server, 7).await;
    names.reverse();
    for size in [1, 2, 3, 7, 8] {
        assert_eq!(server.names(page(size)).await, names, "{size}");
    }
    let full = server.list(page(7)).await;
    assert_eq!(full.next_page_token, "", "no token where there is no next page");
}

#[tokio::test]
async fn pages_are_stable_while_operations_come_and_go() {
    let server = TestServer::start().await;
    let names = submitted(&server, 6).await;
    let first = server.list(page(2)).await;
    let seen: Vec<_> = first.operations.iter().map(|op| op.name.clone()).collect();
    assert_eq!(seen, [names[5].clone(), names[4].clone()]);
    // The last one seen goes, and so does one that is to come; a new one comes at the beginning.
    for gone in [&names[4], &names[2]] {
        server.cancel(gone, "").await;
        server.delete(gone).await;
    }
    server.submit(submission("demo")).await;
    let rest = ListOperationsRequest { page_token: first.next_page_token, ..page(2) };
    let rest = server.names(rest).await;
    assert_eq!(rest, [names[3].clone(), names[1].clone(), names[0].clone()]);
}

#[tokio::test]
async fn tokens_belong_to_their_list() {
    let server = TestServer::start().await;
    submitted(&server, 3).await;
    let filtered = ListOperationsRequest { filter: "kind=demo".to_owned(), ..page(1) };
    let page_token = server.list(filtered.clone()).await.next_page_token;
    assert!(!page_token.is_empty());
    let with_token = |request| ListOperationsRequest { page_token: page_token.clone(), ..request };
    server.list(with_token(filtered.clone())).await;
    let resized = ListOperationsRequest { page_size: 100, ..filtered.clone() };
    server.list(with_token(resized)).await;
    let misused = [
        with_token(page(1)),
        with_token(ListOperationsRequest { filter: "kind=other".to_owned(), ..page(1) }),
        with_token(ListOperationsRequest { order_by: "end_time".to_owned(), ..filtered.clone() }),
        ListOperationsRequest { page_token: "nonsense".to_owned(), ..filtered.clone() },
        ListOperationsRequest { page_token: format!("{page_token}A"), ..filtered.clone() },
        ListOperationsRequest { page_token: page_token[1..].to_owned(), ..filtered },
    ];
    for request in misused {
        let refused = soon(server.operations().list_operations(request)).await.refused();
        refused.is_about("page_token");
    }
}

#[tokio::test]
async fn page_sizes_have_a_default_and_a_maximum() {
    let server = TestServer::start().await;
    server.submit_batch(vec![submission("demo"); 1_000]).await;
    server.submit(submission("demo")).await;
    for (asked, given) in [(0, 50), (1_000, 1_000), (1_000_000, 1_000)] {
        let page = server.list(page(asked)).await;
        assert_eq!(page.operations.len(), given);
        assert!(!page.next_page_token.is_empty());
    }
    let refused = soon(server.operations().list_operations(page(-1))).await.refused();
    refused.is_about("page_size");
}

#[tokio::test]
async fn orders_are_by_creation_or_by_end() {
    let server = TestServer::start().await;
    let names = submitted(&server, 5).await;
    for at in [3, 1, 4] {
        server.cancel(&names[at], "").await;
    }
    let of = |order: [usize; 5]| order.map(|at| names[at].clone());
    let cases = [
        ("", of([4, 3, 2, 1, 0])),
        ("create_time", of([0, 1, 2, 3, 4])),
        ("create_time asc", of([0, 1, 2, 3, 4])),
        ("  create_time   desc ", of([4, 3, 2, 1, 0])),
    ];
    for (order_by, expected) in cases {
        for page_size in [0, 2] {
            let request = ListOperationsRequest { page_size, ..ordered(order_by) };
            assert_eq!(server.names(request).await, expected, "{order_by:?}");
        }
    }
    // What is not done counts as ending last, the newest of it as the very last.
    let by_end = of([3, 1, 4, 0, 2]);
    let latest_first = of([2, 0, 4, 1, 3]);
    for (order_by, expected) in [("end_time", by_end), ("end_time desc", latest_first)] {
        for page_size in [0, 1, 2] {
            let request = ListOperationsRequest { page_size, ..ordered(order_by) };
            assert_eq!(server.names(request).await, expected, "{order_by:?}");
        }
    }
    for bad in ["name", "create_time up", "create_time, end_time", "CREATE_TIME"] {
        let refused = soon(server.operations().list_operations(ordered(bad))).await.refused();
        refused.is_about("order_by");
    }
}

#[tokio::test]
async fn filters_are_about_state_kind_labels_times_and_numbers() {
    let server = TestServer::start().await;
    let labelled = |kind: &str, team: &str, priority| SubmitRequest {
        labels: [("team".to_owned(), team.to_owned())].into(),
        ..with_settings(submission(kind), Settings { priority, ..Settings::default() })
    };
    let a = server.submit(labelled("report.build", "blue", 0)).await.name;
    let b = server.submit(labelled("report.send", "red", 7)).await.name;
    let c = server.submit(submission("import")).await;
    server.cancel(&b, "").await;
    let created = c.create_time.unwrap();
    let c = c.name;
    assert!(created.seconds > 1_577_836_800);
    let cases: Vec<(&str, Vec<&String>)> = vec![
        ("", vec![&a, &b, &c]),
        ("state=QUEUED", vec![&a, &c]),
        ("state!=QUEUED", vec![&b]),
        ("kind=report.build", vec![&a]),
        ("kind=\"report.*\"", vec![&a, &b]),
        ("labels.team:*", vec![&a, &b]),
        ("labels.team=red", vec![&b]),
        ("NOT labels.team=red", vec![&a, &c]),
        ("done=true", vec![&b]),
        ("priority>=7", vec![&b]),
        ("attempt=0 AND done=false", vec![&a, &c]),
        ("create_time>\"2020-01-01T00:00:00Z\"", vec![&a, &b, &c]),
        ("create_time<\"2020-01-01T00:00:00Z\"", vec![]),
        ("end_time:*", vec![&b]),
        ("start_time:*", vec![]),
        ("kind=import OR state=CANCELLED AND labels.team:*", vec![&b]),
        ("NOT (done=true OR priority>5)", vec![&a, &c]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<String> = expected.into_iter().cloned().collect();
        assert_eq!(server.matching(filter).await, expected, "{filter}");
    }
    let long = "x".repeat(4_097);
    for bad in ["state=", "nope=1", "state=NOPE", "(", "priority=high", "kind=a AND", &long] {
        let request = ListOperationsRequest { filter: bad.to_owned(), ..page(0) };
        soon(server.operations().list_operations(request)).await.refused().is_about("filter");
    }
}

#[tokio::test]
async fn views_carry_contents_and_cut_pages_short() {
    let server = TestServer::start().await;
    let request = SubmitRequest { input: Some(data(vec![7; 60_000])), ..submission("demo") };
    server.submit_batch(vec![request; 70]).await;
    let view = |view: OperationView| ListOperationsRequest { view: view.into(), ..page(1_000) };
    let basic = server.list(view(OperationView::Unspecified)).await;
    assert_eq!(basic.operations.len(), 70);
    assert!(basic.operations.iter().all(|op| op.input.as_ref().unwrap().omitted));
    let full = server.list(view(OperationView::Full)).await;
    assert_eq!(full.operations.len(), (3 << 20) / 60_000);
    assert!(full.operations.iter().all(|op| op.input.as_ref().unwrap().content.is_some()));
    assert_eq!(server.names(view(OperationView::Full)).await.len(), 70);
    let request = ListOperationsRequest { view: 9, ..page(0) };
    soon(server.operations().list_operations(request)).await.refused().is_about("view");
}
