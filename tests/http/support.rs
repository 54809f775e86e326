//! A router over a real engine and store, its clock in the hand of the test, and a worker beside it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use longrun::engine::{Engine, EngineConfig, ManualClock, ToWorker, WorkerHello};
use longrun::http::{HttpOptions, router};
use longrun::objects::Objects;
use longrun::operation::{
    Attempt, ErrorSource, Kind, OperationError, OperationId, Payload, PayloadForm, TenantId,
    Timestamp, WorkerId,
};
use longrun::service::{Caller, Limits, Report, Service, WorkerSession};
use longrun::store::Store;
use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;

use crate::described;

pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) service: Service,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) closing: CancellationToken,
    _directory: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    #[track_caller]
    pub(crate) fn problem(self, status: u16, reason: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("cache-control"), "no-store");
        let problem = answer.json();
        assert_eq!(problem["reason"], reason, "{problem}");
        assert_eq!(problem["status"], status);
        problem
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    /// The path of `Location`.
    #[track_caller]
    pub(crate) fn location(&self) -> String {
        let path = self.header("location").strip_prefix("http://lro.test");
        path.expect("a location here").to_owned()
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_for(&[]).await
    }

    /// A server that pages of these sites may call.
    pub(crate) async fn start_for(origins: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("longrun.db");
        let store = SqliteStore::open(&path, &SqliteOptions::default()).expect("a store");
        let store: Arc<dyn Store> = Arc::new(store);
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_767_225_600_000_000)));
        let engine = Engine::open(Arc::clone(&store), clock.clone(), EngineConfig::default());
        let (engine, task) = engine.await.expect("an engine");
        tokio::spawn(task.run(CancellationToken::new()));
        let objects = Objects::in_directory(&directory.path().join("objects")).expect("objects");
        let limits = Limits { max_payload_bytes: 1_000, ..Limits::default() };
        let closing = CancellationToken::new();
        let service = Service::new(engine, objects, limits, closing.clone());
        let cors_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let options = HttpOptions { cors_origins, ..HttpOptions::default() };
        let router = router(service.clone(), options);
        let router = longrun::auth::in_front_of(router, longrun::auth::Authenticator::open());
        Self { router, service, store, clock, closing, _directory: directory }
    }

    /// The answer with its body yet to be read.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).header("host", "lro.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        let Ok(response) = self.router.clone().call(request).await;
        response
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let (parts, body) = self.open(method, path, headers, body).await.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        let answer = (parts.status, &parts.headers, &body[..]);
        described::hold(&self.router, (method, path), answer).await;
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// Submits, and gives the path of the operation.
    pub(crate) async fn submit(&self, kind: &str) -> String {
        let body = json!({"kind": kind}).to_string();
        let answer = self.ask("POST", "/v1/operations", &[JSON], body).await;
        answer.expect(202).location()
    }

    pub(crate) async fn work(&self, kind: &str) -> Worker {
        let hello = WorkerHello {
            scope: TenantId::default_tenant().into(),
            worker: WorkerId::parse("w").expect("a name"),
            kinds: vec![Kind::parse(kind).expect("a kind")],
            max_in_flight: 4,
            resume: None,
            in_process: false,
            running: Vec::new(),
        };
        let connected = self.service.connect_worker(&Caller::anonymous(), hello).await;
        let (session, assignments) = connected.expect("a session");
        Worker { session, assignments }
    }
}

pub(crate) struct Worker {
    pub(crate) session: WorkerSession,
    pub(crate) assignments: mpsc::Receiver<ToWorker>,
}

impl Worker {
    pub(crate) async fn next(&mut self) -> (OperationId, Attempt, Option<Payload>) {
        loop {
            if let Some(ToWorker::Assignment { operation, input }) = self.assignments.recv().await {
                return (operation.id(), operation.life.attempt, input);
            }
        }
    }

    pub(crate) async fn report(&mut self, report: Report) {
        let (id, attempt, _) = self.next().await;
        self.session.report(id, attempt, report).await.expect("an acknowledgement");
    }

    pub(crate) async fn complete(&mut self, result: Option<Payload>) {
        let (id, attempt, _) = self.next().await;
        self.complete_of(id, attempt, result).await;
    }

    pub(crate) async fn complete_of(
        &self,
        id: OperationId,
        attempt: Attempt,
        result: Option<Payload>,
    ) {
        let report =
            Report::Complete { result, contents: None, warnings: Vec::new(), errors: Vec::new() };
        self.session.report(id, attempt, report).await.expect("an acknowledgement");
    }
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

pub(crate) fn csv() -> Payload {
    Payload::new(PayloadForm::Data, "text/csv; header=present", Bytes::from_static(b"a,b\n\xff"))
}

pub(crate) fn failure(code: &str) -> OperationError {
    OperationError {
        code: code.to_owned(),
        message: "no device 7".to_owned(),
        status_code: 5,
        metadata: [("device".to_owned(), "7".to_owned())].into(),
        causes: Vec::new(),
        source: ErrorSource::Application,
    }
}
