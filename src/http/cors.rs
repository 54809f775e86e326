//! Which pages of other sites may call this interface from a browser (the CORS protocol of the Fetch standard).
//!
//! Nobody is let in by default, neither to read nor to change. Credentials are never asked for: a page sends what it was given, in a header.
//! tower-http's layer takes every OPTIONS request for a preflight; here OPTIONS keeps its own meaning.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode, Uri};

use super::Http;
use super::problem::Problem;
use crate::service::{Reason, ServiceError};

/// What a page may read besides the fields that every page may.
const EXPOSED: &str = "location, operation-location, retry-after, etag, preference-applied, \
                       longrun-error-source, longrun-errors, longrun-warnings, longrun-type-url, \
                       accept-ranges, content-range";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// How long a browser may remember a preflight, in seconds; browsers cut it down to their own maximum.
const MAX_AGE: &str = "7200";

/// Refuses changes that pages of other sites ask for. A browser sends a form or plain text for any page,
/// also to this machine's own addresses, before it asks who may read the answer; it always says for which page.
/// Clients that are no browsers say nothing of the kind.
pub(super) async fn protect(State(http): State<Http>, request: Request, next: Next) -> Response {
    let is_change = !request.method().is_safe() && request.uri().path().starts_with("/v1/");
    if is_change && is_refused(&http, &request) {
        return refusal().into_response();
    }
    next.run(request).await
}

/// Whether a page of another site asks for a change.
pub(super) fn is_refused(http: &Http, request: &Request) -> bool {
    let origin = request.headers().get(ORIGIN).filter(|_| !request.method().is_safe());
    origin.is_some_and(|origin| !is_trusted(http, request, origin))
}

/// What such a page is told.
pub(super) fn refusal() -> Problem {
    let message = "pages of this origin may not make changes here (--cors-origin lets them)";
    ServiceError::new(Reason::OriginRefused, message).into()
}

/// Whether the origin is a named one, or this server's own as the request or the configuration has it.
fn is_trusted(http: &Http, request: &Request, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    if http.options.cors_origins.iter().any(|allowed| allowed == "*" || allowed == origin) {
        return true;
    }
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let host = || request.headers().get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let asked = request.uri().authority().cloned().or_else(host);
    let public = http.options.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
    let public = public.and_then(|url| url.authority().cloned());
    let is_own = |own: Authority| origin.authority() == Some(&own);
    asked.is_some_and(is_own) || public.is_some_and(is_own)
}

/// Answers preflights, and tells browsers whose pages may read an answer.
pub(super) async fn cors(State(http): State<Http>, request: Request, next: Next) -> Response {
    let allowed = &http.options.cors_origins;
    if allowed.is_empty() {
        return next.run(request).await;
    }
    let everybody = allowed.iter().any(|origin| origin == "*");
    let origin = request.headers().get(ORIGIN).filter(|origin| {
        everybody || allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    });
    let origin =
        origin.map(|origin| if everybody { HeaderValue::from_static("*") } else { origin.clone() });
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &origin {
        Some(_) if is_preflight => preflight(&request),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if !everybody {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

/// Whatever header the page means to send: its origin is trusted with all that this interface can do.
fn preflight(request: &Request) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    headers.append(VARY, HeaderValue::from_static("access-control-request-headers"));
    if let Some(asked) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}
