//! Ten thousand clients that connect, over both versions of HTTP, and then want nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Server, raise_files};

/// Connections, unless this process may not have so many.
const CLIENTS: u64 = 10_000;
/// What the server may hold for one of them: `docs/performance.md`.
const PER_CONNECTION: u64 = 32 << 10;
/// What a client of HTTP/2 says first.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// The beginning of the answer to one request.
fn ask(stream: &mut TcpStream, request: &str) -> String {
    write!(stream, "{request} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 4_096];
    let read = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[test]
fn ten_thousand_idle_connections_lock_nobody_out_and_take_a_bounded_part_of_memory() {
    let files = raise_files();
    let clients = CLIENTS.min(files.saturating_sub(2_000));
    let server = Server::start(&[]);
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let is_linux = std::path::Path::new("/proc/self/status").exists();
    let before = if is_linux { server.memory() } else { 0 };
    let mut held = Vec::new();
    for at in 0..clients {
        let mut stream = connect(&address);
        match at % 2 {
            0 => assert!(ask(&mut stream, "GET /v1/operations").starts_with("HTTP/1.1 200")),
            _ => {
                stream.write_all(OPENING).unwrap();
                stream.read_exact(&mut [0; 9]).unwrap();
            }
        }
        held.push(stream);
    }
    if is_linux {
        let grown = server.memory().saturating_sub(before);
        let bound = clients * PER_CONNECTION;
        assert!(grown < bound, "{} MiB more, and {} MiB are the bound", grown >> 20, bound >> 20);
    }
    let began = Instant::now();
    for _ in 0..100 {
        for path in
            ["GET /readyz", "GET /livez", "GET /v1/operations", "POST /v1/kinds/k/operations"]
        {
            let mut stream = connect(&address);
            let answer = ask(&mut stream, path);
            assert!(answer.starts_with("HTTP/1.1 20"), "{path}: {answer}");
        }
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Most of those that were idle still have their places.
    let mut last = held.swap_remove(clients as usize - 2);
    assert!(ask(&mut last, "GET /livez").starts_with("HTTP/1.1 200"));
}
