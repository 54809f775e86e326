//! Requests to an upstream over pooled connections, and their errors.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::{Connector, TrustError};
use super::is_idempotent;
use super::way::Way;
use crate::config::relay::Limits;
use crate::operation::Destinations;

/// A placeholder for an upstream that is given later.
static NOWHERE: LazyLock<Authority> = LazyLock::new(|| Authority::from_static("upstream.invalid"));

/// The connections to one upstream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Keeps connections for later requests.
    pooled: Client<Connector, Body>,
    /// Opens a connection for each request.
    fresh: Client<Connector, Body>,
    scheme: Scheme,
    authority: Authority,
}

/// The choice of a connection for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A used one, if there is one. The upstream may close it at any time, even while the request is sent.
    Any,
    /// A new one: for requests that must not be lost and cannot be sent again.
    Fresh,
}

/// Why an upstream gave no response.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection: nothing was sent.
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke: the request may or may not have been received.
    #[error("the upstream did not answer: {0}")]
    Broken(String),
    /// The upstream received the request, but its response is not HTTP/1.1.
    #[error("the upstream's answer cannot be read: {0}")]
    Unreadable(String),
    /// The time limit was reached: the request may or may not have been received.
    #[error("the upstream did not answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

impl Upstream {
    /// The upstream at `way`, over HTTP/1.1, with TLS if its URL says so.
    pub fn new(way: &Way<'_>) -> Result<Self, TrustError> {
        let connector = Connector::new(way)?;
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(way.limits.idle_timeout)
            .http1_max_buf_size(way.limits.max_header_bytes)
            .http1_max_headers(way.limits.max_header_fields);
        let pooled = builder.build(connector.clone());
        let fresh = builder.pool_max_idle_per_host(0).build(connector);
        let (scheme, authority) = (way.scheme.clone(), way.authority.clone());
        Ok(Self { pooled, fresh, scheme, authority })
    }

    /// Upstreams whose URLs are not in the configuration: [`Upstream::to`] names one. Connects only to addresses that
    /// `guard` allows. If the system has no certificates, TLS upstreams cannot be reached.
    pub fn guarded(
        ca_file: Option<&Path>,
        connect_timeout: Duration,
        guard: Arc<Destinations>,
    ) -> Result<Self, TrustError> {
        let limits = Limits { connect_timeout, ..Limits::default() };
        let way = |scheme: &'static Scheme| Way {
            owner: "webhooks".to_owned(),
            scheme,
            authority: &NOWHERE,
            ca_file,
            guard: Some(Arc::clone(&guard)),
            limits: &limits,
        };
        match Self::new(&way(&Scheme::HTTPS)) {
            Err(error @ TrustError::NoSystemCertificates(_)) => {
                tracing::warn!(%error, "receivers of webhooks within TLS cannot be reached");
                Self::new(&way(&Scheme::HTTP))
            }
            made => made,
        }
    }

    /// The same connection settings, for another host.
    #[must_use]
    pub fn to(&self, scheme: Scheme, authority: Authority) -> Self {
        Self { scheme, authority, ..self.clone() }
    }

    /// Sends a request to `target`; returns when the response's header has arrived. If the connection breaks, a request
    /// with an idempotent method and an empty body is sent once more, over a new connection; any other request only if
    /// nothing of it was written to the connection.
    pub async fn exchange(
        &self,
        mut request: Request<Body>,
        target: PathAndQuery,
        over: Over,
    ) -> Result<Response<Body>, UpstreamError> {
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target)
            .build();
        *request.uri_mut() = uri.map_err(|error| UpstreamError::Unreachable(error.to_string()))?;
        *request.version_mut() = http::Version::HTTP_11;
        if over == Over::Fresh {
            return once(&self.fresh, request).await;
        }
        let is_repeatable = is_idempotent(request.method()) && request.body().is_end_stream();
        let again = is_repeatable.then(|| empty_copy(&request));
        match (once(&self.pooled, request).await, again) {
            (Err(UpstreamError::Broken(_)), Some(again)) => once(&self.fresh, again).await,
            (answer, _) => answer,
        }
    }
}

/// A copy of a request without a body.
fn empty_copy(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}

async fn once(
    client: &Client<Connector, Body>,
    request: Request<Body>,
) -> Result<Response<Body>, UpstreamError> {
    match client.request(request).await {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let why = "it switches to another protocol, which the request did not ask for";
            Err(UpstreamError::Unreadable(why.to_owned()))
        }
        Ok(response) => Ok(response.map(Body::new)),
        // The outermost error says only that it is one of the client.
        Err(error) if error.is_connect() => {
            Err(UpstreamError::Unreachable(error.source().map_or_else(|| whole(&error), whole)))
        }
        Err(error) if is_unreadable(&error) => Err(UpstreamError::Unreadable(whole(&error))),
        Err(error) => Err(UpstreamError::Broken(whole(&error))),
    }
}

/// Whether something was received that is not a response.
fn is_unreadable(error: &(dyn Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(one) = error {
        if one.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        error = one.source();
    }
    false
}

/// An error with its sources, each once.
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
