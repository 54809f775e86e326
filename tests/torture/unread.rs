//! Clients by the thousand that ask for much and read nothing: the others are served, and memory stays bounded.

use std::fs::read_to_string;
use std::time::Instant;

use longrun::proto::v1::{ListOperationsRequest, OperationView, SubmitRequest};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::{PATIENCE, Program, Setup, variable};

/// The most memory that the server may take, in MiB: half of it for answers that are being made or wait to be read, at
/// several times their encoded size, the rest for connections, the store's caches and the feeds' pages.
const MOST_MIB: usize = 512;
/// Lists that one connection of HTTP/2 asks for at once.
const STREAMS: u32 = 50;

/// The most memory that the server has taken so far, in MiB.
fn peak(server: &Program) -> usize {
    let status = read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

/// A thousand operations, of which a page is as large as pages get.
async fn fill(server: &Program) {
    let labels = |at: usize| (0..64).map(move |label| (format!("l{label}"), format!("{at:040}")));
    for batch in 0..5 {
        let requests = (0..200).map(|at| SubmitRequest {
            kind: "unread".to_owned(),
            labels: labels(batch * 200 + at).collect(),
            ..SubmitRequest::default()
        });
        for stored in server.client().submit_batch(requests.collect()).await.unwrap() {
            stored.unwrap();
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Lists over HTTP/2, as many as a connection may have room for and more.
fn streams(path: &str) -> Vec<u8> {
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "localhost")];
    let field = |(name, value): &(&str, &str)| {
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
    };
    let fields: Vec<u8> = fields.iter().flat_map(field).collect();
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // A window that would let all of it through.
    said.extend(frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    said.extend(frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
    (0..STREAMS).for_each(|at| said.extend(frame(1, 5, 2 * at + 1, &fields)));
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_read_nothing_take_bounded_memory_and_keep_nobody_waiting() {
    let clients = variable("LONGRUN_TORTURE_UNREAD", 1_000);
    let directory = tempfile::tempdir().unwrap();
    let server = Setup::new(&directory.path().join("longrun.db")).start();
    fill(&server).await;
    let list = "/v1/operations?page_size=1000";
    let lists = format!("GET {list} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(10).into_bytes();
    let feed = "GET /v1/operations/events HTTP/1.1\r\nHost: localhost\r\n\
                Accept: text/event-stream\r\n\r\n";
    let said = [lists, streams(list), feed.as_bytes().to_vec()];
    let mut held = Vec::new();
    for number in 0..clients {
        let mut socket =
            TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
        socket.write_all(&said[number % said.len()]).await.unwrap();
        held.push(socket);
        if number % (clients / 10).max(1) == 0 {
            serves(&server).await;
        }
    }
    for _ in 0..20 {
        serves(&server).await;
    }
    // Those who do not read their lists are cut off, and so there is room for who does.
    let client = server.client();
    let began = Instant::now();
    let page = ListOperationsRequest { page_size: 1_000, ..ListOperationsRequest::default() };
    while client.list(page.clone()).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "no list: {}", server.log());
    }
    let peak = peak(&server);
    println!("{clients} clients: {peak} MiB at most");
    assert!(peak < MOST_MIB, "{peak} MiB");
    drop(held);
    assert_eq!(server.get("/readyz").0, 200);
}

/// What does not ask for much is answered.
async fn serves(server: &Program) {
    assert_eq!(server.get("/livez"), (200, "ok\n".to_owned()));
    let client = server.client();
    let call = async {
        let request = SubmitRequest { kind: "other".to_owned(), ..SubmitRequest::default() };
        let operation = client.submit(request).await.unwrap();
        client.get(&operation.name, OperationView::Basic).await.unwrap();
    };
    timeout(PATIENCE, call).await.expect("an answer in time");
}
