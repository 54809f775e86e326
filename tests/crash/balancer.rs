//! What stands before replicas: each connection goes to one of them, by chance, for a while.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// The longest that a connection lasts; then its client is sent elsewhere.
const LONGEST: Duration = Duration::from_secs(4);

/// A load balancer. What goes through it ends with it.
pub struct Balancer {
    pub url: String,
    task: JoinHandle<()>,
}

impl Balancer {
    /// Before these, which need not be there yet.
    pub async fn start(replicas: Vec<SocketAddr>, mut rng: fastrand::Rng) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let mut replicas = replicas.clone();
                rng.shuffle(&mut replicas);
                connections.spawn(carry(client, replicas, LONGEST.mul_f64(rng.f64())));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { url, task })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// To the first that answers.
async fn carry(mut client: TcpStream, replicas: Vec<SocketAddr>, longest: Duration) {
    for replica in replicas {
        if let Ok(mut server) = TcpStream::connect(replica).await {
            let _ = server.set_nodelay(true);
            let _ = client.set_nodelay(true);
            let _ = timeout(longest, copy_bidirectional(&mut client, &mut server)).await;
            return;
        }
    }
}
