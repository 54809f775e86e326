//! Hints of other replicas about their changes. A hint only says where to look; periodic reads find what lost hints
//! would have reported.
//!
//! Hints of changes are a reason to read the log, for watches over filters, and the histories of operations that are
//! watched one by one. The other hints go to the committer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::Shared;
use super::super::clock::Moment;
use super::super::request::Request;
use crate::operation::{Event, Operation, OperationId};
use crate::store::shared::{Hint, SharedStore};
use crate::store::{Lookup, StoreError};

/// How often every watched operation is checked, whatever hints say.
const CHECK: Duration = Duration::from_secs(10);
/// How soon a failed check is repeated.
const CHECK_AGAIN: Duration = Duration::from_secs(1);
/// How often the store counts operations that are not done; less often if counting takes long.
const COUNT: Duration = Duration::from_secs(5);
/// The interval is at least this many times the duration of counting.
const COUNT_PAUSES: u32 = 50;
/// How many operations are looked up at a time.
const PAGE: usize = 256;
/// The maximum number of transitions read at a time of one operation. Watches read further ones themselves.
const STEPS: usize = 16;

/// The reader of hints.
pub(in crate::engine) struct HintReader {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    check_at: Moment,
    count_at: Moment,
}

impl HintReader {
    pub(in crate::engine) fn new(shared: Arc<Shared>, requests: mpsc::Sender<Request>) -> Self {
        let now = shared.clock.moment();
        Self { shared, requests, check_at: now.after(CHECK), count_at: now.after(COUNT) }
    }

    /// Reads until `stop`.
    pub(in crate::engine) async fn run(mut self, stop: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let Some(store) = shared.store.shared() else { return };
        loop {
            let wake = self.check_at.min(self.count_at);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                hint = store.hint() => self.take(store, hint).await,
                () = shared.clock.sleep_until_moment(wake) => self.look_around(store).await,
            }
        }
    }

    async fn take(&mut self, store: &dyn SharedStore, hint: Hint) {
        let mut next = Some(hint);
        while let Some(hint) = next.take() {
            let Hint::Changed(mut changed) = hint else {
                self.pass_on(hint).await;
                continue;
            };
            self.shared.hub.chain().unread();
            // Hints that have arrived by now are handled by the same read.
            while changed.len() < PAGE && next.is_none() {
                match store.hint().now_or_never() {
                    Some(Hint::Changed(more)) => changed.extend(more),
                    Some(other) => next = Some(other),
                    None => break,
                }
            }
            if self.read_watched(store, changed).await.is_err() {
                // The next check finds what could not be read now.
                self.check_at = self.shared.clock.moment();
            }
        }
    }

    /// Passes on a hint that concerns the committer.
    async fn pass_on(&mut self, hint: Hint) {
        if hint == Hint::Missed {
            self.shared.hub.chain().unread();
            self.check().await;
        }
        // This fails after the committer has ended; then there are no watches.
        let _ = self.requests.send(Request::Hint(hint)).await;
    }

    async fn look_around(&mut self, store: &dyn SharedStore) {
        let now = self.shared.clock.moment();
        if self.check_at <= now {
            self.check().await;
        }
        if self.count_at <= now {
            self.count(store).await;
        }
    }

    async fn count(&mut self, store: &dyn SharedStore) {
        let began = self.shared.clock.moment();
        if let Ok(counts) = store.outstanding().await {
            let _ = self.requests.send(Request::Counts(counts)).await;
        }
        let now = self.shared.clock.moment();
        self.count_at = now.after(COUNT.max(now.since(began) * COUNT_PAUSES));
    }

    /// Compares everything watched with the store.
    async fn check(&mut self) {
        let mut pause = CHECK;
        for ids in self.shared.hub.watched().chunks(PAGE) {
            let lookups = ids.iter().map(|id| Lookup::Id(*id)).collect();
            let Ok(found) = self.shared.store.load(lookups).await else {
                pause = CHECK_AGAIN;
                break;
            };
            for (id, found) in ids.iter().zip(found) {
                match found {
                    Some(operation) => self.shared.hub.known(*id, operation.life.revision),
                    None => self.shared.hub.gone(*id),
                }
            }
        }
        self.check_at = self.shared.clock.moment().after(pause);
    }

    /// Reads and publishes the changes of those of these operations that are watched.
    async fn read_watched(
        &self,
        store: &dyn SharedStore,
        mut changed: Vec<OperationId>,
    ) -> Result<(), StoreError> {
        let hub = &self.shared.hub;
        changed.sort_unstable();
        changed.dedup();
        let watched: Vec<_> =
            changed.into_iter().filter_map(|id| Some((id, hub.latest(id)?))).collect();
        for watched in watched.chunks(PAGE) {
            let lookups = watched.iter().map(|(id, _)| Lookup::Id(*id)).collect();
            let read = tokio::try_join!(
                self.shared.store.load(lookups),
                store.transitions(watched.to_vec(), STEPS)
            );
            let (operations, histories) = read?;
            for (((id, _), operation), events) in watched.iter().zip(operations).zip(histories) {
                let Some(operation) = operation else {
                    hub.gone(*id);
                    continue;
                };
                for Event { event_type, life } in events {
                    let submission = Arc::clone(&operation.submission);
                    hub.transition(&Arc::new(Operation { submission, life }), event_type);
                }
                hub.known(*id, operation.life.revision);
            }
        }
        Ok(())
    }
}
