//! A separate port for metrics. It requires no credentials and serves nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics::Format;
use crate::service::Service;

/// The maximum number of connections, because scrapers are few.
const MOST_CONNECTIONS: usize = 64;
/// A scraper may be silent for this long between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after an error that persists, such as too many open files.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);

/// A port that serves metrics.
#[derive(Debug)]
pub(super) struct MetricsPort {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsPort {
    pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener =
            listener.with_context(|| format!("cannot listen on --metrics-listen {address}"))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// Serves until `stop`.
    pub(super) async fn serve(self, service: Service, stop: CancellationToken) {
        let mut open = JoinSet::new();
        loop {
            let has_room = open.len() < MOST_CONNECTIONS;
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_ended) = open.join_next() => {}
                accepted = self.listener.accept(), if has_room => match accepted {
                    Ok((stream, _)) => _ = open.spawn(connection(stream, service.clone())),
                    Err(error) => {
                        tracing::debug!(%error, "no connection for metrics can be accepted for now");
                        tokio::select! {
                            () = stop.cancelled() => return,
                            () = tokio::time::sleep(PAUSE_AFTER_ERROR) => {}
                        }
                    }
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, service: Service) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(answer(&request, &service).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for metrics failed");
    }
}

async fn answer(request: &Request<Incoming>, service: &Service) -> Response<Body> {
    if request.uri().path() != "/metrics" {
        return (StatusCode::NOT_FOUND, "this port serves /metrics only\n").into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET,HEAD")]).into_response();
    }
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    match service.scrape().await.write(format) {
        Ok(written) => ([(CONTENT_TYPE, format.content_type())], written).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
