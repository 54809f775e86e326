//! The composition root: binds, puts the parts together, owns every task, and stops them in order.
//!
//! Order of stopping: health says not serving; long calls and worker streams end, to be resumed; the
//! listener closes; calls in flight finish; the engine finishes its last commit; the store closes. All
//! of it within the drain timeout, after which what is left is cut off.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::stream;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Uri};

use crate::client::Client;
use crate::config::{ServeConfig, StoreUrl};
use crate::engine::{Engine, EngineConfig, EngineTask, SystemClock};
use crate::grpc::HealthReporter;
use crate::http::{self, HttpOptions};
use crate::relay::Relay;
use crate::service::{Limits, Service};
use crate::store::Store;
use crate::store::sqlite::{SqliteOptions, SqliteStore};

// Why these values: long streams must outlive proxies and notice dead peers, see ARCHITECTURE.md.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(25);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(15);
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const MAX_CONCURRENT_STREAMS: u32 = 1_024;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Bytes in flight on a connection within the process.
const LOCAL_PIPE_BYTES: usize = 1 << 20;
/// Connections within the process that wait to be accepted.
const LOCAL_BACKLOG: usize = 16;
/// Of the drain timeout, what is kept for the engine and the store.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// A server that listens and is ready to run.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    local: (mpsc::Sender<DuplexStream>, mpsc::Receiver<DuplexStream>),
    routes: Routes,
    health: HealthReporter,
    service: Service,
    engine: Engine,
    engine_task: EngineTask,
    store: Arc<dyn Store>,
    closing: CancellationToken,
    drain_timeout: Duration,
}

/// How a server came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything was finished in time.
    Drained,
    /// The drain timeout was up; calls were cut off.
    CutOff,
}

impl Server {
    /// Opens the store, recovers, and binds. Nothing is served before [`Server::run`].
    pub async fn bind(config: ServeConfig) -> anyhow::Result<Self> {
        config.validate()?;
        let listener = TcpListener::bind(config.listen.addr)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen.addr))?;
        let local_addr = listener.local_addr().context("the listener has no address")?;
        let store = open_store(config.store.url.clone()).await?;
        let engine_config = EngineConfig {
            lease_duration: config.liveness.lease_duration,
            max_outstanding: config.limits.max_outstanding,
            seed: fastrand::u64(..),
            ..EngineConfig::default()
        };
        let clock = Arc::new(SystemClock);
        let opened = Engine::open(Arc::clone(&store), clock, engine_config).await;
        let (engine, engine_task) = opened.context("cannot recover from the store")?;
        let closing = CancellationToken::new();
        let service = Service::new(engine.clone(), limits(&config), closing.clone());
        let (grpc, health) = crate::grpc::routes(service.clone()).await?;
        let options = HttpOptions {
            public_url: config.listen.public_url.clone(),
            cors_origins: config.browsers.cors_origins.clone(),
            relay: Relay::new(&config.relay),
        };
        // gRPC's routes are exact paths; everything else, the fallback included, is HTTP's.
        let router = http::router(service.clone(), options)
            .merge(
                grpc.into_axum_router()
                    .reset_fallback()
                    .layer(axum::middleware::from_fn(http::require_grpc)),
            )
            .layer(axum::middleware::map_response(crate::grpc::explain))
            .layer(axum::middleware::from_fn(crate::telemetry::log_request));
        Ok(Self {
            listener,
            local_addr,
            local: mpsc::channel(LOCAL_BACKLOG),
            routes: Routes::from(router),
            health,
            service,
            engine,
            engine_task,
            store,
            closing,
            drain_timeout: config.stop.drain_timeout,
        })
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// A client within this process, which needs no network.
    pub fn local_client(&self) -> Client {
        let connections = self.local.0.clone();
        let connect = tower::service_fn(move |_: Uri| {
            let connections = connections.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(LOCAL_PIPE_BYTES);
                let gone = |_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                connections.send(theirs).await.map_err(gone)?;
                Ok::<_, std::io::Error>(TokioIo::new(ours))
            }
        });
        let endpoint = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        Client::from_channel(endpoint.connect_with_connector_lazy(connect))
    }

    /// Serves until `stop`, then drains. An error means that a part ended by itself.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<Stopped> {
        let Self { service, engine, engine_task, store, closing, health, drain_timeout, .. } = self;
        let engine_stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        tasks.spawn("engine", engine_task.run(engine_stop.clone()));
        tasks.spawn("health", crate::grpc::follow_store(health.clone(), service));
        let incoming = TcpIncoming::from(self.listener)
            .with_nodelay(Some(true))
            .with_keepalive(Some(TCP_KEEPALIVE));
        let listeners_closed = CancellationToken::new();
        let mut serving = Tasks::default();
        let closed = listeners_closed.clone().cancelled_owned();
        let over_tcp = builder().add_routes(self.routes.clone());
        let over_tcp = over_tcp.serve_with_incoming_shutdown(incoming, closed);
        serving.spawn("listener", log_failure(over_tcp));
        let (local_sender, local_receiver) = self.local;
        // Clients within the process hold senders of their own; this one would keep the listener up.
        drop(local_sender);
        let local = stream::unfold(local_receiver, |mut receiver| async move {
            let connection = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(connection), receiver))
        });
        // Without clients within the process the local listener ends at once, which is no failure.
        let closed = listeners_closed.clone().cancelled_owned();
        let locally = builder().add_routes(self.routes);
        let locally = locally.serve_with_incoming_shutdown(local, closed);
        let wait_for_stop = listeners_closed.clone();
        serving.spawn("local listener", async move {
            log_failure(locally).await;
            wait_for_stop.cancelled().await;
        });

        let failed = tokio::select! {
            () = stop.cancelled() => None,
            name = tasks.first_to_end() => Some(name),
            name = serving.first_to_end() => Some(name),
        };
        tracing::info!("stopping");
        let drained = tokio::time::timeout(drain_timeout.saturating_sub(CLOSING_TIME), async {
            crate::grpc::set_not_serving(&health).await;
            closing.cancel();
            // Refused when the engine has ended already: then there are no workers either.
            let _ = engine.disconnect_all().await;
            listeners_closed.cancel();
            serving.join_all().await;
        })
        .await;
        serving.abort_all().await;
        engine_stop.cancel();
        let closed = tokio::time::timeout(CLOSING_TIME, async {
            tasks.join_all().await;
            store.close().await;
        })
        .await;
        if let Some(name) = failed {
            anyhow::bail!("the {name} ended by itself");
        }
        Ok(if drained.is_ok() && closed.is_ok() { Stopped::Drained } else { Stopped::CutOff })
    }
}

/// Tasks with their names. Dropping them ends them.
#[derive(Default)]
struct Tasks(JoinSet<&'static str>);

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// The name of the first task that ends; never, when there is none.
    async fn first_to_end(&mut self) -> &'static str {
        match self.0.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(_)) => "task that panicked",
            None => std::future::pending().await,
        }
    }

    async fn join_all(&mut self) {
        while self.0.join_next().await.is_some() {}
    }

    async fn abort_all(&mut self) {
        self.0.shutdown().await;
    }
}

async fn log_failure(serving: impl Future<Output = Result<(), tonic::transport::Error>>) {
    if let Err(error) = serving.await {
        tracing::error!(error = %error, "serving failed");
    }
}

fn builder() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true)
}

async fn open_store(url: StoreUrl) -> anyhow::Result<Arc<dyn Store>> {
    match url {
        StoreUrl::Sqlite(path) => {
            let open = move || SqliteStore::open(&path, &SqliteOptions::default());
            let store = tokio::task::spawn_blocking(open).await.context("opening was cut off")?;
            Ok(Arc::new(store?))
        }
    }
}

fn limits(config: &ServeConfig) -> Limits {
    Limits {
        max_payload_bytes: config.limits.max_payload_bytes,
        inline_payload_bytes: config.limits.inline_payload_bytes,
        default_retention: config.limits.retention,
        heartbeat_interval: config.liveness.heartbeat_interval,
        max_stream_age: config.liveness.max_stream_age,
        lease_duration: config.liveness.lease_duration,
        ..Limits::default()
    }
}
