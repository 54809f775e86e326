//! Tells watchers here of what other replicas have committed, and keeps watches over filters in order.
//!
//! Where several replicas share the store, a transition reaches watchers from two sides: from our own commits,
//! and from hints of others' commits, which may come late. Watches over one operation go by their cursor, so
//! order is theirs already. Watches over filters have none: all that they are told goes through here, one
//! operation's transitions each once and in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::draft::Transition;
use super::request::Request;
use super::told::Told;
use super::watch::Change;
use crate::operation::{Event, Life, Operation, OperationId, Revision, Timestamp};
use crate::store::shared::{Changed, Hint, SharedStore};
use crate::store::{Lookup, StoreError};

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
                hint = store.hint() => self.take(store, hint).await,
                () = shared.clock.sleep_until(wake) => self.look_around().await,
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
            // What waits by now is read with it.
            while changed.len() < PAGE && next.is_none() {
                match store.hint().now_or_never() {
                    Some(Hint::Changed(more)) => changed.extend(more),
                    Some(other) => next = Some(other),
                    None => break,
                }
            }
            if self.follow(&changed).await.is_err() {
                // What could not be read now is found by the next look at everything.
                self.missed();
            }
        }
    }

    /// A hint that concerns the committer.
    async fn pass_on(&mut self, hint: Hint) {
        if hint == Hint::Missed {
            self.missed();
            self.check().await;
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
        let shared = Arc::clone(&self.shared);
        let Some(store) = shared.store.shared() else { return Ok(()) };
        self.begin_with_feeds();
        let hub = &shared.hub;
        let has_feeds = hub.has_feeds();
        let of_interest =
            changed.iter().filter(|changed| has_feeds || hub.is_watched(changed.id)).copied();
        for changed in joined(of_interest).chunks(PAGE) {
            let lookups = changed.iter().map(|changed| Lookup::Id(changed.id)).collect();
            let firsts: Vec<Revision> =
                changed.iter().map(|changed| self.first_of_interest(changed)).collect();
            // What was before the first is wanted as well.
            let after = changed.iter().zip(&firsts);
            let after =
                after.map(|(changed, first)| (changed.id, Revision(first.0.saturating_sub(2))));
            let after = after.collect();
            let found = tokio::try_join!(self.shared.store.load(lookups), read(store, after));
            let (operations, histories) = found?;
            // They may have come meanwhile.
            self.begin_with_feeds();
            for (((changed, first), operation), events) in
                changed.iter().zip(firsts).zip(operations).zip(histories)
            {
                let Some(operation) = operation.filter(|_| !changed.removed) else {
                    self.tell_removed(changed.id);
                    continue;
                };
                let is_known = self.told.revision(changed.id).is_some();
                for transition in transitions(&operation, events, first) {
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

    /// From where the feeds are. If that is not known, from where the others began, and what came just before
    /// and was not told.
    fn first_of_interest(&self, changed: &Changed) -> Revision {
        match self.told.revision(changed.id) {
            Some(told) => changed.first.min(told.next()),
            None => Revision(changed.first.0.saturating_sub(LOOK_BACK).max(1)),
        }
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

/// Each operation once, with all that has changed of it.
fn joined(changed: impl Iterator<Item = Changed>) -> Vec<Changed> {
    let mut joined: Vec<Changed> = changed.collect();
    joined.sort_by_key(|changed| changed.id);
    joined.dedup_by(|later, first| {
        let is_same = later.id == first.id;
        if is_same {
            first.first = first.first.min(later.first);
            first.last = first.last.max(later.last);
            first.removed |= later.removed;
        }
        is_same
    });
    joined
}

/// All transitions of each after the revision that is named with it.
async fn read(
    store: &dyn SharedStore,
    after: Vec<(OperationId, Revision)>,
) -> Result<Vec<Vec<Event>>, StoreError> {
    let mut read = vec![Vec::new(); after.len()];
    // Those that may have more. Hardly any has more than a page.
    let mut open: Vec<_> = after.into_iter().zip(&mut read).collect();
    while !open.is_empty() {
        let asked = open.iter().map(|(after, _)| *after).collect();
        let mut pages = store.transitions(asked, STEPS).await?.into_iter();
        open.retain_mut(|((_, after), read)| {
            let page = pages.next().unwrap_or_default();
            let is_full = page.len() == STEPS;
            read.extend(page);
            *after = read.last().map_or(*after, |last: &Event| last.life.revision);
            is_full
        });
    }
    Ok(read)
}

/// The transitions from `first` on, of events that begin at least one before it, if there is any.
fn transitions(operation: &Operation, events: Vec<Event>, first: Revision) -> Vec<Transition> {
    let mut before = None;
    let mut transitions = Vec::with_capacity(events.len());
    for Event { event_type, life } in events {
        let submission = Arc::clone(&operation.submission);
        let after = Arc::new(Operation { submission, life });
        let before = before.replace(Arc::clone(&after));
        if after.life.revision >= first {
            transitions.push(Transition { before, after, event_type, by_report: false });
        }
    }
    transitions
}
