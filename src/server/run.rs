//! Runs a server: starts its tasks, waits for a reason to stop, and stops in order.
//!
//! The order of a stop: health reports not serving and new work is refused; workers within the process finish; long
//! calls and worker streams end, to be resumed; the listener closes; running calls finish; the engine finishes its last
//! commit; the store closes. All of this within the drain timeout; calls are cut off a little before its end. The time
//! that calls leave belongs to the engine and the store, because a last sync takes as long as the disk does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::connection::Connections;
use super::tasks::Tasks;
use super::{Server, listen, traces};
use crate::batches::Batches;
use crate::engine::Engine;
use crate::service::Service;
use crate::store::Store;

/// The least part of the drain timeout that is kept for the engine and the store.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything was finished in time.
    Drained,
    /// The drain timeout was reached; calls were cut off.
    CutOff,
}

/// A server whose tasks run.
struct Running {
    /// The tasks that answer calls, and what makes them return.
    serving: Tasks,
    closing: CancellationToken,
    listeners_closed: CancellationToken,
    /// The tasks beneath them, which run on until no call needs them any more.
    tasks: Tasks,
    engine_stop: CancellationToken,
    connections: Connections,
    service: Service,
    engine: Engine,
    store: Arc<dyn Store>,
    drain_timeout: Duration,
}

impl Server {
    /// Serves until `stop`, then drains. An error means that one of the server's tasks ended by itself.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<Stopped> {
        self.run_beside(stop, std::future::ready(())).await
    }

    /// Like [`Server::run`], beside workers within this process. After `stop` they continue over
    /// [`Server::local_client`] until `workers` returns; only then connections close.
    pub async fn run_beside(
        self,
        stop: CancellationToken,
        workers: impl Future<Output = ()>,
    ) -> anyhow::Result<Stopped> {
        let mut running = self.start();
        let failed = tokio::select! {
            () = stop.cancelled() => None,
            name = running.tasks.first_to_end() => Some(name),
            name = running.serving.first_to_end() => Some(name),
        };
        tracing::info!("stopping");
        let end = Instant::now() + running.drain_timeout;
        running.service.begin_to_stop();
        if failed.is_none() {
            // They know their own part of the drain timeout.
            workers.await;
        }
        let stopped = running.stop(end).await;
        match failed {
            Some(name) => Err(anyhow::anyhow!("the {name} ended by itself")),
            None => Ok(stopped),
        }
    }

    fn start(self) -> Running {
        let Self { sockets, metrics_port, local, connections, max_connections, .. } = self;
        let Self { service, engine, engine_task, collector, callers, store, .. } = self;
        let Self { catalogue, tenant_limits, post, closing, drain_timeout, .. } = self;
        let engine_stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        tasks.spawn("engine", engine_task.run(engine_stop.clone()));
        tasks.spawn("collector of objects", collector.run(engine_stop.clone()));
        tasks.spawn("catalogue", catalogue.run(engine_stop.clone()));
        let usage = service.clone().watch_usage(Arc::clone(&store), engine_stop.clone());
        tasks.spawn("count of stored bytes", usage);
        tasks.spawn("webhooks", post.run(engine_stop.clone()));
        tasks.spawn("limits", tenant_limits.run(engine.clone(), engine_stop.clone()));
        callers.spawn(&mut tasks, &engine_stop);
        if let Some(port) = metrics_port {
            // As long as there is something to observe, including the end.
            tasks.spawn("listener for metrics", port.serve(service.clone(), engine_stop.clone()));
        }
        if let Some(certificates) = sockets.certificates() {
            let watch = certificates.clone().watch(engine_stop.clone());
            tasks.spawn("watch over certificates", watch);
        }
        let listeners_closed = CancellationToken::new();
        let mut serving = Tasks::default();
        let (over_network, locally) = (connections.clone(), connections.clone());
        let closed = || listeners_closed.clone();
        let network = listen::over_network(sockets, max_connections, over_network, closed());
        serving.spawn("listener", network);
        // It releases its batches while the engine still accepts that.
        let batches = Batches::new(service.clone(), engine.clone());
        serving.spawn("worker of batches", batches.run(closing.clone()));
        serving.spawn("local listener", listen::locally(local.1, locally, closed()));
        Running {
            serving,
            closing,
            listeners_closed,
            tasks,
            engine_stop,
            connections,
            service,
            engine,
            store,
            drain_timeout,
        }
    }
}

impl Running {
    /// Lets calls finish, and then what is beneath them. Cuts off what has not finished a little before `end`.
    async fn stop(mut self, end: Instant) -> Stopped {
        let calls_end = end - CLOSING_TIME.min(self.drain_timeout);
        let drained = timeout_at(calls_end, self.drain()).await;
        self.serving.abort_all().await;
        self.engine_stop.cancel();
        let end = end.max(Instant::now() + CLOSING_TIME);
        let closed = timeout_at(end, self.close()).await;
        if closed.is_err() {
            let running = self.tasks.names().collect::<Vec<_>>().join(", ");
            tracing::warn!(running, "the server ends before its tasks and its store do");
        }
        traces::close(self.service.spans().clone(), end).await;
        if drained.is_ok() && closed.is_ok() { Stopped::Drained } else { Stopped::CutOff }
    }

    /// Ends long calls and closes the listeners; returns when the last call has ended.
    async fn drain(&mut self) {
        self.closing.cancel();
        // This fails if the engine has ended already: then there are no workers either.
        let _ = self.engine.disconnect_all().await;
        self.listeners_closed.cancel();
        self.serving.join_all().await;
        self.connections.ended().await;
    }

    /// Waits for the last commit, and closes the store.
    async fn close(&mut self) {
        self.connections.ended().await;
        self.tasks.join_all().await;
        self.store.close().await;
    }
}
