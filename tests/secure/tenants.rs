//! Who executes what where callers are asked for credentials.

use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::{WaitOperationRequest, operation};
use longrun::worker::{Context, Failure, Outcome, Worker};
use serde_json::json;

use crate::issuer::{Issuer, SigningKey, claims};
use crate::support::{Guarded, soon, with};

async fn answer(context: Context) -> Result<Outcome, Failure> {
    let text = context.input().text()?.to_owned();
    Ok(Outcome::json(&json!({ "said": text }))?)
}

/// Submits over HTTP; the operation's id.
async fn submit(server: &Guarded, token: &str, input: &str) -> String {
    let request = server.request("POST", "/v1/kinds/demo/operations").bearer_auth(token);
    let answer = soon(request.body(input.to_owned()).send()).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 202);
    let location = answer.headers()["location"].to_str().expect("a text").to_owned();
    location.rsplit('/').next().expect("an id").to_owned()
}

#[tokio::test]
async fn a_worker_within_the_process_executes_every_tenants_operations() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let worker = Worker::new(server.local.clone()).handler("demo", answer);
    let stop = server.stop.clone();
    let working = tokio::spawn(worker.run(stop));
    let mut client = OperationsClient::new(server.channel());
    for tenant in ["a", "b", "c"] {
        let token = key.sign(&claims(tenant, &["submit", "read"]));
        let id = submit(&server, &token, tenant).await;
        let wait = WaitOperationRequest { name: format!("operations/{id}"), ..Default::default() };
        let waited = soon(client.wait_operation(with(wait, &token))).await.expect("it is there");
        assert_eq!(waited.into_inner().state(), operation::State::Succeeded, "{tenant}");
    }
    server.end().await;
    soon(working).await.expect("no panic").expect("it ended in order");
}

#[tokio::test]
async fn who_has_the_token_of_an_attempt_needs_no_credentials_and_no_others() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let (ours, theirs) = (claims("a", &["submit", "work"]), claims("b", &["submit", "work"]));
    let (ours, theirs) = (key.sign(&ours), key.sign(&theirs));
    submit(&server, &ours, "secret").await;
    let acquire = async |token: &str| {
        let request = server.request("POST", "/v1/kinds/demo:acquire").bearer_auth(token);
        soon(request.send()).await.expect("an answer")
    };
    assert_eq!(acquire(&theirs).await.status().as_u16(), 204, "there is nothing of theirs");
    let acquired = acquire(&ours).await;
    let location = acquired.headers()["location"].to_str().expect("a text").to_owned();
    let token = location.rsplit('/').next().expect("a token").to_owned();
    let path = |what: &str| format!("/v1/attempts/{token}{what}");
    for what in ["", "/input"] {
        assert_eq!(server.status(&path(what), &theirs).await, 404, "{what}");
        let open = soon(server.request("GET", &path(what)).send()).await.expect("an answer");
        assert_eq!(open.status().as_u16(), 200, "{what}");
    }
    for (credential, is_taken) in [(Some(&theirs), false), (None, true)] {
        let request = server.request("POST", &path(":complete")).body("{}");
        let request = request.header("content-type", "application/json");
        let request = match credential {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        };
        let answer = soon(request.send()).await.expect("an answer");
        assert_eq!(answer.status().is_success(), is_taken, "{}", answer.status());
    }
    server.end().await;
}

#[tokio::test]
async fn an_operator_lists_other_tenants_operations_without_their_texts() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let mut ids = Vec::new();
    for tenant in ["a", "b"] {
        let token = key.sign(&claims(tenant, &["submit", "work"]));
        ids.push(submit(&server, &token, "secret").await);
        let request = server.request("POST", "/v1/kinds/demo:acquire").bearer_auth(&token);
        let acquired = soon(request.send()).await.expect("an answer");
        let location = acquired.headers()["location"].to_str().expect("a text").to_owned();
        let attempt = location.rsplit('/').next().expect("a token").to_owned();
        let path = format!("/v1/attempts/{attempt}:fail?code=BROKEN&final=true");
        let failed = server.request("POST", &path).header("content-type", "text/plain");
        let failed = soon(failed.body("secret reason").send()).await.expect("an answer");
        assert!(failed.status().is_success());
    }
    let operator = key.sign(&claims("ops", &["operator"]));
    let list = async |token: &str, query: &str| {
        let request = server.request("GET", &format!("/v1/operations{query}")).bearer_auth(token);
        let answer = soon(request.send()).await.expect("an answer");
        let status = answer.status().as_u16();
        (status, soon(answer.text()).await.expect("a body"))
    };
    let (status, all) = list(&operator, "?tenant=-&order_by=create_time").await;
    let page: serde_json::Value = serde_json::from_str(&all).expect("JSON");
    let listed = page["operations"].as_array().expect("a list");
    assert_eq!((status, listed.len()), (200, 2), "{all}");
    assert!(all.contains(&ids[0]) && all.contains(&ids[1]) && all.contains("BROKEN"), "{all}");
    assert!(!all.contains("secret"), "{all}");
    assert_eq!((&listed[0]["tenant"], &listed[1]["tenant"]), (&json!("a"), &json!("b")));
    let (_, one) = list(&operator, "?tenant=b&filter=state%3DFAILED").await;
    assert!(!one.contains(&ids[0]) && one.contains(&ids[1]) && !one.contains("secret"), "{one}");
    let (_, page) = list(&operator, "?tenant=-&page_size=1").await;
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let next = page["nextPageToken"].as_str().expect("there is more");
    let (_, next) = list(&operator, &format!("?tenant=-&page_size=1&page_token={next}")).await;
    assert!(next.contains(&ids[0]) && !next.contains(&ids[1]), "{next}");

    for wrong in ["?tenant=-&view=FULL", "?tenant=b&view=RESULT", "?tenant=-&order_by=end_time"] {
        assert_eq!(list(&operator, wrong).await.0, 400, "{wrong}");
    }
    assert_eq!(list(&operator, "").await, (200, "{\"operations\":[]}\n".to_owned()));
    let stranger = key.sign(&claims("c", &["submit", "read", "work", "admin"]));
    assert_eq!(list(&stranger, "?tenant=-").await.0, 403);
    assert_eq!(list(&stranger, "?tenant=b").await.0, 404);
    let (status, own) = list(&key.sign(&claims("b", &["read"])), "?tenant=b").await;
    assert!(status == 200 && own.contains("secret reason"), "{own}");
    let other = server.request("GET", &format!("/v1/operations/{}", ids[0])).bearer_auth(&operator);
    assert_eq!(soon(other.send()).await.expect("an answer").status().as_u16(), 404);
    server.end().await;
}
