//! A watch over a filter: current matches, then changes. One that falls behind begins again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use super::Shared;
use super::request::EngineError;
use super::watch::{Change, Committed};
use crate::operation::filter::Filter;
use crate::operation::{Operation, OperationId, TenantId, Timestamp};
use crate::store::{ListOrder, ListPosition, ListQuery, OrderBy};

/// How many current matches are read at a time.
const PAGE: usize = 200;
/// Progress is gathered for this long.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
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
    tenant: TenantId,
    filter: Filter,
    include_progress: bool,
    phase: Phase,
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
        let mut pending = VecDeque::new();
        let phase = if skip_current {
            pending.push_back(FeedItem::Synced);
            Phase::Following
        } else {
            Phase::Listing { after: None }
        };
        Self {
            receiver: shared.hub.subscribe_all(),
            shared,
            tenant,
            filter,
            include_progress,
            phase,
            pending,
            progress: Vec::new(),
            progress_due: Timestamp::MAX,
        }
    }

    /// The next item. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<FeedItem, EngineError> {
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
        let page = self.shared.store.list(query).await?;
        loop {
            match self.receiver.try_recv() {
                Ok(change) if after.is_some_and(|told| change.id() <= told) => self.tell(change),
                // It has not been told yet, so it will be told as it is then.
                Ok(_) => {}
                Err(TryRecvError::Lagged(_)) => {
                    self.reset();
                    return Ok(());
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.phase = match page.last() {
            Some(last) if page.len() == PAGE => Phase::Listing { after: Some(last.id()) },
            _ => Phase::Following,
        };
        self.pending.extend(
            page.into_iter().map(|operation| {
                FeedItem::Current(Arc::new(self.shared.progress.refresh(operation)))
            }),
        );
        if self.phase == Phase::Following {
            self.pending.push_back(FeedItem::Synced);
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.receiver = self.shared.hub.subscribe_all();
        self.progress.clear();
        self.pending.push_back(FeedItem::Reset);
        self.phase = Phase::Listing { after: None };
    }

    fn tell(&mut self, change: Change) {
        if change.operation().submission.tenant != self.tenant {
            return;
        }
        match change {
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
    fn operation(&self) -> &Operation {
        match self {
            Self::Transition { committed, .. } => &committed.operation,
            Self::Progress(operation) | Self::Removed(operation) => operation,
        }
    }

    fn id(&self) -> OperationId {
        self.operation().id()
    }
}
