//! The connection: where it goes, how it is kept alive, and what every call carries.

use std::time::Duration;

use http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use super::ClientError;

/// Kept well above the intervals at which servers and proxies call pings abuse, and only while
/// calls are open.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(15);
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const STREAM_WINDOW: u32 = 1 << 20;
/// Generous, so that one slow watch does not hold up the other calls of the connection.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// The endpoint behind `url`; `host:port` is taken as `http://host:port`. What would be ignored is
/// refused: above all `https`, which would not be TLS.
pub(super) fn endpoint(url: &str) -> Result<Endpoint, ClientError> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = url
        .parse()
        .map_err(|error| ClientError::local(Code::InvalidArgument, format!("{url}: {error}")))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(ClientError::local(Code::InvalidArgument, format!("{url}: no host")));
    }
    if uri.scheme_str() != Some("http") {
        let rule = format!("{url}: only http:// is spoken, without TLS");
        return Err(ClientError::local(Code::InvalidArgument, rule));
    }
    if uri.path_and_query().is_some_and(|rest| rest != "/") {
        let rule = format!("{url}: must end behind the host and the port");
        return Err(ClientError::local(Code::InvalidArgument, rule));
    }
    let endpoint = Endpoint::from(uri)
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

/// What every call carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    authorization: Option<MetadataValue<Ascii>>,
}

impl Headers {
    /// With `Authorization: Bearer {token}`, kept out of debug output.
    pub(super) fn bearer(token: &str) -> Result<Self, ClientError> {
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_invalid| {
                ClientError::local(Code::InvalidArgument, "the token is not printable ASCII")
            })?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value) })
    }
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}
