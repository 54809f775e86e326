//! Shares: whoever has the URL reads one operation, and nothing else.

use longrun::operation::limits::{Limit, LimitName, LimitTable};
use longrun::proto::v1;
use longrun::proto::v1::admin_client::AdminClient;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::workers_client::WorkersClient;
use serde_json::{Value, json};
use tonic::Code;

use crate::any_rpc::{Names, all};
use crate::issuer::{Issuer, SigningKey, claims};
use crate::support::{Guarded, soon, with};

const INPUT: &str = "what-went-in";
const RESULT: &str = "what-came-out";

fn text(text: &str) -> Option<v1::Payload> {
    let content = Some(v1::payload::Content::Text(text.to_owned()));
    Some(v1::Payload { content, ..v1::Payload::default() })
}

/// An operation with an input, and what its worker is to report with.
async fn running(server: &Guarded, token: &str) -> (String, String) {
    let mut operations = OperationsClient::new(server.channel());
    let mut workers = WorkersClient::new(server.channel());
    let input = text(INPUT);
    let new = v1::SubmitRequest { kind: "demo".to_owned(), input, ..Default::default() };
    let submitted = soon(operations.submit(with(new, token))).await.unwrap().into_inner();
    let acquire = v1::AcquireRequest {
        worker_id: "w".to_owned(),
        kinds: vec!["demo".to_owned()],
        ..Default::default()
    };
    let acquired = soon(workers.acquire(with(acquire, token))).await.unwrap().into_inner();
    (submitted.name, acquired.attempts[0].token.clone())
}

async fn get(server: &Guarded, path: &str) -> (u16, String) {
    let request = server.request("GET", path).header("accept", "*/*");
    let mut answer = soon(request.send()).await.unwrap();
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    if answer.headers().get("content-type").is_some_and(|it| it == "text/event-stream") {
        while !String::from_utf8_lossy(&body).contains("data:") {
            body.extend(soon(answer.chunk()).await.unwrap().unwrap_or_default());
        }
    } else {
        body.extend(soon(answer.bytes()).await.unwrap());
    }
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_url_shows_one_operation_as_it_goes_on_and_nothing_else() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    // Where operations belong to their subjects, a share is of its maker's choice.
    let server = Guarded::start_with(&issuer.url, |config| {
        config.callers.private_operations = true;
    })
    .await;
    let token = key.sign(&claims("a", &["submit", "read", "work"]));
    let (name, attempt) = running(&server, &token).await;
    let mut admin = AdminClient::new(server.channel());
    let new = v1::CreateShareRequest { name: name.clone(), ttl: None };
    let made = soon(admin.create_share(with(new, &token))).await.unwrap().into_inner();
    let url = made.url;
    assert_eq!(url, format!("/v1/shares/{}", made.token));

    let (status, shown) = get(&server, &url).await;
    let document: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((status, &document["state"]), (202, &json!("STATE_RUNNING")), "{shown}");
    let location = document["location"].as_str().unwrap();
    assert!(location.ends_with(&url), "{location}");
    let (status, events) = get(&server, &format!("{url}/events")).await;
    assert!(status == 200 && events.contains("event: snapshot"), "{events}");
    let report = v1::CompleteRequest { token: attempt, result: text(RESULT), ..Default::default() };
    let mut workers = WorkersClient::new(server.channel());
    let path = format!("{url}/status?wait=20s");
    let (waited, completed) =
        tokio::join!(get(&server, &path), soon(workers.complete(with(report, &token))));
    completed.unwrap();
    assert!(waited.0 == 200 && waited.1.contains("SUCCEEDED"), "{waited:?}");
    let (status, shown) = get(&server, &url).await;
    assert!(status == 303 && shown.contains(RESULT), "{shown}");
    assert!(!shown.contains(INPUT), "the input is not shared");
    assert_eq!(get(&server, &format!("{url}/result")).await, (200, RESULT.to_owned()));
    let (_, status) = get(&server, &format!("{url}/status")).await;
    assert!(status.contains(&format!("{url}/result")), "links lead to what was shared: {status}");

    // What other paths there could be.
    let id = name.strip_prefix("operations/").unwrap();
    for path in ["input", "shares", "events?page_size=1", "status?view=FULL", ":cancel"] {
        let (status, body) = get(&server, &format!("{url}/{path}")).await;
        assert!([400, 404].contains(&status) && !body.contains(INPUT), "{path}: {status} {body}");
    }
    for path in [
        format!("/v1/operations/{id}?share={}", made.token),
        format!("/v1/operations/{id}/result"),
        format!("/v1/attempts/{}", made.token),
    ] {
        let (status, _) = get(&server, &path).await;
        assert!([400, 401, 404].contains(&status), "{path}: {status}");
    }
    let names = Names { operation: name, attempt: made.token.clone(), key: "k" };
    for rpc in all() {
        let (code, _) = soon(rpc.call(&server, Some(&made.token), &names)).await;
        let refused = [Code::Unauthenticated, Code::InvalidArgument];
        assert!(refused.contains(&code), "{} by a share's token: {code:?}", rpc.path);
    }
    server.end().await;
}

#[tokio::test]
async fn a_share_ends_with_its_time_its_revocation_or_its_operation() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let token = key.sign(&claims("a", &["submit", "read", "work"]));
    let (name, attempt) = running(&server, &token).await;
    let mut admin = AdminClient::new(server.channel());
    let new = |ttl: Option<i64>| {
        let ttl = ttl.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        with(v1::CreateShareRequest { name: name.clone(), ttl }, &token)
    };
    for wrong in [0, -1, 367 * 86_400] {
        let refused = soon(admin.create_share(new(Some(wrong)))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong}: {refused:?}");
    }
    let short = soon(admin.create_share(new(Some(1)))).await.unwrap().into_inner();
    let revoked = soon(admin.create_share(new(None))).await.unwrap().into_inner();
    let last = soon(admin.create_share(new(None))).await.unwrap().into_inner();
    assert_eq!(get(&server, &last.url).await.0, 202);
    let revoke = |share_id: &str, token: &str| {
        let (name, share_id) = (name.clone(), share_id.to_owned());
        with(v1::RevokeShareRequest { name, share_id }, token)
    };
    let share_id = revoked.share.unwrap().share_id;
    let stranger = key.sign(&claims("b", &["submit", "read", "admin"]));
    let refused = soon(admin.revoke_share(revoke(&share_id, &stranger))).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(get(&server, &revoked.url).await.0, 202);
    soon(admin.revoke_share(revoke(&share_id, &token))).await.unwrap();
    let expired = async {
        while get(&server, &short.url).await.0 != 404 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon(expired).await;
    let (status, gone) = get(&server, &revoked.url).await;
    let (_, forged) = get(&server, &last.url.replace("lrs_", "lrs_a")).await;
    let gone: Value = serde_json::from_str(&gone).unwrap();
    let forged: Value = serde_json::from_str(&forged).unwrap();
    assert_eq!((status, &gone["reason"]), (404, &json!("SHARE_NOT_FOUND")));
    assert_eq!(gone["detail"], forged["detail"], "in the same words");

    let list = || with(v1::ListSharesRequest { name: name.clone() }, &token);
    let listed = soon(admin.list_shares(list())).await.unwrap().into_inner();
    assert_eq!(listed.shares.len(), 1, "{listed:?}");
    let mut made = 1;
    let full = loop {
        match soon(admin.create_share(new(None))).await {
            Ok(_) => made += 1,
            Err(status) => break status,
        }
    };
    assert_eq!((made, full.code()), (20, Code::ResourceExhausted), "{full:?}");

    let mut workers = WorkersClient::new(server.channel());
    let report = v1::CompleteRequest { token: attempt, result: None, ..Default::default() };
    soon(workers.complete(with(report, &token))).await.unwrap();
    let delete = v1::DeleteOperationRequest { name: name.clone() };
    let mut operations = OperationsClient::new(server.channel());
    soon(operations.delete_operation(with(delete, &token))).await.unwrap();
    assert_eq!(get(&server, &last.url).await.0, 404);
    server.end().await;
}

#[tokio::test]
async fn watches_of_a_share_are_the_tenants_and_leave_it_half() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start_with(&issuer.url, |config| {
        let watches = Limit { name: LimitName::Watches, tenant: None, kind: None, label: None };
        config.tenants = LimitTable::new([(watches, 4)]).unwrap();
    })
    .await;
    let token = key.sign(&claims("a", &["submit", "read", "work"]));
    let (name, _) = running(&server, &token).await;
    let mut admin = AdminClient::new(server.channel());
    let new = v1::CreateShareRequest { name: name.clone(), ttl: None };
    let made = soon(admin.create_share(with(new, &token))).await.unwrap().into_inner();
    let watch = async |path: String, token: Option<&str>| {
        let request = server.request("GET", &path).header("accept", "text/event-stream");
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        soon(request.send()).await.unwrap()
    };
    let shared = format!("{}/events", made.url);
    let own = format!("/v1/{name}/events");
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(watch(shared.clone(), None).await);
    }
    let refused = watch(shared.clone(), None).await;
    assert_eq!(refused.status(), 429);
    assert!(soon(refused.text()).await.unwrap().contains("watches"));
    for _ in 0..2 {
        held.push(watch(own.clone(), Some(&token)).await);
    }
    assert!(held.iter().all(|answer| answer.status() == 200), "{held:?}");
    assert_eq!(watch(own.clone(), Some(&token)).await.status(), 429, "they count together");
    drop(held);
    server.end().await;
}

#[tokio::test]
async fn a_share_names_no_worker_even_if_it_was_lost() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start_with(&issuer.url, |config| {
        config.liveness.lease_duration = std::time::Duration::from_secs(1);
    })
    .await;
    let token = key.sign(&claims("a", &["submit", "read", "work"]));
    let mut operations = OperationsClient::new(server.channel());
    let retry_policy = Some(v1::RetryPolicy { max_attempts: 1, ..Default::default() });
    let settings = Some(v1::Settings { retry_policy, ..Default::default() });
    let new = v1::SubmitRequest { kind: "demo".to_owned(), settings, ..Default::default() };
    let name = soon(operations.submit(with(new, &token))).await.unwrap().into_inner().name;
    let acquire = v1::AcquireRequest {
        worker_id: "acme-host-7".to_owned(),
        kinds: vec!["demo".to_owned()],
        ..Default::default()
    };
    soon(WorkersClient::new(server.channel()).acquire(with(acquire, &token))).await.unwrap();
    let new = v1::CreateShareRequest { name: name.clone(), ttl: None };
    let mut admin = AdminClient::new(server.channel());
    let url = soon(admin.create_share(with(new, &token))).await.unwrap().into_inner().url;
    let own = async {
        loop {
            let request = server.request("GET", &format!("/v1/{name}/status?wait=5s"));
            let answer = soon(request.bearer_auth(&token).send()).await.unwrap();
            let text = soon(answer.text()).await.unwrap();
            if text.contains("WORKER_LOST") {
                return text;
            }
        }
    };
    let own = soon(own).await;
    assert!(own.contains("acme-host-7"), "its tenant reads who it was: {own}");
    for path in ["", "/status", "/result", "/events"] {
        let (_, shown) = get(&server, &format!("{url}{path}")).await;
        assert!(shown.contains("WORKER_LOST") && !shown.contains("acme-host"), "{path}: {shown}");
    }
    server.end().await;
}
