//! A watch over a filter: current matches, then changes. One that falls behind begins again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use super::Shared;
use super::request::EngineError;
use super::watch::{Change, Committed};
use crate::operation::filter::Filter;
use crate::operation::{Operation, OperationId, Revision, TenantId, Timestamp};
use crate::store::shared::{Listening, Topic};
use crate::store::{ListOrder, ListPosition, ListQuery, OrderBy, StoreError};

/// How many current matches are read at a time.
const PAGE: usize = 200;
/// Progress is gathered for this long.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// How long a store that is away is left alone.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// What was changed within this time before it was read may be told as a change for as long again: where replicas
/// share the store, changes are heard of later than they can be read.
const LATE: Duration = Duration::from_secs(120);
/// Of how many operations progress is gathered at once; what is more is told with the next report.
const MAX_PROGRESS: usize = 1_000;

/// What a watch over a filter delivers.
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// A match as it is.
    Current(Arc<Operation>),
    /// All current matches have been told.
    Synced,
    /// A transition of a match.
    Transition(Committed),
    /// A transition after which the operation no longer matches.
    Left(Committed),
    /// A match was deleted.
    Deleted(Arc<Operation>),
    /// Progress of a match.
    Progress(Arc<Operation>),
    /// Changes were skipped: everything is told again.
    Reset,
}

/// A watch over a filter.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
    receiver: broadcast::Receiver<Change>,
    /// Until hints of other replicas arrive.
    opening: bool,
    listening: Option<Listening>,
    tenant: TenantId,
    filter: Filter,
    include_progress: bool,
    phase: Phase,
    was_reset: bool,
    /// What was told as current and may yet be told as a change.
    shown: HashMap<OperationId, Revision>,
    shown_until: Timestamp,
    pending: VecDeque<FeedItem>,
    progress: Vec<Arc<Operation>>,
    progress_due: Timestamp,
}

#[derive(Debug, PartialEq)]
enum Phase {
    /// Reading current matches by rising id; those up to `after` have been told, and their
    /// changes are told from then on.
    Listing { after: Option<OperationId> },
    /// Everything has been told.
    Following,
}

impl Feed {
    pub(super) fn new(
        shared: Arc<Shared>,
        tenant: TenantId,
        filter: Filter,
        include_progress: bool,
        skip_current: bool,
    ) -> Self {
        let listening = shared.store.shared().map(|store| store.listen(Topic::Operations));
        let mut pending = VecDeque::new();
        let phase = if skip_current {
            pending.push_back(FeedItem::Synced);
            Phase::Following
        } else {
            Phase::Listing { after: None }
        };
        Self {
            receiver: shared.hub.subscribe_all(),
            opening: true,
            listening,
            shared,
            tenant,
            filter,
            include_progress,
            phase,
            was_reset: false,
            shown: HashMap::new(),
            shown_until: Timestamp::MAX,
            pending,
            progress: Vec::new(),
            progress_due: Timestamp::MAX,
        }
    }

    /// The next item. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<FeedItem, EngineError> {
        if self.opening
            && let Some(listening) = &mut self.listening
        {
            listening.effective().await;
        }
        self.opening = false;
        loop {
            if let Some(item) = self.pending.pop_front() {
                return Ok(item);
            }
            if self.phase == Phase::Following {
                self.follow().await;
            } else {
                self.list().await?;
            }
        }
    }

    async fn follow(&mut self) {
        tokio::select! {
            biased;
            change = self.receiver.recv() => match change {
                Ok(change) => self.tell(change),
                Err(RecvError::Lagged(_)) => self.reset(),
                // The hub lives as long as `shared`.
                Err(RecvError::Closed) => {}
            },
            () = self.shared.clock.sleep_until(self.progress_due), if !self.progress.is_empty() => {
                self.progress_due = Timestamp::MAX;
                self.pending.extend(self.progress.drain(..).map(FeedItem::Progress));
            }
        }
    }

    /// Reads a page of current matches, and first tells what has become of those told before.
    async fn list(&mut self) -> Result<(), EngineError> {
        let Phase::Listing { after } = self.phase else { return Ok(()) };
        let query = ListQuery {
            tenant: self.tenant.clone(),
            filter: self.filter.clone(),
            order: ListOrder { by: OrderBy::CreateTime, descending: false },
            after: after.map(|id| ListPosition { end_time: Timestamp::MAX, id }),
            limit: PAGE,
        };
        let page = match self.shared.store.list(query).await {
            // Who has been told something goes on when the store is back.
            Err(StoreError::Unavailable(_)) if self.was_reset && self.listening.is_some() => {
                let clock = &self.shared.clock;
                clock.sleep_until(clock.now().after(STORE_PAUSE)).await;
                return Ok(());
            }
            page => self.shared.refresh(page?).await,
        };
        let last = match page.last() {
            Some(last) if page.len() == PAGE => Some(last.id()),
            _ => None,
        };
        let mut since = Vec::new();
        loop {
            match self.receiver.try_recv() {
                Ok(Change::Missed) => {
                    self.reset();
                    return Ok(());
                }
                Ok(change) if after.is_some_and(|told| change.id() <= Some(told)) => {
                    self.tell(change);
                }
                // It may have come between the reading of the page and now.
                Ok(change) if last.is_none_or(|last| change.id() <= Some(last)) => {
                    since.push(change);
                }
                // It has not been told yet, so it will be told as it is then.
                Ok(_) => {}
                Err(TryRecvError::Lagged(_)) => {
                    self.reset();
                    return Ok(());
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.phase = match last {
            Some(last) => Phase::Listing { after: Some(last) },
            None => Phase::Following,
        };
        self.remember(&page);
        let read: HashMap<OperationId, Revision> =
            page.iter().map(|found| (found.id(), found.life.revision)).collect();
        let current = page.into_iter().map(Arc::new).map(FeedItem::Current);
        self.pending.extend(current);
        for change in since {
            if !change.is_in(&read) {
                self.tell(change);
            }
        }
        if self.phase == Phase::Following {
            self.pending.push_back(FeedItem::Synced);
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.receiver = self.shared.hub.subscribe_all();
        self.was_reset = true;
        self.shown.clear();
        self.progress.clear();
        self.pending.push_back(FeedItem::Reset);
        self.phase = Phase::Listing { after: None };
    }

    fn tell(&mut self, change: Change) {
        if change.operation().is_some_and(|it| it.submission.tenant != self.tenant) {
            return;
        }
        match change {
            Change::Missed => self.reset(),
            Change::Transition { committed, .. } if self.is_shown(&committed.operation) => {}
            Change::Transition { before, committed } => {
                if self.filter.matches(&committed.operation) {
                    self.pending.push_back(FeedItem::Transition(committed));
                } else if before.is_some_and(|before| self.filter.matches(&before)) {
                    self.pending.push_back(FeedItem::Left(committed));
                }
            }
            Change::Removed(operation) => {
                if self.filter.matches(&operation) {
                    self.pending.push_back(FeedItem::Deleted(operation));
                }
            }
            Change::Progress(operation) => {
                if self.include_progress && self.filter.matches(&operation) {
                    self.gather_progress(operation);
                }
            }
        }
    }

    /// Remembers what of a page may be told again, because others have just changed it.
    fn remember(&mut self, page: &[Operation]) {
        if self.listening.is_none() {
            return;
        }
        let now = self.shared.clock.now();
        let recent = page.iter().filter(|found| found.life.updated_at.after(LATE) > now);
        self.shown.extend(recent.map(|found| (found.id(), found.life.revision)));
        self.shown_until = now.after(LATE);
    }

    /// Whether the operation was told as of that transition, or a later one.
    fn is_shown(&mut self, operation: &Operation) -> bool {
        if self.phase == Phase::Following && self.shown_until <= self.shared.clock.now() {
            self.shown = HashMap::new();
        }
        let shown = self.shown.get(&operation.id());
        shown.is_some_and(|shown| operation.life.revision <= *shown)
    }

    fn gather_progress(&mut self, operation: Arc<Operation>) {
        let same = self.progress.iter_mut().find(|known| known.id() == operation.id());
        if let Some(known) = same {
            *known = operation;
        } else if self.progress.len() < MAX_PROGRESS {
            self.progress.push(operation);
        }
        if self.progress_due == Timestamp::MAX {
            self.progress_due = self.shared.clock.now().after(PROGRESS_INTERVAL);
        }
    }
}

impl Change {
    fn operation(&self) -> Option<&Operation> {
        match self {
            Self::Transition { committed, .. } => Some(&committed.operation),
            Self::Progress(operation) | Self::Removed(operation) => Some(operation),
            Self::Missed => None,
        }
    }

    fn id(&self) -> Option<OperationId> {
        self.operation().map(Operation::id)
    }

    /// Whether a page with operations at these revisions shows it.
    fn is_in(&self, page: &HashMap<OperationId, Revision>) -> bool {
        let read = self.id().and_then(|id| page.get(&id));
        match self {
            Self::Transition { committed, .. } => {
                read.is_some_and(|read| committed.operation.life.revision <= *read)
            }
            // What was read may have been removed since, or was removed before.
            Self::Removed(_) => read.is_none(),
            Self::Progress(_) | Self::Missed => false,
        }
    }
}
