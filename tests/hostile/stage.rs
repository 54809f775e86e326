//! A server with a relay, an upstream that counts what reaches it, and a listener that nobody must reach.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longrun::config::{ServeConfig, StoreUrl, file};
use longrun::server::{Server, Stopped};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long anything may take that is to happen at all.
const SOON: Duration = Duration::from_secs(10);
/// Few, so that one that is not given back is missed.
pub const MAX_CONNECTIONS: usize = 6;

/// Where hostile requests are sent: `{path}` of the server's own, and of the relay.
pub const OWN: &str = "/v1/kinds/work/operations";
pub const RELAYED: &str = "/api/thing";

pub struct Stage {
    pub addr: SocketAddr,
    /// Where nothing may connect.
    pub forbidden: SocketAddr,
    forbidden_count: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    /// An operation from before, and what it looked like.
    kept: (String, String),
    stop: CancellationToken,
    stopped: JoinHandle<anyhow::Result<Stopped>>,
    _others: JoinSet<()>,
    _directory: TempDir,
}

/// What came back until the connection ended.
#[derive(Debug)]
pub struct Answers {
    pub text: String,
}

impl Answers {
    /// The status of each answer; interim ones left out.
    pub fn statuses(&self) -> Vec<u16> {
        let line = |part: &str| part.get(..3)?.parse().ok();
        let statuses = self.text.split("HTTP/1.1 ").skip(1).filter_map(line);
        statuses.filter(|status| *status >= 200).collect()
    }
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(edit: impl FnOnce(&mut ServeConfig)) -> Self {
        let mut others = JoinSet::new();
        let (upstream, asked) = counting(&mut others).await;
        let (forbidden, forbidden_count) = counting(&mut others).await;
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = ServeConfig::default();
        config.listen.addr.set_port(0);
        config.store.url = StoreUrl::Sqlite(directory.path().join("longrun.db"));
        config.connections.max_connections = MAX_CONNECTIONS;
        let mount = format!(
            "[[relay]]\nname = \"api\"\nprefix = \"/api\"\nupstream = \"http://{upstream}/base\"\n"
        );
        let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        config.relay = file::parse(&mount, &no_files).expect("a configuration").relay;
        edit(&mut config);
        let server = Server::bind(config).await.expect("a server");
        let (addr, stop) = (server.local_addr(), CancellationToken::new());
        let stopped = tokio::spawn(server.run(stop.clone()));
        let kept = (String::new(), String::new());
        let mut stage = Self {
            addr,
            forbidden,
            forbidden_count,
            asked,
            kept,
            stop,
            stopped,
            _others: others,
            _directory: directory,
        };
        let submitted = stage
            .say("POST /v1/kinds/kept/operations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\
                  Connection: close\r\n\r\nkept")
            .await;
        assert_eq!(submitted.statuses(), [202], "{submitted:?}");
        let location = submitted.text.split("location: http://localhost").nth(1).expect("a link");
        let path = location.split("\r\n").next().expect("a path").to_owned();
        let before = stage.get(&format!("{path}?view=FULL")).await;
        stage.kept = (path, before);
        stage
    }

    /// Sends bytes, says nothing more, and gives what comes back until the server ends the connection.
    pub async fn say(&self, bytes: impl AsRef<[u8]>) -> Answers {
        let mut socket = TcpStream::connect(self.addr).await.expect("a connection");
        // A server that has heard enough does not read the rest.
        let _ = socket.write_all(bytes.as_ref()).await;
        self.rest(&mut socket).await
    }

    /// What comes until the server ends the connection.
    pub async fn rest(&self, socket: &mut TcpStream) -> Answers {
        let mut answer = Vec::new();
        let read = socket.read_to_end(&mut answer);
        // A connection may be reset instead of closed.
        let _ = tokio::time::timeout(SOON, read).await.expect("the server ends the connection");
        Answers { text: String::from_utf8_lossy(&answer).into_owned() }
    }

    async fn get(&self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let began = tokio::time::Instant::now();
        let answer = loop {
            let answer = self.say(&head).await;
            // Connections that ended just now may not be off the count yet.
            if answer.statuses() != [503] || began.elapsed() > SOON {
                break answer;
            }
        };
        let (head, body) = answer.text.split_once("\r\n\r\n").expect("a header and a body");
        assert!(head.starts_with("HTTP/1.1 20"), "{head}");
        body.to_owned()
    }

    /// How many requests the upstream has had.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// What was there is there, every place is free, both ways lead where they led, and nobody else was reached.
    pub async fn ends_whole(self) {
        assert_eq!(self.forbidden_count.load(Ordering::SeqCst), 0, "somebody else was reached");
        let now = self.get(&format!("{}?view=FULL", self.kept.0)).await;
        assert_eq!(now, self.kept.1);
        let began = tokio::time::Instant::now();
        while !self.has_all_places().await {
            assert!(began.elapsed() < SOON, "connections are not given back");
        }
        let before = self.asked();
        assert_eq!(self.get("/api/fine").await, "fine");
        assert_eq!(self.asked(), before + 1);
        assert_eq!(self.stop().await, Stopped::Drained);
    }

    /// A connection with a call that goes on; `None` where there is no place for it.
    pub async fn watch(&self) -> Option<TcpStream> {
        let mut socket = TcpStream::connect(self.addr).await.expect("a connection");
        let head = "GET /v1/operations/events?skip_current=true HTTP/1.1\r\nHost: localhost\r\n\
                    Accept: text/event-stream\r\n\r\n";
        let mut start = [0; 12];
        let asked = socket.write_all(head.as_bytes()).await;
        let read = tokio::time::timeout(SOON, socket.read_exact(&mut start)).await;
        let read = read.expect("an answer in time");
        (asked.is_ok() && read.is_ok() && &start == b"HTTP/1.1 200").then_some(socket)
    }

    /// Whether as many connections as there may be are busy at once.
    async fn has_all_places(&self) -> bool {
        let mut sockets = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let Some(socket) = self.watch().await else { return false };
            sockets.push(socket);
        }
        true
    }

    /// Stops the server.
    pub async fn stop(self) -> Stopped {
        self.stop.cancel();
        let stopped = tokio::time::timeout(SOON, self.stopped).await.expect("an end in time");
        stopped.expect("a task").expect("an end")
    }
}

/// A listener that answers `fine` to whatever comes, and counts the requests.
async fn counting(running: &mut JoinSet<()>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let answer = move |request: axum::extract::Request| {
        let counted = Arc::clone(&counted);
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            let path = request.uri().path().to_owned();
            assert!(path.starts_with("/base"), "{path}");
            // Reads what there is to read.
            let _ = axum::body::to_bytes(request.into_body(), usize::MAX).await;
            "fine"
        }
    };
    let router = axum::Router::new().fallback(answer);
    running.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            connections.spawn(async move {
                let builder = hyper::server::conn::http1::Builder::new();
                let io = hyper_util::rt::TokioIo::new(socket);
                let _ = builder.serve_connection(io, service).await;
            });
        }
    });
    (addr, count)
}
