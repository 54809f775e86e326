//! Requests to an upstream over pooled connections, and what can go wrong with them.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::{Connector, TrustError};
use crate::config::relay::Mount;

/// Idle connections are closed before the 60 s at which servers usually close theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The connections to one upstream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Upstream {
    client: Client<Connector, Body>,
    scheme: Scheme,
    authority: Authority,
}

/// Why there is no answer from an upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection: nothing was sent.
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke: it is not known whether the request was received.
    #[error("the upstream did not answer: {0}")]
    Broken(String),
    /// The time was up: it is not known whether the request was received.
    #[error("the upstream did not answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

impl Upstream {
    /// The upstream of `mount`, over HTTP/1.1, within TLS where its URL says so.
    pub fn new(mount: &Mount) -> Result<Self, TrustError> {
        let connector = Connector::new(mount)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        let (scheme, authority) = (mount.upstream.scheme.clone(), mount.upstream.authority.clone());
        Ok(Self { client, scheme, authority })
    }

    /// Sends a request to `target` there, within `timeout`; answers when the header of the response is in.
    pub async fn send(
        &self,
        request: Request<Body>,
        target: PathAndQuery,
        timeout: Duration,
    ) -> Result<Response<Body>, UpstreamError> {
        let exchange = tokio::time::timeout(timeout, self.exchange(request, target));
        exchange.await.unwrap_or(Err(UpstreamError::Timeout(timeout)))
    }

    /// The same for as long as it takes.
    pub async fn exchange(
        &self,
        mut request: Request<Body>,
        target: PathAndQuery,
    ) -> Result<Response<Body>, UpstreamError> {
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target)
            .build();
        *request.uri_mut() = uri.map_err(|error| UpstreamError::Unreachable(error.to_string()))?;
        *request.version_mut() = http::Version::HTTP_11;
        match self.client.request(request).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(error) if error.is_connect() => Err(UpstreamError::Unreachable(whole(&error))),
            Err(error) => Err(UpstreamError::Broken(whole(&error))),
        }
    }
}

/// An error with its sources, each said once.
fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = inner.source();
    }
    text
}
