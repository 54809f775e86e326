//! Envelopes, and the header fields that they may have.

use super::*;

fn request(method: &str, target: &str) -> HttpEnvelope {
    let (method, target) = (method.to_owned(), target.to_owned());
    HttpEnvelope { method, target, ..HttpEnvelope::default() }
}

fn response(status: u16, headers: &[(&str, &[u8])]) -> HttpEnvelope {
    let headers = headers
        .iter()
        .map(|(name, value)| HttpHeader { name: (*name).to_owned(), value: value.to_vec() });
    HttpEnvelope { status, headers: headers.collect(), ..HttpEnvelope::default() }
}

#[test]
fn an_envelope_is_a_request_or_a_response() {
    let length = |value: &[u8]| HttpEnvelope {
        headers: response(200, &[("content-length", value)]).headers,
        ..request("HEAD", "/")
    };
    let answered = response(200, &[("content-length", b"3"), ("content-type", b"")]);
    for good in [
        request("POST", "/a?b=%20"),
        length(b"0"),
        answered,
        response(204, &[("x-a", b"caf\xe9\t1")]),
        response(999, &[]),
    ] {
        assert_eq!(good.check(), Ok(()), "{good:?}");
    }
    let both = HttpEnvelope { status: 200, ..request("GET", "/") };
    let long = vec![b'x'; HttpEnvelope::MAX_BYTES];
    let many = vec![("x-a", &b""[..]); HttpEnvelope::MAX_HEADERS + 1];
    let cases = [
        (HttpEnvelope::default(), "status"),
        (both, "status"),
        (response(100, &[]), "status"),
        (response(1_000, &[]), "status"),
        (request("GE T", "/"), "method"),
        (request("GET", ""), "target"),
        (request("GET", "http://x/"), "target"),
        (request("GET", "/a b"), "target"),
        (request("GET", "/a#b"), "target"),
        (request("GET", "/a\r\nx: y"), "target"),
        (response(200, &[("X-A", b"")]), "headers[0].name"),
        (response(200, &[("x-a", b""), ("x a", b"")]), "headers[1].name"),
        (response(200, &[("connection", b"close")]), "headers[0].name"),
        (length(b"3"), "headers[0].name"),
        (response(200, &[("x-a", b"b\r\nset-cookie: c")]), "headers[0].value"),
        (response(200, &[("x-a", b"b\0")]), "headers[0].value"),
        (response(200, &[("x-a", &long)]), "headers"),
        (response(200, &many), "headers"),
    ];
    for (bad, field) in cases {
        assert_eq!(bad.check().unwrap_err()[0].field, field, "{bad:?}");
    }
}
#[test]
fn a_submitted_request_says_neither_secrets_nor_where_it_came_from() {
    for name in ["cookie", "x-auth-token", "my-secret", "x-forwarded-for", "via", "forwarded"] {
        let headers = response(200, &[("accept", b"*/*"), (name, b"x")]).headers;
        let request = HttpEnvelope { headers, ..request("GET", "/") };
        assert_eq!(request.check(), Ok(()));
        let invalid = request.check_submitted().unwrap_err();
        assert_eq!(invalid[0].field, "headers[1].name");
        assert!(invalid[0].rule.contains(name), "{}", invalid[0].rule);
    }
    for name in [
        "accept",
        "authority",
        "tokens",
        "x-secrets",
        "idempotency-key",
        "etag",
        "key",
        "www-authenticate",
        "x-ratelimit-token-limit",
    ] {
        assert!(!is_credential(name) && !is_of_gateways(name), "{name}");
    }
}

#[test]
fn what_carries_a_secret_is_known_by_the_words_of_its_name() {
    for name in [
        "authorization",
        "proxy-authorization",
        "x-forwarded-authorization",
        "x-ms-authorization-auxiliary",
        "authentication",
        "auth",
        "x-auth",
        "x-auth-key",
        "x-auth-token",
        "private-token",
        "cookie",
        "cookie2",
        "set-cookie",
        "x-api-key",
        "x_api_key",
        "x-apikey",
        "x-functions-key",
        "ocp-apim-subscription-key",
        "x-amz-access-key",
        "client-secret",
        "x-credentials",
        "x-jwt-assertion",
        "mcp-session-id",
    ] {
        assert!(is_credential(name), "{name}");
    }
}

#[test]
fn what_the_payload_cannot_say_of_the_media_type_the_envelope_keeps() {
    let long = format!("text/csv; name=\"{}\"", "x".repeat(300));
    let cases: [(&[&[u8]], &str, usize); 6] = [
        (&[b"text/csv; header=present"], "text/csv; header=present", 0),
        (&[], "", 1),
        (&[b"application/octet-stream"], "application/octet-stream", 1),
        (&[b"text/csv", b"text/html"], "text/csv", 2),
        (&[long.as_bytes()], "text/csv", 1),
        (&[b"text/csv; name=caf\xe9"], "", 1),
    ];
    for (fields, payload, kept) in cases {
        let (media_type, headers) = media_type(fields.iter().copied());
        assert_eq!((media_type.as_str(), headers.len()), (payload, kept), "{fields:?}");
    }
}

#[test]
fn there_is_room_up_to_the_limit() {
    let mut envelope = response(200, &[]);
    let field = |len| HttpHeader { name: "x".to_owned(), value: vec![b'y'; len] };
    assert!(!envelope.push(field(HttpEnvelope::MAX_BYTES)));
    assert!(envelope.push(field(HttpEnvelope::MAX_BYTES - 1)));
    assert!(!envelope.push(field(0)));
    assert_eq!(envelope.check(), Ok(()));
}
