//! API keys: made, listed, revoked, and what is refused.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use longrun::config::tokens::TokenConfig;
use longrun::proto::v1::admin_client::AdminClient;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::workers_client::WorkersClient;
use longrun::proto::v1::{
    CreateKeyRequest, Hello, ListKeysRequest, ListOperationsRequest, RevokeKeyRequest,
    SubmitRequest, WorkRequest,
};
use longrun::service::access;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Guarded, soon, with};

/// A server that asks for API keys, and the first key.
async fn start() -> (Guarded, String, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first.key");
    let server = start_with(&first).await;
    let key = std::fs::read_to_string(&first).unwrap();
    (server, key.trim().to_owned(), directory)
}

async fn start_with(first: &Path) -> Guarded {
    Guarded::start_with("unused", |config| {
        config.tokens = TokenConfig::default();
        config.callers.bootstrap_key_file = Some(first.to_owned());
    })
    .await
}

async fn make(server: &Guarded, by: &str, request: CreateKeyRequest) -> Result<String, Code> {
    let made = soon(AdminClient::new(server.channel()).create_key(with(request, by))).await;
    made.map(|made| made.into_inner().secret).map_err(|status| status.code())
}

fn of(tenant: &str, roles: &[&str]) -> CreateKeyRequest {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    CreateKeyRequest { tenant: tenant.to_owned(), roles, ..Default::default() }
}

/// The id of a key.
fn id(key: &str) -> String {
    key.split('_').nth(1).unwrap().to_owned()
}

async fn json_of(answer: reqwest::Response) -> Value {
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

async fn submit(server: &Guarded, key: &str) -> Result<String, Code> {
    let request = SubmitRequest { kind: "demo".to_owned(), ..Default::default() };
    let submitted = soon(OperationsClient::new(server.channel()).submit(with(request, key))).await;
    submitted.map(|it| it.into_inner().name).map_err(|status| status.code())
}

async fn list(server: &Guarded, key: &str) -> Result<usize, Code> {
    let request = ListOperationsRequest::default();
    let mut rpc = OperationsClient::new(server.channel());
    let listed = soon(rpc.list_operations(with(request, key))).await;
    listed.map(|it| it.into_inner().operations.len()).map_err(|status| status.code())
}

#[tokio::test]
async fn a_key_does_what_its_roles_say_within_its_tenant() {
    let (server, operator, _directory) = start().await;
    let admin = make(&server, &operator, of("acme", &["admin"])).await.unwrap();
    let submitter = make(&server, &admin, of("", &["submit"])).await.unwrap();
    let reader = make(&server, &admin, of("acme", &["read"])).await.unwrap();
    let stranger = make(&server, &operator, of("other", &["submit", "read"])).await.unwrap();

    submit(&server, &submitter).await.unwrap();
    assert_eq!(list(&server, &reader).await, Ok(1));
    assert_eq!(list(&server, &admin).await, Ok(1));
    assert_eq!(list(&server, &stranger).await, Ok(0));
    assert_eq!(list(&server, &submitter).await, Err(Code::PermissionDenied));
    assert_eq!(submit(&server, &reader).await, Err(Code::PermissionDenied));

    // What a maker may not do itself it cannot grant, nor elsewhere.
    for refused in [of("", &["operator"]), of("other", &["read"])] {
        assert_eq!(make(&server, &admin, refused).await, Err(Code::PermissionDenied));
    }
    assert_eq!(make(&server, &reader, of("", &["read"])).await, Err(Code::PermissionDenied));
    for wrong in [of("", &[]), of("", &["king"]), of("Acme!", &["read"])] {
        assert_eq!(make(&server, &operator, wrong).await, Err(Code::InvalidArgument));
    }
    let kinds = CreateKeyRequest { kinds: vec!["demo".to_owned()], ..of("", &["read"]) };
    assert_eq!(make(&server, &admin, kinds).await, Err(Code::InvalidArgument));
    server.end().await;
}

#[tokio::test]
async fn what_is_no_good_key_is_refused_and_health_is_not() {
    let (server, operator, _directory) = start().await;
    let key = make(&server, &operator, of("", &["read"])).await.unwrap();
    assert_eq!(server.status("/v1/operations", &key).await, 200);

    let mut mistyped = key.clone().into_bytes();
    mistyped[30] = if mistyped[30] == b'a' { b'b' } else { b'a' };
    let mistyped = String::from_utf8(mistyped).unwrap();
    // The checksum is right, and the server has never heard of it.
    let unknown = longrun::service::keys::KeyText::generate().unwrap().text();
    for wrong in [mistyped.as_str(), unknown.as_str(), &key[..40], "lr_", "x"] {
        assert_eq!(server.status("/v1/operations", wrong).await, 401, "{wrong}");
        assert_eq!(list(&server, wrong).await, Err(Code::Unauthenticated));
    }
    let none = soon(server.request("GET", "/v1/operations").send()).await.unwrap();
    assert_eq!(none.status(), 401);
    assert_eq!(none.headers()["www-authenticate"], "Bearer");
    let problem = json_of(none).await;
    assert_eq!(problem["reason"], "UNAUTHENTICATED");
    for open in ["/livez", "/readyz", "/openapi.json"] {
        assert_eq!(soon(server.request("GET", open).send()).await.unwrap().status(), 200);
    }

    // The server's own field wins.
    let own = |own: &str, other: &str| {
        let own = format!("Bearer {own}");
        server
            .request("GET", "/v1/operations")
            .header("longrun-authorization", own)
            .bearer_auth(other)
    };
    assert_eq!(soon(own(&key, "another's").send()).await.unwrap().status(), 200);
    assert_eq!(soon(own(&unknown, &key).send()).await.unwrap().status(), 401);

    let soon_over = SystemTime::now() + Duration::from_millis(1_200);
    let brief = CreateKeyRequest { expire_time: Some(soon_over.into()), ..of("", &["read"]) };
    let brief = make(&server, &operator, brief).await.unwrap();
    assert_eq!(server.status("/v1/operations", &brief).await, 200);
    let left = soon_over.duration_since(SystemTime::now()).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_millis(5)).await;
    assert_eq!(server.status("/v1/operations", &brief).await, 401);

    let revoke = RevokeKeyRequest { key_id: id(&key) };
    soon(AdminClient::new(server.channel()).revoke_key(with(revoke, &operator))).await.unwrap();
    assert_eq!(server.status("/v1/operations", &key).await, 401);
    server.end().await;
}

#[tokio::test]
async fn keys_are_listed_without_their_secrets_and_of_ones_own_tenant() {
    let (server, operator, _directory) = start().await;
    let admin = make(&server, &operator, of("acme", &["admin"])).await.unwrap();
    let other = make(&server, &operator, of("other", &["admin"])).await.unwrap();
    let body = json!({
        "roles": ["work"], "kinds": ["a", "b"], "name": "the builder", "expireTime": "2031-01-01T00:00:00Z",
    });
    let made = server
        .request("POST", "/v1/keys")
        .bearer_auth(&admin)
        .header("content-type", "application/json");
    let made = made.body(body.to_string()).send();
    let made = soon(made).await.unwrap();
    assert_eq!(made.status(), 201);
    let made = json_of(made).await;
    let secret = made["secret"].as_str().unwrap().to_owned();

    let get = |path: &str, key: &str| {
        let asked = server.request("GET", path).bearer_auth(key).send();
        async move { soon(asked).await.unwrap() }
    };
    let text = get("/v1/keys", &admin).await.text().await.unwrap();
    assert!(!text.contains(&secret) && !text.contains(&secret[20..40]), "{text}");
    let listed: Value = serde_json::from_str(&text).unwrap();
    let keys = listed["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    let own = keys.iter().find(|key| key["keyId"] == id(&secret)).unwrap();
    assert_eq!(own["kinds"], json!(["a", "b"]));
    assert_eq!((&own["name"], &own["tenant"]), (&json!("the builder"), &json!("acme")));
    assert_eq!(own["expireTime"], "2031-01-01T00:00:00Z");
    assert_eq!(own["createdBy"], format!("key:{}", id(&admin)));
    assert_eq!(own.get("lastUseTime"), None);
    let used = keys.iter().find(|key| key["keyId"] == id(&admin)).unwrap();
    assert!(used["lastUseTime"].is_string(), "{used}");

    // All of them, page by page.
    let mut rpc = AdminClient::new(server.channel());
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListKeysRequest { tenant: "-".to_owned(), page_size: 1, page_token };
        let page = soon(rpc.list_keys(with(request, &operator))).await.unwrap().into_inner();
        found.extend(page.keys.into_iter().map(|key| key.key_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut expected = [&operator, &admin, &other, &secret].map(|key| id(key));
    expected.sort_unstable();
    assert_eq!(found, expected);
    for tenant in ["-", "acme"] {
        let path = format!("/v1/keys?tenant={tenant}");
        assert_eq!(get(&path, &other).await.status(), 403);
    }

    // Another tenant's key is none.
    let revoke = |key: &str| {
        let path = format!("/v1/keys/{}:revoke", id(&secret));
        let asked = server.request("POST", &path).bearer_auth(key).send();
        async move { soon(asked).await.unwrap() }
    };
    let refused = revoke(&other).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(json_of(refused).await["reason"], "KEY_NOT_FOUND");
    for _ in 0..2 {
        let revoked = json_of(revoke(&admin).await).await;
        assert!(revoked["revokeTime"].is_string(), "{revoked}");
    }
    server.end().await;
}

#[tokio::test]
async fn the_first_key_is_written_once_and_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("first.key");
    let store = directory.path().join("store.db");
    let change = |config: &mut longrun::config::ServeConfig| {
        config.tokens = TokenConfig::default();
        config.store.url = longrun::config::StoreUrl::Sqlite(store.clone());
        config.callers.bootstrap_key_file = Some(path.clone());
    };
    let server = Guarded::start_with("unused", change).await;
    let key = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.status("/v1/keys?tenant=-", key.trim()).await, 200);
    server.end().await;
    // The key is stored as a code only.
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_file() && entry != path {
            let bytes = std::fs::read(&entry).unwrap();
            let secret = &key.trim().as_bytes()[20..72];
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{entry:?}");
        }
    }
    std::fs::remove_file(&path).unwrap();
    let server = Guarded::start_with("unused", change).await;
    assert!(!path.exists(), "there is a key already");
    assert_eq!(server.status("/v1/operations", key.trim()).await, 200);
    server.end().await;
}

#[tokio::test]
async fn a_key_file_is_read_again_when_it_changes() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.toml");
    let write = |path: &PathBuf, text: &str| {
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&new, path).unwrap();
    };
    let [one, two] = [(); 2].map(|()| longrun::service::keys::KeyText::generate().unwrap());
    let entry = |what: &str, key: &str| {
        format!("[[key]]\n{what} = \"{key}\"\ntenant = \"acme\"\nroles = [\"read\"]\n")
    };
    write(&path, &entry("key", &one.text()));
    let server = Guarded::start_with("unused", |config| {
        config.tokens = TokenConfig::default();
        config.callers.key_file = Some(path.clone());
    })
    .await;
    assert_eq!(server.status("/v1/operations", &one.text()).await, 200);
    assert_eq!(server.status("/v1/operations", &two.text()).await, 401);
    write(&path, &entry("hash", &two.hash()));
    soon(async {
        while server.status("/v1/operations", &two.text()).await != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(server.status("/v1/operations", &one.text()).await, 401);
    server.end().await;
}

#[tokio::test]
async fn a_session_belongs_to_the_key_that_opened_it() {
    let (server, operator, _directory) = start().await;
    let mut keys = Vec::new();
    for tenant in ["acme", "acme", "other"] {
        keys.push(make(&server, &operator, of(tenant, &["work"])).await.unwrap());
    }
    let connect = |key: &str, session_id: String| {
        let hello = Hello {
            worker_id: "w".to_owned(),
            kinds: vec!["demo".to_owned()],
            max_in_flight: 1,
            session_id,
            ..Default::default()
        };
        let hello = WorkRequest { message: Some(Up::Hello(hello)) };
        let (up, requests) = tokio::sync::mpsc::channel(4);
        up.try_send(hello).unwrap();
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let request = with(requests, key);
        let mut workers = WorkersClient::new(server.channel());
        async move {
            let mut down = soon(workers.work(request)).await.unwrap().into_inner();
            match soon(down.message()).await.unwrap().and_then(|first| first.message) {
                Some(Down::Session(session)) => (session, up, down),
                other => panic!("no session but {other:?}"),
            }
        }
    };
    let submitter = make(&server, &operator, of("acme", &["submit"])).await.unwrap();
    submit(&server, &submitter).await.unwrap();
    let (session, up, mut down) = connect(&keys[0], String::new()).await;
    let assigned = soon(down.message()).await.unwrap().and_then(|next| next.message);
    assert!(matches!(assigned, Some(Down::Assignment(_))), "{assigned:?}");
    drop((up, down));
    for stranger in &keys[1..] {
        let (theirs, ..) = connect(stranger, session.session_id.clone()).await;
        assert!(!theirs.resumed);
        assert_ne!(theirs.session_id, session.session_id);
    }
    let bare = session.session_id.split('.').next().unwrap().to_owned();
    assert!(!connect(&keys[0], bare).await.0.resumed);
    assert!(connect(&keys[0], session.session_id).await.0.resumed);

    // Without the role there is no stream at all.
    let reader = make(&server, &operator, of("acme", &["read"])).await.unwrap();
    let requests = tokio_stream::pending::<WorkRequest>();
    let refused = soon(WorkersClient::new(server.channel()).work(with(requests, &reader))).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    server.end().await;
}

#[tokio::test]
async fn private_operations_are_their_owners_and_the_admins() {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first.key");
    let server = Guarded::start_with("unused", |config| {
        config.tokens = TokenConfig::default();
        config.callers.bootstrap_key_file = Some(first.clone());
        config.callers.private_operations = true;
    })
    .await;
    let operator = std::fs::read_to_string(&first).unwrap().trim().to_owned();
    let mut keys = Vec::new();
    for name in ["ada", "ada", "grace"] {
        let request = CreateKeyRequest { name: name.to_owned(), ..of("", &["submit", "read"]) };
        keys.push(make(&server, &operator, request).await.unwrap());
    }
    let request = |key: &str| {
        let (kind, idempotency_key) = ("demo".to_owned(), "order-1".to_owned());
        with(SubmitRequest { kind, idempotency_key, ..Default::default() }, key)
    };
    let mut rpc = OperationsClient::new(server.channel());
    let submitted = soon(rpc.submit(request(&keys[0]))).await.unwrap().into_inner();
    let id = submitted.name.strip_prefix("operations/").unwrap();
    for (key, status, count) in
        [(&keys[0], 202, 1), (&keys[1], 202, 1), (&keys[2], 404, 0), (&operator, 202, 1)]
    {
        assert_eq!(server.status(&format!("/v1/operations/{id}"), key).await, status);
        assert_eq!(list(&server, key).await, Ok(count));
    }
    // Nor by its idempotency key.
    assert_eq!(
        soon(rpc.submit(request(&keys[1]))).await.unwrap().into_inner().name,
        submitted.name
    );
    let refused = soon(rpc.submit(request(&keys[2]))).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(!refused.message().contains(id) && !format!("{refused:?}").contains(id), "{refused:?}");
    server.end().await;
}

/// As `tests/it` asks of rpcs.
#[tokio::test]
async fn every_route_has_an_action() {
    let (server, ..) = start().await;
    let document = server.request("GET", "/openapi.json").send();
    let document = json_of(soon(document).await.unwrap()).await;
    let mut checked = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // Those of all methods, and what is alike everywhere.
            let Some(id) = operation.get("operationId").and_then(Value::as_str) else { continue };
            if matches!(method.as_str(), "options" | "head") {
                continue;
            }
            let id = id.strip_suffix("OfTenant").unwrap_or(id);
            assert!(access::action_of_route(id).is_some(), "{method} {path}: {id}");
            checked.insert(id.to_owned());
        }
    }
    assert!(checked.len() > 25, "{checked:?}");
    server.end().await;
}
