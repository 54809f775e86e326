//! Shares the progress of running attempts among replicas: publishes what workers here reported, and delivers other
//! replicas' progress to watches here.
//!
//! At most once a second, and only if there is something to publish or a watch to notify. Nothing waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::clock::Moment;
use crate::operation::{Attempt, Operation, OperationId, Timestamp};
use crate::store::shared::{AttemptProgress, SharedStore};
use crate::store::{Lookup, StoreError};

/// How often progress is exchanged.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often everything is published again, for replicas that joined since, and because the store drops old progress.
const AGAIN: Duration = Duration::from_secs(60);
/// The maximum number of attempts that watches are notified of at a time.
const MAX_NEWS: usize = 1_024;

/// The sharer.
pub(super) struct Sharer {
    shared: Arc<Shared>,
    /// Other replicas' progress that was delivered to watches, as of the last read.
    told: HashMap<OperationId, (Attempt, Timestamp)>,
    again_at: Moment,
}

impl Sharer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let again_at = shared.clock.moment().after(AGAIN);
        Self { shared, told: HashMap::new(), again_at }
    }

    /// Shares until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let Some(store) = shared.store.shared() else { return };
        loop {
            let wake = shared.clock.moment().after(INTERVAL);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = shared.clock.sleep_until_moment(wake) => {}
            }
            self.leave(store).await;
            // The next read repeats a failed one.
            let _ = self.tell(store).await;
        }
    }

    async fn leave(&mut self, store: &dyn SharedStore) {
        let now = self.shared.clock.moment();
        let board = &self.shared.progress;
        if self.again_at <= now {
            self.again_at = now.after(AGAIN);
            board.leave_all();
        }
        let (news, ended) = board.to_leave();
        let is_idle = news.is_empty() && ended.is_empty();
        if !is_idle && store.leave_progress(news, ended).await.is_err() {
            // What could not be withdrawn expires in the store.
            board.leave_all();
        }
    }

    async fn tell(&mut self, store: &dyn SharedStore) -> Result<(), StoreError> {
        let hub = &self.shared.hub;
        let has_feeds = hub.has_feeds();
        if !has_feeds && !hub.has_watchers() {
            self.told.clear();
            return Ok(());
        }
        let mut left = store.recent_progress(MAX_NEWS).await?;
        let told = left.iter().map(|it| (it.id, (it.attempt, it.progress.at)));
        let told = std::mem::replace(&mut self.told, told.collect());
        left.retain(|it| {
            let is_told = told.get(&it.id) == Some(&(it.attempt, it.progress.at));
            // This replica has newer progress of its own workers' attempts.
            !is_told && self.shared.progress.get(it.id, it.attempt).is_none()
        });
        for AttemptProgress { id, attempt, progress } in &left {
            self.shared.progress.note_elsewhere(*id, *attempt, progress);
        }
        if !has_feeds {
            for AttemptProgress { id, attempt, progress } in &left {
                hub.progress(*id, *attempt, None, progress);
            }
            return Ok(());
        }
        // Watches over filters need the operation.
        let lookups = left.iter().map(|it| Lookup::Id(it.id)).collect();
        let operations = self.shared.store.load(lookups).await?;
        for (AttemptProgress { id, attempt, progress }, operation) in left.iter().zip(operations) {
            let is_current =
                |it: &Operation| it.life.state.lease().is_some() && it.life.attempt == *attempt;
            let operation = operation.filter(is_current).map(Arc::new);
            hub.progress(*id, *attempt, operation, progress);
        }
        Ok(())
    }
}

impl Shared {
    /// The operations with the latest progress of their running attempts, wherever those report to.
    pub(super) async fn refresh(&self, operations: Vec<Operation>) -> Vec<Operation> {
        let mut refreshed: Vec<Operation> =
            operations.into_iter().map(|operation| self.progress.refresh(operation)).collect();
        let Some(store) = self.store.shared() else { return refreshed };
        let is_elsewhere = |operation: &&Operation| {
            operation.life.state.lease().is_some()
                && self.progress.get(operation.id(), operation.life.attempt).is_none()
        };
        let elsewhere: Vec<OperationId> =
            refreshed.iter().filter(is_elsewhere).map(Operation::id).collect();
        if elsewhere.is_empty() {
            return refreshed;
        }
        // Progress is optional: a failed read must not fail the call.
        let left = store.progress(elsewhere).await.unwrap_or_default();
        let left: HashMap<OperationId, AttemptProgress> =
            left.into_iter().map(|it| (it.id, it)).collect();
        for operation in refreshed.iter_mut().filter(|it| it.life.state.lease().is_some()) {
            let news = left.get(&operation.id());
            if let Some(news) = news.filter(|news| news.attempt == operation.life.attempt) {
                operation.life.progress = Some(news.progress.clone());
            }
        }
        refreshed
    }
}
