//! Which header fields go on, and what a gateway adds: pure functions of headers.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, VIA,
};

use crate::config::relay::Headers;

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

/// Takes out what belongs to one connection.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    // Its length is what the message's own framing says; a second word on it is how smuggling starts.
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

/// Leaves what the mount passes on.
pub fn apply_policy(headers: &mut HeaderMap, policy: &Headers) {
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names {
        let allowed = policy.allow.as_ref().is_none_or(|allow| allow.contains(name.as_str()));
        if !allowed || policy.deny.contains(name.as_str()) {
            headers.remove(name);
        }
    }
}

/// Takes out the credentials that the mount does not store.
pub fn strip_credentials(headers: &mut HeaderMap, policy: &Headers) {
    for name in [AUTHORIZATION, COOKIE] {
        if !policy.credentials.contains(name.as_str()) {
            headers.remove(name);
        }
    }
}

/// Says for whom the request is sent on. Who came before is kept, as it was claimed; host and scheme are what
/// this server saw. The host itself is the upstream's to be named by the connection.
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

/// Says that the message came through here.
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
        strip_credentials(&mut given, &Headers::default());
        assert_eq!(names(&given), ["accept", "x-in"]);
        let allow = Some(["accept".to_owned(), "cookie".to_owned()].into());
        let credentials = ["cookie".to_owned()].into();
        let policy = Headers { allow, credentials, ..Headers::default() };
        let mut given = headers(&fields);
        strip_credentials(&mut given, &policy);
        apply_policy(&mut given, &policy);
        assert_eq!(names(&given), ["accept", "cookie"]);
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
