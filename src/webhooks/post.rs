//! Sends one signed POST. The address is checked when the connection is made; redirects are not followed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, LOCATION, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;

use super::message;
use crate::operation::callback::RefusedUrl;
use crate::operation::{CallbackUrl, Destinations};
use crate::relay::{Over, TrustError, Upstream, UpstreamError, retry_after};
use crate::service::webhooks::SigningSecret;

/// How much of a refusal is read, for the log of deliveries, in bytes.
const MAX_ANSWER_BYTES: usize = 512;

/// Sends to receivers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sender {
    upstream: Upstream,
    destinations: Arc<Destinations>,
    timeout: Duration,
}

/// A message to send.
pub(super) struct Letter<'a> {
    pub(super) id: &'a str,
    pub(super) url: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: bytes::Bytes,
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) secrets: &'a [SigningSecret],
}

/// Why a message was not accepted.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    /// The status of the response, if there was one.
    pub(super) status: Option<u16>,
    /// The error as text.
    pub(super) error: String,
    /// When to retry, if the receiver says so.
    pub(super) retry_after: Option<Duration>,
    /// Whether not to retry.
    pub(super) is_final: bool,
}

impl Sender {
    /// A sender to these destinations, with a time limit for each request; trusts the system's certificates, or those
    /// of the file.
    pub fn new(
        destinations: Arc<Destinations>,
        timeout: Duration,
        ca_file: Option<&Path>,
    ) -> Result<Self, TrustError> {
        let upstream = Upstream::guarded(ca_file, timeout, Arc::clone(&destinations))?;
        Ok(Self { upstream, destinations, timeout })
    }

    /// Sends the message; returns the status of a receiver that has accepted it.
    pub(super) async fn send(&self, letter: Letter<'_>) -> Result<u16, Refusal> {
        let late = || Refusal::of(&UpstreamError::Timeout(self.timeout));
        let sent = tokio::time::timeout(self.timeout, self.exchange(letter)).await;
        sent.unwrap_or_else(|_elapsed| Err(late()))
    }

    async fn exchange(&self, letter: Letter<'_>) -> Result<u16, Refusal> {
        let not_allowed = |RefusedUrl(rule)| Refusal {
            error: format!("the URL {rule}"),
            is_final: true,
            ..Refusal::default()
        };
        let url = CallbackUrl::parse(letter.url).map_err(not_allowed)?;
        // The rules may have changed since the delivery was stored.
        self.destinations.check(&url).map_err(not_allowed)?;
        let parts = url.parts().ok_or_else(|| not_allowed(RefusedUrl("is none".to_owned())))?;
        let (scheme, authority, target) = parts;
        let host = HeaderValue::try_from(authority.as_str());
        let mut request = Request::new(Body::from(letter.body.clone()));
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        headers.extend(host.ok().map(|host| (HOST, host)));
        let agent = concat!("longrun/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(letter.body.len()));
        let content_type = HeaderValue::try_from(letter.content_type);
        headers.extend(content_type.ok().map(|it| (CONTENT_TYPE, it)));
        let signature = message::signatures(letter.secrets, letter.id, letter.now, &letter.body);
        let mut say = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        say("webhook-id", letter.id.to_owned());
        say("webhook-timestamp", letter.now.to_string());
        say("webhook-signature", signature);
        let upstream = self.upstream.to(scheme, authority);
        let answer = upstream.exchange(request, target, Over::Fresh).await;
        let response = answer.map_err(|error| Refusal::of(&error))?;
        match response.status() {
            status if status.is_success() => Ok(status.as_u16()),
            _ => Err(refused(response).await),
        }
    }
}

impl Refusal {
    fn of(error: &UpstreamError) -> Self {
        Self { error: error.to_string().replacen("upstream", "receiver", 1), ..Self::default() }
    }
}

async fn refused(response: Response<Body>) -> Refusal {
    let (parts, mut body) = response.into_parts();
    let status = parts.status;
    let mut said = Vec::new();
    while said.len() < MAX_ANSWER_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        said.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    said.truncate(MAX_ANSWER_BYTES);
    let said = String::from_utf8_lossy(&said);
    let said: String = said.chars().filter(|c| !c.is_control()).collect();
    let error = if status.is_redirection() && parts.headers.contains_key(LOCATION) {
        format!("the receiver answered {status}: redirects are not followed")
    } else if said.trim().is_empty() {
        format!("the receiver answered {status}")
    } else {
        format!("the receiver answered {status}: {}", said.trim())
    };
    Refusal {
        status: Some(status.as_u16()),
        error,
        retry_after: retry_after(&parts.headers),
        // Gone: the receiver itself wants no more.
        is_final: status.as_u16() == 410,
    }
}
