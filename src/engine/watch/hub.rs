//! Publishes commits to watches: one topic per watched operation. Watches over filters follow the chain.
//!
//! A watcher holds no queue. It pulls: from the topic's few recent transitions while it keeps up, from the stored
//! history by its cursor when it does not. So the number of watchers bounds the memory, however slow they are, and no
//! transition is ever skipped.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use super::chain::Chain;
use super::item::{Committed, Written};
use crate::operation::{Attempt, EventType, Operation, OperationId, Progress, Revision};

/// How many transitions a topic keeps for watchers that are slightly behind.
const RECENT: usize = 16;
/// How many progress reports a watch over a filter may fall behind before it misses some.
const REPORTS: usize = 1_024;
/// Locks are spread over this many shards.
const SHARDS: usize = 64;

/// Where watchers register and commits are published.
#[derive(Debug)]
pub(in crate::engine) struct Hub {
    shards: Vec<Mutex<HashMap<OperationId, Arc<Topic>>>>,
    chain: Arc<Chain>,
    /// Progress for watches over filters: operations with their latest report.
    reports: broadcast::Sender<Arc<Operation>>,
}

/// The shared state of one operation's watches.
#[derive(Debug)]
pub(super) struct Topic {
    state: Mutex<TopicState>,
    /// Wakes the watches that wait for a publication.
    grown: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct TopicState {
    /// By rising revision; may have gaps.
    recent: VecDeque<(Committed, Arc<Written>)>,
    /// At least this revision exists.
    known: Revision,
    progress: Option<(Attempt, Progress)>,
    removed: bool,
}

impl TopicState {
    fn add(&mut self, committed: Committed) {
        let revision = committed.operation.life.revision;
        let of = |(committed, _): &(Committed, Arc<Written>)| committed.operation.life.revision;
        let place = self.recent.partition_point(|it| of(it) < revision);
        if self.recent.get(place).is_some_and(|it| of(it) == revision) {
            return;
        }
        self.recent.insert(place, (committed, Arc::default()));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.known = self.known.max(revision);
    }
}

impl Hub {
    /// A hub of a store that has other writers (`is_shared`) or not.
    pub(in crate::engine) fn new(is_shared: bool) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            chain: Chain::new(is_shared),
            reports: broadcast::Sender::new(REPORTS),
        }
    }

    /// The chain of recent commits.
    pub(in crate::engine) fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// Progress reports from now on.
    pub(super) fn reports(&self) -> broadcast::Receiver<Arc<Operation>> {
        self.reports.subscribe()
    }

    fn shard(&self, id: OperationId) -> MutexGuard<'_, HashMap<OperationId, Arc<Topic>>> {
        // The last byte of a UUIDv7 is random.
        let index = usize::from(id.as_bytes()[15]) % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes under the shard's lock, so that only subscriptions hold a topic.
    fn publish(&self, id: OperationId, edit: impl FnOnce(&mut TopicState)) {
        if let Some(topic) = self.shard(id).get(&id) {
            edit(&mut topic.lock());
            topic.grown.send_replace(());
        }
    }

    /// Registers interest in an operation. Everything committed from now on will be delivered; read the
    /// operation after this.
    pub(in crate::engine) fn subscribe(self: &Arc<Self>, id: OperationId) -> Subscription {
        let topic = Arc::clone(self.shard(id).entry(id).or_insert_with(|| {
            Arc::new(Topic { state: Mutex::default(), grown: watch::Sender::new(()) })
        }));
        let wake = topic.grown.subscribe();
        Subscription { hub: Arc::clone(self), id, topic: Some(topic), wake }
    }

    /// Publishes a transition that was committed, here or by another replica.
    pub(in crate::engine) fn transition(&self, after: &Arc<Operation>, event_type: EventType) {
        self.publish(after.id(), |state| {
            state.add(Committed { operation: Arc::clone(after), event_type });
        });
    }

    /// Whether any watch over a filter exists.
    pub(in crate::engine) fn has_feeds(&self) -> bool {
        self.chain.is_watched()
    }

    /// The watched operations.
    pub(in crate::engine) fn watched(&self) -> Vec<OperationId> {
        let lock = |shard: &Mutex<HashMap<OperationId, Arc<Topic>>>| -> Vec<OperationId> {
            shard.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
        };
        let mut watched: Vec<OperationId> = self.shards.iter().flat_map(lock).collect();
        // A fixed order, so that equal events have equal outcomes.
        watched.sort_unstable();
        watched
    }

    /// Whether any operation is watched.
    pub(in crate::engine) fn has_watchers(&self) -> bool {
        let is_watched = |shard: &Mutex<HashMap<OperationId, Arc<Topic>>>| {
            !shard.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
        };
        self.shards.iter().any(is_watched)
    }

    /// The latest transition delivered to an operation's watches; `None` if it has none.
    pub(super) fn latest(&self, id: OperationId) -> Option<Revision> {
        self.shard(id).get(&id).map(|topic| topic.lock().known)
    }

    /// Notes that transitions up to `revision` exist.
    pub(in crate::engine) fn known(&self, id: OperationId, revision: Revision) {
        if let Some(topic) = self.shard(id).get(&id) {
            let mut state = topic.lock();
            if state.known < revision {
                state.known = revision;
                drop(state);
                topic.grown.send_replace(());
            }
        }
    }

    /// Publishes that the operation was removed.
    pub(in crate::engine) fn gone(&self, id: OperationId) {
        self.publish(id, |state| state.removed = true);
    }

    /// Publishes a progress report. Watches over filters get it only with `operation`, which is as of the last commit
    /// and missing if it is not cached.
    pub(in crate::engine) fn progress(
        &self,
        id: OperationId,
        attempt: Attempt,
        operation: Option<Arc<Operation>>,
        progress: &Progress,
    ) {
        self.publish(id, |state| state.progress = Some((attempt, progress.clone())));
        if self.has_feeds()
            && let Some(operation) = operation
        {
            let mut operation = Operation::clone(&operation);
            operation.life.progress = Some(progress.clone());
            let _ = self.reports.send(Arc::new(operation));
        }
    }
}

impl Topic {
    fn lock(&self) -> MutexGuard<'_, TopicState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a topic. Dropping it gives the place up.
#[derive(Debug)]
pub(in crate::engine) struct Subscription {
    hub: Arc<Hub>,
    id: OperationId,
    topic: Option<Arc<Topic>>,
    wake: watch::Receiver<()>,
}

/// What a topic has for a watch that has seen the transitions up to a revision.
#[derive(Debug)]
pub(super) enum News {
    /// Nothing.
    None,
    /// The next transition.
    Next(Committed, Arc<Written>),
    /// The next transition is only in the store.
    InStore,
    /// The operation was removed.
    Removed,
}

impl Subscription {
    /// Returns after the next publication; at once if there was one since the last call.
    pub(super) async fn changed(&mut self) {
        // The sender lives in the topic, which `self` holds, so this cannot fail.
        let _ = self.wake.changed().await;
    }

    /// The news after `cursor`. Publications until now cause no further wake-up.
    pub(super) fn news(&mut self, cursor: Revision) -> News {
        self.wake.mark_unchanged();
        let Some(topic) = &self.topic else { return News::None };
        let state = topic.lock();
        let revision = |committed: &Committed| committed.operation.life.revision;
        match state.recent.iter().find(|(committed, _)| revision(committed) > cursor) {
            Some((next, written)) if revision(next) == cursor.next() => {
                News::Next(next.clone(), Arc::clone(written))
            }
            Some(_) => News::InStore,
            None if state.removed => News::Removed,
            None if state.known > cursor => News::InStore,
            None => News::None,
        }
    }

    /// The latest progress of an attempt, if it was reported since the topic began.
    pub(super) fn progress(&self, attempt: Attempt) -> Option<Progress> {
        let state = self.topic.as_ref()?.lock();
        state.progress.as_ref().filter(|(of, _)| *of == attempt).map(|(_, news)| news.clone())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut shard = self.hub.shard(self.id);
        drop(self.topic.take());
        // Topics are handed out only under the shard's lock, so the count cannot rise meanwhile.
        if shard.get(&self.id).is_some_and(|topic| Arc::strong_count(topic) == 1) {
            shard.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::engine::sample::{at, id, operation};

    fn publish(hub: &Hub, revision: u64) {
        let mut after = operation(1, at(0));
        after.life.revision = Revision(revision);
        hub.transition(&Arc::new(after), EventType::Submitted);
    }

    fn next(subscription: &mut Subscription, cursor: u64) -> Option<u64> {
        match subscription.news(Revision(cursor)) {
            News::Next(committed, _) => Some(committed.operation.life.revision.0),
            News::None | News::InStore | News::Removed => None,
        }
    }

    fn is_in_store(subscription: &mut Subscription, cursor: u64) -> bool {
        matches!(subscription.news(Revision(cursor)), News::InStore)
    }

    fn is_woken(subscription: &mut Subscription) -> bool {
        subscription.changed().now_or_never().is_some()
    }

    #[test]
    fn a_watch_is_told_the_next_transition_or_that_it_is_in_the_store() {
        let hub = Arc::new(Hub::new(true));
        let mut watch = hub.subscribe(id(1));
        publish(&hub, 1);
        publish(&hub, 1);
        assert!(is_woken(&mut watch));
        assert_eq!(next(&mut watch, 0), Some(1));
        assert!(matches!(watch.news(Revision(1)), News::None) && !is_woken(&mut watch));
        publish(&hub, 3);
        assert!(is_in_store(&mut watch, 1), "the second has not been heard of");
        publish(&hub, 2);
        assert_eq!([1, 2, 3].map(|cursor| next(&mut watch, cursor)), [Some(2), Some(3), None]);
        hub.known(id(1), Revision(3));
        assert!(!is_woken(&mut watch), "that is no news");
        hub.known(id(1), Revision(5));
        assert!(is_woken(&mut watch) && is_in_store(&mut watch, 3));
        assert_eq!(hub.latest(id(1)), Some(Revision(5)));
        hub.gone(id(1));
        assert!(is_woken(&mut watch));
        assert!(matches!(watch.news(Revision(5)), News::Removed));
    }

    #[test]
    fn a_topic_keeps_a_few_transitions_while_somebody_watches() {
        let hub = Arc::new(Hub::new(false));
        publish(&hub, 1);
        let (mut watch, other) = (hub.subscribe(id(1)), hub.subscribe(id(1)));
        let most = RECENT as u64;
        (2..=most + 2).for_each(|revision| publish(&hub, revision));
        assert!(is_in_store(&mut watch, 1));
        assert_eq!(next(&mut watch, 2), Some(3));
        drop(other);
        assert_eq!(hub.watched(), [id(1)]);
        drop(watch);
        assert!(!hub.has_watchers() && hub.watched().is_empty());
        assert_eq!(hub.latest(id(1)), None);
    }

    #[test]
    fn progress_is_that_of_one_attempt() {
        let hub = Arc::new(Hub::new(false));
        let watch = hub.subscribe(id(1));
        let progress = Progress {
            percent: Some(50.0),
            done_units: None,
            total_units: None,
            message: String::new(),
            at: at(1),
        };
        hub.progress(id(1), Attempt(2), None, &progress);
        assert_eq!(watch.progress(Attempt(2)), Some(progress));
        assert_eq!(watch.progress(Attempt(1)), None);
        assert_eq!(watch.progress(Attempt(3)), None);
    }
}
