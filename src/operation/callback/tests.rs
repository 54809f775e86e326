//! URLs of receivers, and where they may be.

use super::*;

fn url(text: &str) -> CallbackUrl {
    CallbackUrl::parse(text).expect(text)
}

fn only(allowed: &[&str]) -> Destinations {
    allowed.iter().map(|it| it.parse::<Allowed>().expect(it)).collect()
}

#[test]
fn a_url_has_a_scheme_a_host_and_no_secret_but_its_path() {
    for good in ["https://a.example/x?y=1", "http://a:80", "https://[::1]:9/", "http://1.2.3.4"] {
        assert_eq!(url(good).as_str(), good);
    }
    for bad in [
        "",
        "a.example",
        "/x",
        "ftp://a/",
        "https://",
        "https://u@a/",
        "https://u:p@a/",
        "https://a/#x",
        "https://a/ b",
        "https://a/\u{e4}",
        "https://a:0/",
        "https://a:99999/",
        "https://a:/",
    ] {
        assert!(CallbackUrl::parse(bad).is_err(), "{bad}");
    }
    let long = format!("https://a/{}", "x".repeat(MAX_URL_BYTES));
    assert!(CallbackUrl::parse(&long).is_err());
    let secret = url("https://A.example:8443/secret?token=1");
    assert_eq!(secret.origin(), "https://a.example:8443");
    assert_eq!(format!("{secret:?}"), "CallbackUrl(https://a.example:8443/…)");
}

#[test]
fn addresses_that_are_not_for_everybody_are_refused_unless_allowed() {
    let (nobody, own) = (Destinations::default(), only(&["10.0.0.0/8", "127.0.0.1", "fc00::/7"]));
    for (address, is_public, is_own) in [
        ("93.184.215.14", true, true),
        ("2606:2800:21f:cb07::1", true, true),
        ("127.0.0.1", false, true),
        ("127.0.0.2", false, false),
        ("::ffff:127.0.0.1", false, true),
        ("10.255.1.1", false, true),
        ("11.0.0.1", true, true),
        ("192.168.1.1", false, false),
        ("172.16.0.1", false, false),
        ("169.254.169.254", false, false),
        ("100.64.0.1", false, false),
        ("0.0.0.0", false, false),
        ("255.255.255.255", false, false),
        ("224.0.0.1", false, false),
        ("198.18.0.1", false, false),
        ("::1", false, false),
        ("::", false, false),
        ("fe80::1", false, false),
        ("fd00::1", false, true),
        ("::ffff:169.254.169.254", false, false),
        ("64:ff9b::a00:1", false, false),
        ("64:ff9b::5db8:d70e", true, true),
        ("2002:7f00:1::", false, false),
        ("2001:db8::1", false, false),
    ] {
        let ip: IpAddr = address.parse().expect(address);
        assert_eq!(nobody.allows(ip), is_public, "{address}");
        assert_eq!(own.allows(ip), is_own, "{address}");
    }
}

#[test]
fn hosts_are_all_or_those_that_are_listed() {
    let all = Destinations::default();
    for (text, is_allowed) in [
        ("https://a.example/", true),
        ("http://127.0.0.1/", false),
        ("http://[::1]:80/", false),
        ("http://93.184.215.14/", true),
    ] {
        assert_eq!(all.check(&url(text)).is_ok(), is_allowed, "{text}");
    }
    let some = only(&["hooks.example", "*.a.example", "b.example:8443", "10.0.0.0/8"]);
    for (text, is_allowed) in [
        ("https://hooks.example/x", true),
        ("https://HOOKS.example./x", true),
        ("https://x.hooks.example/", false),
        ("https://x.y.a.example/", true),
        ("https://a.example/", false),
        ("https://xa.example/", false),
        ("https://b.example:8443/", true),
        ("https://b.example/", false),
        ("http://10.1.2.3/", true),
        ("http://93.184.215.14/", false),
    ] {
        assert_eq!(some.check(&url(text)).is_ok(), is_allowed, "{text}");
    }
    for bad in ["", "*", "a/8", "10.0.0.0/33", "10.0.0.0/x", "a:b", "a b", "https://a", "*."] {
        assert!(bad.parse::<Allowed>().is_err(), "{bad}");
    }
}
