//! The engine's configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::metrics::{Calls, DEFAULT_KINDS, Meters};
use crate::operation::limits::LimitTable;
use crate::operation::{ObjectId, Operation};
use crate::spans::Spans;

/// The engine's configuration.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// How long a lease lasts after its worker's last sign of life.
    pub lease_duration: Duration,
    /// The maximum number of operations that are not done.
    pub max_outstanding: u64,
    /// The limits of tenants.
    pub limits: Arc<LimitTable>,
    /// The maximum number of worker sessions.
    pub max_sessions: usize,
    /// The maximum number of requests that wait for the committer.
    pub queued_requests: usize,
    /// The maximum size of requests that wait for the committer (submissions and workers' reports), in bytes.
    pub queued_bytes: usize,
    /// The maximum size of cached operations with their contents, in bytes.
    pub cached_bytes: usize,
    /// How long a tombstone is kept after retention has removed the operation.
    pub tombstone_retention: Duration,
    /// The maximum number of tombstones; the oldest are removed first.
    pub max_tombstones: u64,
    /// Receives ids of objects whose operations were removed; if it is full or absent, the sweep collects them.
    pub discarded_objects: Option<mpsc::Sender<ObjectId>>,
    /// Whether a reader (webhooks) still needs old log entries: then their deletion is delayed, within bounds.
    pub log_is_wanted: Arc<AtomicBool>,
    /// The engine's counters.
    pub meters: Arc<Meters>,
    /// Makes spans of operations' transitions.
    pub spans: Spans,
    /// Seeds the jitter of retries.
    pub seed: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(30),
            max_outstanding: 1_000_000,
            limits: Arc::default(),
            max_sessions: 10_000,
            queued_requests: 4_096,
            queued_bytes: 256 << 20,
            cached_bytes: 64 << 20,
            tombstone_retention: Duration::from_secs(7 * 24 * 3600),
            max_tombstones: 1_000_000,
            discarded_objects: None,
            log_is_wanted: Arc::default(),
            meters: Meters::new(DEFAULT_KINDS, Calls::default(), Vec::new()),
            spans: Spans::off(),
            seed: 0,
        }
    }
}

impl EngineConfig {
    /// Reports the objects of a removed operation, so that they are deleted.
    pub(crate) fn discard_objects(&self, operation: &Operation) {
        let payloads = [operation.submission.input.as_ref(), operation.result()];
        for object in payloads.into_iter().flatten().filter_map(|info| info.object) {
            if let Some(discarded) = &self.discarded_objects {
                let _ = discarded.try_send(object.id);
            }
        }
    }
}
