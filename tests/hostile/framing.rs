//! Bodies whose end is disputed, and requests hidden in them.

use crate::stage::{OWN, RELAYED, Stage};

/// What a request is followed by: one that must not be seen, wherever the first ends.
const HIDDEN: &str = "GET /api/hidden HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}")
}

#[tokio::test]
async fn lengths_that_can_be_read_in_two_ways_are_refused() {
    let stage = Stage::new().await;
    for fields in [
        "Content-Length: 4\r\nContent-Length: 40\r\n",
        "Content-Length: 4, 40\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -4\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: 4 4\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\n\x00X: y\r\n",
    ] {
        for path in [OWN, RELAYED] {
            for more in ["", "Prefer: respond-async\r\n"] {
                let text = post(
                    path,
                    &format!("{more}{fields}"),
                    &format!("4\r\nbody\r\n0\r\n\r\n{HIDDEN}"),
                );
                let answers = stage.say(text).await;
                let statuses = answers.statuses();
                // One answer, and the connection ends.
                let refused = matches!(statuses[..], [400 | 413 | 431]);
                assert!(refused, "{path} {fields:?}: {answers:?}");
            }
        }
    }
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}

#[tokio::test]
async fn with_chunks_and_a_length_the_chunks_count_and_the_connection_ends() {
    // As RFC 9112, section 6.3 has it, which leaves refusing them open.
    let stage = Stage::new().await;
    for fields in [
        "Content-Length: 60\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 60\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    ] {
        let before = stage.asked();
        for path in [OWN, RELAYED] {
            let text = post(path, fields, &format!("4\r\nbody\r\n0\r\n\r\n{HIDDEN}"));
            let statuses = stage.say(text).await.statuses();
            assert!(matches!(statuses[..], [200 | 202]), "{fields:?}: {statuses:?}");
        }
        assert_eq!(stage.asked(), before + 1, "{fields:?}");
    }
    stage.ends_whole().await;
}

#[tokio::test]
async fn chunks_that_are_none_are_refused() {
    let stage = Stage::new().await;
    let long_extension = format!("4;{}\r\nbody\r\n0\r\n\r\n", "x".repeat(20 << 10));
    let many_extensions = "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nb\r\n".repeat(1_000) + "0\r\n\r\n";
    let long_trailer = format!("4\r\nbody\r\n0\r\nX: {}\r\n\r\n", "x".repeat(20 << 10));
    let many_trailers = format!("4\r\nbody\r\n0\r\n{}\r\n", "X: y\r\n".repeat(2_000));
    for body in [
        "zz\r\nbody\r\n0\r\n\r\n",
        "-4\r\nbody\r\n0\r\n\r\n",
        "0x4\r\nbody\r\n0\r\n\r\n",
        "4\nbody\n0\n\n",
        "4\r\nbodyX\r\n0\r\n\r\n",
        "4\r\nbody0\r\n\r\n",
        "\r\nbody\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nbody\r\n0\r\n\r\n",
        "4 4\r\nbody\r\n0\r\n\r\n",
        "4;a\rb\r\nbody\r\n0\r\n\r\n",
        &long_extension,
        &many_extensions,
        &long_trailer,
        &many_trailers,
    ] {
        for path in [OWN, RELAYED] {
            for more in ["", "Prefer: respond-async\r\n"] {
                let fields = format!("{more}Transfer-Encoding: chunked\r\n");
                let answers = stage.say(post(path, &fields, &format!("{body}{HIDDEN}"))).await;
                let statuses = answers.statuses();
                let start = &body[..body.len().min(30)];
                assert!(matches!(statuses[..], [400]), "{path} {start:?}: {answers:?}");
            }
        }
    }
    stage.ends_whole().await;
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_refused_before_anything_is_read() {
    let stage = Stage::new().await;
    for (path, more) in [(OWN, ""), (RELAYED, "Prefer: respond-async\r\n")] {
        let text = post(path, &format!("{more}Content-Length: 9999999999\r\n"), "");
        let statuses = stage.say(text).await.statuses();
        assert_eq!(statuses, [413], "{path}");
    }
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_body() {
    use tokio::io::AsyncWriteExt as _;

    let stage = Stage::new().await;
    for path in [OWN, RELAYED] {
        for (fields, body) in [
            ("Content-Length: 100\r\n", "half"),
            ("Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n"),
            ("Transfer-Encoding: chunked\r\n", "ff\r\nhalf"),
        ] {
            let mut socket =
                tokio::net::TcpStream::connect(stage.addr).await.expect("a connection");
            socket.write_all(post(path, fields, body).as_bytes()).await.expect("a reader");
            socket.shutdown().await.expect("half a connection");
            let statuses = stage.rest(&mut socket).await.statuses();
            assert!(matches!(statuses[..], [] | [400]), "{path} {fields}: {statuses:?}");
        }
    }
    stage.ends_whole().await;
}
