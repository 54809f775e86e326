//! STUB, to be discarded for the real one.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::config::ServeConfig;

/// STUB.
#[derive(Debug)]
pub struct Server {}

/// How a server came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything was finished in time.
    Drained,
    /// The drain timeout was up; calls were cut off.
    CutOff,
}

impl Server {
    /// STUB.
    pub async fn bind(config: ServeConfig) -> anyhow::Result<Self> {
        config.validate()?;
        anyhow::bail!("there is no server in this build")
    }

    /// STUB.
    pub fn local_addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    /// STUB.
    pub fn local_client(&self) -> Client {
        Client::from_channel(tonic::transport::Endpoint::from_static("http://x").connect_lazy())
    }

    /// STUB.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<Stopped> {
        stop.cancelled().await;
        Ok(Stopped::Drained)
    }
}
