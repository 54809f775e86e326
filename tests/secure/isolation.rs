//! Every rpc and every route, by every role, by its own tenant and by others: found in the descriptors and in the OpenAPI
//! document, so that a new one is tried without being asked for, and has to be told here whom it is for.

use longrun::config::file;
use longrun::proto::v1;
use longrun::proto::v1::admin_client::AdminClient;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::workers_client::WorkersClient;
use serde_json::Value;
use tonic::Code;

use crate::any_rpc::{Names, Rpc, all};
use crate::issuer::{Issuer, SigningKey, claims};
use crate::support::{Guarded, soon, with};

/// What nobody but its tenant may ever see.
const SECRET: &str = "tell-nobody";
/// A key that both tenants use.
const KEY: &str = "one-key";
const ROLES: [&str; 5] = ["submit", "read", "work", "admin", "operator"];

/// Which roles each rpc is for; all where it is a look that needs none.
const EXPECTED: [(&str, &[&str]); 49] = [
    ("/longrun.v1.Admin/CreateKey", &["admin", "operator"]),
    ("/longrun.v1.Admin/ListKeys", &["admin", "operator"]),
    ("/longrun.v1.Admin/RevokeKey", &["admin", "operator"]),
    ("/longrun.v1.Admin/ListLimits", &["operator"]),
    ("/longrun.v1.Admin/SetLimit", &["operator"]),
    ("/longrun.v1.Admin/DeleteLimit", &["operator"]),
    ("/longrun.v1.Admin/PauseKind", &["admin", "operator"]),
    ("/longrun.v1.Admin/ResumeKind", &["admin", "operator"]),
    ("/longrun.v1.Admin/CreateShare", &["read", "admin"]),
    ("/longrun.v1.Admin/ListShares", &["read", "admin"]),
    ("/longrun.v1.Admin/RevokeShare", &["read", "admin"]),
    ("/longrun.v1.Admin/CreateWebhook", &["admin", "operator"]),
    ("/longrun.v1.Admin/ListWebhooks", &["admin", "operator"]),
    ("/longrun.v1.Admin/DeleteWebhook", &["admin", "operator"]),
    ("/longrun.v1.Admin/PauseWebhook", &["admin", "operator"]),
    ("/longrun.v1.Admin/ResumeWebhook", &["admin", "operator"]),
    ("/longrun.v1.Admin/GetWebhookSecret", &["admin", "operator"]),
    ("/longrun.v1.Admin/RotateWebhookSecret", &["admin", "operator"]),
    ("/longrun.v1.Admin/ListDeliveries", &["admin", "operator"]),
    ("/longrun.v1.Admin/Redeliver", &["admin", "operator"]),
    ("/longrun.v1.Operations/Submit", &["submit", "admin"]),
    ("/longrun.v1.Operations/SubmitAndWatch", &["submit", "admin"]),
    ("/longrun.v1.Operations/SubmitBatch", &["submit", "admin"]),
    ("/longrun.v1.Operations/RetryOperation", &["submit", "admin"]),
    ("/longrun.v1.Operations/GetOperation", &["read", "admin", "operator"]),
    ("/longrun.v1.Operations/WaitOperation", &["read", "admin", "operator"]),
    ("/longrun.v1.Operations/WatchOperation", &["read", "admin", "operator"]),
    ("/longrun.v1.Operations/WatchOperations", &["read", "admin", "operator"]),
    ("/longrun.v1.Operations/ListOperations", &["read", "admin", "operator"]),
    ("/longrun.v1.Operations/ListEvents", &["read", "admin", "operator"]),
    ("/longrun.v1.Operations/ListWorkers", &["read", "admin", "operator"]),
    ("/longrun.v1.Operations/ListKinds", &["read", "admin", "operator"]),
    ("/longrun.v1.Operations/CancelOperation", &["submit", "admin"]),
    ("/longrun.v1.Operations/RunOperation", &["submit", "admin"]),
    ("/longrun.v1.Operations/DeleteOperation", &["submit", "admin"]),
    ("/longrun.v1.Operations/ReadResult", &["read", "admin"]),
    ("/longrun.v1.Operations/ReadInput", &["read", "admin"]),
    ("/longrun.v1.Workers/Work", &["work"]),
    ("/longrun.v1.Workers/Acquire", &["work"]),
    ("/longrun.v1.Workers/Renew", &ROLES),
    ("/longrun.v1.Workers/Complete", &ROLES),
    ("/longrun.v1.Workers/Fail", &ROLES),
    ("/longrun.v1.Workers/Release", &ROLES),
    ("/longrun.v1.Workers/AddLog", &ROLES),
    ("/google.longrunning.Operations/ListOperations", &["read", "admin"]),
    ("/google.longrunning.Operations/GetOperation", &["read", "admin"]),
    ("/google.longrunning.Operations/WaitOperation", &["read", "admin"]),
    ("/google.longrunning.Operations/CancelOperation", &["submit", "admin"]),
    ("/google.longrunning.Operations/DeleteOperation", &["submit", "admin"]),
];

/// Routes that need no credentials.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/openapi.json"];

/// A tenant with something to hide: an operation that is done, and one that a worker has.
struct Victim {
    token: String,
    names: Names,
    done: String,
}

async fn victim(server: &Guarded, key: &SigningKey) -> Victim {
    let token = key.sign(&claims("a", &ROLES));
    let mut operations = OperationsClient::new(server.channel());
    let mut workers = WorkersClient::new(server.channel());
    let new = || v1::SubmitRequest {
        kind: "demo".to_owned(),
        idempotency_key: KEY.to_owned(),
        labels: [("label".to_owned(), SECRET.to_owned())].into(),
        input: Some(text()),
        ..v1::SubmitRequest::default()
    };
    let acquire = || v1::AcquireRequest {
        worker_id: SECRET.to_owned(),
        kinds: vec!["demo".to_owned()],
        ..v1::AcquireRequest::default()
    };
    let done = soon(operations.submit(with(new(), &token))).await.expect("it is stored");
    let done = done.into_inner().name;
    let acquired = soon(workers.acquire(with(acquire(), &token))).await.expect("an attempt");
    let attempt = acquired.into_inner().attempts.remove(0);
    let report = v1::CompleteRequest {
        token: attempt.token,
        result: Some(text()),
        ..v1::CompleteRequest::default()
    };
    soon(workers.complete(with(report, &token))).await.expect("it is recorded");
    let running = v1::SubmitRequest { idempotency_key: "other".to_owned(), ..new() };
    let running = soon(operations.submit(with(running, &token))).await.expect("it is stored");
    let acquired = soon(workers.acquire(with(acquire(), &token))).await.expect("an attempt");
    let attempt = acquired.into_inner().attempts.remove(0);
    let mut admin = AdminClient::new(server.channel());
    let share = v1::CreateShareRequest { name: done.clone(), ttl: None };
    soon(admin.create_share(with(share, &token))).await.expect("a share");
    let webhook = v1::CreateWebhookRequest {
        url: format!("https://{SECRET}.example/"),
        ..v1::CreateWebhookRequest::default()
    };
    soon(admin.create_webhook(with(webhook, &token))).await.expect("a webhook");
    let new = v1::CreateKeyRequest {
        name: SECRET.to_owned(),
        roles: vec!["read".to_owned()],
        ..v1::CreateKeyRequest::default()
    };
    soon(admin.create_key(with(new, &token))).await.expect("a key");
    let pause = v1::PauseKindRequest { kind: SECRET.to_owned(), ..Default::default() };
    soon(admin.pause_kind(with(pause, &token))).await.expect("a pause");
    let limit = v1::SetLimitRequest {
        what: "outstanding".to_owned(),
        tenant: "a".to_owned(),
        kind: SECRET.to_owned(),
        label: String::new(),
        most: 1_000,
    };
    soon(admin.set_limit(with(limit, &token))).await.expect("a limit");
    let names = Names { operation: running.into_inner().name, attempt: attempt.token, key: KEY };
    Victim { token, names, done }
}

fn text() -> v1::Payload {
    let content = Some(v1::payload::Content::Text(SECRET.to_owned()));
    v1::Payload { content, ..v1::Payload::default() }
}

fn shows(body: &[u8]) -> bool {
    body.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

#[tokio::test]
async fn each_rpc_is_for_the_roles_that_stand_here() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let names = Names {
        operation: "operations/01890000-0000-7000-8000-000000000000".to_owned(),
        attempt: String::new(),
        key: "k",
    };
    for rpc in all() {
        let expected = EXPECTED.iter().find(|(path, _)| *path == rpc.path);
        let (_, roles) = expected.unwrap_or_else(|| panic!("whom is {} for?", rpc.path));
        for role in ROLES {
            let token = key.sign(&claims("a", &[role]));
            let (code, _) = soon(rpc.call(&server, Some(&token), &names)).await;
            let is_refused = code == Code::PermissionDenied;
            assert_eq!(is_refused, !roles.contains(&role), "{} as {role}: {code:?}", rpc.path);
            assert_ne!(code, Code::Unauthenticated, "{} as {role}", rpc.path);
        }
        let (code, _) = soon(rpc.call(&server, None, &names)).await;
        let is_look = roles.len() == ROLES.len();
        let is_let_in = !matches!(code, Code::Unauthenticated | Code::PermissionDenied);
        assert_eq!(is_let_in, is_look, "{} as nobody: {code:?}", rpc.path);
    }
    server.end().await;
}

#[tokio::test]
async fn nothing_of_a_tenant_is_there_for_another_over_grpc() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let victim = victim(&server, &key).await;
    let done = Names { operation: victim.done.clone(), ..victim.names.clone() };
    let in_full = |names: &Names| Names {
        operation: format!("tenants/a/{}", names.operation),
        ..names.clone()
    };
    let named = [victim.names.clone(), in_full(&victim.names), done.clone(), in_full(&done)];
    for tenant in ["b", "default"] {
        for roles in ROLES.iter().map(|role| vec![*role]).chain([ROLES.to_vec()]) {
            let token = key.sign(&claims(tenant, &roles));
            for (rpc, names) in all().iter().flat_map(|rpc| named.iter().map(move |it| (rpc, it))) {
                let (code, body) = soon(rpc.call(&server, Some(&token), names)).await;
                let about = format!("{} of {} by {roles:?} of {tenant}", rpc.path, names.operation);
                if rpc.takes_names() {
                    let hidden = [Code::NotFound, Code::PermissionDenied, Code::InvalidArgument];
                    assert!(hidden.contains(&code), "{about}: {code:?}");
                }
                // Limits are all operators' affair.
                let is_operators = rpc.path.ends_with("/ListLimits") && roles.contains(&"operator");
                assert!(
                    !shows(&body) || is_operators,
                    "{about} shows {}",
                    String::from_utf8_lossy(&body)
                );
            }
        }
    }
    // The same calls do show it to its own, so that what is above could fail.
    let mut seen = 0;
    for rpc in all().iter().filter(|rpc| rpc.only_reads()) {
        let (code, body) = soon(rpc.call(&server, Some(&victim.token), &done)).await;
        assert_eq!(code, Code::Ok, "{}", rpc.path);
        seen += usize::from(shows(&body));
    }
    assert!(seen >= 13, "{seen} show the secret to its owner");
    let (code, _) = soon(Rpc::named("/longrun.v1.Workers/Renew").call(
        &server,
        Some(&victim.token),
        &victim.names,
    ))
    .await;
    assert_eq!(code, Code::Ok, "the victim's worker goes on");
    server.end().await;
}

/// What stood at a route of the server's own would be served by the one or by the other, with the permissions of that.
#[tokio::test]
async fn no_dialect_can_stand_where_the_server_has_a_route() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let document = soon(server.request("GET", "/openapi.json").send()).await.expect("an answer");
    let document: Value =
        serde_json::from_slice(&soon(document.bytes()).await.expect("a body")).expect("JSON");
    for path in document["paths"].as_object().expect("paths").keys() {
        // `/v1/limits`, of `/v1/limits/{what}`.
        let whole = path.split([':', '{']).next().expect("a path");
        let prefix = whole.split('/').take(3).collect::<Vec<_>>().join("/");
        let prefix = prefix.trim_end_matches('/');
        let text = format!(
            "[[dialect]]\nuse = \"job-object\"\nprefix = \"{prefix}\"\n\
             [[dialect.submit]]\npath = \"/x\"\nkind = \"k\"\n"
        );
        let refused = file::parse(&text, &|_| Ok(String::new())).expect_err(path).to_string();
        assert!(refused.contains("this server's own"), "{path}: {refused}");
    }
    server.end().await;
}

#[tokio::test]
async fn nothing_of_a_tenant_is_there_for_another_over_http() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let server = Guarded::start(&issuer.url).await;
    let victim = victim(&server, &key).await;
    let document = soon(server.request("GET", "/openapi.json").send()).await.expect("an answer");
    let document: Value =
        serde_json::from_slice(&soon(document.bytes()).await.expect("a body")).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let by_role = ROLES.iter().map(|role| ("b", vec![*role]));
    let strangers = by_role.chain([("b", ROLES.to_vec()), ("default", ROLES.to_vec())]);
    let strangers = strangers
        .map(|(tenant, roles)| (key.sign(&claims(tenant, &roles)), roles.contains(&"operator")));
    let strangers: Vec<(String, bool)> = strangers.collect();
    let (mut tried, mut seen) = (0, 0);
    for (path, methods) in paths {
        let methods = methods.as_object().expect("methods");
        for method in methods.keys().filter(|it| ["get", "post", "delete"].contains(&it.as_str())) {
            for operation in [&victim.done, &victim.names.operation] {
                let id = operation.strip_prefix("operations/").expect("an id");
                for tenant in ["a", "b"] {
                    let path = path.replace("{id}", id).replace("{tenant}", tenant);
                    let path = path.replace("{kind}", "demo");
                    let path = path.replace("{token}", &victim.names.attempt);
                    tried += 1;
                    for (stranger, is_operator) in &strangers {
                        let (status, body) = ask(&server, method, &path, Some(stranger)).await;
                        // Limits are all operators' affair.
                        let may_see = *is_operator && path == "/v1/limits";
                        assert!(may_see || !shows(&body), "{method} {path} shows the secret");
                        let names = path.contains(id) || path.contains(&victim.names.attempt);
                        let hidden = [400, 403, 404, 415, 428];
                        assert!(!names || hidden.contains(&status), "{method} {path}: {status}");
                    }
                    let (status, body) = ask(&server, method, &path, None).await;
                    let is_by_token = path.contains("/attempts/") || path.contains("/v1/shares/");
                    let is_open = OPEN.contains(&path.as_str()) || is_by_token;
                    assert_eq!(
                        status == 401,
                        !is_open,
                        "{method} {path} without credentials: {status}"
                    );
                    // Whoever has an attempt's token has the attempt.
                    assert!(path.contains("/attempts/") || !shows(&body), "{method} {path}");
                    if method == "get" && !path.ends_with("/events") && tenant == "a" {
                        let (_, body) = ask(&server, method, &path, Some(&victim.token)).await;
                        seen += usize::from(shows(&body));
                    }
                }
            }
        }
    }
    assert!(tried > 60 && seen > 12, "{tried} tried, {seen} shown to their owner");
    server.end().await;
}

async fn ask(server: &Guarded, method: &str, path: &str, token: Option<&str>) -> (u16, Vec<u8>) {
    let mut request = server.request(method, path).header("accept", "*/*");
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if method == "post" {
        request = request.header("content-type", "application/json").body("{}");
    }
    let mut answer = soon(request.send()).await.expect("an answer");
    let status = answer.status().as_u16();
    let is_stream =
        answer.headers().get("content-type").is_some_and(|it| it == "text/event-stream");
    let body = match is_stream {
        // It begins with what is there, and does not end.
        true => soon(answer.chunk()).await.expect("an event").unwrap_or_default(),
        false => soon(answer.bytes()).await.expect("a body"),
    };
    (status, body.to_vec())
}
