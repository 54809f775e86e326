//! Telling watchers of commits: one topic per watched operation, one feed for watches over filters.
//!
//! A watcher holds no queue. It pulls: from the topic's few recent transitions while it keeps up, from
//! the stored history by its cursor when it does not. So memory is bounded by the number of watchers,
//! however slow they are, and no transition is ever skipped.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use super::draft::Transition;
use crate::operation::{Attempt, EventType, Operation, OperationId, Progress, Revision};

/// How many transitions a topic keeps for watchers that are not quite up to date.
const RECENT: usize = 16;
/// How many changes a watch over a filter may be behind before it must begin again.
const FEED: usize = 4_096;
/// Locks are spread over this many shards.
const SHARDS: usize = 64;

/// A committed transition as watchers see it.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The operation after it.
    pub operation: Arc<Operation>,
    /// What it was.
    pub event_type: EventType,
}

/// A change for a watch over a filter.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Transition { before: Option<Arc<Operation>>, committed: Committed },
    Progress(Arc<Operation>),
    Removed(Arc<Operation>),
}

/// Where watchers register and commits are published.
#[derive(Debug)]
pub(super) struct Hub {
    shards: Vec<Mutex<HashMap<OperationId, Arc<Topic>>>>,
    feed: broadcast::Sender<Change>,
}

/// What watchers of one operation share.
#[derive(Debug)]
pub(super) struct Topic {
    state: Mutex<TopicState>,
    /// Rises with every publication: the wake-up.
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct TopicState {
    recent: VecDeque<Committed>,
    progress: Option<(Attempt, Progress)>,
    removed: bool,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            feed: broadcast::Sender::new(FEED),
        }
    }
}

impl Hub {
    fn shard(&self, id: OperationId) -> MutexGuard<'_, HashMap<OperationId, Arc<Topic>>> {
        // The last byte of a UUIDv7 is random.
        let index = usize::from(id.as_bytes()[15]) % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes under the shard's lock, so that nobody but subscriptions ever holds a topic.
    fn publish(&self, id: OperationId, edit: impl FnOnce(&mut TopicState)) {
        if let Some(topic) = self.shard(id).get(&id) {
            edit(&mut topic.lock());
            topic.version.send_modify(|version| *version += 1);
        }
    }

    /// Registers interest in an operation. Whatever is committed from now on will be told; read the
    /// operation after this.
    pub(super) fn subscribe(self: &Arc<Self>, id: OperationId) -> Subscription {
        let topic = Arc::clone(self.shard(id).entry(id).or_insert_with(|| {
            Arc::new(Topic { state: Mutex::default(), version: watch::Sender::new(0) })
        }));
        let wake = topic.version.subscribe();
        Subscription { hub: Arc::clone(self), id, topic: Some(topic), wake }
    }

    /// Registers interest in everything.
    pub(super) fn subscribe_all(&self) -> broadcast::Receiver<Change> {
        self.feed.subscribe()
    }

    /// A transition was committed.
    pub(super) fn transition(&self, transition: Transition) {
        let Transition { before, after, event_type, .. } = transition;
        let committed = Committed { operation: after, event_type };
        self.publish(committed.operation.id(), |state| {
            if state.recent.len() == RECENT {
                state.recent.pop_front();
            }
            state.recent.push_back(committed.clone());
        });
        if self.feed.receiver_count() > 0 {
            let _ = self.feed.send(Change::Transition { before, committed });
        }
    }

    /// A worker reported progress. `operation` is as of the last commit, where it is at hand: only
    /// then do watches over filters hear of it.
    pub(super) fn progress(
        &self,
        id: OperationId,
        attempt: Attempt,
        operation: Option<Arc<Operation>>,
        progress: &Progress,
    ) {
        self.publish(id, |state| state.progress = Some((attempt, progress.clone())));
        if self.feed.receiver_count() > 0
            && let Some(operation) = operation
        {
            let mut operation = Operation::clone(&operation);
            operation.life.progress = Some(progress.clone());
            let _ = self.feed.send(Change::Progress(Arc::new(operation)));
        }
    }

    /// An operation was deleted.
    pub(super) fn removed(&self, operation: Arc<Operation>) {
        self.publish(operation.id(), |state| state.removed = true);
        if self.feed.receiver_count() > 0 {
            let _ = self.feed.send(Change::Removed(operation));
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
pub(super) struct Subscription {
    hub: Arc<Hub>,
    id: OperationId,
    topic: Option<Arc<Topic>>,
    wake: watch::Receiver<u64>,
}

/// What a topic has for somebody who has seen everything up to a revision.
#[derive(Debug)]
pub(super) enum News {
    /// Nothing.
    None,
    /// The next transition.
    Next(Committed),
    /// The next transition is no longer kept here: it is in the store.
    InStore,
    /// The operation was deleted.
    Removed,
}

impl Subscription {
    /// Returns after the next publication; at once if there was one since the last call.
    pub(super) async fn changed(&mut self) {
        // The sender lives in the topic that we hold, so this cannot fail.
        let _ = self.wake.changed().await;
    }

    /// What comes after `cursor`. Publications until now need no further wake-up.
    pub(super) fn news(&mut self, cursor: Revision) -> News {
        self.wake.mark_unchanged();
        let Some(topic) = &self.topic else { return News::None };
        let state = topic.lock();
        let revision = |committed: &Committed| committed.operation.life.revision;
        match state.recent.iter().find(|committed| revision(committed) > cursor) {
            Some(next) if revision(next) == cursor.next() => News::Next(next.clone()),
            Some(_) => News::InStore,
            None if state.removed => News::Removed,
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
        // Only under the shard's lock is a topic handed out, so the count cannot rise meanwhile.
        if shard.get(&self.id).is_some_and(|topic| Arc::strong_count(topic) == 1) {
            shard.remove(&self.id);
        }
    }
}
