//! The connection: how it is opened and kept alive, and the metadata of every call.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tower::Service as _;

use super::ClientError;
use super::address::Address;
use super::token::Token;
use super::trust::Trust;

/// Well above the intervals at which servers and proxies treat pings as abuse, and only while calls are open.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(15);
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const STREAM_WINDOW: u32 = 1 << 20;
/// Large, so that one slow watch does not block the connection's other calls.
const CONNECTION_WINDOW: u32 = 8 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects, with TLS if there is `trust`.
pub(super) async fn connect(
    address: &Address,
    trust: Option<Arc<Trust>>,
) -> Result<Channel, ClientError> {
    let endpoint = endpoint(address)?;
    Ok(match trust {
        None => endpoint.connect().await?,
        Some(trust) => {
            let connector = tower::service_fn(move |uri| within_tls(Arc::clone(&trust), uri));
            endpoint.connect_with_connector(connector).await?
        }
    })
}

/// Like [`connect`], but connects with the first call.
pub(super) fn connect_lazy(
    address: &Address,
    trust: Option<Arc<Trust>>,
) -> Result<Channel, ClientError> {
    let endpoint = endpoint(address)?;
    Ok(match trust {
        None => endpoint.connect_lazy(),
        Some(trust) => {
            let connector = tower::service_fn(move |uri| within_tls(Arc::clone(&trust), uri));
            endpoint.connect_with_connector_lazy(connector)
        }
    })
}

fn endpoint(address: &Address) -> Result<Endpoint, ClientError> {
    let endpoint = match address {
        Address::Plain(uri) | Address::Tls(uri) => Endpoint::from(uri.clone()),
        Address::Unix(url) => Endpoint::from_shared(url.clone())?,
    };
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(TCP_KEEPALIVE))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(false)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    Ok(endpoint.user_agent(concat!("longrun/", env!("CARGO_PKG_VERSION")))?)
}

async fn within_tls(
    trust: Arc<Trust>,
    uri: Uri,
) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, BoxError> {
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    plain.set_nodelay(true);
    plain.set_keepalive(Some(TCP_KEEPALIVE));
    let tls = trust.renewed().await.as_ref().clone();
    let mut connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http2()
        .wrap_connector(plain);
    connector.call(uri).await
}

/// The metadata of every call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    token: Option<Token>,
}

impl Headers {
    /// Metadata with `Authorization: Bearer {token}`, if there is a token.
    pub(super) fn new(token: Option<Token>) -> Self {
        Self { token }
    }
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            let field = token.field().map_err(|error| Status::new(Code::Unauthenticated, error))?;
            request.metadata_mut().insert("authorization", field);
        }
        Ok(request)
    }
}
