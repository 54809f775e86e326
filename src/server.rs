//! The composition root: binds, puts the parts together, owns every task, and stops them in order.
//!
//! Read next: `run` for the tasks and the order of a stop, `front` for the one road of requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Uri};

use crate::catalogue::Catalogue;
use crate::client::Client;
use crate::config::ServeConfig;
use crate::engine::{Clock, Engine, EngineConfig, EngineTask, SystemClock};
use crate::relay::Relay;
use crate::service::shares::Shares;
use crate::service::{Limits, Service, TenantLimits, metrics};
use crate::store::Store;
use crate::webhooks::Post;

mod answer;
mod callers;
mod collector;
mod connection;
mod descriptors;
mod ending;
mod front;
mod gathering;
mod interfaces;
mod listen;
mod metrics_port;
mod opening;
mod places;
mod post;
mod resets;
mod run;
mod schemas;
mod socket;
mod storage;
mod tasks;
mod tls;
mod traces;

use callers::Callers;
use collector::Collector;
use connection::Connections;
pub use descriptors::{Descriptors, DescriptorsError};
use metrics_port::MetricsPort;
pub use run::Stopped;
use socket::Sockets;
pub(crate) use storage::{open_objects, open_store};
pub use tls::{Certificates, CertificatesError};

/// Concurrent calls on one connection. Beyond it, HTTP/2 makes a client's further calls wait silently in the client.
const MAX_CONCURRENT_STREAMS: u32 = 8_192;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Bytes in flight on a connection within the process.
const LOCAL_PIPE_BYTES: usize = 1 << 20;
/// Connections within the process that wait to be accepted.
const LOCAL_BACKLOG: usize = 16;
/// How many objects of removed operations may wait to be deleted; the next sweep finds the others.
const DISCARDED_OBJECTS: usize = 1_024;

/// A server that listens and is ready to run.
pub struct Server {
    sockets: Sockets,
    metrics_port: Option<MetricsPort>,
    local: (mpsc::Sender<DuplexStream>, mpsc::Receiver<DuplexStream>),
    connections: Connections,
    relay: Relay,
    descriptors: Descriptors,
    max_connections: usize,
    service: Service,
    engine: Engine,
    engine_task: EngineTask,
    collector: Collector,
    catalogue: Catalogue,
    tenant_limits: TenantLimits,
    callers: Callers,
    post: Post,
    store: Arc<dyn Store>,
    closing: CancellationToken,
    drain_timeout: Duration,
}

impl Server {
    /// The number of operations that are not done.
    pub fn outstanding(&self) -> u64 {
        self.engine.outstanding()
    }

    /// Opens the store, recovers, and binds. Serves nothing before [`Server::run`].
    pub async fn bind(config: ServeConfig) -> anyhow::Result<Self> {
        config.validate()?;
        let sockets = Sockets::bind(&config).await?;
        let metrics_port = match config.metrics.listen {
            Some(address) => Some(MetricsPort::bind(address).await?),
            None => None,
        };
        let relay = Relay::new(&config.relay)?;
        let descriptors = Descriptors::open(config.types.descriptor_sets.clone()).await?;
        let schemas = schemas::read(&config.browsers.input_schemas).await?;
        let store = open_store(config.store.url.clone()).await?;
        let objects = open_objects(config.store.objects().as_deref())?;
        let mut catalogue = Catalogue::new(Arc::clone(&store));
        let opened = TenantLimits::open(&mut catalogue, config.tenants.clone()).await;
        let tenant_limits = opened.context("the limits of the store cannot be read")?;
        let (discarded_objects, discarded) = mpsc::channel(DISCARDED_OBJECTS);
        let log_is_wanted = Arc::<AtomicBool>::default();
        let engine_config = EngineConfig {
            discarded_objects: Some(discarded_objects),
            limits: Arc::new(tenant_limits.table()),
            log_is_wanted: Arc::clone(&log_is_wanted),
            ..engine_config(&config)?
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let opened = Engine::open(Arc::clone(&store), Arc::clone(&clock), engine_config).await;
        let (engine, engine_task) = opened.context("cannot recover from the store")?;
        let callers = Callers::open(&config, &store, &mut catalogue, Arc::clone(&clock)).await?;
        let public_url = config.listen.public_url.as_deref();
        let shares = Shares::open(&mut catalogue, public_url).await;
        let shares = shares.context("the shares of the store cannot be read")?;
        let secret = callers.keys.secret().clone();
        let webhooks = post::webhooks(&config, &mut catalogue, &store, secret).await?;
        let post = post::post(&config, webhooks.clone(), &engine, clock, log_is_wanted)?;
        let closing = CancellationToken::new();
        let service =
            Service::new(engine.clone(), objects.clone(), limits(&config), closing.clone())
                .with_keys(callers.keys.clone())
                .with_tenant_limits(tenant_limits.clone())
                .with_shares(shares)
                .with_webhooks(webhooks);
        if let Some(files) = storage::files_of(&config.store.url) {
            service.meters().measure_files(files);
        }
        let front = interfaces::front(&config, &service, &callers, &relay, &descriptors, schemas)?;
        Ok(Self {
            sockets,
            metrics_port,
            local: mpsc::channel(LOCAL_BACKLOG),
            connections: Connections::new(
                front,
                config.connections.header_timeout,
                config.connections.idle_timeout,
            ),
            relay,
            descriptors,
            max_connections: max_connections(&config),
            service,
            engine: engine.clone(),
            engine_task,
            collector: Collector { engine, objects, discarded },
            catalogue,
            tenant_limits,
            callers,
            post,
            store,
            closing,
            drain_timeout: config.stop.drain_timeout,
        })
    }

    /// The TCP address of the listener: the plain one, if there is one. Port 0 if there is only a Unix socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.sockets.local_addr().unwrap_or_else(|| SocketAddr::from(([0; 4], 0)))
    }

    /// The addresses for clients: `http://HOST:PORT`, `https://HOST:PORT` and `unix:PATH`, in this order.
    pub fn urls(&self) -> Vec<String> {
        self.sockets.urls()
    }

    /// The address of metrics, if they have a port of their own.
    pub fn metrics_url(&self) -> Option<String> {
        self.metrics_port.as_ref().map(MetricsPort::url)
    }

    /// The certificates of the TLS listener, so that their files can be read again.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.sockets.certificates()
    }

    /// The served mounts, for their workers.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// The descriptor sets that the server knows, so that their files can be read again.
    pub fn descriptors(&self) -> &Descriptors {
        &self.descriptors
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
        Client::from_channel(endpoint.connect_with_connector_lazy(connect)).within_server()
    }
}

fn max_connections(config: &ServeConfig) -> usize {
    // A request that passes straight through also has a connection to the upstream.
    let files_each = if config.relay.is_empty() { 1 } else { 2 };
    listen::places(config.connections.max_connections, files_each)
}

/// The engine's part of the configuration.
fn engine_config(config: &ServeConfig) -> anyhow::Result<EngineConfig> {
    Ok(EngineConfig {
        lease_duration: config.liveness.lease_duration,
        max_outstanding: config.limits.max_outstanding,
        meters: metrics::meters(config.metrics.max_kinds),
        spans: traces::open(&config.tracing)?,
        seed: fastrand::u64(..),
        ..EngineConfig::default()
    })
}

fn limits(config: &ServeConfig) -> Limits {
    Limits {
        max_payload_bytes: config.limits.max_payload_bytes,
        max_message_bytes: config.limits.max_message_bytes,
        object_threshold_bytes: config.store.object_threshold_bytes,
        inline_payload_bytes: config.limits.inline_payload_bytes,
        body_timeout: config.connections.body_timeout,
        default_retention: config.limits.retention,
        heartbeat_interval: config.liveness.heartbeat_interval,
        max_stream_age: config.liveness.max_stream_age,
        lease_duration: config.liveness.lease_duration,
        ..Limits::default()
    }
}
