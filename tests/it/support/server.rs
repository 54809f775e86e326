//! The server as it is run: bound to a socket, on a database in a file, by the machine's clock.

use std::net::SocketAddr;
use std::ops::Deref;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use longrun::config::{ServeConfig, StoreUrl};
use longrun::server::{Server, Stopped};

use super::{Api, soon, spawn};

/// A running server. Fails the test if it ends by itself.
#[derive(Debug)]
pub struct TestServer {
    pub api: Api,
    pub addr: SocketAddr,
    config: ServeConfig,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<Stopped>>,
    /// Removed with the server.
    _dir: TempDir,
}

impl Deref for TestServer {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server with a configuration of its own.
    pub async fn with(edit: impl FnOnce(&mut ServeConfig)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut config = ServeConfig::default();
        config.listen.addr = SocketAddr::from(([127, 0, 0, 1], 0));
        config.store.url = StoreUrl::Sqlite(dir.path().join("longrun.db"));
        edit(&mut config);
        let (addr, stop, running) = run(config.clone()).await;
        Self { api: Api::new(addr), addr, config, stop, running, _dir: dir }
    }

    /// Asks the server to stop; it does so in its own time.
    pub fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the server and says how that went.
    pub async fn stop(&mut self) -> Stopped {
        self.begin_to_stop();
        soon(&mut self.running).await.unwrap().unwrap()
    }

    /// Stops, and starts again on the same address and file.
    pub async fn restart(&mut self) {
        assert_eq!(self.stop().await, Stopped::Drained);
        self.start_again().await;
    }

    /// Stops, and starts again on the same address and file with another configuration.
    pub async fn restart_with(&mut self, edit: impl FnOnce(&mut ServeConfig)) {
        assert_eq!(self.stop().await, Stopped::Drained);
        edit(&mut self.config);
        self.start_again().await;
    }

    /// Starts again on the same address and file.
    pub async fn start_again(&mut self) {
        self.config.listen.addr = self.addr;
        let (_, stop, running) = run(self.config.clone()).await;
        (self.stop, self.running) = (stop, running);
        self.api = Api::new(self.addr);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let ended_by_itself = self.running.is_finished() && !self.stop.is_cancelled();
        assert!(!ended_by_itself || std::thread::panicking(), "the server ended by itself");
        self.running.abort();
    }
}

async fn run(
    config: ServeConfig,
) -> (SocketAddr, CancellationToken, JoinHandle<anyhow::Result<Stopped>>) {
    let server = soon(Server::bind(config)).await.unwrap();
    let stop = CancellationToken::new();
    (server.local_addr(), stop.clone(), spawn(server.run(stop)))
}
