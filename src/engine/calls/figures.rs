//! The whole server's present numbers, over all tenants, for metrics.

use std::collections::BTreeMap;

use super::Engine;
use crate::engine::dispatch::roster::WorkerState;
use crate::operation::{Kind, TenantId};

/// The server's present numbers.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Queued operations and operations with a running attempt, by kind.
    pub kinds: BTreeMap<Kind, (u64, u64)>,
    /// Sessions of workers connected to this server, by state.
    pub sessions: BTreeMap<WorkerState, usize>,
    /// The attempts that those workers may run at once.
    pub places: usize,
}

impl Engine {
    /// The present numbers. With replicas, they include other replicas' operations but not their sessions.
    pub fn figures(&self) -> Figures {
        let kinds = self.shared.counts().by_kind();
        let of = |live: crate::engine::commit::counts::Live| {
            (live.all.saturating_sub(live.running), live.running)
        };
        let (sessions, places) = self.shared.roster().sessions();
        Figures {
            kinds: kinds.into_iter().map(|(kind, live)| (kind, of(live))).collect(),
            sessions,
            places,
        }
    }

    /// The sessions of workers connected to this server.
    pub fn sessions(&self) -> u64 {
        self.shared.roster().sessions().0.values().map(|count| *count as u64).sum()
    }

    /// The tenants and kinds with the most queued operations.
    pub fn longest_queues(&self, most: usize) -> Vec<(TenantId, Kind)> {
        let queues = self.shared.counts().longest_queues(most).into_iter();
        queues.map(|key| (key.tenant, key.kind)).collect()
    }
}
