//! A proxy that cuts connections after so many bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Such a proxy. What goes through it ends with it.
pub struct Proxy {
    pub url: String,
    task: JoinHandle<()>,
}

/// How many bytes go each way before the connection is cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub up: usize,
    pub down: usize,
}

impl Proxy {
    pub async fn start(server: &str, cut: Cut) -> Self {
        let server: SocketAddr = server.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server, cut));
            }
        });
        Self { url, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: SocketAddr, cut: Cut) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = copy(from_client, to_server, cut.up);
    let down = copy(from_server, to_client, cut.down);
    // The first way that is over takes the other with it.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut left: usize) {
    let mut buffer = [0; 4_096];
    loop {
        let most = left.min(buffer.len());
        if most == 0 {
            return;
        }
        let Ok(read) = from.read(&mut buffer[..most]).await else { return };
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        left -= read;
    }
}
