//! Which pages of other sites may call this interface from a browser (the CORS protocol of the Fetch standard).
//!
//! Nobody is let in by default. Credentials are never asked for: a page sends what it was given, in a header.
//! tower-http's layer takes every OPTIONS request for a preflight; here OPTIONS keeps its own meaning.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderValue, Method, StatusCode};

use super::Http;

/// What a page may read besides the fields that every page may.
const EXPOSED: &str = "location, operation-location, retry-after, etag, preference-applied, \
                       longrun-error-source, longrun-errors, longrun-warnings, longrun-type-url, \
                       accept-ranges, content-range";
const METHODS: &str = "GET, HEAD, POST, DELETE";
/// How long a browser may remember a preflight, in seconds; browsers cut it down to their own maximum.
const MAX_AGE: &str = "7200";

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
