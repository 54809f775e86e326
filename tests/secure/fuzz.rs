//! Requests of strangers with bytes changed: nothing that is read before a caller is known breaks the server, or lets
//! anybody in. `LONGRUN_FUZZ_SECONDS` says for how long, 3 s by default; `LONGRUN_FUZZ_SEED` repeats a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use longrun::service::keys::KeyText;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::issuer::{Issuer, SigningKey, claims};
use crate::support::Guarded;

/// Where only callers who are known get 200.
const GUARDED: &str = "/v1/operations";
/// What no stranger may see.
const SECRET: &str = "tell-nobody";
/// What decoders look for.
const WORDS: [&str; 24] = [
    "\r\n",
    "\0",
    "%2f",
    "%00",
    "..",
    "\u{ff}",
    "Bearer ",
    "lr_",
    "lrs_",
    "eyJhbGciOiJub25lIn0.",
    "=",
    "&",
    "?",
    ":",
    "content-length: 1\r\n",
    "transfer-encoding: chunked\r\n",
    "grpc-timeout: 1S\r\n",
    "0\r\n\r\n",
    "\"",
    "{",
    "[[[[",
    "authorization: Bearer ",
    "99999999999999999999",
    "\u{202e}",
];

fn seeds(token: &str) -> Vec<Vec<u8>> {
    let key = KeyText::generate().expect("random bytes").text();
    let share = format!("lrs_{}", key.strip_prefix("lr_").expect("a prefix"));
    let attempt = "AgGiJxC7HnU8kUkqUqlJ1B4AAAABAaInELs_iNWWULogZgAAHmgUWSHyLEivVGooJQ";
    let get = |path: &str, fields: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n")
    };
    let post = |path: &str, fields: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{fields}\r\n{body}"
        )
    };
    let json = "content-type: application/json\r\n";
    let web = "content-type: application/grpc-web+proto\r\n";
    // The last letters of a token are its signature: it is one that was not made by the issuer.
    let forged = &token[..token.len() - 8];
    let mut seeds: Vec<Vec<u8>> = [
        get(GUARDED, &format!("authorization: Bearer {key}\r\n")),
        get(GUARDED, &format!("authorization: Bearer {forged}\r\n")),
        get(GUARDED, &format!("longrun-authorization: bearer {key}\r\nx-request-id: a\r\n")),
        get(&format!("{GUARDED}?filter=state%3DFAILED&page_size=1"), ""),
        get(&format!("/v1/shares/{share}/result"), "range: bytes=0-1\r\n"),
        get(&format!("/v1/attempts/{attempt}/input"), ""),
        get("/v1/tenants/a/operations/01890000-0000-7000-8000-000000000000/status", ""),
        post(GUARDED, json, "{\"kind\": \"k\", \"input\": {\"json\": {}}}"),
        post(&format!("/v1/attempts/{attempt}:complete"), json, "{\"text\": \"x\"}"),
        post("/longrun.v1.Operations/Submit", web, "\0\0\0\0\x03\n\x01k"),
        post("/longrun.v1.Workers/Renew", web, "\0\0\0\0\x05\n\x03abc"),
        // The same framing in base64, in pieces that end where they like.
        post(
            "/longrun.v1.Operations/GetOperation",
            "content-type: application/grpc-web-text\r\n",
            "AAAAAAUKA2FiYw==",
        ),
        get(
            "/v1/operations/events",
            "accept: text/event-stream;q=0.5, */*\r\nlast-event-id: 1\r\n",
        ),
        get(
            GUARDED,
            "origin: https://a.test\r\ncookie: longrun_key=lr_x; a=b\r\nprefer: wait=1\r\n",
        ),
        post(GUARDED, "idempotency-key: \"a\"\r\ncontent-encoding: gzip\r\n", "\u{1f}"),
    ]
    .map(String::into_bytes)
    .into();
    // HTTP/2: settings, and the header of a call, some of it as names of the static table.
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let block = b"\x83\x86\x44\x10/v1/operations/x\x41\x09localhost\x40\x02te\x08trailers";
    frames.extend([0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1]);
    frames.extend(block);
    frames.extend([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    seeds.push(frames);
    seeds
}

fn changed(random: &mut fastrand::Rng, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..=6) {
        let at = random.usize(..=bytes.len());
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => bytes.truncate(at.max(1)),
            3 => {
                let end = random.usize(at..=bytes.len());
                bytes.drain(at..end.min(at + 40));
            }
            4 => {
                let piece = bytes[at..].iter().take(40).copied().collect::<Vec<_>>();
                bytes.splice(at..at, piece);
            }
            _ => {
                let word = WORDS[random.usize(..WORDS.len())].bytes();
                bytes.splice(at..at, word);
            }
        }
    }
    bytes
}

/// What comes back until there is no more, or nothing for a while: a server may wait for the rest of a request.
async fn answer(server: &Guarded, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let (mut answer, mut piece) = (Vec::new(), [0; 4_096]);
    // A server that has read enough may close before it has all.
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    while answer.len() < 64 << 10 {
        let read = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut piece)).await;
        let Ok(Ok(read @ 1..)) = read else { break };
        answer.extend(&piece[..read]);
    }
    answer
}

#[tokio::test]
async fn changed_requests_of_strangers_neither_break_the_server_nor_get_in() {
    let signing = SigningKey::new("one");
    let issuer = Issuer::of(&[&signing]).await;
    let server = Guarded::start(&issuer.url).await;
    let token = signing.sign(&claims("a", &["submit", "read"]));
    let submitted = server.request("POST", "/v1/kinds/k/operations?label=l%3Dtell-nobody");
    let submitted = submitted.bearer_auth(&token).body(SECRET).send().await.expect("an answer");
    assert_eq!(submitted.status().as_u16(), 202);
    let panics = Arc::new(AtomicUsize::new(0));
    let (count, earlier) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        count.fetch_add(1, Ordering::Relaxed);
        earlier(panic);
    }));

    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seconds = number("LONGRUN_FUZZ_SECONDS").unwrap_or(3);
    let seed = number("LONGRUN_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let (seeds, began) = (seeds(&token), Instant::now());
    while began.elapsed() < Duration::from_secs(seconds) {
        let requests: Vec<Vec<u8>> = (0..32)
            .map(|_| {
                let seed = &seeds[random.usize(..seeds.len())];
                changed(&mut random, seed)
            })
            .collect();
        let answers = requests.iter().map(|request| answer(&server, request));
        let answers = futures_util::future::join_all(answers).await;
        for (request, answer) in requests.iter().zip(answers) {
            let answer = String::from_utf8_lossy(&answer);
            let about = || format!("seed {seed}: {:?}: {answer}", String::from_utf8_lossy(request));
            assert!(!answer.contains(SECRET), "{}", about());
            assert!(!answer.starts_with("HTTP/1.1 500"), "{}", about());
            assert!(
                !answer.starts_with("HTTP/1.1 20") || !answer.contains("operations/"),
                "{}",
                about()
            );
        }
        assert_eq!(panics.load(Ordering::Relaxed), 0, "seed {seed}");
    }
    let listed =
        server.request("GET", GUARDED).bearer_auth(&token).send().await.expect("an answer");
    assert!(listed.text().await.expect("a body").contains(SECRET), "the server goes on");
    server.end().await;
}
