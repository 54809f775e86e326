//! More connections than there is room for: idle ones make room, busy ones do not, and how the server is can be asked
//! all the same.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::stage::{MAX_CONNECTIONS, Stage};

/// What an HTTP/2 client says first.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

async fn connect(stage: &Stage, opening: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(stage.addr).await.expect("a connection");
    socket.write_all(opening).await.expect("a reader");
    socket
}

/// A connection of HTTP/2 without any call, which the server has heard of.
async fn idle(stage: &Stage) -> TcpStream {
    let mut socket = connect(stage, OPENING).await;
    socket.read_exact(&mut [0; 9]).await.expect("settings");
    socket
}

/// Reads to the end.
async fn ends(socket: &mut TcpStream) {
    let ended = async { while socket.read(&mut [0; 512]).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("an end in time");
}

#[tokio::test]
async fn the_connection_that_is_idle_for_longest_makes_room() {
    let stage = Stage::new().await;
    let mut watch = stage.watch().await.expect("a place");
    let mut held = Vec::new();
    for _ in 1..MAX_CONNECTIONS {
        held.push(idle(&stage).await);
    }
    let mut others = Vec::new();
    for mut first in held {
        let answers = stage.say(get("/v1/operations")).await;
        assert_eq!(answers.statuses(), [200], "{answers:?}");
        others.push(idle(&stage).await);
        ends(&mut first).await;
    }
    // It has a call.
    let still = tokio::time::timeout(Duration::from_millis(100), watch.read(&mut [0; 512])).await;
    assert!(still.is_err() || still.is_ok_and(|read| read.is_ok_and(|read| read > 0)));
    drop((watch, others));
    stage.ends_whole().await;
}

#[tokio::test]
async fn who_is_busy_stays_and_others_are_told_so_but_health_is_answered() {
    let stage = Stage::new().await;
    let mut held = Vec::new();
    while held.len() < MAX_CONNECTIONS {
        // The connection that the stage was set up with may not have ended yet.
        held.extend(stage.watch().await);
    }
    for _ in 0..100 {
        let answers = stage.say(get("/v1/operations")).await;
        assert_eq!(answers.statuses(), [503]);
        for path in ["/livez", "/readyz"] {
            assert_eq!(stage.say(get(path)).await.statuses(), [200]);
        }
    }
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", stage.addr));
    let channel = channel.expect("a URL").connect().await.expect("a connection");
    let asked = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    assert_eq!(asked.expect("an answer").into_inner().status(), ServingStatus::Serving);
    // Those who hold the places for health and say nothing do not keep others from asking, and are let go.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(stage.addr).await.expect("a connection"));
        assert_eq!(stage.say(get("/livez")).await.statuses(), [200]);
    }
    for mut socket in silent {
        ends(&mut socket).await;
    }
    // Who was there first goes on.
    let submitted = "POST /v1/kinds/kept/operations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nkept";
    drop(held.pop());
    while !stage
        .say(submitted.replace("Host", "Connection: close\r\nHost"))
        .await
        .statuses()
        .contains(&202)
    {}
    for mut watch in held {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains("event: transition") {
            assert!(watch.read_buf(&mut heard).await.expect("a stream that goes on") > 0);
        }
    }
    stage.ends_whole().await;
}

#[tokio::test]
async fn a_connection_without_calls_is_let_go_in_time() {
    let timeout = Duration::from_millis(300);
    let stage = Stage::with(|config| config.connections.idle_timeout = timeout).await;
    let watch = stage.watch().await.expect("a place");
    let mut socket = idle(&stage).await;
    let mut heard = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut heard)).await;
    ended.expect("an end in time").expect("a proper end");
    // GOAWAY.
    assert!(
        heard.windows(9).any(|frame| frame[..4] == [0, 0, 8, 7] && frame[4..] == [0; 5]),
        "{heard:?}"
    );
    let mut socket = stage.watch().await.expect("a place");
    drop(watch);
    let still = tokio::time::timeout(4 * timeout, ends(&mut socket)).await;
    assert!(still.is_err(), "a watch is no idleness");
    drop(socket);
    stage.ends_whole().await;
}
