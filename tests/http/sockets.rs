//! Streams of events through a whole server and real sockets: cut off, stopped, started again.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use longrun::client::Client;
use longrun::config::{Listen, ServeConfig, Store, StoreUrl};
use longrun::server::{Server, Stopped};
use longrun::worker::{Outcome, Worker};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::listening::Listener;

/// A server that is whole, and a worker of the kind `work` that finishes as often as it is let.
struct Running {
    addr: SocketAddr,
    finishing: Arc<Semaphore>,
    stop: CancellationToken,
    stopped: JoinHandle<anyhow::Result<Stopped>>,
}

impl Running {
    async fn start(directory: &TempDir) -> Self {
        let listen = Listen {
            addr: "127.0.0.1:0".parse().expect("an address"),
            allowed_hosts: vec!["lro.test".to_owned()],
            ..Listen::default()
        };
        let store = Store {
            url: StoreUrl::Sqlite(directory.path().join("longrun.db")),
            ..Store::default()
        };
        let config = ServeConfig { listen, store, ..ServeConfig::default() };
        let server = Server::bind(config).await.expect("a server");
        let (addr, stop) = (server.local_addr(), CancellationToken::new());
        let stopped = tokio::spawn(server.run(stop.clone()));
        Self { addr, finishing: Arc::new(Semaphore::new(0)), stop, stopped }
    }

    /// Starts the worker.
    async fn work(&self) {
        let client = Client::connect(&format!("http://{}", self.addr)).await.expect("a client");
        let finishing = Arc::clone(&self.finishing);
        let worker = Worker::new(client).handler("work", move |_| {
            let finishing = Arc::clone(&finishing);
            async move {
                finishing.acquire().await.expect("an open semaphore").forget();
                Ok(Outcome::text("done"))
            }
        });
        tokio::spawn(worker.run(self.stop.clone()));
    }

    async fn stop(self) {
        self.stop.cancel();
        let stopped = self.stopped.await.expect("no panic").expect("a clean end");
        assert_eq!(stopped, Stopped::Drained);
    }

    /// Sends a request over HTTP/1.1; answers the status line, the header fields and the connection.
    async fn send(&self, head: &str) -> (String, Vec<String>, BufReader<TcpStream>) {
        let mut socket = TcpStream::connect(self.addr).await.expect("a connection");
        let request = format!("{head}\r\nHost: lro.test\r\n\r\n").replace("; ", "\r\n");
        socket.write_all(request.as_bytes()).await.expect("a request");
        let mut socket = BufReader::new(socket);
        let status = line(&mut socket).await;
        let mut fields = Vec::new();
        loop {
            let field = line(&mut socket).await;
            if field.is_empty() {
                return (status, fields, socket);
            }
            fields.push(field.to_ascii_lowercase());
        }
    }

    /// The path of a new operation.
    async fn submit(&self) -> String {
        let head = "POST /v1/kinds/work/operations HTTP/1.1; Content-Length: 0";
        let (_, fields, _) = self.send(head).await;
        let location = fields.iter().find_map(|field| field.strip_prefix("location: "));
        location.and_then(|url| url.strip_prefix("http://lro.test")).expect("a path").to_owned()
    }

    async fn listen(&self, path: &str, last_event_id: &str) -> Listener {
        let head = format!(
            "GET {path} HTTP/1.1; Accept: text/event-stream; Last-Event-ID: {last_event_id}"
        );
        let (status, fields, socket) = self.send(&head).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(fields.contains(&"transfer-encoding: chunked".to_owned()), "{fields:?}");
        let chunks = futures_util::stream::unfold(socket, |mut socket| async move {
            let size = usize::from_str_radix(&line(&mut socket).await, 16).expect("a size");
            let mut chunk = vec![0; size + 2];
            socket.read_exact(&mut chunk).await.expect("a chunk");
            chunk.truncate(size);
            // The last chunk is empty: the response is whole, not cut off.
            (size > 0).then(|| (Bytes::from(chunk), socket))
        });
        let mut listener = Listener::new(chunks);
        listener.opening().await;
        listener
    }
}

async fn line(socket: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    socket.read_line(&mut line).await.expect("a line");
    line.trim_end().to_owned()
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

#[tokio::test]
async fn a_listener_that_was_cut_off_misses_nothing() {
    let directory = directory();
    let server = Running::start(&directory).await;
    let events = format!("{}/events", server.submit().await);
    let mut listener = server.listen(&events, "").await;
    let seen = listener.event("snapshot").await.id.expect("an id");
    drop(listener);

    server.work().await;
    let mut listener = server.listen(&events, &seen).await;
    let started = listener.event("transition").await;
    assert_eq!(started.data["event"]["type"], "TYPE_STARTED");
    server.finishing.add_permits(1);
    let finished = listener.event("transition").await;
    assert_eq!(finished.data["event"]["type"], "TYPE_FINISHED");
    listener.end().await;

    let id = finished.id.expect("an id");
    let head = format!("GET {events} HTTP/1.1; Accept: text/event-stream; Last-Event-ID: {id}");
    let (status, ..) = server.send(&head).await;
    assert_eq!(status, "HTTP/1.1 204 No Content");
    server.stop().await;
}

#[tokio::test]
async fn a_listener_outlives_the_server() {
    let directory = directory();
    let server = Running::start(&directory).await;
    let events = format!("{}/events", server.submit().await);
    let mut one = server.listen(&events, "").await;
    let seen = one.event("snapshot").await.id.expect("an id");
    let mut all = server.listen("/v1/operations/events", "").await;
    all.event("current").await;
    let synced = all.event("synced").await.id.expect("an id");
    // Stopping ends both, whole, and waits for neither.
    server.stop().await;
    one.end().await;
    all.end().await;

    let server = Running::start(&directory).await;
    let mut one = server.listen(&events, &seen).await;
    let mut all = server.listen("/v1/operations/events", &synced).await;
    server.finishing.add_permits(1);
    server.work().await;
    for event in ["TYPE_STARTED", "TYPE_FINISHED"] {
        assert_eq!(one.event("transition").await.data["event"]["type"], event);
        assert_eq!(all.event("transition").await.data["event"]["type"], event);
    }
    one.end().await;
    server.stop().await;
}

#[tokio::test]
async fn many_streams_share_one_connection_of_http2() {
    let directory = directory();
    let server = Running::start(&directory).await;
    let paths = [server.submit().await, server.submit().await];
    let socket = TcpStream::connect(server.addr).await.expect("a connection");
    let (client, connection) = h2::client::handshake(socket).await.expect("a handshake");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("a connection");
    let mut listeners = Vec::new();
    for path in &paths {
        let request = http::Request::get(format!("http://{}{path}/events", server.addr))
            .header("accept", "text/event-stream");
        let request = request.body(()).expect("a request");
        let (response, _) = client.send_request(request, true).expect("a stream");
        let response = response.await.expect("a response");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let chunks = futures_util::stream::unfold(response.into_body(), |mut body| async move {
            let chunk = body.data().await?.expect("data");
            body.flow_control().release_capacity(chunk.len()).expect("capacity");
            Some((chunk, body))
        });
        let mut listener = Listener::new(chunks);
        listener.opening().await;
        listener.event("snapshot").await;
        listeners.push(listener);
    }
    server.finishing.add_permits(2);
    server.work().await;
    for listener in &mut listeners {
        listener.event("transition").await;
        listener.event("transition").await;
        listener.end().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_method_of_grpc_called_otherwise_is_told_so() {
    let directory = directory();
    let server = Running::start(&directory).await;
    let head = "POST /longrun.v1.Operations/Submit HTTP/1.1; Content-Type: application/json; \
                Content-Length: 0";
    let (status, fields, _) = server.send(head).await;
    assert_eq!(status, "HTTP/1.1 415 Unsupported Media Type");
    assert!(fields.contains(&"content-type: application/problem+json".to_owned()), "{fields:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_never_ends_does_not_hold_up_the_end() {
    let directory = directory();
    let server = Running::start(&directory).await;
    // The server says "continue" when it begins to read.
    let head = "POST /v1/kinds/work/operations HTTP/1.1; Content-Length: 100; Expect: 100-continue";
    let (status, _, mut socket) = server.send(head).await;
    assert_eq!(status, "HTTP/1.1 100 Continue");
    socket.get_mut().write_all(b"half").await.expect("half a body");
    server.stop().await;
    assert_eq!(line(&mut socket).await, "HTTP/1.1 503 Service Unavailable");
}
