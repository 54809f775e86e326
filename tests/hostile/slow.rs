//! Clients that take their time.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::stage::{MAX_CONNECTIONS, OWN, RELAYED, Stage};

async fn impatient() -> Stage {
    Stage::with(|config| {
        config.connections.header_timeout = Duration::from_millis(300);
        config.connections.body_timeout = Duration::from_millis(300);
    })
    .await
}

#[tokio::test]
async fn who_does_not_finish_a_header_is_cut_off() {
    let stage = impatient().await;
    for beginning in [
        "",
        "G",
        "PRI * HTTP/2.0\r\n",
        "GET /v1/operations HTTP/1.1\r\n",
        "GET /api/x HTTP/1.1\r\nHost: localhost\r\nX-A: b",
    ] {
        // All places at once: whoever comes next must find one in time.
        let mut sockets = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut socket = TcpStream::connect(stage.addr).await.expect("a connection");
            socket.write_all(beginning.as_bytes()).await.expect("a reader");
            sockets.push(socket);
        }
        let mut cut_off = 0;
        for mut socket in sockets {
            let answers = stage.rest(&mut socket).await;
            cut_off += usize::from(answers.text.is_empty());
            // Places of the round before may not be free yet.
            assert!(matches!(answers.statuses()[..], [] | [503]), "{beginning:?}: {answers:?}");
        }
        assert!(cut_off > 0, "{beginning:?}");
    }
    assert_eq!(stage.asked(), 0);
    stage.ends_whole().await;
}

#[tokio::test]
async fn who_says_nothing_after_an_answer_is_cut_off() {
    let stage = impatient().await;
    for path in ["/v1/operations", "/api/x"] {
        let answers = stage.say(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(answers.statuses(), [200]);
    }
    stage.ends_whole().await;
}

#[tokio::test]
async fn who_does_not_finish_a_body_is_told_so() {
    let stage = impatient().await;
    for (path, more) in [(OWN, ""), (RELAYED, "Prefer: respond-async\r\n"), (RELAYED, "")] {
        for (fields, body) in
            [("Content-Length: 100\r\n", "half"), ("Transfer-Encoding: chunked\r\n", "4\r\nbo")]
        {
            let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{more}{fields}");
            let answers = stage.say(format!("{head}\r\n{body}")).await;
            assert_eq!(answers.statuses(), [408], "{path} {more}: {answers:?}");
        }
    }
    stage.ends_whole().await;
}

#[tokio::test]
async fn a_body_that_goes_on_arriving_may_take_longer_through_the_relay() {
    let stage =
        Stage::with(|config| config.connections.body_timeout = Duration::from_secs(1)).await;
    let mut socket = TcpStream::connect(stage.addr).await.expect("a connection");
    let head = "POST /api/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let head = format!("{head}Content-Length: 10\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("a reader");
    // More than the limit in all, much less of it at a time.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        socket.write_all(b"x").await.expect("a reader");
    }
    assert_eq!(stage.rest(&mut socket).await.statuses(), [200]);
    stage.ends_whole().await;
}
