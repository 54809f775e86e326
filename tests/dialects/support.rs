//! A server that speaks all five dialects, before an API and a worker that wait to be told what to answer.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use longrun::config::{ServeConfig, StoreUrl, file};
use longrun::server::Server;
use longrun::worker::{Context, Failure, Outcome, Worker};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// All five dialects. `UPSTREAM` is the API's address.
pub const FIVE: &str = r#"
[[dialect]]
use = "bulk-api"
prefix = "/v1/accounts/2ce1a86e-7331-4542-b1f8-085ac1225cff"
[[dialect.submit]]
path = "/sets/{set}/devices"
kind = "DeviceSetAssignment"

[[dialect]]
use = "background-job"
prefix = "/api/v2"
[[dialect.submit]]
path = "/sites/{site}/asset_tracking_config/publish"
kind = "AssetTrackingConfigPublication"

[[relay]]
name = "bear"
prefix = "/v2.5"
upstream = "http://UPSTREAM/v2.5"
headers.credentials = ["authorization"]

[[dialect]]
use = "background-request"
prefix = "/"
relay = "bear"

[[dialect]]
use = "job-object"
prefix = "/api/management-server"
[[dialect.submit]]
path = "/fileshares"
kind = "FileShareCreation"

[[relay]]
name = "provisioning"
prefix = "/provisioning"
upstream = "http://UPSTREAM/provisioning"

[[dialect]]
use = "async-parameter"
prefix = "/provisioning"
relay = "provisioning"
"#;

/// The dialects of published standards; `ogc-processes.toml` is that of the examples.
pub const STANDARDS: &str = r#"
[[dialect]]
use = "operation-location"
prefix = "/azure"
[[dialect.submit]]
path = "/widgets/{widget}:analyze"
kind = "WidgetAnalysis"

[[dialect]]
use = "fhir-async"
prefix = "/fhir"
[[dialect.submit]]
method = "GET"
path = "/$export"
kind = "Export"
[[dialect.submit]]
method = "GET"
path = "/Group/{group}/$export"
kind = "GroupExport"

[[relay]]
name = "r4"
prefix = "/r4"
upstream = "http://UPSTREAM/r4"

[[dialect]]
use = "fhir-async"
name = "relayed"
prefix = "/r4"
relay = "r4"

[[dialect]]
use = "redfish-task"
prefix = "/redfish/v1"
[[dialect.submit]]
path = "/Systems/{system}/Actions/ComputerSystem.Reset"
kind = "Reset"

[[dialect]]
use = "ga4gh-tes"
prefix = "/ga4gh/tes/v1"
[[dialect.submit]]
path = "/tasks"
kind = "Task"

[[dialect]]
use = "openai-responses"
prefix = "/openai/v1"
[[dialect.submit]]
path = "/responses"
kind = "Response"

[[dialect]]
file = "ogc-processes.toml"
prefix = "/ogc"
wait = "60s"
[[dialect.submit]]
path = "/processes/{process}/execution"
kind = "process.{process}"
kinds = ["process.echo"]
"#;

/// A request at the API, which waits for its answer.
pub struct Call {
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub answer: oneshot::Sender<Response>,
}

/// An operation at the worker, which waits for its outcome.
pub struct Work {
    pub context: Context,
    pub end: oneshot::Sender<Result<Outcome, Failure>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {:?}", self.headers, self.body);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

pub struct Setup {
    pub addr: SocketAddr,
    calls: Mutex<mpsc::UnboundedReceiver<Call>>,
    works: Mutex<mpsc::UnboundedReceiver<Work>>,
    /// To whom workers show what they have; there are none without it.
    works_sender: Option<mpsc::UnboundedSender<Work>>,
    config: ServeConfig,
    running: JoinSet<()>,
    _api: JoinSet<()>,
    pub directory: tempfile::TempDir,
}

async fn respond(State(calls): State<mpsc::UnboundedSender<Call>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let (answer, answered) = oneshot::channel();
    let (target, headers) = (parts.uri.to_string(), parts.headers);
    let _ = calls.send(Call { target, headers, body, answer });
    answered.await.unwrap_or_else(|_| StatusCode::IM_A_TEAPOT.into_response())
}

impl Setup {
    pub async fn five() -> Self {
        Self::new(FIVE, &[]).await
    }

    /// A server with this configuration, and these files beside it.
    pub async fn new(config: &str, files: &[(&str, &str)]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream = listener.local_addr().expect("an address").to_string();
        let (calls_sender, calls) = mpsc::unbounded_channel();
        let router = Router::new().fallback(respond).with_state(calls_sender);
        let mut api = JoinSet::new();
        api.spawn(serve(listener, router));
        let text = config.replace("UPSTREAM", &upstream);
        let beside = |name: &str| {
            let found = files.iter().find(|(file, _)| *file == name);
            found
                .map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        let file::Config { relay, dialects, .. } =
            file::parse(&text, &beside).expect("a configuration");
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = ServeConfig { relay, dialects, ..ServeConfig::default() };
        config.listen.addr.set_port(0);
        config.store.url = StoreUrl::Sqlite(directory.path().join("longrun.db"));
        let (works_sender, works) = mpsc::unbounded_channel();
        let mut setup = Self {
            addr: config.listen.addr,
            calls: Mutex::new(calls),
            works: Mutex::new(works),
            works_sender: Some(works_sender),
            config,
            running: JoinSet::new(),
            _api: api,
            directory,
        };
        setup.start().await;
        setup
    }

    async fn start(&mut self) {
        let server = Server::bind(self.config.clone()).await.expect("a server");
        self.addr = server.local_addr();
        let mut workers = JoinSet::new();
        for mounted in server.relay().mounts().iter().cloned() {
            let worker = longrun::relay::execute::worker(server.local_client(), mounted, 1 << 20);
            workers.spawn(async move { worker.run(CancellationToken::new()).await });
        }
        let kinds = self.config.dialects.iter().flat_map(|mount| &mount.submit);
        let kinds = kinds.flat_map(|submit| submit.kind.known()).map(ToString::to_string);
        for (kind, works) in kinds.filter_map(|kind| Some((kind, self.works_sender.clone()?))) {
            let worker = Worker::new(server.local_client()).concurrency(8);
            let worker = worker.handler(kind, move |context| {
                let works = works.clone();
                async move {
                    let (end, ended) = oneshot::channel();
                    let _ = works.send(Work { context, end });
                    ended.await.unwrap_or_else(|_| Ok(Outcome::empty()))
                }
            });
            workers.spawn(async move { worker.run(CancellationToken::new()).await });
        }
        self.running.spawn(async move {
            let _workers = workers;
            let _ = server.run(CancellationToken::new()).await;
        });
    }

    /// Without workers of kinds: what is submitted stays in the queue.
    pub async fn without_workers(config: &str) -> Self {
        let mut setup = Self::new(config, &[]).await;
        setup.works_sender = None;
        setup.crash().await;
        setup
    }

    /// Ends the server and its workers where they stand, and starts it anew.
    pub async fn crash(&mut self) {
        self.running.shutdown().await;
        self.start().await;
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("http://{}{path}", self.addr)
        }
    }

    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        ask(method, &self.url(path), headers, body.into()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// The next request at the API.
    pub async fn call(&self) -> Call {
        soon(async { self.calls.lock().await.recv().await }).await.expect("a request")
    }

    /// Whether nothing has come to the API that was not taken.
    pub async fn is_quiet(&self) -> bool {
        self.calls.lock().await.is_empty()
    }

    /// The next operation at the worker.
    pub async fn work(&self) -> Work {
        soon(async { self.works.lock().await.recv().await }).await.expect("an operation")
    }
}

impl Call {
    pub fn answer(self, status: u16, content_type: &str, body: &str) {
        let headers = [("content-type", content_type.to_owned())];
        let status = StatusCode::from_u16(status).expect("a status");
        let _ = self.answer.send((status, headers, body.to_owned()).into_response());
    }
}

/// Waits for what must come soon.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("in time")
}

pub async fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: Body) -> Answer {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).expect("a request");
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    soon(async {
        let (parts, body) = client.request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    })
    .await
}

async fn serve(listener: tokio::net::TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let io = hyper_util::rt::TokioIo::new(socket);
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(io, service).await;
        });
    }
}
