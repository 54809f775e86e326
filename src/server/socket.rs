//! The sockets of a server: bound before anything is served, and removed at the end.

use std::fs::{Permissions, symlink_metadata};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};

use super::tls::Certificates;
use crate::config::ServeConfig;
use crate::http::Arrival;

/// As the standard library uses for TCP.
const UNIX_BACKLOG: u32 = 1_024;

/// All sockets of the server; at least one.
#[derive(Debug)]
pub(super) struct Sockets {
    all: Vec<Socket>,
    /// The socket that is polled first.
    next: usize,
}

#[derive(Debug)]
enum Socket {
    Tcp { listener: TcpListener, tls: Option<Certificates>, arrival: Arrival },
    Unix { listener: UnixListener, file: SocketFile },
}

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp { stream: TcpStream, peer: SocketAddr, tls: Option<Certificates>, arrival: Arrival },
    Unix(UnixStream),
}

impl Sockets {
    /// Binds all configured sockets.
    pub(super) async fn bind(config: &ServeConfig) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        if !config.listen.no_plain {
            all.push(tcp(config.listen.addr, None).await?);
        }
        if let Some((address, files)) = config.tls.listener() {
            all.push(tcp(address, Some(Certificates::open(files).await?)).await?);
        }
        if let Some(path) = &config.listen.unix {
            let bound = unix(path);
            all.push(bound.with_context(|| format!("cannot listen on {}", path.display()))?);
        }
        Ok(Self { all, next: 0 })
    }

    /// The first TCP address.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.all.iter().find_map(|socket| match socket {
            Socket::Tcp { listener, .. } => listener.local_addr().ok(),
            Socket::Unix { .. } => None,
        })
    }

    /// The addresses for clients, in their form.
    pub(super) fn urls(&self) -> Vec<String> {
        let url = |socket: &Socket| match socket {
            Socket::Tcp { listener, tls, .. } => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                Some(format!("{scheme}://{}", listener.local_addr().ok()?))
            }
            Socket::Unix { file, .. } => Some(format!("unix:{}", file.path.display())),
        };
        self.all.iter().filter_map(url).collect()
    }

    pub(super) fn certificates(&self) -> Option<&Certificates> {
        self.all.iter().find_map(|socket| match socket {
            Socket::Tcp { tls, .. } => tls.as_ref(),
            Socket::Unix { .. } => None,
        })
    }

    /// The next connection of any socket; sockets take turns if several have one.
    pub(super) async fn accept(&mut self) -> io::Result<Accepted> {
        std::future::poll_fn(|cx| {
            for _ in 0..self.all.len() {
                let at = self.next % self.all.len();
                self.next = at + 1;
                if let Poll::Ready(accepted) = self.all[at].poll_accept(cx) {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Socket {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        Poll::Ready(match self {
            Self::Tcp { listener, tls, arrival } => {
                let (tls, arrival) = (tls.clone(), *arrival);
                ready!(listener.poll_accept(cx)).map(|(stream, peer)| Accepted::Tcp {
                    stream,
                    peer,
                    tls,
                    arrival,
                })
            }
            Self::Unix { listener, .. } => {
                ready!(listener.poll_accept(cx)).map(|(stream, _)| Accepted::Unix(stream))
            }
        })
    }
}

async fn tcp(address: SocketAddr, tls: Option<Certificates>) -> anyhow::Result<Socket> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    let arrival = Arrival { is_tls: tls.is_some(), is_on_loopback: address.ip().is_loopback() };
    Ok(Socket::Tcp { listener, tls, arrival })
}

/// Binds a path. Clients cannot connect before the file has its mode, because the socket listens only afterwards.
fn unix(path: &Path) -> io::Result<Socket> {
    let socket = UnixSocket::new_stream()?;
    match socket.bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            make_way(path)?;
            socket.bind(path)?;
        }
        bound => bound?,
    }
    let file = SocketFile::of(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(Socket::Unix { listener: socket.listen(UNIX_BACKLOG)?, file })
}

/// Removes the socket of a dead server. The socket of a running server stays, and so does any other file.
fn make_way(path: &Path) -> io::Result<()> {
    if !symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("there is a file that is not a socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replaced the socket of a server that is gone");
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there")),
    }
}

/// A socket's file, which is removed on drop.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have created its own there.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
