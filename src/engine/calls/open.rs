//! Opens the engine and runs its task.

use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::engine::admission::Admission;
use crate::engine::cache::Cache;
use crate::engine::children::ChildrenBoard;
use crate::engine::clock::{Clock, Ids};
use crate::engine::commit::committer::Committer;
use crate::engine::commit::counts::Counts;
use crate::engine::health::HealthBoard;
use crate::engine::progress::ProgressBoard;
use crate::engine::request::Request;
use crate::engine::sharing::Sharer;
use crate::engine::watch::hints::HintReader;
use crate::engine::watch::hub::Hub;
use crate::engine::watch::tail::Tail;
use crate::engine::{EngineConfig, Shared};
use crate::store::{Store, StoreError};

/// The engine's task; the engine's owner runs it.
pub struct EngineTask {
    committer: Committer,
    requests: mpsc::Receiver<Request>,
    hints: HintReader,
    tail: Tail,
    sharer: Sharer,
}

impl EngineTask {
    /// Runs until `stop`, then finishes the requests that have arrived.
    pub async fn run(self, stop: CancellationToken) {
        let Self { committer, requests, hints, tail, sharer } = self;
        let (hints, tail) = (hints.run(stop.clone()), tail.run(stop.clone()));
        tokio::join!(hints, tail, sharer.run(stop.clone()), committer.run(requests, stop));
    }
}

impl Engine {
    /// Opens the engine, and rebuilds from the store the state that is in memory only.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config: EngineConfig,
    ) -> Result<(Self, EngineTask), StoreError> {
        let hub = Arc::new(Hub::new(store.shared().is_some()));
        if store.shared().is_none() {
            hub.chain().begin(&*store).await?;
        }
        let shared = Arc::new(Shared {
            store,
            clock,
            ids: Ids::default(),
            hub,
            cache: Cache::new(config.cached_bytes),
            progress: ProgressBoard::default(),
            health: HealthBoard::default(),
            children: ChildrenBoard::default(),
            counts: Mutex::new(Counts::new(config.max_outstanding)),
            roster: Mutex::default(),
            others: Mutex::default(),
            meters: Arc::clone(&config.meters),
            spans: config.spans.clone(),
            limits: RwLock::new(Arc::clone(&config.limits)),
        });
        // An admitted request always finds a place, beside as many others.
        let (sender, requests) = mpsc::channel(2 * config.queued_requests);
        let engine = Self {
            shared: Arc::clone(&shared),
            requests: sender.clone(),
            admission: Admission::new(config.queued_requests, config.queued_bytes),
            lease_duration: config.lease_duration,
        };
        let hints = HintReader::new(Arc::clone(&shared), sender);
        let tail = Tail::new(Arc::clone(&shared), Arc::clone(&config.log_is_wanted));
        let sharer = Sharer::new(Arc::clone(&shared));
        let mut committer = Committer::new(shared, config);
        committer.recover().await?;
        Ok((engine, EngineTask { committer, requests, hints, tail, sharer }))
    }
}
