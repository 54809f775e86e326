//! Hosts and URLs on their way through: under which name the upstream is asked, and where its answers point.

use crate::raw::{Raw, answer, setup};

/// The values of the three fields that have URLs.
fn urls(answer: &crate::support::Answer) -> [String; 3] {
    ["location", "content-location", "link"].map(|name| answer.header(name).to_owned())
}

/// An upstream that answers with what the path's last segment names: `{up}` in it is its own authority.
fn redirects(request: &Raw) -> Vec<u8> {
    let up = request.values("host").first().expect("a host").to_string();
    let (path, link) = match request.line.split(' ').nth(1).expect("a target") {
        "/base/a/own" => {
            (format!("http://{up}/base/b?c"), format!("<http://{up}/base/b>; rel=next"))
        }
        "/base/a/path" => ("/base/b".to_owned(), "</base/b>; rel=next".to_owned()),
        "/base/a/outside" => ("/b".to_owned(), "</b>; rel=next".to_owned()),
        "/base/a/relative" => ("b?c".to_owned(), "<../b>; rel=next, <?p=2>; rel=x".to_owned()),
        _ => ("http://else.test/b".to_owned(), "<http://else.test/b>; rel=next".to_owned()),
    };
    let fields = format!("Location: {path}\r\nContent-Location: {path}\r\nLink: {link}\r\n");
    answer("201 Created", &fields, "x")
}

#[tokio::test]
async fn urls_of_the_upstream_become_the_mounts_and_relative_ones_keep_their_meaning_elsewhere() {
    let (setup, ..) = setup("", redirects).await;
    let here = format!("http://{}", setup.addr);
    let rest = "; rel=next";
    for (name, passed, recorded) in [
        ("own", [format!("{here}/api/b?c"), format!("<{here}/api/b>{rest}")], None),
        (
            "path",
            ["/api/b".to_owned(), format!("</api/b>{rest}")],
            Some([format!("{here}/api/b"), format!("<{here}/api/b>{rest}")]),
        ),
        (
            "outside",
            ["/b".to_owned(), format!("</b>{rest}")],
            Some([format!("{here}/b"), format!("<{here}/b>{rest}")]),
        ),
        (
            "relative",
            ["b?c".to_owned(), "<../b>; rel=next, <?p=2>; rel=x".to_owned()],
            Some([
                format!("{here}/api/a/b?c"),
                format!("<{here}/api/b>; rel=next, <{here}/api/a/relative?p=2>; rel=x"),
            ]),
        ),
        ("else", ["http://else.test/b".to_owned(), format!("<http://else.test/b>{rest}")], None),
    ] {
        let expected = |[location, link]: [String; 2]| [location.clone(), location, link];
        let path = format!("/api/a/{name}");
        let through = setup.ask("POST", &path, &[], "").await.expect(201);
        assert_eq!(urls(&through), expected(passed.clone()), "{name}");
        let result = setup.result("POST", &path, "x").await.expect(201);
        assert_eq!(urls(&result), expected(recorded.unwrap_or(passed)), "{name}");
    }
}

#[tokio::test]
async fn a_mount_may_leave_urls_alone() {
    let (setup, authority, _) = setup("rewrite_locations = false\n", redirects).await;
    let own = format!("http://{authority}/base/b?c");
    let passed = setup.ask("POST", "/api/a/own", &[], "").await.expect(201);
    assert_eq!(passed.header("location"), own);
    assert_eq!(setup.result("POST", "/api/a/own", "x").await.header("location"), own);
    // What is relative would otherwise mean something under the result's own URL.
    let recorded = setup.result("POST", "/api/a/path", "x").await;
    assert_eq!(recorded.header("location"), format!("http://{}/base/b", setup.addr));
}

#[tokio::test]
async fn the_host_is_the_upstreams_or_the_clients_as_the_mount_has_it() {
    let strict = "preserve_host = true\n[relay.headers]\nallow = [\"x-forwarded-host\"]\n";
    for (more, is_preserved) in [("", false), ("preserve_host = true\n", true), (strict, true)] {
        let (setup, authority, mut asked) = setup(more, redirects).await;
        let own = setup.addr.to_string();
        let expected = if is_preserved { &own } else { &authority };
        let here = format!("http://{own}/api/b?c");
        for prefer in ["", "respond-async, wait=10"] {
            let answered = setup.ask("POST", "/api/a/own", &[("prefer", prefer)], "").await;
            assert_eq!(answered.expect(201).header("location"), here);
            let request = asked.recv().await.expect("a request");
            assert_eq!(request.values("host"), [expected], "{more} {prefer}");
            assert_eq!(request.values("x-forwarded-host"), [&own], "{more} {prefer}");
        }
    }
}
