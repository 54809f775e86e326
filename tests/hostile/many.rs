//! More connections than there is room for.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stage::{MAX_CONNECTIONS, Stage};

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_those_within_it_served() {
    let stage = Stage::new().await;
    let mut held = Vec::new();
    let mut start = [0; 12];
    while held.len() < MAX_CONNECTIONS {
        let mut socket = TcpStream::connect(stage.addr).await.expect("a connection");
        let head = "GET /v1/operations HTTP/1.1\r\nHost: localhost\r\n\r\n";
        socket.write_all(head.as_bytes()).await.expect("a reader");
        socket.read_exact(&mut start).await.expect("an answer");
        // The connection that the stage was set up with may not have ended yet.
        if &start == b"HTTP/1.1 200" {
            held.push(socket);
        }
    }
    for _ in 0..100 {
        let mut socket = TcpStream::connect(stage.addr).await.expect("a connection");
        assert_eq!(stage.rest(&mut socket).await.statuses(), [503]);
    }
    // Who was there first goes on.
    for socket in &mut held {
        let head = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(head.as_bytes()).await.expect("a reader");
        assert!(stage.rest(socket).await.text.contains("HTTP/1.1 404"));
    }
    drop(held);
    stage.ends_whole().await;
}
