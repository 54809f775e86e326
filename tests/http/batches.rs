//! Batches over HTTP.

use serde_json::json;

use crate::support::{JSON, Server};

#[tokio::test]
async fn a_batch_is_stored_with_its_children() {
    let server = Server::start().await;
    let document = json!({
        "batch": {"rule": "RULE_MAX_FAILURES", "maxFailures": 2, "expectedChildren": 3, "labels": {"a": "b"}},
        "requests": [{"kind": "x", "input": {"text": "1"}}, {"kind": "y"}],
    });
    let key = ("idempotency-key", "nightly");
    let stored = server.ask("POST", "/v1/batches", &[JSON, key], document.to_string()).await;
    let stored = stored.expect(202);
    let (path, answer) = (stored.location(), stored.json());
    let name = answer["batch"]["name"].as_str().expect("a name").to_owned();
    assert_eq!(answer["batch"]["kind"], "longrun.batch");
    assert_eq!(answer["batch"]["location"], format!("http://lro.test/v1/{name}"));
    let children = answer["results"].as_array().expect("children");
    assert_eq!(children.len(), 2);
    assert_eq!(children[1]["operation"]["parent"], name.as_str());
    assert_eq!(children[1]["operation"]["idempotencyKey"], "nightly/1");
    assert_eq!((stored.header("etag"), stored.header("vary")), ("\"1\"", "prefer"));
    assert_ne!(stored.header("retry-after"), "");
    assert_eq!(stored.header("operation-location"), format!("http://lro.test{path}/status"));
    let again = server.ask("POST", "/v1/batches", &[JSON, key], document.to_string()).await;
    assert_eq!(again.expect(202).location(), path);

    let child = format!("/v1/kinds/z/operations?parent={name}");
    server.ask("POST", &child, &[], "x").await.expect(202);
    let shown = server.get(&path).await.expect(202).json();
    assert_eq!(shown["children"], json!({"total": "3", "queued": "3"}));
    assert_eq!(
        shown["input"]["json"],
        json!({"rule": "MAX_FAILURES", "maxFailures": 2, "expectedChildren": 3})
    );
    let list = server.get(&format!("/v1/operations?filter=parent%3D%22{name}%22")).await.json();
    assert_eq!(list["operations"].as_array().expect("a list").len(), 3);

    let cancelled = server.ask("POST", &format!("{path}:cancel"), &[], "").await.expect(200);
    assert_eq!(cancelled.json()["children"], json!({"total": "3", "cancelled": "3"}));
    let wait = ("prefer", "wait=60");
    let ended = server.ask("POST", "/v1/batches", &[JSON, key, wait], document.to_string()).await;
    let ended = ended.expect(303);
    assert_eq!((ended.location(), ended.header("preference-applied")), (path.clone(), "wait=60"));
    assert_eq!((&ended.json()["batch"]["done"], ended.header("retry-after")), (&json!(true), ""));
    server.ask("POST", &child, &[], "x").await.problem(409, "PARENT_NOT_OPEN");
    let nobody = "/v1/kinds/z/operations?parent=operations/0191e2ab-7c1d-7000-8000-0123456789ab";
    server.ask("POST", nobody, &[], "x").await.problem(404, "OPERATION_NOT_FOUND");
}

#[tokio::test]
async fn without_a_batch_each_is_answered_by_itself() {
    let server = Server::start().await;
    let document = json!({"requests": [{"kind": "x"}, {"kind": "no kind"}]}).to_string();
    let answer = server.ask("POST", "/v1/batches", &[JSON], document.clone()).await.expect(200);
    let answer = answer.json();
    assert_eq!(answer["results"][0]["operation"]["kind"], "x");
    assert_eq!(answer["results"][1]["error"]["reason"], "INVALID_ARGUMENT");
    let keyed = [JSON, ("idempotency-key", "x")];
    let refused = server.ask("POST", "/v1/batches", &keyed, document).await;
    refused.problem(400, "INVALID_ARGUMENT");
    let bad = json!({"batch": {"maxFailures": 1}, "requests": [{"kind": "no kind"}]}).to_string();
    let refused = server.ask("POST", "/v1/batches", &[JSON], bad).await;
    let problem = refused.problem(400, "INVALID_ARGUMENT");
    let fields: Vec<_> = problem["violations"].as_array().expect("violations").iter().collect();
    assert_eq!(fields[0]["field"], "batch.max_failures");
    assert_eq!(fields[1]["field"], "requests[0].kind");
    let bad = json!({"batch": {"idempotencyKey": "\u{e9}", "maxFailures": 1}, "requests": [{"kind": "no kind"}]});
    let refused = server.ask("POST", "/v1/batches?x=1", &[JSON], bad.to_string()).await;
    let problem = refused.problem(400, "INVALID_ARGUMENT");
    let fields = problem["violations"].as_array().expect("violations").iter();
    let fields: Vec<_> = fields.map(|violation| violation["field"].clone()).collect();
    assert_eq!(fields, ["x", "batch.max_failures", "batch.idempotency_key", "requests[0].kind"]);
    server
        .ask("POST", "/v1/kinds/longrun.batch/operations", &[], "{}")
        .await
        .problem(400, "INVALID_ARGUMENT");
}
