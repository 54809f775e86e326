//! A server that asks for credentials, and its clients.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use longrun::client::Client;
use longrun::config::tokens::{KeySource, TokenConfig};
use longrun::config::{ServeConfig, StoreUrl};
use longrun::server::Server;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};

use crate::issuer::{AUDIENCE, ISSUER};

pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it happens in time")
}

pub struct Guarded {
    pub address: SocketAddr,
    pub http: reqwest::Client,
    /// A client within the process.
    pub local: Client,
    pub stop: CancellationToken,
    running: JoinSet<()>,
    _directory: TempDir,
}

impl Guarded {
    /// A server that takes the tokens of the issuer whose keys are at `url`.
    pub async fn start(url: &str) -> Self {
        Self::start_with(url, |_| {}).await
    }

    pub async fn start_with(url: &str, change: impl FnOnce(&mut ServeConfig)) -> Self {
        // Its own client speaks no TLS here, and is not made without something to speak it by.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = TempDir::new().expect("a directory");
        let mut config = ServeConfig::default();
        config.listen.addr = "127.0.0.1:0".parse().expect("an address");
        config.store.url = StoreUrl::Sqlite(directory.path().join("store.db"));
        config.tokens = TokenConfig {
            keys: Some(url.parse::<KeySource>().expect("a source of keys")),
            issuer: Some(ISSUER.to_owned()),
            audience: Some(AUDIENCE.to_owned()),
            ..TokenConfig::default()
        };
        change(&mut config);
        let server = Server::bind(config).await.expect("a server");
        let (address, local) = (server.local_addr(), server.local_client());
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let stopped = stop.clone();
        running.spawn(async move {
            server.run(stopped).await.expect("a server that runs");
        });
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = http.build().expect("a client");
        Self { address, http, local, stop, running, _directory: directory }
    }

    pub fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        endpoint.expect("an address").connect_lazy()
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.to_ascii_uppercase().parse().expect("a method");
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    /// The status of GET, with this credential.
    pub async fn status(&self, path: &str, token: &str) -> u16 {
        let request = self.request("GET", path).bearer_auth(token);
        soon(request.send()).await.expect("an answer").status().as_u16()
    }

    pub async fn end(mut self) {
        self.stop.cancel();
        while soon(self.running.join_next()).await.is_some() {}
    }
}

/// The request with a credential.
pub fn with<M>(message: M, token: &str) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    let value = MetadataValue::try_from(format!("Bearer {token}")).expect("a field");
    request.metadata_mut().insert("authorization", value);
    request
}
