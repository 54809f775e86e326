//! An upstream of which every byte is known: of what it is asked, and of what it answers.

use std::sync::Arc;
use std::time::Duration;

use longrun::config::ServeConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::{Api, Setup};

const SOON: Duration = Duration::from_secs(30);

/// A request as it came, its fields sorted, their names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    pub line: String,
    pub fields: Vec<String>,
    pub body: Vec<u8>,
    /// Which connection it came by, counted from 1.
    pub connection: usize,
}

impl Raw {
    /// The values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter_map(|field| field.split_once(": "));
        fields.filter(|(given, _)| *given == name).map(|(_, value)| value).collect()
    }
}

type Respond = Arc<dyn Fn(&Raw) -> Vec<u8> + Send + Sync>;

/// The bytes for each request are `respond`'s. Answers that do not say so keep the connection; one of nothing
/// ends it.
pub async fn upstream(
    respond: impl Fn(&Raw) -> Vec<u8> + Send + Sync + 'static,
) -> (String, mpsc::UnboundedReceiver<Raw>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = listener.local_addr().expect("an address").to_string();
    let (sender, asked) = mpsc::unbounded_channel();
    let respond: Respond = Arc::new(respond);
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut connections = JoinSet::new();
        for connection in 1.. {
            let (socket, _) = listener.accept().await.expect("a connection");
            connections.spawn(serve(socket, connection, Arc::clone(&respond), sender.clone()));
        }
    });
    (authority, asked, running)
}

async fn serve(
    mut socket: TcpStream,
    connection: usize,
    respond: Respond,
    asked: mpsc::UnboundedSender<Raw>,
) {
    let mut buffer = Vec::new();
    while let Some(mut request) = read(&mut socket, &mut buffer).await {
        request.connection = connection;
        let _ = asked.send(request.clone());
        let answer = respond(&request);
        let is_last = {
            let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
            let head = &answer[..end.unwrap_or(answer.len())];
            let head = String::from_utf8_lossy(head).to_ascii_lowercase();
            head.contains("connection: close") || head.starts_with("http/1.0") || answer.is_empty()
        };
        let _ = socket.write_all(&answer).await;
        if is_last {
            let _ = socket.shutdown().await;
            return;
        }
    }
}

/// The next request; `None` at the end.
async fn read(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Raw> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head: String = buffer.drain(..end + 4).map(char::from).collect();
    let mut lines = head.trim_end().lines();
    let line = lines.next()?.to_owned();
    // HTTP has no case in names, and the client library here writes them small.
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        format!("{}: {}", name.to_ascii_lowercase(), value.trim())
    };
    let mut fields: Vec<String> = lines.map(field).collect();
    fields.sort();
    let mut request = Raw { line, fields, body: Vec::new(), connection: 0 };
    let is_chunked = !request.values("transfer-encoding").is_empty();
    let length = request.values("content-length").first().map_or(0, |it| it.parse().unwrap());
    request.body = match is_chunked {
        true => {
            let mut body = Vec::new();
            loop {
                let size = take_line(socket, buffer).await?;
                let size = usize::from_str_radix(size.trim(), 16).ok()?;
                body.extend(take(socket, buffer, size).await?);
                take_line(socket, buffer).await?;
                if size == 0 {
                    break body;
                }
            }
        }
        false => take(socket, buffer, length).await?,
    };
    Some(request)
}

async fn take(socket: &mut TcpStream, buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(buffer.drain(..length).collect())
}

async fn take_line(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = buffer.windows(2).position(|part| part == b"\r\n") {
            let line = take(socket, buffer, at + 2).await?;
            return String::from_utf8(line).ok();
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// A server in front of such an upstream.
pub async fn setup(
    more: &str,
    respond: impl Fn(&Raw) -> Vec<u8> + Send + Sync + 'static,
) -> (Setup, String, mpsc::UnboundedReceiver<Raw>) {
    let (authority, asked, running) = upstream(respond).await;
    let (api, others) = Api::new();
    let url = format!("http://{authority}/base");
    // No worker is to be lost here, however busy the machine is.
    let patient = |config: &mut ServeConfig| config.liveness.lease_duration = SOON;
    let setup = Setup::edited(&url, more, others, api, running, patient).await;
    (setup, authority, asked)
}

/// An answer with a length, and these lines before it.
pub fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
