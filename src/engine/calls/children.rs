//! Batches and their children.

use crate::engine::Engine;
use crate::engine::request::EngineError;
use crate::operation::{ChildCounts, OperationId, TenantId};

impl Engine {
    /// The counts of these batches' children, in the order given; a moment old if another caller has just asked.
    pub async fn children(
        &self,
        batches: Vec<(TenantId, OperationId)>,
    ) -> Result<Vec<ChildCounts>, EngineError> {
        let now = self.shared.clock.moment();
        let board = &self.shared.children;
        let known: Vec<_> = batches.iter().map(|(_, id)| board.fresh(*id, now)).collect();
        let asked = batches.into_iter().zip(&known).filter(|(_, known)| known.is_none());
        let asked: Vec<(TenantId, OperationId)> = asked.map(|(batch, _)| batch).collect();
        let mut counted = match asked.is_empty() {
            true => Vec::new(),
            false => self.count_children(asked).await?,
        }
        .into_iter();
        Ok(known.into_iter().filter_map(|known| known.or_else(|| counted.next())).collect())
    }

    /// The present counts of these batches' children.
    pub async fn count_children(
        &self,
        batches: Vec<(TenantId, OperationId)>,
    ) -> Result<Vec<ChildCounts>, EngineError> {
        let begun = self.shared.children.begin(self.shared.clock.moment());
        let ids: Vec<OperationId> = batches.iter().map(|(_, id)| *id).collect();
        let counted = self.shared.store.children(batches).await?;
        for (id, counts) in ids.into_iter().zip(&counted) {
            self.shared.children.put(id, begun, *counts);
        }
        Ok(counted)
    }

    /// Whether a batch is not done, as far as this replica knows.
    pub fn has_batches(&self) -> bool {
        self.shared.counts().has_kind(|kind| kind.is_of_batches())
    }

    /// Returns when a batch has been submitted here since the last call.
    pub async fn batch_submitted(&self) {
        self.shared.children.submitted().await;
    }

    /// Whether other replicas use the store.
    pub fn is_shared(&self) -> bool {
        self.shared.store.shared().is_some()
    }
}
