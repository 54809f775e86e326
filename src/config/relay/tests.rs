//! Valid and refused tables of mounts.

use super::*;

fn parse(text: &str) -> Result<Vec<Mount>, FileError> {
    super::super::file::parse(text, &|_| Ok(String::new())).map(|config| config.relay)
}

const LEAST: &str = "[[relay]]\nname = \"a\"\nprefix = \"/a\"\nupstream = \"http://h:1/b/\"\n";

#[test]
fn the_least_mount_has_the_defaults() {
    let mounts = parse(LEAST).unwrap();
    let mount = &mounts[0];
    assert_eq!(mount.upstream.authority, "h:1");
    assert_eq!(mount.upstream.path, "/b");
    assert_eq!((mount.answer, mount.concurrency, mount.max_body), (202, 16, None));
    assert_eq!(mount.trigger, Trigger::default());
    assert_eq!(mount.limits, Limits::default());
    assert_eq!(mount.kind(), "relay.a");
    assert!(mount.rewrite_locations && !mount.preserve_host);
    assert_eq!(mount.limits.idle_timeout, Duration::from_secs(4));
    assert_eq!(parse("").unwrap(), []);
}

#[test]
fn everything_can_be_said() {
    let more = "answer = 303\nmax_body = \"64KiB\"\npreserve_host = true\nrewrite_locations = false\n\
        [relay.trigger]\nprefer = false\nquery = \"bgrs\"\norigins = [\"https://a.test:8443\"]\n\
        [relay.limits]\nqueue_timeout = \"30s\"\nidle_timeout = \"1m\"\nmax_header_bytes = \"1MiB\"\n[relay.retries]\nmax_attempts = 7\n\
        [relay.headers]\nallow = [\"Accept\"]\ncredentials = [\"Cookie\", \"X-API-Key\"]\n";
    let mount = &parse(&format!("{LEAST}{more}")).unwrap()[0];
    assert_eq!(mount.max_body, Some(64 << 10));
    assert_eq!(mount.limits.queue_timeout, Some(Duration::from_secs(30)));
    assert_eq!(mount.retry_policy(true).max_attempts, 7);
    assert_eq!(mount.retry_policy(false).max_attempts, 1);
    let credentials = ["cookie", "x-api-key"].map(str::to_owned).into();
    assert_eq!(mount.headers.credentials, credentials);
    assert_eq!(mount.trigger.origins, ["https://a.test:8443"]);
    assert_eq!(mount.limits.max_header_bytes, 1 << 20);
    assert!(mount.preserve_host && !mount.rewrite_locations);
}

#[test]
fn what_cannot_be_served_is_refused_by_line_and_reason() {
    let second = |prefix: &str, name: &str| {
        format!("{LEAST}\n{}", LEAST.replace("/a", prefix).replace("\"a\"", name))
    };
    let cases = [
        (LEAST.replace("/a", "/v1/x"), 3, "this server's own"),
        (LEAST.replace("/a", "/longrun.v1"), 3, "this server's own"),
        (LEAST.replace("/a", "/a/../b"), 3, "prefix must be"),
        (LEAST.replace("/a", "a"), 3, "prefix must be"),
        (LEAST.replace("/a", "/readyz"), 3, "this server's own"),
        (LEAST.replace("http://", "ftp://"), 4, "upstream must be"),
        (format!("{LEAST}ca_file = \"ca.pem\"\n"), 1, "https:// URL"),
        (LEAST.replace("h:1", "u:p@h:1"), 4, "upstream must be"),
        (LEAST.replace("name", "nam"), 2, "there is no key nam here; did you mean name?"),
        (format!("{LEAST}answer = 200\n"), 5, "202 or 303"),
        (format!("{LEAST}[relay.limits]\ndeadline = \"soon\"\n"), 6, "duration"),
        (format!("{LEAST}[relay.headers]\ncredentials = [\"x key\"]\n"), 6, "name of a header"),
        (format!("{LEAST}[relay.trigger]\norigins = [\"a.test\"]\n"), 6, "must be an origin"),
        (
            format!("{LEAST}[relay.trigger]\norigins = [\"https://a.test/\"]\n"),
            6,
            "must be an origin",
        ),
        (format!("{LEAST}[relay.limits]\nmax_header_bytes = \"1KiB\"\n"), 6, "8KiB to 4MiB"),
        (format!("{LEAST}[relay.limits]\nmax_header_fields = 7\n"), 6, "100 to 10000"),
        (format!("{LEAST}[relay.headers]\ndeny = [\"a b\"]\n"), 6, "name of a header"),
        (second("/b", "\"a\""), 6, "given twice"),
        (second("/a", "\"b\""), 6, "given twice"),
        (LEAST.replace("[[relay]]", "[relay]"), 1, "[relay] must be [[relay]]"),
        ("relay = 7".to_owned(), 1, "relay must be a list"),
        ("[[relay]".to_owned(), 1, ""),
    ];
    for (text, line, reason) in cases {
        let error = parse(&text).unwrap_err();
        assert!(error.line == line && error.reason.contains(reason), "{text}: {error}");
    }
}
