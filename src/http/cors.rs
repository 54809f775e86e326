//! Calls of other sites' pages from a browser (the CORS protocol of the Fetch standard).
//!
//! By default no site may call, neither to read nor to change. Cookies are never used: a page sends its credentials in
//! a header. tower-http's layer treats every OPTIONS request as a preflight; here OPTIONS keeps its own meaning.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN,
};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::arrival::Arrival;
use super::headers::vary_by;
use super::problem::Problem;
use super::{Http, Verbatim};
use crate::service::{Reason, ServiceError};

/// The header fields that a page may read in addition to those that every page may read.
const EXPOSED: &str = "location, operation-location, retry-after, etag, preference-applied, \
                       longrun-error-source, longrun-errors, longrun-warnings, longrun-type-url, \
                       longrun-recorded-status, \
                       accept-ranges, content-range, \
                       grpc-status, grpc-message, grpc-status-details-bin, grpc-retry-pushback-ms";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// How long a browser may remember a preflight, in seconds; browsers have maximums of their own.
const MAX_AGE: &str = "7200";

/// Refuses changes by pages of other sites. A browser sends a form or plain text for any page, even to this machine's
/// own addresses, before it asks whether the page may read the response; but it always names the page's origin. Clients
/// that are not browsers send no origin.
pub(super) async fn protect(State(http): State<Http>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if parts.uri.path().starts_with("/v1/") && is_refused(&http, &parts) {
        return refusal().into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Whether a page of another site requests a change.
pub(super) fn is_refused(http: &Http, parts: &Parts) -> bool {
    !parts.method.is_safe() && is_foreign(http, parts, &[])
}

/// Whether the request is from a page whose origin is trusted neither by the configuration nor by `also`.
pub(super) fn is_foreign(http: &Http, parts: &Parts, also: &[String]) -> bool {
    let is_listed = |origin: &HeaderValue| also.iter().any(|it| it.as_bytes() == origin.as_bytes());
    let origin = parts.headers.get(ORIGIN).filter(|origin| !is_listed(origin));
    origin.is_some_and(|origin| !is_trusted(http, parts, origin))
}

/// The refusal of such a page's request.
pub(super) fn refusal() -> Problem {
    let message =
        "pages of this origin may not make changes here (--cors-origin permits an origin)";
    ServiceError::new(Reason::OriginRefused, message).into()
}

/// Whether the origin is configured, or is this server's own by the request or the configuration.
fn is_trusted(http: &Http, parts: &Parts, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    if http.options.cors_origins.iter().any(|allowed| allowed == "*" || allowed == origin) {
        return true;
    }
    is_own(http.options.public_url.as_deref(), parts, origin)
}

/// Whether the request is from a page of this server, or not from a page: it names no other origin.
pub(crate) fn is_from_here(public_url: Option<&str>, parts: &Parts) -> bool {
    let Some(origin) = parts.headers.get(ORIGIN) else { return true };
    origin.to_str().is_ok_and(|origin| is_own(public_url, parts, origin))
}

/// Whether the origin is this server's own by the request or the configuration.
fn is_own(public_url: Option<&str>, parts: &Parts, origin: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let host = || parts.headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    // A plain request may have reached a proxy over TLS. If it reached this server over TLS, plain HTTP at the same
    // host is another origin.
    let may_be_own = !Arrival::is_tls(&parts.extensions) || origin.scheme_str() == Some("https");
    let asked = parts.uri.authority().cloned().or_else(host).filter(|_| may_be_own);
    let public = public_url.and_then(|url| url.parse::<Uri>().ok());
    let public = public.and_then(|url| url.authority().cloned());
    let is_own = |own: Authority| origin.authority() == Some(&own);
    asked.is_some_and(is_own) || public.is_some_and(is_own)
}

/// Origins whose pages may read this response, in addition to the configured ones: an extension of responses.
#[derive(Clone, Debug)]
pub(super) struct Origins(pub(super) Arc<[String]>);

/// Whether the request is a preflight.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers preflights, and adds the fields that allow pages of other origins to read a response. A relayed API's
/// response that has these fields is not changed.
pub(super) async fn cors(State(http): State<Http>, request: Request, next: Next) -> Response {
    let page = Page::of(request.method(), request.headers());
    page.may_read(&http, next.run(request).await)
}

/// The page that sent a request, if any.
pub(super) struct Page {
    origin: Option<HeaderValue>,
    /// The header fields that a preflight asks for; `None`: not a preflight.
    asked: Option<Option<HeaderValue>>,
}

impl Page {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let asked = is_preflight(method, headers);
        let asked = asked.then(|| headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned());
        Self { origin: headers.get(ORIGIN).cloned(), asked }
    }

    /// Marks the response as readable by the page; replaces it by a preflight's response if the page asked for one.
    pub(super) fn may_read(self, http: &Http, mut response: Response) -> Response {
        let Self { origin, asked } = self;
        let is_upstreams = response.extensions().get::<Verbatim>().is_some();
        if is_upstreams && response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return response;
        }
        let more = response.extensions().get::<Origins>().map(|origins| Arc::clone(&origins.0));
        let more = more.as_deref().unwrap_or_default();
        let allowed = || http.options.cors_origins.iter().chain(more);
        if allowed().next().is_none() {
            return response;
        }
        let everybody = allowed().any(|origin| origin == "*");
        let origin = origin.filter(|origin| {
            everybody || allowed().any(|allowed| allowed.as_bytes() == origin.as_bytes())
        });
        if let Some(asked) = asked.filter(|_| origin.is_some()) {
            response = preflight(asked);
        }
        let headers = response.headers_mut();
        if !everybody {
            vary_by(headers, "origin");
        }
        if let Some(origin) = origin {
            let origin = if everybody { HeaderValue::from_static("*") } else { origin };
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        response
    }
}

/// Allows all header fields in `asked`, because the page's origin is trusted with everything that this interface can
/// do.
fn preflight(asked: Option<HeaderValue>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    vary_by(headers, "access-control-request-headers");
    headers.extend(asked.map(|asked| (ACCESS_CONTROL_ALLOW_HEADERS, asked)));
    response
}
