//! Relay header fields: of whatever came, nothing of the connection and no credential goes on, and what a
//! gateway says stands in its own fields.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use longrun::config::relay::Headers;
use longrun::relay::fields;

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(100) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..at], &line[at + 1..]);
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    let named: Vec<String> = headers
        .get_all("connection")
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let came = headers.clone();
    fields::strip_hop_by_hop(&mut headers);
    for name in
        ["connection", "transfer-encoding", "te", "upgrade", "proxy-authorization", "trailer"]
    {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert!(headers.keys().all(|name| !named.iter().any(|named| named == name.as_str())));
    assert!(!(came.contains_key("transfer-encoding") && headers.contains_key("content-length")));

    let policy = Headers { deny: ["x-denied".to_owned()].into(), ..Headers::default() };
    fields::strip_credentials(&mut headers, &policy, None);
    fields::apply_policy(&mut headers, &policy);
    for name in ["authorization", "cookie", "x-denied"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    fields::add_forwarded(&mut headers, Some([127, 0, 0, 1].into()), "host.test", "http");
    fields::add_via(&mut headers, http::Version::HTTP_11);
    assert!(!headers.contains_key("host"));
    assert_eq!(headers.get_all("x-forwarded-host").iter().collect::<Vec<_>>(), ["host.test"]);
    assert_eq!(headers.get_all("x-forwarded-proto").iter().collect::<Vec<_>>(), ["http"]);
    let hops = headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>();
    assert!(hops.len() == 1 && hops[0].as_bytes().ends_with(b"127.0.0.1"));
    assert_eq!(headers.get_all("via").iter().last().expect("a hop"), "1.1 longrun");
    // Nothing else was made up or changed.
    let own = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via"];
    for (name, value) in headers.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        assert!(came.get_all(name).iter().any(|came| came == value), "{name}");
    }
});
