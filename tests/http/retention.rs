//! What is told of operations whose retention is up.

use std::time::Duration;

use longrun::operation::{OperationId, TenantId};
use longrun::service::{Caller, OperationName, Roles, View};
use serde_json::json;

use crate::listening::Listener;
use crate::support::{JSON, Server};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The paths of operations that ended and are kept for two minutes, the clock then set forward past it.
async fn expired(server: &Server, count: usize) -> Vec<String> {
    let changes = server.open("GET", "/v1/operations/events?skip_current=true", &[], "").await;
    let mut changes = Listener::of_body(changes.into_body());
    changes.opening().await;
    changes.event("synced").await;
    let mut paths = Vec::new();
    for _ in 0..count {
        let body = json!({"kind": "k", "settings": {"retention": "120s"}}).to_string();
        let path = server.ask("POST", "/v1/operations", &[JSON], body).await.expect(202).location();
        server.ask("POST", &format!("{path}:cancel"), &[JSON], "").await.expect(200);
        for _ in 0..2 {
            changes.event("transition").await;
        }
        paths.push(path);
    }
    server.clock.advance(Duration::from_secs(120));
    for _ in 0..count {
        changes.event("deleted").await;
    }
    paths
}

fn id(path: &str) -> OperationId {
    OperationId::parse(path.rsplit('/').next().expect("an id")).expect("an id")
}

#[tokio::test]
async fn an_operation_is_gone_after_its_retention_and_not_unknown() {
    let server = Server::start().await;
    let path = expired(&server, 1).await.remove(0);
    for url in ["", "/status", "/result", "/events", "?wait=9s"] {
        server.get(&format!("{path}{url}")).await.problem(410, "OPERATION_EXPIRED");
    }
    let problem = server.get(&path).await.problem(410, "OPERATION_EXPIRED");
    assert_eq!(problem["purgeTime"], "2026-01-01T00:02:00Z");
    assert!(path.ends_with(problem["operation"].as_str().expect("a name")), "{problem}");
    for (method, url) in [
        ("POST", format!("{path}:cancel")),
        ("POST", format!("{path}:retry")),
        ("DELETE", path.clone()),
    ] {
        server.ask(method, &url, &[], "").await.problem(410, "OPERATION_EXPIRED");
    }
    let headers = [("accept", "text/event-stream"), ("last-event-id", "1")];
    let events = format!("{path}/events");
    server.ask("GET", &events, &headers, "").await.problem(410, "OPERATION_EXPIRED");
    assert_eq!(server.get("/v1/operations").await.json(), json!({"operations": []}));

    let name = OperationName { tenant: None, id: id(&path) };
    let refused = server.service.get(&Caller::anonymous(), &name, View::Basic).await.unwrap_err();
    assert_eq!(refused.reason.grpc_code(), 5, "NOT_FOUND");
    // Another tenant never hears of it.
    let stranger = Caller::of(TenantId::parse("other").expect("a name"), Roles::all());
    let refused = server.service.get(&stranger, &name, View::Basic).await.unwrap_err();
    assert_eq!(refused.reason.as_str(), "OPERATION_NOT_FOUND");
    assert_eq!(refused.metadata.keys().collect::<Vec<_>>(), ["operation"]);
}

#[tokio::test]
async fn what_expired_is_forgotten_in_the_end() {
    let server = Server::start().await;
    let paths = expired(&server, 300).await;
    server.clock.advance(7 * DAY - Duration::from_secs(1));
    server.get(&paths[299]).await.problem(410, "OPERATION_EXPIRED");
    server.clock.advance(Duration::from_secs(1));
    server.get(&paths[299]).await.problem(404, "OPERATION_NOT_FOUND");
    // And the store is rid of it, without anybody asking.
    let forgotten = async {
        for path in &paths {
            while server.store.tombstone(id(path)).await.expect("an answer").is_some() {}
        }
    };
    tokio::time::timeout(Duration::from_secs(20), forgotten).await.expect("all to be forgotten");
}

#[tokio::test]
async fn what_was_deleted_is_forgotten_at_once() {
    let server = Server::start().await;
    let path = server.submit("d").await;
    server.ask("POST", &format!("{path}:cancel"), &[JSON], "").await.expect(200);
    server.ask("DELETE", &path, &[], "").await.expect(204);
    server.get(&path).await.problem(404, "OPERATION_NOT_FOUND");
}
