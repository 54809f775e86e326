//! Tells watchers here of what other replicas have committed, and keeps watches over filters in order.
//!
//! Where several replicas share the store, a transition reaches watchers from two sides: from our own commits,
//! and from hints of others' commits, which may come late. Watches over one operation go by their cursor, so
//! order is theirs already. Watches over filters have none: all that they are told goes through here, one
//! operation's transitions each once and in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::draft::Transition;
use super::request::Request;
use super::told::Told;
use super::watch::Change;
use crate::operation::{Event, Life, Operation, OperationId, Revision, Timestamp};
use crate::store::shared::{Changed, Hint};
use crate::store::{HistoryEntry, HistoryPosition, HistoryQuery, Lookup, StoreError};

/// How often everything watched is looked at, whatever hints say.
const CHECK: Duration = Duration::from_secs(10);
/// How soon again, if that could not be done.
const CHECK_AGAIN: Duration = Duration::from_secs(1);
/// How often the store counts what is not done; less often if counting takes long.
const COUNT: Duration = Duration::from_secs(5);
/// The least multiple of the time that counting takes.
const COUNT_PAUSES: u32 = 50;
/// How many operations are looked up at a time.
const PAGE: usize = 256;
/// How many histories are read at a time.
const HISTORIES: usize = 32;
/// How many transitions before one of another replica's are looked at where it is not known what was told.
const LOOK_BACK: u64 = 16;
/// Most transitions read at a time of one operation.
const STEPS: usize = 64;

/// Our own commits on their way to watches over filters.
#[derive(Debug)]
pub(super) enum Ours {
    Transition(Transition),
    Removed(Arc<Operation>),
    /// Some that could be read long before they are told.
    Late,
}

/// The follower.
pub(super) struct Follower {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    ours: mpsc::Receiver<Ours>,
    told: Told,
    /// When `told` was begun, as the hub counts.
    feed_times: u64,
    check_at: Timestamp,
    count_at: Timestamp,
}

impl Follower {
    pub(super) fn new(
        shared: Arc<Shared>,
        requests: mpsc::Sender<Request>,
        ours: mpsc::Receiver<Ours>,
    ) -> Self {
        let now = shared.clock.now();
        Self {
            shared,
            requests,
            ours,
            told: Told::default(),
            feed_times: 0,
            check_at: now.after(CHECK),
            count_at: now.after(COUNT),
        }
    }

    /// Follows until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let Some(store) = shared.store.shared() else { return };
        loop {
            let wake = self.check_at.min(self.count_at);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(ours) = self.ours.recv() => self.tell_ours(ours).await,
                hint = store.hint() => self.take(hint).await,
                () = shared.clock.sleep_until(wake) => self.look_around().await,
            }
        }
    }

    async fn take(&mut self, hint: Hint) {
        match &hint {
            Hint::Changed(changed) => {
                if self.follow(changed).await.is_err() {
                    // What could not be read now is found by the next look at everything.
                    self.missed();
                }
                return;
            }
            Hint::Missed => {
                self.missed();
                self.check().await;
            }
            Hint::Queued | Hint::Leases(_) | Hint::TakenOver(_) => {}
        }
        // Refused when the committer has ended: then there is nobody to tell.
        let _ = self.requests.send(Request::Hint(hint)).await;
    }

    /// Watches over filters begin again; watches over operations are checked at once.
    fn missed(&mut self) {
        self.told.clear();
        self.shared.hub.reset_feeds();
        self.check_at = self.shared.clock.now();
    }

    /// Whether an operation of which nothing is known to be told was not told as of that time.
    fn is_news(&self, updated_at: Timestamp) -> bool {
        self.told.lacks(updated_at, self.shared.clock.now())
    }

    /// While nobody watched, nobody was told.
    fn begin_with_feeds(&mut self) {
        let times = self.shared.hub.feed_times();
        if self.feed_times != times {
            self.feed_times = times;
            self.told.clear();
        }
    }

    async fn look_around(&mut self) {
        let now = self.shared.clock.now();
        if self.check_at <= now {
            self.check().await;
        }
        if self.count_at <= now {
            self.count().await;
        }
    }

    async fn count(&mut self) {
        let Some(store) = self.shared.store.shared() else { return };
        let began = self.shared.clock.now();
        if let Ok(counts) = store.outstanding().await {
            let _ = self.requests.send(Request::Counts(counts)).await;
        }
        let now = self.shared.clock.now();
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
        self.check_at = self.shared.clock.now().after(pause);
    }

    /// Reads what others have committed, and tells those who watch it.
    async fn follow(&mut self, changed: &[Changed]) -> Result<(), StoreError> {
        self.begin_with_feeds();
        let hub = Arc::clone(&self.shared.hub);
        let has_feeds = hub.has_feeds();
        let of_interest = |id| has_feeds || hub.is_watched(id);
        let changed: Vec<Changed> =
            changed.iter().copied().filter(|changed| of_interest(changed.id)).collect();
        for changed in changed.chunks(PAGE) {
            let lookups = changed.iter().map(|changed| Lookup::Id(changed.id)).collect();
            let found = self.shared.store.load(lookups).await?;
            let mut histories = Vec::with_capacity(changed.len());
            for (changed, found) in changed.iter().zip(found) {
                // From where the feeds are. If that is not known, from where the others began, and what came
                // just before and was not told.
                let told = self.told.revision(changed.id);
                let before = Revision(changed.first.0.saturating_sub(LOOK_BACK).max(1));
                let first = told.map_or(before, |told| changed.first.min(told.next()));
                let found = found.filter(|_| !changed.removed);
                histories.push(read(Arc::clone(&self.shared), changed.id, found, first));
            }
            let histories: Vec<_> = stream::iter(histories).buffered(HISTORIES).collect().await;
            // They may have come meanwhile.
            self.begin_with_feeds();
            for (history, changed) in histories.into_iter().zip(changed) {
                let (id, transitions) = history?;
                let is_known = self.told.revision(id).is_some();
                let Some(transitions) = transitions else {
                    self.tell_removed(id);
                    continue;
                };
                for transition in transitions {
                    hub.transition_of_others(&transition);
                    let Life { revision, updated_at, .. } = &transition.after.life;
                    if is_known || *revision >= changed.first || self.is_news(*updated_at) {
                        self.tell(transition);
                    }
                }
            }
        }
        Ok(())
    }

    /// Our own commit: told at once, unless others' transitions come before it.
    async fn tell_ours(&mut self, ours: Ours) {
        self.begin_with_feeds();
        match ours {
            Ours::Transition(transition) => {
                let revision = transition.after.life.revision;
                let id = transition.after.id();
                let before = transition.before.as_ref();
                let lacks = match self.told.revision(id) {
                    Some(told) => told.next() < revision,
                    None => before.is_some_and(|it| self.is_news(it.life.updated_at)),
                };
                if lacks {
                    let changed = Changed { id, first: revision, last: revision, removed: false };
                    if self.follow(&[changed]).await.is_err() {
                        self.missed();
                    }
                } else {
                    self.tell(transition);
                }
            }
            Ours::Removed(operation) => {
                let id = operation.id();
                self.told.remember(operation);
                self.tell_removed(id);
            }
            Ours::Late => self.missed(),
        }
    }

    /// Tells watches over filters of a transition, unless they know it.
    fn tell(&mut self, transition: Transition) {
        let Transition { after, .. } = &transition;
        if self.told.revision(after.id()).is_some_and(|told| told >= after.life.revision) {
            return;
        }
        self.told.remember(Arc::clone(after));
        self.shared.hub.tell_feeds(Change::from(transition));
    }

    /// Of what another replica has removed only what was told lately is still known.
    fn tell_removed(&mut self, id: OperationId) {
        self.shared.hub.gone(id);
        if let Some(operation) = self.told.forget(id) {
            self.shared.hub.tell_feeds(Change::Removed(operation));
        }
    }
}

/// The transitions of an operation from `first` on; nothing, if it is not there.
async fn read(
    shared: Arc<Shared>,
    id: OperationId,
    operation: Option<Operation>,
    first: Revision,
) -> Result<(OperationId, Option<Vec<Transition>>), StoreError> {
    Ok(match operation {
        Some(operation) => (id, Some(history(&shared, operation, first).await?)),
        None => (id, None),
    })
}

/// The transitions of an operation from `first` on.
async fn history(
    shared: &Shared,
    operation: Operation,
    first: Revision,
) -> Result<Vec<Transition>, StoreError> {
    // What was before the first is wanted as well.
    let mut after = Revision(first.0.saturating_sub(2));
    let mut before = None;
    let mut transitions = Vec::new();
    loop {
        let position = HistoryPosition { revision: after, log_number: 0 };
        let query =
            HistoryQuery { id: operation.id(), after: position, include_log: false, limit: STEPS };
        let page = shared.store.history(query).await?;
        let length = page.len();
        for entry in page {
            let HistoryEntry::Transition(Event { event_type, life }) = entry else { continue };
            after = life.revision;
            let submission = Arc::clone(&operation.submission);
            let step = Arc::new(Operation { submission, life });
            if after >= first {
                let (before, after) = (before, Arc::clone(&step));
                transitions.push(Transition { before, after, event_type, by_report: false });
            }
            before = Some(step);
        }
        if length < STEPS {
            return Ok(transitions);
        }
    }
}
