//! A thousand clients that ask for much and read nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::Server;

/// Clients, a fifth each with a feed, a watch, a long poll, an upload and many small requests at once.
const CLIENTS: usize = 1_000;
/// Requests that a client sends at once, whose answers have 12 KiB each.
const REQUESTS: usize = 40;
/// Bytes of an upload, of which its client sends an eighth.
const UPLOAD: usize = 8 << 20;
/// Operations that come while nobody reads. A feed would have more than 6 MiB of them to send.
const OPERATIONS: usize = 600;
/// Labels of each, of 250 bytes.
const LABELS: usize = 40;
/// What the server may hold for a connection of which nothing is read: `docs/performance.md`.
const PER_CONNECTION: u64 = 256 << 10;

/// Resident memory in bytes.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// One request over a connection that stays open.
fn ask(stream: &mut TcpStream, head: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("{head} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n");
    write!(stream, "{head}content-type: application/json\r\n\r\n{body}").unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        let read = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, rest)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if rest.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return text.into_owned();
        }
    }
}

#[test]
fn a_thousand_clients_that_read_nothing_take_a_bounded_part_of_memory() {
    if !std::path::Path::new("/proc/self/status").exists() {
        return;
    }
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let server = Server::start(&[]);
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let connect = || TcpStream::connect(&address).unwrap();
    let mut busy = connect();
    busy.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let labels = (0..LABELS).map(|at| format!("\"l{at}\": \"{}\"", "x".repeat(250)));
    let labels = labels.collect::<Vec<_>>().join(", ");
    let submission = format!("{{\"kind\": \"k\", \"labels\": {{{labels}}}}}");
    let first = ask(&mut busy, "POST /v1/operations", &submission);
    let id = first.split("\"name\":\"operations/").nth(1).unwrap()[..36].to_owned();

    let get = |path: &str, accept: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n")
    };
    let upload = format!(
        "POST /v1/kinds/k/operations HTTP/1.1\r\nhost: localhost\r\ncontent-length: {UPLOAD}\r\n\r\n{}",
        "x".repeat(UPLOAD / 8)
    );
    let before = memory(&server);
    let mut held = Vec::new();
    for at in 0..CLIENTS {
        let sent = match at % 5 {
            0 => get("/v1/operations/events", "text/event-stream"),
            1 => get(&format!("/v1/operations/{id}/events"), "text/event-stream"),
            2 => get(&format!("/v1/operations/{id}?wait=300"), "application/json"),
            3 => upload.clone(),
            _ => get(&format!("/v1/operations/{id}"), "application/json").repeat(REQUESTS),
        };
        let stream = connect();
        // As much as the server takes for now.
        stream.set_nonblocking(true).unwrap();
        let mut rest = sent.as_bytes();
        while let Ok(written @ 1..) = (&stream).write(rest) {
            rest = &rest[written..];
        }
        held.push(stream);
    }
    // Whoever waits is known to the server once it has answered those that came later.
    ask(&mut busy, "GET /livez", "");
    for _ in 0..OPERATIONS {
        let answer = ask(&mut busy, "POST /v1/operations", &submission);
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
    // What ends is news to those that wait for it, which do not take it.
    let cancelled = ask(&mut busy, &format!("POST /v1/operations/{id}:cancel"), "{}");
    assert!(cancelled.starts_with("HTTP/1.1 200"), "{cancelled}");
    assert!(ask(&mut busy, "GET /livez", "").starts_with("HTTP/1.1 200"));
    let grown = memory(&server).saturating_sub(before);
    let bound = CLIENTS as u64 * PER_CONNECTION;
    assert!(grown < bound, "{} MiB more, and {} MiB are the bound", grown >> 20, bound >> 20);
    drop(held);
}
