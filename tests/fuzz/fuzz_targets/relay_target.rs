//! Relay targets: whatever path and query are asked for, the upstream is the configured one, and what it is
//! asked for stands under the configured path in the eyes of any reader, however often it decodes.

#![no_main]

use std::sync::LazyLock;

use http::Uri;
use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use longrun::config::file;
use longrun::relay::Relay;

static RELAY: LazyLock<Relay> = LazyLock::new(|| {
    let text = r#"
        [[relay]]
        name = "plain"
        prefix = "/a"
        upstream = "http://upstream.test:8080/base"
        [relay.trigger]
        query = "async"

        [[relay]]
        name = "deeper"
        prefix = "/a/b"
        upstream = "http://127.0.0.1"
    "#;
    let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let config = file::parse(text, &no_files).expect("a configuration");
    Relay::new(&config.relay).expect("mounts")
});

fuzz_target!(|input: &[u8]| {
    // As the server has it from the wire: what is no target never comes here.
    let Ok(asked) = PathAndQuery::try_from(input) else { return };
    let (path, query) = (asked.path(), asked.query());
    let Some((mounted, rest)) = RELAY.find(path) else {
        assert!(!path.starts_with("/a/") && path != "/a", "{path} is under a mount");
        return;
    };
    let mount = &mounted.mount;
    assert!(path.starts_with(&mount.prefix));
    let Ok(onward) = mounted.onward(rest, query) else { return };
    let Ok(target) = longrun::relay::upstream_target(mount, &onward.target) else { return };

    let uri = Uri::builder()
        .scheme(mount.upstream.scheme.clone())
        .authority(mount.upstream.authority.clone())
        .path_and_query(target.clone())
        .build()
        .expect("a URL");
    // Read back from what goes over the wire, it says the same.
    let read: Uri = uri.to_string().parse().expect("a URL");
    assert_eq!(read.authority(), Some(&mount.upstream.authority));
    assert_eq!(read.path(), target.path());
    assert!(!uri.to_string().contains(['\r', '\n', '\0', ' ']), "{uri}");

    assert_eq!(
        target.path(),
        format!("{}{rest}", mount.upstream.path),
        "the path is passed as it is"
    );
    let mut seen = target.path().as_bytes().to_vec();
    for _ in 0..12 {
        assert!(is_under(&mount.upstream.path, &seen), "{target} leads elsewhere");
        seen = decoded(&seen);
    }
    let trigger = |part: &&str| {
        let pair = longrun::operation::query::pairs(part).next();
        pair.is_some_and(|pair| pair.name == mount.trigger.query)
    };
    let kept = query.unwrap_or_default().split('&').filter(|part| !trigger(part));
    for part in kept {
        assert!(target.query().unwrap_or_default().contains(part), "{part} is lost of {asked}");
    }
});

/// Whether a path stands under `base` once its dot segments are taken out, slashes of either kind.
fn is_under(base: &str, path: &[u8]) -> bool {
    let mut depth = 0_i64;
    let above = base.split('/').filter(|part| !part.is_empty()).count() as i64;
    for segment in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        match segment.split(|byte| *byte == b';').next().unwrap_or_default() {
            b".." => depth -= 1,
            b"." | b"" => {}
            _ => depth += 1,
        }
        // Once below the base it must stay there.
        if segment == b".." && depth < above {
            return false;
        }
    }
    true
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| text[at] == b'%') {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(text[at]);
                at += 1;
            }
        }
    }
    plain
}
