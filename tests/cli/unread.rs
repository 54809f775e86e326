//! A thousand clients that ask for much and read nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Server, raise_files};

/// Clients, a seventh each with a feed, a watch, a long poll, an upload, many small requests at once, and a watch and a feed
/// over gRPC.
const CLIENTS: usize = 1_000;
/// Requests that a client sends at once, whose answers have 12 KiB each.
const REQUESTS: usize = 40;
/// Bytes of an upload, of which its client sends an eighth.
const UPLOAD: usize = 8 << 20;
/// Operations that come while nobody reads. A feed would have more than 6 MiB of them to send.
const OPERATIONS: usize = 600;
/// Labels of each, of 250 bytes.
const LABELS: usize = 40;
/// Streams over each connection of gRPC.
const STREAMS: u32 = 5;
/// What the server may hold for a connection of which nothing is read: `docs/performance.md`.
const PER_CONNECTION: u64 = 256 << 10;

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

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field as HPACK has it when it is not to be remembered.
fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// Calls of one method over a connection of gRPC that says no word of windows.
fn calls(method: &str, message: &[u8]) -> Vec<u8> {
    let path = format!("/longrun.v1.Operations/{method}");
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let head: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let message = [&[0, 0, 0, 0, message.len() as u8], message].concat();
    let mut sent = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
    for stream in (1..).step_by(2).take(STREAMS as usize) {
        // The end of the header, and of the stream.
        sent.extend(frame(1, 4, stream, &head));
        sent.extend(frame(0, 1, stream, &message));
    }
    sent
}

#[test]
fn a_thousand_clients_that_read_nothing_take_a_bounded_part_of_memory() {
    if !std::path::Path::new("/proc/self/status").exists() {
        return;
    }
    raise_files();
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
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n\r\n");
        head.into_bytes()
    };
    let name = format!("operations/{id}");
    let upload = format!(
        "POST /v1/kinds/k/operations HTTP/1.1\r\nhost: localhost\r\ncontent-length: {UPLOAD}\r\n\r\n{}",
        "x".repeat(UPLOAD / 8)
    )
    .into_bytes();
    let before = server.memory();
    let mut held = Vec::new();
    for at in 0..CLIENTS {
        let sent = match at % 7 {
            0 => get("/v1/operations/events", "text/event-stream"),
            1 => get(&format!("/v1/operations/{id}/events"), "text/event-stream"),
            2 => get(&format!("/v1/operations/{id}?wait=300"), "application/json"),
            3 => upload.clone(),
            4 => get(&format!("/v1/operations/{id}"), "application/json").repeat(REQUESTS),
            // A message whose one field is the name.
            5 => calls("WatchOperation", &[&[0x0a, name.len() as u8], name.as_bytes()].concat()),
            _ => calls("WatchOperations", &[]),
        };
        let stream = connect();
        // As much as the server takes for now.
        stream.set_nonblocking(true).unwrap();
        let mut rest = &sent[..];
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
    let grown = server.memory().saturating_sub(before);
    let bound = CLIENTS as u64 * PER_CONNECTION;
    assert!(grown < bound, "{} MiB more, and {} MiB are the bound", grown >> 20, bound >> 20);
    drop(held);
}
