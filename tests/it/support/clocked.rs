//! The same parts as in a server, driven by a manual clock: what depends on time, without waiting.
//!
//! Use cases can be called as any tenant through `service`, or over a socket through `api`.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use longrun::auth::Authenticator;
use longrun::engine::{Engine, EngineConfig};
use longrun::grpc::Reflection;
use longrun::objects::Objects;
use longrun::proto::types::Types;
use longrun::service::{Limits, Service};
use longrun::store::Store;
use longrun::store::sqlite::{SqliteOptions, SqliteStore};

use super::clock::TestClock;
use super::{Api, soon, spawn};

/// Longer than any test moves the clock, unless the test is about it.
const NEVER: Duration = Duration::from_secs(20 * 366 * 24 * 3600);

/// What differs between tests.
#[derive(Clone, Debug)]
pub struct Tuning {
    pub lease_duration: Duration,
    pub heartbeat_interval: Duration,
    pub max_stream_age: Duration,
    pub max_outstanding: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            lease_duration: NEVER,
            heartbeat_interval: NEVER,
            max_stream_age: NEVER,
            max_outstanding: 1_000_000,
        }
    }
}

/// A server in which time passes only when it is told to. Fails the test if it ends by itself.
pub struct ClockedServer {
    pub api: Api,
    pub service: Service,
    pub clock: Arc<TestClock>,
    pub closing: CancellationToken,
    tuning: Tuning,
    store: Arc<dyn Store>,
    stop: CancellationToken,
    engine: JoinHandle<()>,
    listener: JoinHandle<()>,
    /// Removed with the server.
    dir: Arc<TempDir>,
}

impl Deref for ClockedServer {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl ClockedServer {
    pub async fn start() -> Self {
        Self::with(Tuning::default()).await
    }

    pub async fn with(tuning: Tuning) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        Self::open(dir, Arc::new(TestClock::default()), tuning).await
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Lets time pass as it does where nothing stands still: second by second, in each of which the engine runs. To
    /// be used where a worker has a session.
    pub async fn live_through(&self, by: Duration) {
        let second = Duration::from_secs(1);
        let mut left = by;
        while !left.is_zero() {
            // It looks over its sessions once a second.
            soon(self.clock.is_awaited_within(second)).await;
            let step = left.min(second);
            self.clock.advance(step);
            left -= step;
        }
    }

    /// Stops, lets time pass, and starts again on the same file with the same clock.
    pub async fn restart_after(&mut self, away: Duration) {
        self.closing.cancel();
        self.stop.cancel();
        soon(&mut self.engine).await.unwrap();
        self.listener.abort();
        soon(self.store.close()).await;
        self.clock.advance(away);
        let (dir, clock) = (Arc::clone(&self.dir), Arc::clone(&self.clock));
        *self = Self::open(dir, clock, self.tuning.clone()).await;
    }

    async fn open(dir: Arc<TempDir>, clock: Arc<TestClock>, tuning: Tuning) -> Self {
        let store: Arc<dyn Store> = Arc::new(open_store(&dir.path().join("longrun.db")));
        let config = EngineConfig {
            lease_duration: tuning.lease_duration,
            max_outstanding: tuning.max_outstanding,
            ..EngineConfig::default()
        };
        let limits = Limits {
            lease_duration: tuning.lease_duration,
            heartbeat_interval: tuning.heartbeat_interval,
            max_stream_age: tuning.max_stream_age,
            ..Limits::default()
        };
        let now: Arc<TestClock> = Arc::clone(&clock);
        let (engine, task) = soon(Engine::open(Arc::clone(&store), now, config)).await.unwrap();
        let objects = Objects::in_directory(&dir.path().join("objects")).unwrap();
        let (closing, stop) = (CancellationToken::new(), CancellationToken::new());
        let service = Service::new(engine, objects, limits, closing.clone());
        let routes = longrun::grpc::routes(&service, &Reflection::of(&Types::default()).unwrap());
        let (router, open) = (routes.into_axum_router(), Authenticator::open());
        let routes: Routes = longrun::auth::in_front_of(router, open).into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Api::new(listener.local_addr().unwrap());
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = Server::builder().add_routes(routes).serve_with_incoming(incoming);
        let engine = spawn(task.run(stop.clone()));
        let listener = spawn(async { serving.await.unwrap() });
        Self { api, service, clock, closing, tuning, store, stop, engine, listener, dir }
    }
}

impl Drop for ClockedServer {
    fn drop(&mut self) {
        let ended = self.engine.is_finished() || self.listener.is_finished();
        let ended_by_itself = ended && !self.stop.is_cancelled();
        assert!(!ended_by_itself || std::thread::panicking(), "the server ended by itself");
        self.engine.abort();
        self.listener.abort();
    }
}

fn open_store(path: &Path) -> SqliteStore {
    SqliteStore::open(path, &SqliteOptions::default()).unwrap()
}
