//! Frames of HTTP/2 that no client of good will sends.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stage::Stage;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A field as HPACK has it when it is not to be remembered. Both are short.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0, u8::try_from(name.len()).expect("a short name")];
    field.extend_from_slice(name.as_bytes());
    field.push(u8::try_from(value.len()).expect("a short value"));
    field.extend_from_slice(value.as_bytes());
    field
}

fn get(path: &str, authority: &str) -> Vec<u8> {
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", authority)];
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// Whether the server ends the connection with GOAWAY or without, in time, whatever more it is sent.
async fn is_cut_off(stage: &Stage, frames: &[u8], mut flood: impl FnMut() -> Vec<u8>) {
    let mut socket = TcpStream::connect(stage.addr).await.expect("a connection");
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[]), frames].concat();
    socket.write_all(&opening).await.expect("a reader");
    let (mut reader, mut writer) = socket.split();
    let flooding = async {
        // Until the server does not take it any more.
        while writer.write_all(&flood()).await.is_ok() {}
    };
    let reading = async {
        let mut heard = Vec::new();
        let _ = reader.read_to_end(&mut heard).await;
        heard
    };
    let both = async { tokio::join!(flooding, reading).1 };
    let heard = tokio::time::timeout(Duration::from_secs(60), both).await.expect("an end in time");
    let kinds = kinds(&heard);
    assert!(kinds.is_empty() || kinds.contains(&GOAWAY), "{kinds:?}");
}

fn kinds(mut frames: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        kinds.push(*kind);
        frames = rest.get(length..).unwrap_or_default();
    }
    kinds
}

#[tokio::test]
async fn a_header_without_end_is_cut_off() {
    let stage = Stage::new().await;
    let begun = frame(HEADERS, END_STREAM, 1, &get("/api/x", "localhost"));
    let more: Vec<u8> = literal("x-more", &"y".repeat(100)).repeat(100);
    let more = frame(CONTINUATION, 0, 1, &more);
    is_cut_off(&stage, &begun, || more.clone()).await;
    // Empty ones cost the sender least.
    is_cut_off(&stage, &begun, || frame(CONTINUATION, 0, 1, &[])).await;
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}

#[tokio::test]
async fn streams_that_are_opened_only_to_be_reset_are_cut_off() {
    let stage = Stage::new().await;
    let path = get("/v1/operations", "localhost");
    let mut stream = 1;
    let flood = || {
        let mut frames = Vec::new();
        for _ in 0..1_000 {
            frames.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &path));
            frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            stream += 2;
        }
        frames
    };
    is_cut_off(&stage, &[], flood).await;
    stage.ends_whole().await;
}

#[tokio::test]
async fn calls_that_are_given_up_harm_nobody_else_on_their_connection() {
    const GIVEN_UP: u32 = 5_000;
    let stage = Stage::new().await;
    let watch = [get("/v1/operations/events", "localhost"), literal("accept", "text/event-stream")];
    let watch = watch.concat();
    let mut frames = frame(HEADERS, END_STREAM | END_HEADERS, 1, &watch);
    // In one piece, as a server finds them that was held up.
    for stream in (3..).step_by(2).take(GIVEN_UP as usize) {
        frames.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &watch));
        frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let last = 3 + 2 * GIVEN_UP;
    frames.extend(frame(HEADERS, END_STREAM | END_HEADERS, last, &get("/livez", "localhost")));
    let mut socket = TcpStream::connect(stage.addr).await.expect("a connection");
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frames].concat();
    let (mut reader, mut writer) = socket.split();
    let reading = async {
        let mut head = [0; 9];
        loop {
            reader.read_exact(&mut head).await.expect("a connection that goes on");
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            reader.read_exact(&mut payload).await.expect("a frame");
            let stream = u32::from_be_bytes(stream);
            assert_ne!(kind, GOAWAY);
            assert!(stream != 1 || (kind != RST_STREAM && (kind > 1 || flags & END_STREAM == 0)));
            if stream == last {
                return;
            }
        }
    };
    let both = async { tokio::join!(writer.write_all(&opening), reading).0 };
    let written = tokio::time::timeout(Duration::from_secs(20), both).await;
    written.expect("an answer in time").expect("a reader");
    drop(socket);
    stage.ends_whole().await;
}

#[tokio::test]
async fn frames_out_of_place_are_cut_off() {
    let stage = Stage::new().await;
    let path = get("/api/x", "localhost");
    for frames in [
        frame(CONTINUATION, END_HEADERS, 1, &path),
        frame(HEADERS, END_STREAM | END_HEADERS, 0, &path),
        frame(HEADERS, END_STREAM | END_HEADERS, 2, &path),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 40]),
        frame(SETTINGS, 0, 0, &[0; 5]),
        vec![0xff; 9],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        is_cut_off(&stage, &frames, || vec![0]).await;
    }
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}

/// What a request of HTTP/2 is answered, or the error of its stream.
async fn ask(stage: &Stage, request: http::Request<()>) -> Result<u16, h2::Error> {
    let socket = TcpStream::connect(stage.addr).await.expect("a connection");
    let (client, connection) = h2::client::handshake(socket).await.expect("a handshake");
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("a connection");
    let (response, _) = client.send_request(request, true)?;
    let answer = tokio::time::timeout(Duration::from_secs(10), response).await;
    connection.abort();
    Ok(answer.expect("an answer in time")?.status().as_u16())
}

#[tokio::test]
async fn requests_that_are_refused_over_http1_are_refused_here() {
    let stage = Stage::new().await;
    let request = |uri: String| http::Request::get(uri);
    let with = |name: &'static str, value: &str| {
        request("http://localhost/api/x".to_owned())
            .header(name, value)
            .body(())
            .expect("a request")
    };
    let other = request(format!("http://user@{}/api/x", stage.forbidden));
    assert_eq!(ask(&stage, other.body(()).expect("a request")).await.expect("an answer"), 400);
    let other = with("host", "evil.example");
    assert_eq!(ask(&stage, other).await.expect("an answer"), 400);
    let escaping = request("http://localhost/api/%2e%2e/x".to_owned());
    assert_eq!(ask(&stage, escaping.body(()).expect("a request")).await.expect("an answer"), 400);
    let long = request(format!("http://localhost/api/{}", "a".repeat(17 << 10)));
    assert_eq!(ask(&stage, long.body(()).expect("a request")).await.expect("an answer"), 414);
    let tunnel = http::Request::builder().method("CONNECT").uri(stage.forbidden.to_string());
    assert_eq!(ask(&stage, tunnel.body(()).expect("a request")).await.expect("an answer"), 405);
    assert_eq!(ask(&stage, with("x-large", &"y".repeat(70 << 10))).await.expect("an answer"), 431);
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}
