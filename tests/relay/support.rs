//! A server in front of a scripted API, and a client that says exactly what it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What the API was asked.
#[derive(Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The API: tells what it was asked, and answers by the path's last segment.
#[derive(Clone)]
pub struct Api {
    asked: mpsc::UnboundedSender<Asked>,
    pub count: Arc<AtomicUsize>,
    /// What the path `held` waits for.
    released: CancellationToken,
}

impl Api {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Asked>) {
        let (sender, asked) = mpsc::unbounded_channel();
        (Self { asked: sender, count: Arc::default(), released: CancellationToken::new() }, asked)
    }

    pub fn router(&self) -> Router {
        Router::new().fallback(respond).with_state(self.clone())
    }

    /// Answers what is held, and holds nothing more.
    pub fn release(&self) {
        self.released.cancel();
    }
}

async fn respond(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if path.ends_with("/echo-stream") {
        return Body::new(body).into_response();
    }
    let body = body.collect().await.expect("a body").to_bytes();
    let target = parts.uri.to_string();
    let (method, headers) = (parts.method.to_string(), parts.headers);
    let _ = api.asked.send(Asked { method, target: target.clone(), headers, body });
    let earlier = api.count.fetch_add(1, Ordering::SeqCst);
    let csv = [("content-type", "text/csv"), ("content-disposition", "attachment")];
    match path.rsplit('/').next().unwrap_or_default() {
        "csv" => (csv, "a,b\n1,2\n").into_response(),
        "varied" => ([("vary", "accept, Origin")], "x").into_response(),
        "made" => {
            let fields = [("location", "/things/7"), ("x-made", "7")];
            (StatusCode::CREATED, fields, "{}").into_response()
        }
        "none" => StatusCode::NO_CONTENT.into_response(),
        "missing" => (StatusCode::NOT_FOUND, [("set-cookie", "a=b")], "no").into_response(),
        "broken" => {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "9")], "sorry").into_response()
        }
        "binary" => Bytes::from_static(b"\x00\xff\x1f\x8b").into_response(),
        "large" => vec![b'x'; 3 << 20].into_response(),
        "slow" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            StatusCode::OK.into_response()
        }
        "held" => {
            api.released.cancelled().await;
            StatusCode::OK.into_response()
        }
        // The first call is never answered; later ones are.
        "stuck" if earlier == 0 => std::future::pending().await,
        _ => {
            let json = [("content-type", "application/json")];
            (json, json!({"target": target}).to_string()).into_response()
        }
    }
}

/// The API alone.
pub struct Upstream {
    pub addr: SocketAddr,
    pub api: Api,
    pub asked: mpsc::UnboundedReceiver<Asked>,
    pub running: tokio::task::JoinSet<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (api, asked) = Api::new();
        let router = api.router();
        let mut running = tokio::task::JoinSet::new();
        running.spawn(async move { axum_serve(listener, router).await });
        Self { addr, api, asked, running }
    }

    pub async fn asked(&mut self) -> Asked {
        next(&mut self.asked).await
    }
}

async fn next(asked: &mut mpsc::UnboundedReceiver<Asked>) -> Asked {
    let asked = tokio::time::timeout(Duration::from_secs(10), asked.recv()).await;
    asked.expect("a request in time").expect("a request")
}

/// A server with one mount, `/api`, and its API.
pub struct Setup {
    pub addr: SocketAddr,
    pub asked: mpsc::UnboundedReceiver<Asked>,
    pub api: Api,
    /// Stops the relay's worker, as a server that stops does first.
    pub stop_worker: CancellationToken,
    config: ServeConfig,
    running: tokio::task::JoinSet<()>,
    pub directory: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
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

impl Setup {
    /// With more lines of configuration for the mount.
    pub async fn new(more: &str) -> Self {
        let Upstream { addr, api, asked, running } = Upstream::start().await;
        Self::over(&format!("http://{addr}/base"), more, asked, api, running).await
    }

    /// In front of an address where nothing listens.
    pub async fn in_front_of_nothing(more: &str) -> Self {
        let (api, asked) = Api::new();
        Self::over("http://127.0.0.1:1", more, asked, api, tokio::task::JoinSet::new()).await
    }

    pub async fn over(
        upstream: &str,
        more: &str,
        asked: mpsc::UnboundedReceiver<Asked>,
        api: Api,
        running: tokio::task::JoinSet<()>,
    ) -> Self {
        Self::edited(upstream, more, asked, api, running, |_| {}).await
    }

    /// With the rest of the configuration changed.
    pub async fn edited(
        upstream: &str,
        more: &str,
        asked: mpsc::UnboundedReceiver<Asked>,
        api: Api,
        running: tokio::task::JoinSet<()>,
        edit: impl FnOnce(&mut ServeConfig),
    ) -> Self {
        let text = format!(
            "[[relay]]\nname = \"api\"\nprefix = \"/api\"\nupstream = \"{upstream}\"\n{more}"
        );
        let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = ServeConfig::default();
        config.listen.addr.set_port(0);
        config.store.url = StoreUrl::Sqlite(directory.path().join("longrun.db"));
        config.liveness.lease_duration = Duration::from_secs(1);
        let parsed = file::parse(&text, &no_files).expect("a configuration");
        (config.relay, config.dialects) = (parsed.relay, parsed.dialects);
        edit(&mut config);
        let addr = config.listen.addr;
        let mut setup = Self {
            addr,
            asked,
            api,
            stop_worker: CancellationToken::new(),
            config,
            running,
            directory,
        };
        setup.start().await;
        setup
    }

    async fn start(&mut self) {
        let server = Server::bind(self.config.clone()).await.expect("a server");
        self.addr = server.local_addr();
        let mounted = server.relay().mounts()[0].clone();
        let worker = longrun::relay::execute::worker(server.local_client(), mounted, 1 << 20);
        let worker = worker.drain_timeout(Duration::from_millis(100));
        let stop_worker = self.stop_worker.clone();
        self.running.spawn(async move {
            let worked = worker.run(stop_worker);
            let _ = tokio::join!(server.run(CancellationToken::new()), worked);
        });
    }

    /// Ends server and workers where they stand, the API too unless it was never there, and starts anew.
    pub async fn crash(&mut self) {
        let upstream = self.config.relay[0].upstream.authority.to_string();
        self.running.shutdown().await;
        let router = self.api.router();
        let listener = tokio::net::TcpListener::bind(upstream).await.expect("the same port");
        self.running.spawn(async move { axum_serve(listener, router).await });
        self.start().await;
    }

    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        ask(self.addr, method, path, headers, body).await
    }

    /// Has the request become an operation, and gives its result.
    pub async fn result(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = [("prefer", "respond-async"), ("content-type", "text/plain")];
        let accepted = self.ask(method, path, &headers, body.to_owned()).await.expect(202);
        self.result_at(accepted.header("location")).await
    }

    pub async fn result_at(&self, location: &str) -> Answer {
        self.ask("GET", &format!("{location}/result?wait=15"), &[], "").await
    }

    pub async fn asked(&mut self) -> Asked {
        next(&mut self.asked).await
    }
}

/// Asks the server at `addr`, or whoever a whole URL names.
pub async fn ask(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let uri =
        if path.starts_with("http") { path.to_owned() } else { format!("http://{}{path}", addr) };
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("a request");
    let client = Client::builder(TokioExecutor::new())
        .http1_max_headers(5_000)
        .http1_max_buf_size(4 << 20)
        .build_http::<Body>();
    let call = async {
        let (parts, body) = client.request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    };
    tokio::time::timeout(Duration::from_secs(20), call).await.expect("an answer in time")
}

async fn axum_serve(listener: tokio::net::TcpListener, router: Router) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        connections.spawn(serve_connection(socket, router.clone()));
    }
}

pub async fn serve_connection(
    io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    router: Router,
) {
    let service = hyper_util::service::TowerToHyperService::new(router);
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(io), service).await;
}
