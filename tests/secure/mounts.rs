//! What a tenant submitted through a dialect or a relay is there for no other: every route of the built-in dialects is tried.

use longrun::config::file;
use longrun::proto::v1;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::workers_client::WorkersClient;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::issuer::{Issuer, SigningKey, claims};
use crate::support::{Guarded, soon, with};

/// What nobody but its tenant may ever see.
const SECRET: &str = "tell-nobody";
const ROLES: [&str; 5] = ["submit", "read", "work", "admin", "operator"];
/// The dialects that need no API behind them.
const DIALECTS: [&str; 6] = [
    "background-job",
    "bulk-api",
    "ga4gh-tes",
    "job-object",
    "openai-responses",
    "operation-location",
];

#[derive(Deserialize)]
struct Dialect {
    /// The form of ids.
    #[serde(default = "uuid")]
    id: String,
    route: Vec<Route>,
}

#[derive(Deserialize)]
struct Route {
    path: String,
    #[serde(default = "get")]
    method: String,
}

fn get() -> String {
    "GET".to_owned()
}

fn uuid() -> String {
    "uuid".to_owned()
}

impl Dialect {
    fn read(name: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dialect/builtin");
        let text = std::fs::read_to_string(format!("{folder}/{name}.toml")).expect("a dialect");
        toml::from_str(&text).expect("its routes")
    }

    /// The operation's id as the dialect writes it.
    fn written(&self, id: Uuid) -> String {
        let form = if self.id.contains('{') { self.id.clone() } else { format!("{{{}}}", self.id) };
        let number = id.as_u128();
        let form = form.replace("{uuid}", &id.to_string());
        form.replace("{hex}", &format!("{number:032x}")).replace("{decimal}", &number.to_string())
    }
}

async fn ask(
    server: &Guarded,
    (method, path): (&str, &str),
    token: &str,
    body: Option<String>,
) -> (u16, String) {
    let mut request = server.request(method, path).bearer_auth(token);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let answer = soon(request.send()).await.expect("an answer");
    let status = answer.status().as_u16();
    (status, soon(answer.text()).await.expect("a body"))
}

/// The operation that was submitted last, done with a result that is a secret.
async fn done(server: &Guarded, token: &str) -> Uuid {
    let mut operations = OperationsClient::new(server.channel());
    let mut workers = WorkersClient::new(server.channel());
    let acquire = v1::AcquireRequest {
        worker_id: "w".to_owned(),
        kinds: vec!["demo".to_owned()],
        ..v1::AcquireRequest::default()
    };
    let acquired = soon(workers.acquire(with(acquire, token))).await.expect("an attempt");
    let result = json!({"secret": SECRET}).to_string().into_bytes();
    let result = v1::Payload {
        content_type: "application/json".to_owned(),
        content: Some(v1::payload::Content::Data(result.into())),
        ..v1::Payload::default()
    };
    let token_of_attempt = acquired.into_inner().attempts.remove(0).token;
    let report = v1::CompleteRequest {
        token: token_of_attempt,
        result: Some(result),
        ..v1::CompleteRequest::default()
    };
    soon(workers.complete(with(report, token))).await.expect("it is recorded");
    let list = v1::ListOperationsRequest { page_size: 1, ..v1::ListOperationsRequest::default() };
    let listed = soon(operations.list_operations(with(list, token))).await.expect("a page");
    let name = listed.into_inner().operations.remove(0).name;
    name.strip_prefix("operations/").expect("an id").parse().expect("a UUID")
}

#[tokio::test]
async fn nothing_of_a_tenant_is_there_for_another_in_any_dialect() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let mount = |name: &str| {
        format!(
            "[[dialect]]\nuse = \"{name}\"\nprefix = \"/{name}\"\n\
             [[dialect.submit]]\npath = \"/x\"\nkind = \"demo\"\n"
        )
    };
    let mounts: String = DIALECTS.iter().map(|name| mount(name)).collect();
    let config = file::parse(&mounts, &|_| Ok(String::new())).expect("mounts");
    let server = Guarded::start_with(&issuer.url, |it| it.dialects = config.dialects).await;
    let own = key.sign(&claims("a", &ROLES));
    let roles = || ROLES.iter().map(|role| vec![*role]).chain([ROLES.to_vec()]);
    let strangers = ["b", "default"].into_iter().flat_map(|tenant| {
        let key = &key;
        roles().map(move |roles| key.sign(&claims(tenant, &roles)))
    });
    let strangers: Vec<String> = strangers.collect();
    let mut shown = Vec::new();
    for dialect in DIALECTS {
        let body = json!({"secret": SECRET, "background": true}).to_string();
        let submit = format!("/{dialect}/x");
        let (status, body) = ask(&server, ("POST", &submit), &own, Some(body)).await;
        assert!((200..400).contains(&status), "{dialect}: {status} {body}");
        let known = Dialect::read(dialect);
        let id = known.written(done(&server, &own).await);
        for Route { path, method } in known.route {
            let path = format!("/{dialect}{}", path.replace("{id}", &id));
            for stranger in &strangers {
                let body = (method == "POST").then(|| "{}".to_owned());
                let (status, body) = ask(&server, (&method, &path), stranger, body).await;
                assert!(!body.contains(SECRET), "{method} {path} shows {body}");
                let is_hidden = [403, 404].contains(&status);
                assert!(is_hidden || !path.contains(&id), "{method} {path}: {status} {body}");
            }
            if method == "GET" {
                let (status, body) = ask(&server, ("GET", &path), &own, None).await;
                assert!(status < 400, "GET {path}: {status} {body}");
                shown.extend(body.contains(SECRET).then_some(dialect));
            }
        }
    }
    shown.dedup();
    assert!(
        shown.len() >= 4,
        "to their own they show it, so that what is above could fail: {shown:?}"
    );
    server.end().await;
}

#[tokio::test]
async fn what_a_relay_stores_is_there_for_its_tenant_alone() {
    let key = SigningKey::new("one");
    let issuer = Issuer::of(&[&key]).await;
    let mount = "[[relay]]\nname = \"api\"\nprefix = \"/api\"\nupstream = \"http://127.0.0.1:9\"\n";
    let config = file::parse(mount, &|_| Ok(String::new())).expect("a mount");
    let server = Guarded::start_with(&issuer.url, |it| it.relay = config.relay).await;
    let own = key.sign(&claims("a", &ROLES));
    let request = server.request("POST", "/api/x").bearer_auth(&own);
    let request = request.header("prefer", "respond-async").body(SECRET);
    let accepted = soon(request.send()).await.expect("an answer");
    assert_eq!(accepted.status().as_u16(), 202);
    let location = accepted.headers()["location"].to_str().expect("a URL").to_owned();
    let at = location.find("/v1/").expect("a path");
    for part in ["", "/status", "/result", "/input", "/events"] {
        let path = format!("{}{part}", &location[at..]);
        for tenant in ["b", "default"] {
            for role in ROLES {
                let stranger = key.sign(&claims(tenant, &[role]));
                let (status, body) = ask(&server, ("GET", &path), &stranger, None).await;
                assert!([403, 404].contains(&status), "{path} as {role}: {status}");
                assert!(!body.contains(SECRET), "{path} shows {body}");
            }
        }
    }
    let (_, input) = ask(&server, ("GET", &format!("{}/input", &location[at..])), &own, None).await;
    assert_eq!(input, SECRET);
    server.end().await;
}
