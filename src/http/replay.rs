//! Replays a recorded HTTP response: which of its header fields this service may repeat.
//!
//! Adds fields to a response that has the body and this service's own safeguards, and removes none of the safeguards.

use axum::response::Response;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::Verbatim;
use super::call::Call;
use super::headers::{ERROR_SOURCE, is_of_a_body};
use crate::operation::http::is_credential;
use crate::operation::{HttpEnvelope, Operation};
use crate::relay::location::Place;

/// The recorded status, if the response cannot have it.
static RECORDED_STATUS: HeaderName = HeaderName::from_static("longrun-recorded-status");

/// Fields of one connection (RFC 9110, section 7.6.1), or that this response sets itself.
const OF_THE_CONNECTION: [&str; 14] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    // Sent by `etag`.
    "etag",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-content-type-options",
];

/// Fields that apply to a whole origin, or to the browser's user: the origin is this service, and a reader of the
/// result is not the client that the response was made for.
const OF_THE_ORIGIN: [&str; 8] = [
    "alt-svc",
    "clear-site-data",
    "nel",
    // Navigates the page that shows it.
    "refresh",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "strict-transport-security",
];

/// Fields that make a proxy in front replace the response.
const OF_PROXIES: [&str; 4] =
    ["x-lighttpd-send-file", "x-litespeed-location", "x-reproxy-url", "x-sendfile"];

/// Fields about ranges: for a recorded range they are the resource's, otherwise this response's own.
const OF_PARTS: [&str; 2] = ["accept-ranges", "content-range"];

/// Fields that only this service sets.
const OF_THE_SERVICE: [&str; 2] = ["operation-location", "preference-applied"];
const PREFIXES_LEFT_OUT: [&str; 4] = ["access-control-", "longrun-", "x-accel-", "x-sendfile-"];

fn is_repeated(name: &str, status: StatusCode) -> bool {
    let left_out = [&OF_THE_CONNECTION[..], &OF_THE_ORIGIN, &OF_PROXIES, &OF_THE_SERVICE];
    !left_out.iter().any(|names| names.contains(&name))
        && !PREFIXES_LEFT_OUT.iter().any(|prefix| name.starts_with(prefix))
        && !is_credential(name)
        && (status != StatusCode::OK || !OF_PARTS.contains(&name))
}

/// Adds the recorded status and header fields to the response to a request of `method`. A failure is marked as the
/// operation's own.
pub(super) fn apply(envelope: &HttpEnvelope, method: &Method, response: &mut Response) {
    // An input's envelope is a request; the response to its reader has only its body.
    let Some(status) = StatusCode::from_u16(envelope.status).ok().filter(|it| it.as_u16() >= 200)
    else {
        return repeat(envelope, response.headers_mut(), is_of_a_body);
    };
    let headers = response.headers_mut();
    let status = if status == StatusCode::ACCEPTED {
        // Repeated, it would look like this operation's own status, and clients would poll forever.
        headers.insert(RECORDED_STATUS.clone(), HeaderValue::from(status.as_u16()));
        StatusCode::OK
    } else {
        status
    };
    if status != StatusCode::OK {
        // Such a response has no ranges: see `contents`.
        headers.remove(ACCEPT_RANGES);
    }
    repeat(envelope, headers, |name| is_repeated(name, status));
    // What the payload itself cannot express, or expresses wrongly: none, several, or one that is too long.
    let mut said = envelope.values(CONTENT_TYPE.as_str()).peekable();
    if said.peek().is_some() {
        headers.remove(CONTENT_TYPE);
        let said = said.filter(|value| !value.is_empty()).map(HeaderValue::from_bytes);
        headers.extend(said.flatten().map(|value| (CONTENT_TYPE, value)));
    }
    // The length of the body that a HEAD omits.
    if let Some(length) = envelope.values(CONTENT_LENGTH.as_str()).next()
        && let Ok(length) = HeaderValue::from_bytes(length)
        && method == Method::HEAD
    {
        headers.insert(CONTENT_LENGTH, length);
    }
    if status.as_u16() >= 400 {
        headers.insert(ERROR_SOURCE.clone(), HeaderValue::from_static("operation"));
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_SECURITY_POLICY);
        headers.remove(X_CONTENT_TYPE_OPTIONS);
        *response.body_mut() = axum::body::Body::empty();
    }
    *response.status_mut() = status;
}

/// Like [`apply`], without this service's own fields: the response is the API's.
pub(super) fn apply_alone(envelope: &HttpEnvelope, method: &Method, response: &mut Response) {
    apply(envelope, method, response);
    let is_whole = response.status() == StatusCode::OK;
    let headers = response.headers_mut();
    headers.remove(&ERROR_SOURCE);
    let is_own = |name: &str| {
        OF_THE_SERVICE.contains(&name) || name == "etag" || is_whole && name == "accept-ranges"
    };
    repeat(envelope, headers, is_own);
    response.extensions_mut().insert(Verbatim);
}

/// Makes the URLs in a relay's recorded response absolute, and replaces the upstream's by the mount's, because the
/// response is sent under another URL than its request's.
pub(super) fn resolve(call: &Call, operation: &Operation, response: &mut Response) {
    let submission = &operation.submission;
    let request = submission.input.as_ref().and_then(|input| input.http.as_deref());
    let mut mounts = call.http.options.relay.mounts().iter().map(|mounted| &mounted.mount);
    let mount = mounts.find(|mount| mount.kind() == submission.kind.as_str());
    let (Some(request), Some(mount)) = (request, mount) else { return };
    let links = call.links();
    let host = request.values("host").next().and_then(|host| std::str::from_utf8(host).ok());
    let place = Place { mount, base: links.base(), host, target: &request.target };
    place.resolve(response.headers_mut());
}

fn repeat(envelope: &HttpEnvelope, headers: &mut HeaderMap, is_repeated: impl Fn(&str) -> bool) {
    for header in envelope.headers.iter().filter(|header| is_repeated(&header.name)) {
        let name = HeaderName::try_from(header.name.as_str());
        let value = HeaderValue::from_bytes(&header.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::operation::HttpHeader;

    fn replayed(status: u16, fields: &[(&str, &str)]) -> Response {
        let headers = fields.iter().map(|(name, value)| HttpHeader {
            name: (*name).to_owned(),
            value: value.as_bytes().to_vec(),
        });
        let headers = headers.collect();
        let envelope = HttpEnvelope { status, headers, ..HttpEnvelope::default() };
        let mut response = Response::new(Body::from("body"));
        let sandbox = HeaderValue::from_static("sandbox");
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, sandbox);
        apply(&envelope, &Method::GET, &mut response);
        response
    }

    #[test]
    fn a_response_keeps_its_status_and_what_belongs_to_the_resource() {
        let fields = [
            ("location", "/made/7"),
            ("link", "<a>"),
            ("link", "<b>"),
            ("content-encoding", "gzip"),
            ("cache-control", "max-age=5"),
            ("content-security-policy", "default-src 'none'"),
        ];
        let response = replayed(201, &fields);
        assert_eq!(response.status(), 201);
        for name in ["location", "content-encoding", "cache-control"] {
            assert!(response.headers().contains_key(name), "{name}");
        }
        assert_eq!(response.headers().get_all("link").iter().count(), 2);
        // Policies add up; the recorded one does not weaken the service's own.
        assert_eq!(response.headers().get_all(CONTENT_SECURITY_POLICY).iter().count(), 2);
        assert!(!response.headers().contains_key(&ERROR_SOURCE));
    }

    #[test]
    fn what_is_not_the_results_to_say_is_left_out() {
        for name in [
            "set-cookie",
            "connection",
            "transfer-encoding",
            "access-control-allow-origin",
            "longrun-error-source",
            "strict-transport-security",
            "date",
            "x-accel-redirect",
            "x-sendfile",
            "refresh",
            "x-auth-token",
            "content-range",
        ] {
            let response = replayed(200, &[(name, "x")]);
            assert!(!response.headers().contains_key(name), "{name}");
        }
        assert_eq!(replayed(503, &[]).headers()[&ERROR_SOURCE], "operation");
        assert_eq!(replayed(204, &[]).headers().len(), 0);
        assert_eq!(replayed(0, &[("link", "<a>")]).headers().len(), 1);
    }

    #[test]
    fn parts_and_other_statuses_are_told_as_they_were() {
        for status in [206, 416] {
            let part =
                replayed(status, &[("content-range", "bytes 0-1/9"), ("accept-ranges", "none")]);
            assert_eq!(part.headers()["content-range"], "bytes 0-1/9");
            assert_eq!(part.headers()["accept-ranges"], "none");
        }
        let accepted = replayed(202, &[]);
        assert_eq!(accepted.status(), 200);
        assert_eq!(accepted.headers()[&RECORDED_STATUS], "202");
        let odd = replayed(799, &[("content-type", "")]);
        assert_eq!((odd.status().as_u16(), odd.headers().get("content-type")), (799, None));
        let several = replayed(200, &[("content-type", "a/b"), ("content-type", "c/d")]);
        assert_eq!(several.headers().get_all("content-type").iter().count(), 2);
    }
}
