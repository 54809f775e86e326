//! A network in between that can lose a commit, or what is answered to it.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use crate::postgres_support::{Database, cluster};

/// The query: its type, its length, its text.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// What happens to the next COMMIT. In each case its sender sees the connection end, and the server does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes through, as does its answer.
    Fine,
    /// It goes through; the answer is lost.
    Unanswered,
    /// It goes through, and what is sent behind it does not.
    Untold,
    /// It waits on its way until it is let go.
    Late,
}

/// The network.
pub struct Proxy {
    pub url: String,
    fate: Arc<watch::Sender<Fate>>,
    late: Arc<Notify>,
}

impl Proxy {
    pub async fn to(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fate = Arc::new(watch::channel(Fate::Fine).0);
        let late = Arc::new(Notify::new());
        let proxy = Self {
            url: format!("postgres://longrun@127.0.0.1:{port}/{}?sslmode=disable", database.name),
            fate: Arc::clone(&fate),
            late: Arc::clone(&late),
        };
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", cluster().port())).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&fate), Arc::clone(&late)));
            }
        });
        proxy
    }

    /// Decides on the next COMMIT.
    pub fn next(&self, fate: Fate) {
        self.fate.send_replace(fate);
    }

    /// Lets the late one go.
    pub fn let_go(&self) {
        self.late.notify_one();
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    fate: Arc<watch::Sender<Fate>>,
    late: Arc<Notify>,
) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    let bytes = &up[..length];
                    let commit = bytes.windows(COMMIT.len()).position(|it| it == COMMIT);
                    let now = *fate.borrow();
                    let (Some(at), true) = (commit, now != Fate::Fine) else {
                        server.write_all(bytes).await.unwrap();
                        continue;
                    };
                    fate.send_replace(Fate::Fine);
                    let (before, behind) = bytes.split_at(at);
                    server.write_all(before).await.unwrap();
                    let mut answers = Vec::new();
                    if now != Fate::Late {
                        let end = if now == Fate::Untold { COMMIT.len() } else { behind.len() };
                        server.write_all(&behind[..end]).await.unwrap();
                        while !answers.windows(7).any(|it| it == b"COMMIT\0") {
                            assert!(server.read_buf(&mut answers).await.unwrap() > 0);
                        }
                        drop(client);
                    } else {
                        drop(client);
                        late.notified().await;
                        // Who it was for is gone by now, perhaps.
                        let _ = server.write_all(behind).await;
                    }
                    let _ = server.read_to_end(&mut answers).await;
                    return;
                }
            },
            read = server.read(&mut down) => match read {
                Ok(0) | Err(_) => return,
                Ok(length) => if client.write_all(&down[..length]).await.is_err() { return },
            },
        }
    }
}
