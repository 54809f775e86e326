//! Limits of tenants: who sets them, over HTTP as well, and what is refused.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use longrun::config::tokens::TokenConfig;
use longrun::operation::TenantId;
use longrun::operation::limits::{Limit, LimitName, LimitTable};
use serde_json::{Value, json};

use crate::support::{Guarded, soon};

async fn ask(server: &Guarded, method: &str, path: &str, key: &str, body: Value) -> (u16, Value) {
    let request = server.request(method, path).bearer_auth(key);
    let request = match body {
        Value::Null => request,
        body => request.header("content-type", "application/json").body(body.to_string()),
    };
    let answer = soon(request.send()).await.unwrap();
    let status = answer.status().as_u16();
    let body = soon(answer.text()).await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or_default())
}

#[tokio::test]
async fn an_operator_sets_lists_and_deletes_limits_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first.key");
    let server = Guarded::start_with("unused", |config| {
        config.tokens = TokenConfig::default();
        config.callers.bootstrap_key_file = Some(first.clone());
    })
    .await;
    let operator = std::fs::read_to_string(&first).unwrap().trim().to_owned();
    let new = json!({"tenant": "acme", "roles": ["admin", "submit"], "name": "ada"});
    let (_, made) = ask(&server, "POST", "/v1/keys", &operator, new).await;
    let acme = made["secret"].as_str().unwrap();

    let limit = json!({"what": "outstanding", "tenant": "acme", "most": "1"});
    let (status, _) = ask(&server, "POST", "/v1/limits", acme, limit.clone()).await;
    assert_eq!(status, 403, "an admin is no operator");
    let (status, set) = ask(&server, "POST", "/v1/limits", &operator, limit).await;
    assert_eq!((status, &set["most"], &set["setBy"]), (200, &json!("1"), &json!("bootstrap")));
    let submit = json!({"kind": "k"});
    let (status, _) = ask(&server, "POST", "/v1/operations", acme, submit.clone()).await;
    assert_eq!(status, 202);
    let (status, refused) = ask(&server, "POST", "/v1/operations", acme, submit).await;
    assert_eq!((status, &refused["what"]), (429, &json!("outstanding")), "{refused}");

    let (_, listed) = ask(&server, "GET", "/v1/limits?tenant=acme", &operator, Value::Null).await;
    assert_eq!(listed["limits"].as_array().unwrap().len(), 1, "{listed}");
    let (_, listed) = ask(&server, "GET", "/v1/limits?tenant=other", &operator, Value::Null).await;
    assert_eq!(listed["limits"], json!([]));
    for (wrong, field) in [
        (json!({"what": "outstandin", "most": "1"}), "what"),
        (json!({"what": "watches", "kind": "k"}), "kind"),
        (json!({"what": "watches", "label": "l"}), "label"),
        (json!({"what": "weight", "tenant": "a"}), "most"),
        (json!({"what": "weight", "tenant": "A", "most": "1"}), "tenant"),
    ] {
        let (status, refused) = ask(&server, "POST", "/v1/limits", &operator, wrong).await;
        assert_eq!((status, &refused["violations"][0]["field"]), (400, &json!(field)), "{refused}");
    }
    let path = "/v1/limits/outstanding?tenant=acme";
    assert_eq!(ask(&server, "DELETE", path, acme, Value::Null).await.0, 403);
    let (status, left) = ask(&server, "DELETE", path, &operator, Value::Null).await;
    assert_eq!((status, left), (200, json!({})));
    let (status, refused) = ask(&server, "DELETE", path, &operator, Value::Null).await;
    assert_eq!((status, &refused["reason"]), (404, &json!("LIMIT_NOT_FOUND")));
    server.end().await;
}

/// A server that asks nobody for credentials, with limits of the default tenant.
async fn limited(limits: &[(LimitName, u64)]) -> Guarded {
    let limit = |name| Limit { name, tenant: None, kind: None, label: None };
    let limits = limits.iter().map(|(name, most)| (limit(*name), *most));
    let table = LimitTable::new(limits).unwrap();
    Guarded::start_with("unused", |config| {
        config.tokens = TokenConfig::default();
        config.tenants = table;
    })
    .await
}

async fn post(server: &Guarded, path: &str, body: String) -> (u16, Value, String) {
    let request = server.request("POST", path).header("content-type", "text/plain");
    let answer = soon(request.body(body).send()).await.unwrap();
    let status = answer.status().as_u16();
    let location =
        answer.headers().get("location").map_or("", |it| it.to_str().unwrap()).to_owned();
    let body = soon(answer.text()).await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or_default(), location)
}

fn path_of(location: &str) -> &str {
    location.find("/v1/").map_or("", |at| &location[at..])
}

#[tokio::test]
async fn a_result_over_its_tenants_limit_is_refused_and_a_smaller_one_is_taken() {
    let server = limited(&[(LimitName::ResultBytes, 100)]).await;
    post(&server, "/v1/kinds/k/operations", String::new()).await;
    let (_, _, attempt) = post(&server, "/v1/kinds/k:acquire", String::new()).await;
    let complete = format!("{}:complete", path_of(&attempt));
    let (status, refused, _) = post(&server, &complete, "x".repeat(101)).await;
    assert_eq!((status, &refused["reason"]), (413, &json!("PAYLOAD_TOO_LARGE")), "{refused}");
    let (status, refused, _) = post(&server, &complete, "x".repeat(100)).await;
    assert_eq!(status, 204, "{refused}");
    server.end().await;
}

#[tokio::test]
async fn a_tenant_stores_no_more_than_its_limit_until_something_is_deleted() {
    let server = limited(&[(LimitName::StoredBytes, 100_000)]).await;
    let submit = async || post(&server, "/v1/kinds/k/operations", "x".repeat(40_000)).await;
    let (status, _, operation) = submit().await;
    assert_eq!((status, submit().await.0), (202, 202));
    let (status, refused, _) = submit().await;
    assert_eq!((status, &refused["what"]), (429, &json!("stored-bytes")), "{refused}");
    let path = path_of(&operation);
    post(&server, &format!("{path}:cancel"), String::new()).await;
    let deleted = soon(server.request("DELETE", path).send()).await.unwrap();
    assert_eq!(deleted.status().as_u16(), 204);
    // Seen when all is counted again.
    let freed = async {
        while submit().await.0 != 202 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    soon(freed).await;
    assert_eq!(submit().await.0, 429);
    server.end().await;
}

#[tokio::test]
async fn a_tenant_has_no_more_connections_than_its_limit_and_health_is_open() {
    let server = limited(&[(LimitName::Connections, 2)]).await;
    let address = server.address;
    let connect = move || TcpStream::connect(address).unwrap();
    let ask = |stream: &mut TcpStream, path: &str| {
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = vec![0; 4_096];
        let read = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    let took = tokio::task::spawn_blocking(move || {
        let (mut first, mut second, mut third) = (connect(), connect(), connect());
        for _ in 0..2 {
            for stream in [&mut first, &mut second] {
                assert!(ask(stream, "/v1/operations").starts_with("HTTP/1.1 200"));
            }
        }
        let refused = ask(&mut third, "/v1/operations");
        assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
        assert!(refused.contains("connections"), "{refused}");
        assert!(ask(&mut third, "/livez").starts_with("HTTP/1.1 200"));
        assert!(ask(&mut second, "/v1/operations").starts_with("HTTP/1.1 200"));
        drop(first);
        while !ask(&mut third, "/v1/operations").starts_with("HTTP/1.1 200") {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    soon(took).await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn an_input_has_a_limit_of_its_kind_beside_that_of_all() {
    let server = limited(&[]).await;
    let set = json!({"what": "payload-bytes", "tenant": TenantId::default_tenant().as_str(), "kind": "small", "most": "10"});
    let request = server.request("POST", "/v1/limits").header("content-type", "application/json");
    let set = soon(request.body(set.to_string()).send()).await.unwrap();
    assert_eq!(set.status().as_u16(), 200, "who is alone on the machine is an operator");
    assert_eq!(post(&server, "/v1/kinds/small/operations", "x".repeat(11)).await.0, 413);
    assert_eq!(post(&server, "/v1/kinds/large/operations", "x".repeat(11)).await.0, 202);
    server.end().await;
}
