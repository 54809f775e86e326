//! How the engine is set up.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::metrics::{Calls, DEFAULT_KINDS, Meters};
use crate::operation::limits::LimitTable;
use crate::operation::{ObjectId, Operation};
use crate::spans::Spans;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// How long leases live without a sign of their worker.
    pub lease_duration: Duration,
    /// Most operations that are not done.
    pub max_outstanding: u64,
    /// How much each tenant may have.
    pub limits: Arc<LimitTable>,
    /// Most worker sessions.
    pub max_sessions: usize,
    /// Most requests that wait for the committer.
    pub queued_requests: usize,
    /// Most bytes of requests that wait for the committer: submissions, and workers' reports.
    pub queued_bytes: usize,
    /// Most bytes of operations and their inputs that are kept in memory for their next transition.
    pub cached_bytes: usize,
    /// How long it is remembered that an operation was there, after its retention has removed it.
    pub tombstone_retention: Duration,
    /// Of how many operations this is remembered at most; the oldest go first.
    pub max_tombstones: u64,
    /// Receives ids of objects whose operations were removed; if it is full or absent, the sweep collects them.
    pub discarded_objects: Option<mpsc::Sender<ObjectId>>,
    /// Whether a reader (webhooks) still needs old entries of the log: then they are not deleted yet, for a while.
    pub log_is_wanted: Arc<AtomicBool>,
    /// Counts what happens.
    pub meters: Arc<Meters>,
    /// Makes spans of what happens.
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
    /// Says that an operation's objects are to go.
    pub(crate) fn discard_objects(&self, operation: &Operation) {
        let payloads = [operation.submission.input.as_ref(), operation.result()];
        for object in payloads.into_iter().flatten().filter_map(|info| info.object) {
            if let Some(discarded) = &self.discarded_objects {
                let _ = discarded.try_send(object.id);
            }
        }
    }
}
