//! Accepts connections, up to the limit, until the server closes; then waits for them to end.

use std::io;
use std::time::Duration;

use http::Extensions;
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};
use socket2::SockRef;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected as _, TcpConnectInfo};

use super::connection::Connections;
use super::places::{Place, Places};
use super::socket::{Accepted, Sockets};
use super::tls::Certificates;
use crate::auth::PeerCertificate;
use crate::service::InProcess;

/// After this idle time the system probes whether the peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// The maximum of unsent bytes in the system: otherwise it would grow the buffer of a client that does not read to
/// megabytes, all of which must be produced first.
const UNSENT_BYTES: u32 = 128 << 10;
/// The pause after an error that persists, such as too many open files.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);
/// While connections are refused, every so many of them are logged.
const REFUSALS_PER_LINE: u64 = 1_000;
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
                         content-length: 0\r\nconnection: close\r\n\r\n";
/// The first byte of a TLS connection: the record type.
const TLS_HANDSHAKE: [u8; 1] = [22];
const PLAIN_TO_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 39\r\n\
                              connection: close\r\n\r\nThis port speaks TLS: ask by https://.\n";

/// Files that a server needs beside its connections: for the store, the log, and commands that it runs.
const OTHER_FILES: u64 = 128;

/// The connection limit: as configured, but within the system's limit of open files, of which a connection may need
/// `files_each`. Running out of files would affect more than connections.
pub(super) fn places(asked: usize, files_each: u64) -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return asked };
    let room = files.saturating_sub(OTHER_FILES) / files_each;
    let places = asked.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1);
    if places < asked {
        tracing::info!(files, "open files leave room for {places} connections (ulimit -n)");
    }
    places
}

/// Serves network connections, at most `max` at once over all sockets. Returns after `closing`, when the last
/// connection has ended.
pub(super) async fn over_network(
    mut sockets: Sockets,
    max: usize,
    connections: Connections,
    closing: CancellationToken,
) {
    let places = Places::new(max);
    let mut open = JoinSet::new();
    let mut refused: u64 = 0;
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            Some(_ended) = open.join_next() => {}
            accepted = sockets.accept() => match accepted {
                Ok(accepted) => {
                    let Some(place) = places.take() else {
                        refuse(&accepted, max, refused);
                        refused += 1;
                        connections.meters().turned_away.one();
                        continue;
                    };
                    open.spawn(serve(accepted, place, connections.clone(), closing.clone()));
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(error = %error, "no connection can be accepted for now");
                    tokio::select! {
                        () = closing.cancelled() => break,
                        () = tokio::time::sleep(PAUSE_AFTER_ERROR) => {}
                    }
                }
            },
        }
    }
    // From here on the system refuses new connections instead of letting them wait.
    drop(sockets);
    while open.join_next().await.is_some() {}
}

/// Serves one connection to its end, after the TLS handshake if there is one.
async fn serve(
    accepted: Accepted,
    place: Place,
    connections: Connections,
    closing: CancellationToken,
) {
    let place = Some(place);
    let mut origin = Extensions::new();
    match accepted {
        Accepted::Tcp { stream, peer, tls, arrival } => {
            set_options(&stream);
            let local_addr = stream.local_addr().ok();
            origin.insert(TcpConnectInfo { local_addr, remote_addr: Some(peer) });
            origin.insert(arrival);
            let Some(tls) = tls else {
                return connections.serve(stream, origin, place, closing).await;
            };
            let handshake = handshake(stream, &tls);
            let handshake = tokio::time::timeout(connections.header_timeout(), handshake);
            match closing.run_until_cancelled(handshake).await {
                Some(Ok(Ok((stream, certificate)))) => {
                    if let Some(certificate) = certificate {
                        origin.insert(certificate);
                    }
                    connections.serve(stream, origin, place, closing).await;
                }
                Some(Ok(Err(error))) => {
                    tracing::debug!(%peer, error = format!("{error:#}"), "a TLS handshake failed");
                }
                Some(Err(_elapsed)) => tracing::debug!(%peer, "a TLS handshake took too long"),
                None => {}
            }
        }
        Accepted::Unix(stream) => {
            origin.insert(stream.connect_info());
            connections.serve(stream, origin, place, closing).await;
        }
    }
}

/// The TLS stream, and the client's certificate, if it has presented one.
async fn handshake(
    stream: TcpStream,
    tls: &Certificates,
) -> anyhow::Result<(TlsStream<TcpStream>, Option<PeerCertificate>)> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first != TLS_HANDSHAKE {
        // Read the request, so that closing the connection does not discard the response.
        let _ = stream.try_read(&mut [0; 4_096]);
        let _ = stream.try_write(PLAIN_TO_TLS);
        anyhow::bail!("the client does not speak TLS");
    }
    let stream = TlsAcceptor::from(tls.current()).accept(stream).await?;
    let certificate = super::tls::peer(stream.get_ref().1)?;
    Ok((stream, certificate))
}

/// Serves clients within this process. Returns after `closing`, when the last connection has ended.
pub(super) async fn locally(
    mut incoming: mpsc::Receiver<DuplexStream>,
    connections: Connections,
    closing: CancellationToken,
) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            Some(_ended) = open.join_next() => {}
            Some(stream) = incoming.recv() => {
                let mut origin = Extensions::new();
                origin.insert(InProcess);
                open.spawn(connections.serve(stream, origin, None, closing.clone()));
            }
        }
    }
    drop(incoming);
    while open.join_next().await.is_some() {}
}

/// Sends small responses at once, notices dead peers, and limits unsent bytes. Errors are ignored: such a connection is
/// about to fail, and a read will report that.
fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, TCP_KEEPALIVE);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
}

/// Sends a refusal and closes; with TLS, where that would need a handshake, it only closes. Never waits, because a full
/// server has no room for that.
fn refuse(accepted: &Accepted, max: usize, earlier: u64) {
    let peer = match accepted {
        Accepted::Tcp { peer, .. } => peer.to_string(),
        Accepted::Unix(_) => "a Unix socket".to_owned(),
    };
    if earlier.is_multiple_of(REFUSALS_PER_LINE) {
        tracing::warn!(
            peer,
            earlier,
            "refused a connection: there are {max} already (--max-connections, ulimit -n)"
        );
    }
    // A new connection's buffer has room; a client that does not read it still sees the end.
    let _ = match accepted {
        Accepted::Tcp { stream, tls: None, .. } => stream.try_write(REFUSAL),
        Accepted::Tcp { .. } => Ok(0),
        Accepted::Unix(stream) => stream.try_write(REFUSAL),
    };
}

/// Whether the error concerns only one peer, which was gone before it was accepted.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
