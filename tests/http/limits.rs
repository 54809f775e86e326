//! What answers say of a tenant's limits.

use std::time::Duration;

use longrun::operation::Kind;
use longrun::operation::limits::{Limit, LimitName, LimitTable};
use longrun::service::Caller;
use serde_json::json;

use crate::support::{JSON, Server};

async fn set(server: &Server, name: LimitName, most: u64) {
    let limit = Limit { name, tenant: None, kind: None, label: None };
    let table = LimitTable::new([(limit, most)]).expect("a table");
    server.service.set_limits(&Caller::anonymous(), table).await.expect("they hold");
}

#[tokio::test]
async fn submissions_say_what_is_left_of_their_rate_and_when_to_come_again() {
    let server = Server::start().await;
    let body = || json!({"kind": "k"}).to_string();
    let free = server.ask("POST", "/v1/operations", &[JSON], body()).await.expect(202);
    assert_eq!(free.header("ratelimit"), "", "there is no limit");
    set(&server, LimitName::SubmissionsPerSecond, 1).await;
    for left in (0..10).rev() {
        let answer = server.ask("POST", "/v1/operations", &[JSON], body()).await.expect(202);
        assert_eq!(answer.header("ratelimit-policy"), "\"submissions\";q=10;w=10");
        assert_eq!(answer.header("ratelimit"), format!("\"submissions\";r={left};t={}", 10 - left));
    }
    let refused = server.ask("POST", "/v1/operations", &[JSON], body()).await;
    assert_eq!(refused.header("ratelimit"), "\"submissions\";r=0;t=10");
    assert_eq!(refused.header("retry-after"), "1");
    let problem = refused.problem(429, "RESOURCE_EXHAUSTED");
    assert_eq!(problem["what"], "submissions-per-second", "{problem}");
    assert_eq!(problem["tenant"], "default", "{problem}");
    server.clock.advance(Duration::from_secs(1));
    server.ask("POST", "/v1/operations", &[JSON], body()).await.expect(202);
}

#[tokio::test]
async fn an_input_over_its_tenants_limit_is_too_large() {
    let server = Server::start().await;
    set(&server, LimitName::PayloadBytes, 10).await;
    let text = ("content-type", "text/plain");
    let post = async |body: &str| {
        server.ask("POST", "/v1/kinds/k/operations", &[text], body.to_owned()).await
    };
    post("0123456789").await.expect(202);
    post("0123456789a").await.problem(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_paused_kind_and_what_is_put_off_are_let_go() {
    let server = Server::start().await;
    // This server has no store for limits that are set.
    let pause = "/v1/kinds/k:pause";
    server.ask("POST", pause, &[], "").await.problem(501, "UNSUPPORTED");
    server.ask("GET", pause, &[], "").await.expect(405);
    let limit = |kind: &str| Limit {
        name: LimitName::Paused,
        tenant: None,
        kind: Kind::parse(kind).ok(),
        label: None,
    };
    let paused = LimitTable::new([(limit("k"), 1)]).expect("a table");
    server.service.set_limits(&Caller::anonymous(), paused).await.expect("they hold");
    let submit = async |body: serde_json::Value| {
        let body = body.to_string();
        server.ask("POST", "/v1/operations", &[JSON], body).await.expect(202)
    };
    let held = submit(json!({"kind": "k"})).await;
    let shown = server.ask("GET", held.header("location"), &[], "").await.expect(202).json();
    assert_eq!(shown["waiting"]["reason"], "REASON_PAUSED", "{shown}");
    let none = LimitTable::default();
    server.service.set_limits(&Caller::anonymous(), none).await.expect("they hold");
    let shown = server.ask("GET", held.header("location"), &[], "").await.expect(202).json();
    assert_eq!(shown["waiting"]["reason"], "REASON_NO_WORKER", "{shown}");
    server.ask("POST", "/v1/kinds/K%20:pause", &[], "").await.problem(400, "INVALID_ARGUMENT");
    let wrong = format!("{pause}?tenant=%21");
    server.ask("POST", &wrong, &[], "").await.problem(400, "INVALID_ARGUMENT");

    let later = submit(json!({"kind": "k", "startIn": "300s"})).await;
    assert_eq!(later.header("retry-after"), "30", "a tenth of what is left");
    let location = later.header("location").to_owned();
    let due = server.ask("POST", &format!("{location}:run"), &[], "").await.expect(202);
    assert_eq!(
        (due.header("retry-after"), due.json()["state"].clone()),
        ("1", "STATE_QUEUED".into())
    );
    let again = server.ask("POST", &format!("{location}:run"), &[], "").await.expect(202);
    assert_eq!(due.header("etag"), again.header("etag"), "nothing has changed");
    server.ask("POST", &format!("{location}:cancel"), &[], "").await.expect(200);
    server.ask("POST", &format!("{location}:run"), &[], "").await.expect(200);
    let stale = [("if-match", "\"x\"")];
    server.ask("POST", &format!("{location}:run"), &stale, "").await.expect(412);
}
