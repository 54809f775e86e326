//! Header fields that are passed on, and those that a gateway adds: pure functions of headers.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap,
    HeaderName, HeaderValue, TRANSFER_ENCODING, VIA,
};

use crate::config::relay::Headers;
use crate::operation::http::is_credential;

/// Fields that belong to one connection (RFC 9110, section 7.6.1), beyond those that `Connection` names.
const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Removes the fields that belong to one connection.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    // The message's framing states the length; a second statement enables request smuggling.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Removes the fields that the mount does not pass on. Those that describe the body pass unless denied.
pub fn apply_policy(headers: &mut HeaderMap, policy: &Headers) {
    let of_the_body = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE];
    retain(headers, |name| {
        let allowed = policy.allow.as_ref().is_none_or(|allow| allow.contains(name.as_str()));
        (allowed || of_the_body.contains(name)) && !policy.deny.contains(name.as_str())
    });
}

/// Removes fields that an operation must not keep: those that look like credentials, and `own`, by which a mount's
/// clients identify themselves. The policy can except fields by name.
pub fn strip_credentials(headers: &mut HeaderMap, policy: &Headers, own: Option<&HeaderName>) {
    retain(headers, |name| {
        let is_secret = is_credential(name.as_str()) || own == Some(name);
        !is_secret || policy.credentials.contains(name.as_str())
    });
}

fn retain(headers: &mut HeaderMap, keeps: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| !keeps(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Replaces the recorded trace by the attempt's, if the submission had one.
pub fn set_trace(headers: &mut HeaderMap, parent: &str, state: &str) {
    if parent.is_empty() {
        return;
    }
    for (name, value) in [("traceparent", parent), ("tracestate", state)] {
        match HeaderValue::try_from(value) {
            Ok(value) if !value.is_empty() => _ = headers.insert(name, value),
            _ => _ = headers.remove(name),
        }
    }
}

/// Joins the parts into which HTTP/2 may split a `Cookie` (RFC 9113, section 8.2.3): HTTP/1.1 has one field.
pub fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if pieces.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        headers.insert(COOKIE, whole);
    }
}

/// Frames a request by its body. A length that the client stated is stated again, even 0.
pub fn frame(headers: &mut HeaderMap, size: Option<u64>) {
    let is_stated = headers.remove(CONTENT_LENGTH).is_some();
    match size {
        Some(0) if !is_stated => {}
        Some(size) => {
            headers.insert(CONTENT_LENGTH, size.into());
        }
        // Stated explicitly, because without it the client library sends no body with a GET.
        None => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// Adds the client for whom the request is sent. Earlier hops are kept as claimed; host and scheme are what this server
/// saw. The `Host` itself is set by the connection.
pub fn add_forwarded(
    headers: &mut HeaderMap,
    peer: Option<IpAddr>,
    host: &str,
    scheme: &'static str,
) {
    let earlier: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().filter_map(|field| field.to_str().ok()).collect();
    let mut hops = earlier.join(", ");
    if let Some(peer) = peer {
        let separator = if hops.is_empty() { "" } else { ", " };
        hops = format!("{hops}{separator}{peer}");
    }
    headers.remove(HOST);
    for (name, value) in [(FORWARDED_FOR, hops.as_str()), (FORWARDED_HOST, host)] {
        headers.remove(&name);
        let value = HeaderValue::try_from(value).ok().filter(|value| !value.is_empty());
        headers.extend(value.map(|value| (name, value)));
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
}

/// Adds this server to `Via`.
pub fn add_via(headers: &mut HeaderMap, version: http::Version) {
    let via = match version {
        http::Version::HTTP_2 => HeaderValue::from_static("2 longrun"),
        http::Version::HTTP_10 => HeaderValue::from_static("1.0 longrun"),
        _ => HeaderValue::from_static("1.1 longrun"),
    };
    headers.append(VIA, via);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_belongs_to_the_connection_stays_there() {
        let fields = [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("upgrade", "h2c"),
            ("x-other", "2"),
        ];
        let mut given = headers(&fields);
        strip_hop_by_hop(&mut given);
        assert_eq!(names(&given), ["x-other"]);
    }

    #[test]
    fn the_mount_says_what_is_passed_on() {
        let fields = [("authorization", "a"), ("cookie", "b"), ("accept", "c"), ("x-in", "d")];
        let mut given = headers(&fields);
        strip_credentials(&mut given, &Headers::default(), None);
        assert_eq!(names(&given), ["accept", "x-in"]);
        strip_credentials(&mut given, &Headers::default(), Some(&HeaderName::from_static("x-in")));
        assert_eq!(names(&given), ["accept"]);
        let allow = Some(["accept".to_owned(), "cookie".to_owned()].into());
        let credentials = ["cookie".to_owned()].into();
        let policy = Headers { allow, credentials, ..Headers::default() };
        let mut given = headers(&fields);
        strip_credentials(&mut given, &policy, None);
        apply_policy(&mut given, &policy);
        assert_eq!(names(&given), ["accept", "cookie"]);
    }

    #[test]
    fn a_length_that_was_stated_is_stated_again() {
        type Fields<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Fields<'_>, Option<u64>, Fields<'_>); 5] = [
            (&[], Some(0), &[]),
            (&[("content-length", "0")], Some(0), &[("content-length", "0")]),
            (
                &[("content-length", "4"), ("content-length", "4")],
                Some(4),
                &[("content-length", "4")],
            ),
            (&[], Some(4), &[("content-length", "4")]),
            (&[], None, &[("transfer-encoding", "chunked")]),
        ];
        for (fields, size, expected) in cases {
            let mut given = headers(fields);
            frame(&mut given, size);
            assert_eq!(given, headers(expected), "{fields:?} {size:?}");
        }
    }

    #[test]
    fn pieces_of_a_cookie_are_joined() {
        let mut given = headers(&[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")]);
        join_cookies(&mut given);
        assert_eq!(given, headers(&[("cookie", "a=b; c=d"), ("x", "y")]));
    }

    #[test]
    fn the_way_here_is_told() {
        let mut given = headers(&[("host", "a"), ("x-forwarded-for", "9.9.9.9")]);
        add_forwarded(&mut given, Some([127, 0, 0, 1].into()), "a", "http");
        add_via(&mut given, http::Version::HTTP_2);
        assert_eq!(given["x-forwarded-for"], "9.9.9.9, 127.0.0.1");
        assert_eq!(given["x-forwarded-host"], "a");
        assert_eq!(given["via"], "2 longrun");
        assert!(!given.contains_key("host"));
    }
}
