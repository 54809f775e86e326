//! Looks after storage: deletes objects that are no longer needed (those of removed operations at once, orphans of
//! crashes at start and every hour), and notices when the store's file is removed.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, StoreHealth};
use crate::objects::{Objects, sweep};
use crate::operation::ObjectId;

const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);
/// How often the store is asked whether its file still exists.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The task's state.
pub(super) struct Collector {
    pub(super) engine: Engine,
    pub(super) objects: Objects,
    /// Objects of removed operations.
    pub(super) discarded: mpsc::Receiver<ObjectId>,
}

impl Collector {
    /// Runs until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let engine = self.engine.clone();
        let work = async { tokio::join!(self.collect(), check(&engine)) };
        stop.run_until_cancelled_owned(work).await;
    }

    async fn collect(mut self) {
        let mut sweeps = interval(SWEEP_INTERVAL);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(id) = self.discarded.recv() => {
                    if let Err(error) = self.objects.delete(id).await {
                        tracing::warn!(error = %error, "an object stays for the next sweep");
                    }
                }
                _tick = sweeps.tick() => self.sweep().await,
            }
        }
    }

    async fn sweep(&self) {
        // A commit in doubt may refer to objects that the store does not know yet.
        if *self.engine.store_health().borrow() != StoreHealth::Writable {
            return;
        }
        let now = self.engine.clock().now();
        let known = |ids| self.engine.known_objects(ids);
        match sweep::orphans(&self.objects, now, known).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "objects that nothing referred to"),
            Err(error) => tracing::warn!(error = %error, "the sweep of objects was broken off"),
        }
    }
}

async fn check(engine: &Engine) {
    let mut checks = interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        checks.tick().await;
        engine.check_store().await;
    }
}
