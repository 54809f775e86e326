//! What the whole server has at a moment, whichever tenant's: the numbers of metrics.

use std::collections::BTreeMap;

use super::Engine;
use crate::engine::dispatch::roster::WorkerState;
use crate::operation::{Kind, TenantId};

/// What the server has at a moment.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Operations that wait for an attempt and those with a running one, by kind.
    pub kinds: BTreeMap<Kind, (u64, u64)>,
    /// Sessions of workers at this server, by what they do.
    pub sessions: BTreeMap<WorkerState, usize>,
    /// Attempts that those workers may run at once.
    pub places: usize,
}

impl Engine {
    /// What the server has now. Where others share the store, their operations are among it and their sessions are not.
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

    /// The tenants and kinds of which most operations wait.
    pub fn longest_queues(&self, most: usize) -> Vec<(TenantId, Kind)> {
        let queues = self.shared.counts().longest_queues(most).into_iter();
        queues.map(|key| (key.tenant, key.kind)).collect()
    }
}
