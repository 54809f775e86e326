//! A recorded HTTP response said again: which of its header fields are for this service to repeat.
//!
//! Adds to a response that has its body and this service's own safeguards already, and takes none of them away.

use axum::response::Response;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::headers::ERROR_SOURCE;
use super::submission::is_of_a_body;
use crate::operation::HttpEnvelope;

/// Fields that belong to one connection (RFC 9110, section 7.6.1), or that this answer has of its own.
const OF_THE_CONNECTION: [&str; 16] = [
    "accept-ranges",
    "connection",
    "content-length",
    "content-range",
    "content-type",
    "date",
    // Said by `etag`.
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

/// Fields that speak for a whole origin, or to a browser as its user's own: the origin is this service, and
/// whoever may read a result is not who the response was made for.
const OF_THE_ORIGIN: [&str; 9] = [
    "alt-svc",
    "clear-site-data",
    "nel",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
];

/// Fields that are this service's to say.
const OF_THE_SERVICE: [&str; 2] = ["operation-location", "preference-applied"];
const PREFIXES_LEFT_OUT: [&str; 2] = ["access-control-", "longrun-"];

fn is_repeated(name: &str) -> bool {
    let left_out = [&OF_THE_CONNECTION[..], &OF_THE_ORIGIN, &OF_THE_SERVICE];
    !left_out.iter().any(|names| names.contains(&name))
        && !PREFIXES_LEFT_OUT.iter().any(|prefix| name.starts_with(prefix))
}

/// Answers with the status and the header fields of the recorded response. A failure is marked as the
/// operation's own.
pub(super) fn apply(envelope: &HttpEnvelope, response: &mut Response) {
    // An input carries a request, of which its body alone is answered.
    let Some(status) = StatusCode::from_u16(envelope.status).ok().filter(|it| it.as_u16() >= 200)
    else {
        return repeat(envelope, response.headers_mut(), is_of_a_body);
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    repeat(envelope, headers, is_repeated);
    if status.is_client_error() || status.is_server_error() {
        headers.insert(ERROR_SOURCE.clone(), HeaderValue::from_static("operation"));
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        headers.remove(CONTENT_TYPE);
        headers.remove(http::header::CONTENT_LENGTH);
        headers.remove(CONTENT_SECURITY_POLICY);
        headers.remove(X_CONTENT_TYPE_OPTIONS);
        *response.body_mut() = axum::body::Body::empty();
    }
}

fn repeat(envelope: &HttpEnvelope, headers: &mut HeaderMap, is_repeated: fn(&str) -> bool) {
    for header in envelope.headers.iter().filter(|header| is_repeated(&header.name)) {
        let name = HeaderName::try_from(header.name.as_str());
        let value = HeaderValue::from_bytes(&header.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
}

/// The recorded validator, which is the resource's own and so what conditional requests to it need.
pub(super) fn etag(envelope: &HttpEnvelope) -> Option<HeaderValue> {
    let field = envelope.headers.iter().find(|header| header.name == ETAG.as_str())?;
    HeaderValue::from_bytes(&field.value).ok()
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
        apply(&envelope, &mut response);
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
        // Policies add up; the recorded one does not lift the service's own.
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
        ] {
            let response = replayed(200, &[(name, "x")]);
            assert!(!response.headers().contains_key(name), "{name}");
        }
        assert_eq!(replayed(503, &[]).headers()[&ERROR_SOURCE], "operation");
        assert_eq!(replayed(204, &[]).headers().len(), 0);
        assert_eq!(replayed(0, &[("link", "<a>")]).headers().len(), 1);
    }
}
