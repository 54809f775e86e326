//! HTTP as its clients see it: a router over a real engine and store, driven request by request.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use longrun::engine::{Engine, EngineConfig, ManualClock, ToWorker, WorkerHello};
use longrun::http::{HttpOptions, router};
use longrun::operation::{
    Attempt, ErrorSource, Kind, OperationError, OperationId, Payload, PayloadForm, TenantId,
    Timestamp, WorkerId,
};
use longrun::service::{Caller, Limits, Report, Service, WorkerSession};
use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;

struct Server {
    router: Router,
    service: Service,
    clock: Arc<ManualClock>,
    _directory: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    #[track_caller]
    fn problem(self, status: u16, reason: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("cache-control"), "no-store");
        let problem = answer.json();
        assert_eq!(problem["reason"], reason, "{problem}");
        assert_eq!(problem["status"], status);
        problem
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    /// The path of `Location`.
    #[track_caller]
    fn location(&self) -> String {
        let path = self.header("location").strip_prefix("http://lro.test");
        path.expect("a location here").to_owned()
    }
}

impl Server {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("longrun.db");
        let store = SqliteStore::open(&path, &SqliteOptions::default()).expect("a store");
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_767_225_600_000_000)));
        let engine = Engine::open(Arc::new(store), clock.clone(), EngineConfig::default());
        let (engine, task) = engine.await.expect("an engine");
        tokio::spawn(task.run(CancellationToken::new()));
        let limits = Limits { max_payload_bytes: 1_000, ..Limits::default() };
        let service = Service::new(engine, limits, CancellationToken::new());
        let router = router(service.clone(), HttpOptions::default());
        Self { router, service, clock, _directory: directory }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let Ok(response) = self.router.clone().call(request).await;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "lro.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).expect("a request")).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// Submits, and gives the path of the operation.
    async fn submit(&self, kind: &str) -> String {
        let body = json!({"kind": kind}).to_string();
        let answer = self.ask("POST", "/v1/operations", &[JSON], body).await;
        answer.expect(202).location()
    }

    async fn work(&self, kind: &str) -> Worker {
        let hello = WorkerHello {
            tenant: TenantId::default_tenant(),
            worker: WorkerId::parse("w").expect("a name"),
            kinds: vec![Kind::parse(kind).expect("a kind")],
            max_in_flight: 4,
            resume: None,
            running: Vec::new(),
        };
        let connected = self.service.connect_worker(&Caller::anonymous(), hello).await;
        let (session, assignments) = connected.expect("a session");
        Worker { session, assignments }
    }
}

struct Worker {
    session: WorkerSession,
    assignments: mpsc::Receiver<ToWorker>,
}

impl Worker {
    async fn next(&mut self) -> (OperationId, Attempt, Option<Payload>) {
        loop {
            if let Some(ToWorker::Assignment { operation, input }) = self.assignments.recv().await {
                return (operation.id(), operation.life.attempt, input);
            }
        }
    }

    async fn report(&mut self, report: Report) {
        let (id, attempt, _) = self.next().await;
        self.session.report(id, attempt, report).await.expect("an acknowledgement");
    }

    async fn complete(&mut self, result: Option<Payload>) {
        self.report(Report::Complete { result, warnings: Vec::new(), errors: Vec::new() }).await;
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn csv() -> Payload {
    Payload::new(PayloadForm::Data, "text/csv; header=present", Bytes::from_static(b"a,b\n\xff"))
}

fn failure(code: &str) -> OperationError {
    OperationError {
        code: code.to_owned(),
        message: "no device 7".to_owned(),
        status_code: 5,
        metadata: [("device".to_owned(), "7".to_owned())].into(),
        causes: Vec::new(),
        source: ErrorSource::Application,
    }
}

#[tokio::test]
async fn a_submission_is_polled_to_its_result() {
    let server = Server::start().await;
    let body = r#"{"kind": "report", "labels": {"team": "a"}, "input": {"text": "hi"}}"#;
    let accepted = server.ask("POST", "/v1/operations", &[JSON], body).await.expect(202);
    let path = accepted.location();
    assert_eq!(accepted.header("operation-location"), format!("http://lro.test{path}/status"));
    assert_eq!(accepted.header("retry-after"), "1");
    assert_eq!(accepted.header("cache-control"), "no-store");
    assert_eq!(accepted.header("etag"), "\"1\"");
    let operation = accepted.json();
    assert_eq!(operation["location"], format!("http://lro.test{path}"));
    assert_eq!(operation["state"], "STATE_QUEUED");
    assert_eq!(operation["labels"], json!({"team": "a"}));

    server.clock.advance(Duration::from_secs(9));
    for path in [path.clone(), path.replace("/v1/", "/v1/tenants/default/")] {
        let pending = server.get(&path).await.expect(202);
        assert_eq!(pending.header("retry-after"), "8");
        assert_eq!(pending.json()["name"], operation["name"]);
    }
    let pending = server.get(&format!("{path}/result")).await.expect(202);
    assert_eq!(pending.location(), format!("{path}/result"));

    server.work("report").await.complete(Some(csv())).await;
    let done = server.get(&path).await.expect(303);
    assert_eq!(done.location(), format!("{path}/result"));
    assert_eq!((done.header("retry-after"), done.header("etag")), ("", "\"3\""));
    assert_eq!(done.json()["done"], true);

    let result = server.get(&done.location()).await.expect(200);
    assert_eq!(result.header("content-type"), "text/csv; header=present");
    assert_eq!(&result.body[..], b"a,b\n\xff");
    let head = server.ask("HEAD", &done.location(), &[], "").await.expect(200);
    assert_eq!((head.header("content-length"), head.body.len()), ("5", 0));
}

#[tokio::test]
async fn any_body_is_the_input_of_a_kind() {
    let server = Server::start().await;
    let query = "label=team%3Da&label=x%3D1%3D2&priority=7&queue_timeout=90s";
    let path = format!("/v1/kinds/resize/operations?{query}");
    let accepted = server.ask("POST", &path, &[("content-type", "image/png")], "\u{1}\u{2}").await;
    let operation = accepted.expect(202).json();
    assert_eq!(operation["labels"], json!({"team": "a", "x": "1=2"}));
    let (_, _, input) = server.work("resize").await.next().await;
    let input = input.expect("an input");
    assert_eq!((input.info.content_type.as_str(), &input.data[..]), ("image/png", &[1, 2][..]));

    let plain = server.ask("POST", "/v1/kinds/plain/operations", &[], "x").await;
    plain.expect(202);
    let (_, _, input) = server.work("plain").await.next().await;
    assert_eq!(input.expect("an input").info.content_type, "application/octet-stream");

    server.ask("POST", "/v1/kinds/empty/operations", &[], "").await.expect(202);
    let (_, _, input) = server.work("empty").await.next().await;
    assert_eq!(input, None);

    for query in [
        "piority=1",
        "priority=x",
        "label=a",
        "deadline=soon",
        "start_time=now",
        "label=a=1&label=a=2",
    ] {
        let path = format!("/v1/kinds/k/operations?{query}");
        server.ask("POST", &path, &[], "x").await.problem(400, "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn a_known_key_gives_the_operation_that_it_created() {
    let server = Server::start().await;
    let submit = async |key: &str, body: &str| {
        let headers = [JSON, ("idempotency-key", key)];
        server.ask("POST", "/v1/operations", &headers, body.to_owned()).await
    };
    let first = submit("\"k1\"", r#"{"kind": "a"}"#).await.expect(202).location();
    let again = submit("k1", r#"{"kind": "a", "idempotencyKey": "k1"}"#).await.expect(202);
    assert_eq!(again.location(), first);

    let other = submit("k1", r#"{"kind": "b"}"#).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert!(first.ends_with(other["operation"].as_str().expect("a name")), "{other}");
    submit("k1", r#"{"kind": "a", "idempotencyKey": "k2"}"#).await.problem(400, "INVALID_ARGUMENT");
    submit("\"k1", r#"{"kind": "a"}"#).await.problem(400, "INVALID_ARGUMENT");

    server.work("a").await.complete(None).await;
    let done = submit("k1", r#"{"kind": "a"}"#).await.expect(303);
    assert_eq!(done.location(), first);
    server.get(&format!("{first}/result")).await.expect(204);
}

#[tokio::test]
async fn waits_end_with_the_operation_or_with_time() {
    let server = Server::start().await;
    let mut worker = server.work("quick").await;
    let headers = [JSON, ("prefer", "respond-async, wait=5")];
    let submitted = server.ask("POST", "/v1/operations", &headers, r#"{"kind": "quick"}"#);
    let (submitted, ()) = tokio::join!(submitted, worker.complete(None));
    let submitted = submitted.expect(303);
    assert_eq!(submitted.header("preference-applied"), "wait=5");
    assert_eq!(submitted.header("vary"), "prefer");

    let slow = server.submit("slow").await;
    for (path, prefer) in [(format!("{slow}?wait=30s"), ""), (slow.clone(), "wait=999")] {
        let headers = [("prefer", prefer)];
        let held = server.ask("GET", &path, &headers, "");
        let time = async {
            // Twice, for one that was not yet waiting the first time.
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                server.clock.advance(Duration::from_secs(301));
            }
        };
        let (held, ()) = tokio::join!(held, time);
        let applied = if prefer.is_empty() { "" } else { "wait=300" };
        assert_eq!(held.expect(202).header("preference-applied"), applied);
    }

    let held = format!("{slow}/result?wait=30");
    let mut worker = server.work("slow").await;
    let (held, ()) = tokio::join!(server.get(&held), worker.complete(Some(csv())));
    assert_eq!(&held.expect(200).body[..], b"a,b\n\xff");
    server.get(&format!("{slow}?wait=soon")).await.problem(400, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_failure_is_told_as_the_operations_own() {
    let server = Server::start().await;
    let path = server.submit("fails").await;
    let error =
        OperationError { causes: vec![failure("RowMissing")], ..failure("DeviceNotExists") };
    let report = Report::Fail { error, is_final: true, retry_delay: None };
    server.work("fails").await.report(report).await;

    server.get(&path).await.expect(303);
    let result = server.get(&format!("{path}/result")).await;
    assert_eq!(result.header("longrun-error-source"), "operation");
    let problem = result.problem(404, "DeviceNotExists");
    assert_eq!(problem["code"], "DeviceNotExists");
    assert_eq!(problem["metadata"], json!({"device": "7"}));
    assert_eq!(problem["causes"][0]["code"], "RowMissing");
    assert_eq!(problem["instance"], format!("{path}/result"));

    let status = server.get(&format!("{path}/status")).await.expect(200).json();
    assert_eq!(status["status"], "Failed");
    assert_eq!(status["error"]["code"], "DeviceNotExists");
    assert_eq!(status["error"]["details"][0]["code"], "RowMissing");
}

#[tokio::test]
async fn the_status_document_is_always_there() {
    let server = Server::start().await;
    let path = server.submit("s").await;
    let url = format!("{path}/status");
    let answer = server.get(&url).await.expect(200);
    assert_eq!(answer.header("retry-after"), "1");
    let status = answer.json();
    assert_eq!((&status["status"], &status["done"]), (&json!("NotStarted"), &json!(false)));
    assert_eq!(status["createdDateTime"], "2026-01-01T00:00:00Z");
    assert_eq!(status["links"]["self"], format!("http://lro.test{url}"));
    assert_eq!(status.get("resourceLocation"), None);

    let mut worker = server.work("s").await;
    let (id, attempt, _) = worker.next().await;
    assert_eq!(server.get(&url).await.json()["status"], "Running");
    let errors = vec![failure("Half")];
    let report = Report::Complete { result: Some(csv()), warnings: Vec::new(), errors };
    worker.session.report(id, attempt, report).await.expect("an acknowledgement");
    let status = server.get(&url).await.expect(200).json();
    assert_eq!(status["status"], "Succeeded");
    assert_eq!(status["state"], "PARTIALLY_SUCCEEDED");
    assert_eq!(status["resourceLocation"], format!("http://lro.test{path}/result"));
    let result = server.get(&format!("{path}/result")).await.expect(200);
    assert_eq!(result.header("longrun-errors"), "1");
}

#[tokio::test]
async fn operations_are_cancelled_retried_listed_and_deleted() {
    let server = Server::start().await;
    let path = server.submit("c").await;
    server.ask("DELETE", &path, &[], "").await.problem(409, "OPERATION_NOT_DONE");
    let cancel = format!("{path}:cancel");
    let body = r#"{"reason": "no longer needed"}"#;
    let cancelled = server.ask("POST", &cancel, &[JSON], body).await.expect(200).json();
    assert_eq!(cancelled["state"], "STATE_CANCELLED");
    server.ask("POST", &cancel, &[], "").await.expect(200);
    server.get(&format!("{path}/result")).await.problem(499, "CANCELLED");

    let retry = format!("{path}:retry");
    let headers = [("idempotency-key", "again")];
    let retried = server.ask("POST", &retry, &headers, "").await.expect(202).location();
    assert_ne!(retried, path);
    let same = server.ask("POST", &retry, &headers, "").await.expect(202).location();
    assert_eq!(same, retried);

    let first = server.get("/v1/operations?pageSize=1").await.expect(200).json();
    assert!(first["operations"][0]["location"].as_str().expect("a location").ends_with(&retried));
    let token = first["nextPageToken"].as_str().expect("a token");
    let last = server.get(&format!("/v1/operations?page_size=1&page_token={token}")).await.json();
    assert!(last["operations"][0]["location"].as_str().expect("a location").ends_with(&path));
    let failed = server.get("/v1/operations?filter=state%3DFAILED").await.expect(200).json();
    assert_eq!(failed, json!({"operations": []}));
    server.get("/v1/operations?filter=%3D").await.problem(400, "INVALID_ARGUMENT");

    let events = server.get(&format!("{path}/events")).await.expect(200).json();
    let types: Vec<_> =
        events["events"].as_array().expect("a list").iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["TYPE_SUBMITTED", "TYPE_FINISHED"]);

    let deleted = server.ask("DELETE", &path, &[], "").await.expect(204);
    assert_eq!(deleted.body.len(), 0);
    server.get(&path).await.problem(404, "OPERATION_NOT_FOUND");
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_a_reason() {
    let server = Server::start().await;
    let post = async |content_type: &str, body: String| {
        let headers = [("content-type", content_type)];
        server.ask("POST", "/v1/operations", &headers, body).await
    };
    let form = "application/x-www-form-urlencoded";
    post(form, "{}".to_owned()).await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let missing = server.ask("POST", "/v1/operations", &[], r#"{"kind": "a"}"#).await;
    missing.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let broken = post("application/json", "{\n  \"kind\": }".to_owned()).await;
    let detail = broken.problem(400, "INVALID_ARGUMENT")["detail"].to_string();
    assert!(detail.contains("line 2 column 11"), "{detail}");
    let unknown =
        post("application/json", r#"{"kind": "a", "settings": {"priority": "x"}}"#.to_owned());
    let unknown = unknown.await.problem(400, "INVALID_ARGUMENT");
    assert_eq!(unknown["violations"][0]["field"], "settings.priority");
    post("application/json", String::new()).await.problem(400, "INVALID_ARGUMENT");
    post("application/json", r#"{"kind": "1"}"#.to_owned()).await.problem(400, "INVALID_ARGUMENT");

    let json = |bytes| json!({"kind": "a", "input": {"text": "x".repeat(bytes)}}).to_string();
    post("application/json", json(1_000)).await.expect(202);
    post("application/json", json(1_001)).await.problem(413, "PAYLOAD_TOO_LARGE");
    post("application/json", json(100_000)).await.problem(413, "PAYLOAD_TOO_LARGE");
    let chunks = tokio_stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(vec![0; 100])));
    let streamed = Body::from_stream(chunks);
    let streamed = server.ask("POST", "/v1/kinds/a/operations", &[], streamed).await;
    streamed.problem(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn what_is_not_there_is_answered_in_the_callers_protocol() {
    let server = Server::start().await;
    let id = "0190a1b2-0000-7000-8000-000000000000";
    let operation = format!("/v1/operations/{id}");
    server.get(&operation).await.problem(404, "OPERATION_NOT_FOUND");
    server
        .get(&format!("/v1/tenants/other/operations/{id}"))
        .await
        .problem(404, "OPERATION_NOT_FOUND");
    for bad in ["x", "%ff", &"9".repeat(5_000), "%00", "0190A1B2-0000-7000-8000-000000000000"] {
        server.get(&format!("/v1/operations/{bad}")).await.problem(400, "INVALID_ARGUMENT");
        server.get(&format!("/v1/operations/{bad}/status")).await.problem(400, "INVALID_ARGUMENT");
    }
    for path in [
        "/",
        "/v1",
        "/v2/operations",
        "/v1/operations/",
        &format!("/v1/operations/operations%2F{id}"),
    ] {
        server.get(path).await.problem(404, "ROUTE_NOT_FOUND");
    }
    server
        .ask("POST", &format!("{operation}:explode"), &[], "")
        .await
        .problem(404, "ROUTE_NOT_FOUND");
    server.get(&format!("{operation}:explode")).await.problem(404, "ROUTE_NOT_FOUND");

    for (method, path, allow) in [
        ("PUT", "/v1/operations", "GET,HEAD,POST"),
        ("GET", "/v1/kinds/a/operations", "POST"),
        ("POST", &operation, "GET,HEAD,DELETE"),
        ("PATCH", &operation, "GET,HEAD,POST,DELETE"),
        ("GET", &format!("{operation}:cancel"), "POST"),
        ("DELETE", &format!("{operation}:cancel"), "POST"),
        ("POST", &format!("{operation}/status"), "GET,HEAD"),
    ] {
        let answer = server.ask(method, path, &[], "").await;
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        answer.problem(405, "METHOD_NOT_ALLOWED");
    }

    let grpc = [("content-type", "application/grpc+proto")];
    let answer = server.ask("POST", "/acme.v1.Service/Call", &grpc, "").await.expect(200);
    assert_eq!(answer.header("grpc-status"), "12");
    assert_eq!(answer.header("content-type"), "application/grpc+proto");
    assert_eq!(answer.body.len(), 0);
}
