//! Arbitrary bytes in the head of a request: every decoder must return a value or an error, in a time linear in the
//! head's length.

use std::time::Duration;

use http::header::{
    ACCEPT, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, ORIGIN, RANGE, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{Method, Request, Uri, Version};
use proptest::prelude::*;

use super::grpc::Protocol;
use super::query::Parameters;
use super::range::Extent;
use super::{
    Arrival, Hosts, Links, coding, conditional, cors, event_stream, headers, is_from_here, screen,
};
use crate::thread_time;
use crate::wire::decode::operation_name;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const FIELDS: [HeaderName; 17] = [
    ACCEPT,
    ACCESS_CONTROL_REQUEST_METHOD,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    HOST,
    HeaderName::from_static("idempotency-key"),
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    LAST_EVENT_ID,
    ORIGIN,
    HeaderName::from_static("prefer"),
    RANGE,
    TRANSFER_ENCODING,
    HeaderName::from_static("x-other"),
];

/// Decodes a head in every way of this interface.
fn read(parts: &Parts) {
    let fields = &parts.headers;
    let hosts = Hosts::of(Some("https://jobs.example.com/x"), &["a.test".to_owned()]);
    let _ = screen::check(&hosts, parts);
    let _ = cors::is_preflight(&parts.method, fields);
    let _ = is_from_here(Some("https://jobs.example.com"), parts);
    let links = Links::new(None, parts);
    assert!(links.base().is_empty() || links.base().parse::<Uri>().is_ok(), "{}", links.base());
    let _ = headers::Preferences::parse(fields);
    if let Ok(key) = headers::idempotency_key(fields) {
        assert_eq!(key.is_empty(), !fields.contains_key("idempotency-key"));
    }
    let _ = conditional::Conditions::of(fields);
    let _ = conditional::range_applies(fields, "\"3\"");
    let _ = coding::Coding::of_document(fields);
    let _ = event_stream::is_wanted(fields);
    let _ = event_stream::in_header(fields);
    let _ = Protocol::of(fields);
    for field in fields.values().filter_map(|field| field.to_str().ok()) {
        headers::others_preferred(field).for_each(drop);
        let _ = headers::is_json(field);
        for length in [0, 1, u64::MAX] {
            if let Extent::Part(part) = Extent::of(field, length) {
                assert!(part.start < part.end && part.end <= length, "{field}: {part:?}");
            }
        }
    }
    let mut query = Parameters::parse(&parts.uri).without_system_parameters();
    query.take_number("a");
    query.take_real("b");
    query.take_flag("c");
    query.take_duration("d");
    query.take_moment("e");
    query.take_time("f");
    let _ = query.finish().check();
}

fn parts(version: Version, uri: Uri, fields: HeaderMap) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.version, parts.uri) = (Method::OPTIONS, version, uri);
    parts.headers = fields;
    parts.extensions.insert(Arrival { is_tls: false, is_on_loopback: true });
    parts
}

/// Text with many characters that have a meaning.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let meant = prop::sample::select(b"\"\\,;=:/-+*%&?@[]. \t0W9aqz\xe9\xff".to_vec());
    prop::collection::vec(prop_oneof![4 => meant, 1 => any::<u8>()], 0..80)
}

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2])
}

proptest! {
    #[test]
    fn any_head_is_read_or_refused(
        version in version(),
        target in text(),
        named in prop::collection::vec((0..FIELDS.len(), text()), 0..6),
    ) {
        let target = [b"/".as_slice(), &target].concat();
        let uri = Uri::try_from(&target[..]).unwrap_or_default();
        let fields = named.into_iter().filter_map(|(at, value)| {
            Some((FIELDS[at].clone(), HeaderValue::try_from(value).ok()?))
        });
        let mut all = HeaderMap::new();
        for (name, value) in fields {
            all.append(name, value);
        }
        read(&parts(version, uri, all));
    }

    #[test]
    fn any_url_of_another_form_is_read_or_refused(text in text(), host in text()) {
        let uri = [b"http://".as_slice(), &text, b"/x"].concat();
        if let Ok(uri) = Uri::try_from(&uri[..]) {
            let host = HeaderValue::try_from(host).ok().map(|host| (HOST, host));
            read(&parts(Version::HTTP_2, uri, host.into_iter().collect()));
        }
    }

    #[test]
    fn any_name_of_an_operation_is_read_or_refused(
        name in prop_oneof![any::<String>(), "(tenants/[a-z.-]{0,70}/)?operations/[0-9a-fA-F-]{35,37}(/.{0,3})?"],
    ) {
        let _ = operation_name("name", &name);
    }

    #[test]
    fn any_coded_document_is_undone_within_its_limit(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let magic = [b"\x1f\x8b\x08\0".as_slice(), &bytes].concat();
        for body in [bytes, magic] {
            if let Ok(document) = coding::Coding::Gzip.undo(body.into(), 100) {
                prop_assert!(document.len() <= 100);
            }
        }
    }
}

#[test]
fn long_heads_take_no_longer_than_their_length() {
    // Nearly as long as a header may be, of characters that could cause repeated reads.
    const LENGTH: usize = 60 << 10;
    const PIECES: [&str; 12] =
        ["\"", "\\", "\"\\", ",", ";", "=", "a,", "\"a\",", "W/\"\",", "wait=1,", "%", "0"];
    let took = thread_time::of(|| {
        for piece in PIECES {
            let value = HeaderValue::try_from(piece.repeat(LENGTH / piece.len())).unwrap();
            for name in FIELDS {
                let uri = format!("/?{}", "a=%2&".repeat(3_000)).parse().unwrap();
                let fields = [(name, value.clone())].into_iter().collect();
                read(&parts(Version::HTTP_11, uri, fields));
            }
        }
    });
    assert!(took < Duration::from_secs(20), "{took:?}");
}
