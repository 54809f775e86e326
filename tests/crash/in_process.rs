//! The service within this process, over any store.
//!
//! It has a runtime of its own: being killed, it loses all its tasks and connections at once, and
//! keeps the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use longrun::auth::Authenticator;
use longrun::engine::{Engine, EngineConfig, SystemClock};
use longrun::grpc::Reflection;
use longrun::objects::Objects;
use longrun::proto::types::Types;
use longrun::service::{Limits, Service};
use longrun::store::Store;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::host::{Host, free_port};

/// The shortest that the program offers.
const LEASE_DURATION: Duration = Duration::from_secs(1);

type Open = Box<dyn Fn(&Path) -> anyhow::Result<Arc<dyn Store>> + Send>;

/// Such a service.
pub struct InProcess {
    port: u16,
    path: PathBuf,
    open: Open,
    /// Whether it loses what it wrote since the last time that it was killed.
    rolls_back: bool,
    running: Option<(Runtime, Arc<dyn Store>)>,
}

impl InProcess {
    /// A service over what `open` makes of the file.
    pub fn new(
        path: PathBuf,
        rolls_back: bool,
        open: impl Fn(&Path) -> anyhow::Result<Arc<dyn Store>> + Send + 'static,
    ) -> Self {
        Self { port: free_port(), path, open: Box::new(open), rolls_back, running: None }
    }

    /// Starts another service over the same store, and answers where.
    pub async fn start_second(&self) -> anyhow::Result<String> {
        let port = free_port();
        let (runtime, store) = self.running.as_ref().context("there is no first")?;
        runtime.spawn(serve(Arc::clone(store), port)).await??;
        Ok(format!("http://127.0.0.1:{port}"))
    }

    /// Puts the file back to what it was when this was last called.
    fn roll_back(&self) -> std::io::Result<()> {
        let (before, now) = (self.path.with_extension("before"), self.path.with_extension("now"));
        std::fs::copy(&self.path, &now)?;
        if before.exists() {
            std::fs::copy(&before, &self.path)?;
        }
        std::fs::rename(&now, &before)
    }
}

impl Host for InProcess {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        let store = (self.open)(&self.path)?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let serving = runtime.spawn(serve(Arc::clone(&store), self.port));
        self.running = Some((runtime, store));
        serving.await?
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        let Some((runtime, store)) = self.running.take() else { return Ok(()) };
        // Tasks end where they are. Waiting blocks, which the runtime of the test must not.
        let ended = move || runtime.shutdown_timeout(Duration::from_secs(5));
        tokio::task::spawn_blocking(ended).await?;
        store.close().await;
        if self.rolls_back {
            self.roll_back()?;
        }
        Ok(())
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some((runtime, _)) = self.running.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves on the runtime that it is called on, until that ends. Returns once the port is open.
async fn serve(store: Arc<dyn Store>, port: u16) -> anyhow::Result<()> {
    let config = EngineConfig { lease_duration: LEASE_DURATION, ..EngineConfig::default() };
    let (engine, task) = Engine::open(store, Arc::new(SystemClock), config).await?;
    let never = CancellationToken::new();
    let limits = Limits { lease_duration: LEASE_DURATION, ..Limits::default() };
    // Nothing there is large.
    let objects = Objects::in_directory(&std::env::temp_dir())?;
    let service = Service::new(engine, objects, limits, never.clone());
    let routes = longrun::grpc::routes(&service, &Reflection::of(&Types::default())?);
    let (router, open) = (routes.into_axum_router(), Authenticator::open());
    let routes: Routes = longrun::auth::in_front_of(router, open).into();
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let server = tonic::transport::Server::builder().tcp_nodelay(true).add_routes(routes);
    let mut tasks = JoinSet::new();
    tasks.spawn(task.run(never));
    tasks.spawn(async move {
        let connections = TcpListenerStream::new(listener);
        server.serve_with_incoming(connections).await.expect("the listener works");
    });
    tasks.detach_all();
    Ok(())
}
