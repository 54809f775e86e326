//! `longrun share`: a URL for one operation, which needs no other credentials.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::{Server, stderr};

fn get(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_operation_is_shared_listed_and_revoked() {
    let server = Server::start(&["shout=tr a-z A-Z"]);
    let done = server.json(&["submit", "shout", "hello", "--wait"]);
    let name = done["name"].as_str().unwrap();
    let url = server.expect(0, &["share", name, "--for", "1h"]);
    let url = url.trim();
    assert!(url.starts_with(&format!("{}/v1/shares/lrs_", server.url)), "{url}");
    let result = get(&format!("{url}/result"));
    assert!(result.starts_with("HTTP/1.1 200") && result.ends_with("HELLO"), "{result}");

    let listed = server.json(&["share", name, "--list"]);
    let id = listed["shares"][0]["shareId"].as_str().unwrap();
    assert!(url.contains(id) && listed["shares"].as_array().unwrap().len() == 1, "{listed}");
    let table = server.expect(0, &["share", name, "--list"]);
    assert!(table.contains(id) && table.contains("EXPIRES IN"), "{table}");
    assert!(!table.contains(&url[url.len() - 20..]));
    server.expect(0, &["share", name, "--revoke", id]);
    assert!(get(&format!("{url}/result")).starts_with("HTTP/1.1 404"));
    server.expect(1, &["share", name, "--revoke", id]);
    server.expect(1, &["share", "operations/01890000-0000-7000-8000-000000000000"]);
    server.expect(1, &["share", name, "--for", "400d"]);
    server.expect(2, &["share", name, "--list", "--revoke", id]);

    let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap();
    assert!(log.contains("create-share") && log.contains("revoke-share"), "{log}");
    assert!(!log.contains(&url[url.len() - 20..]), "no token is logged");
}

/// The first event of a stream.
fn first_event(url: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\n\r\n").unwrap();
    let (mut said, mut part) = (String::new(), [0; 4_096]);
    while !said.contains("data:") {
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    said
}

#[test]
fn a_share_shows_nothing_of_other_kinds() {
    let server = Server::start(&["acme-internal-kind=cat"]);
    let name = server.submit(&["nil", "x"]);
    let own = server.expect(0, &["get", &name, "--json"]);
    assert!(own.contains("serving now: acme-internal-kind"), "{own}");
    let url = server.expect(0, &["share", &name]);
    let url = url.trim();
    for path in ["", "/status", "/result"] {
        let shown = get(&format!("{url}{path}"));
        assert!(shown.starts_with("HTTP/1.1 20") && !shown.contains("acme-internal"), "{shown}");
    }
    let shown = get(url);
    assert!(shown.contains("REASON_NO_WORKER"), "{shown}");
    assert!(shown.contains("no worker serves its kind"), "{shown}");
    assert!(!first_event(&format!("{url}/events")).contains("acme-internal"));
}

#[test]
fn a_share_of_a_done_operation_ends_with_it_and_says_when() {
    let server = Server::start(&["shout=tr a-z A-Z"]);
    let note = |args: &[&str]| {
        let output = server.command(args).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let done = server.json(&["submit", "shout", "hello", "--wait", "--retention", "7d"]);
    let name = done["name"].as_str().unwrap();
    let said = note(&["share", name, "--for", "100d"]);
    assert!(said.contains("until the operation is deleted") && !said.contains("100"), "{said}");
    let said = note(&["share", name, "--for", "1h"]);
    assert!(said.contains("valid for at most 1 h"), "{said}");
    let listed = server.json(&["share", name, "--list"]);
    let purged = &done["purgeTime"];
    let ends: Vec<_> =
        listed["shares"].as_array().unwrap().iter().map(|it| &it["expireTime"]).collect();
    assert!(ends.len() == 2 && ends.contains(&purged), "{ends:?} {purged}");
    let queued = server.submit(&["nil", "x"]);
    let said = note(&["share", &queued, "--for", "100d"]);
    assert!(said.contains("at most") && said.contains("not longer than"), "{said}");
}
