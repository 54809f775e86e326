//! A proxy in front of a server that fails as networks do, when it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of what goes through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It goes through.
    Open,
    /// A connection is reset once so many bytes have come down it.
    ResetAfter(usize),
    /// Connections are taken, and nothing goes through any more.
    Stalled,
    /// Connections are reset at once, those that are there as well.
    Closed,
}

/// Such a proxy. What goes through it ends with it.
#[derive(Debug)]
pub struct Proxy {
    pub addr: SocketAddr,
    way: watch::Sender<Way>,
    made: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(server: SocketAddr, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (way, is) = watch::channel(way);
        let (counted, made) = watch::channel(0);
        let counted = Arc::new(counted);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                counted.send_modify(|made| *made += 1);
                connections.spawn(carry(client, server, is.clone()));
            }
        });
        Self { addr, way, made, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Returns when so many connections have been made in all.
    pub async fn connections(&self, count: usize) {
        self.made.clone().wait_for(|made| *made >= count).await.unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: SocketAddr, mut way: watch::Receiver<Way>) {
    // What ends here is reset and not closed.
    client.set_zero_linger().unwrap();
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = copy(from_client, to_server, way.clone(), false);
    let down = copy(from_server, to_client, way.clone(), true);
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = way.wait_for(|way| *way == Way::Closed) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    is_down: bool,
) {
    let (mut buffer, mut carried) = ([0; 4_096], 0);
    loop {
        let most = match *way.borrow_and_update() {
            Way::ResetAfter(most) if is_down => buffer.len().min(most.saturating_sub(carried)),
            _ => buffer.len(),
        };
        if most == 0 {
            return;
        }
        let Ok(read) = from.read(&mut buffer[..most]).await else { return };
        if way.wait_for(|way| *way != Way::Stalled).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        carried += read;
    }
}
