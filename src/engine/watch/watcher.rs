//! A watch of one operation: every transition after a cursor, once and in order, to the terminal one, with coalesced
//! progress in between.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::Shared;
use super::super::clock::Moment;
use super::super::request::EngineError;
use super::hub::{News, Subscription};
use super::item::{Committed, Written};
use crate::operation::{Operation, Progress, Revision};
use crate::store::shared::Listening;
use crate::store::{HistoryEntry, HistoryPosition, HistoryQuery, StoreError};

/// How many transitions a watcher that has fallen behind reads at a time. Each may have 256 KiB of error text.
const PAGE: usize = 16;
/// The pause after a store that is unavailable.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// The shortest time between two progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// A message of a watch.
#[derive(Clone, Debug)]
pub enum WatchItem {
    /// The operation as it is.
    Snapshot(Arc<Operation>),
    /// The next transition.
    Transition(Committed, Arc<Written>),
    /// Progress since the latest transition.
    Progress(Arc<Operation>),
}

/// A watch of one operation. Holds no queue, at most one page of history.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    subscription: Subscription,
    /// The operation as of `cursor`; before the first history entry, as found.
    operation: Arc<Operation>,
    cursor: Revision,
    /// The revision at which the operation was found.
    found_at: Revision,
    snapshot_due: bool,
    caught_up: VecDeque<Committed>,
    progress: Option<SentProgress>,
    /// The subscription to hints of other replicas, if there are any.
    listening: Option<Listening>,
}

/// The progress delivered to this watcher.
#[derive(Debug, Default)]
struct SentProgress {
    last: Option<Progress>,
    not_before: Moment,
}

impl Watcher {
    /// Watches `operation`, which was loaded after `subscription` was made.
    pub(in crate::engine) fn new(
        shared: Arc<Shared>,
        subscription: Subscription,
        operation: Operation,
        after: Option<Revision>,
        include_progress: bool,
        listening: Option<Listening>,
    ) -> Self {
        let found_at = operation.life.revision;
        Self {
            snapshot_due: after.is_none(),
            cursor: after.unwrap_or(found_at),
            found_at,
            operation: Arc::new(shared.progress.refresh(operation)),
            shared,
            subscription,
            caught_up: VecDeque::new(),
            progress: include_progress.then(SentProgress::default),
            listening,
        }
    }

    /// Adds transitions after the cursor that are cached, in order and without gaps.
    pub(in crate::engine) fn caught_up(mut self, transitions: Vec<Committed>) -> Self {
        self.caught_up = transitions.into();
        self
    }

    /// The revision to resume from.
    pub fn cursor(&self) -> Revision {
        self.cursor
    }

    /// Whether the terminal transition has been delivered, so nothing can follow.
    pub fn is_over(&self) -> bool {
        let has_more = self.snapshot_due || !self.caught_up.is_empty();
        !has_more && self.cursor >= self.found_at && self.operation.is_done()
    }

    /// Returns the next item; `None` after the terminal transition. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<WatchItem>, EngineError> {
        if std::mem::take(&mut self.snapshot_due) {
            return Ok(Some(WatchItem::Snapshot(Arc::clone(&self.operation))));
        }
        loop {
            if let Some(committed) = self.caught_up.pop_front() {
                return Ok(Some(self.advance(committed, Arc::default())));
            }
            if self.is_over() {
                return Ok(None);
            }
            match self.subscription.news(self.cursor) {
                News::Next(committed, written) => {
                    // Progress that was reported before the transition is delivered before it.
                    if let Some(item) = self.unsent_progress(Moment::MAX) {
                        return Ok(Some(item));
                    }
                    return Ok(Some(self.advance(committed, written)));
                }
                News::InStore => self.read_history().await?,
                News::Removed => return Err(EngineError::NotFound),
                News::None if self.cursor < self.found_at => self.read_history().await?,
                News::None => {
                    if let Some(item) = self.unsent_progress(self.shared.clock.moment()) {
                        return Ok(Some(item));
                    }
                    self.sleep().await;
                }
            }
        }
    }

    fn advance(&mut self, committed: Committed, written: Arc<Written>) -> WatchItem {
        self.cursor = committed.operation.life.revision;
        self.operation = Arc::clone(&committed.operation);
        WatchItem::Transition(committed, written)
    }

    async fn read_history(&mut self) -> Result<(), EngineError> {
        let query = HistoryQuery {
            id: self.operation.id(),
            after: HistoryPosition { revision: self.cursor, log_number: 0 },
            include_log: false,
            limit: PAGE,
        };
        let entries = match self.shared.store.history(query).await {
            // The watch continues when the store is back; replicas outlive an outage without a restart.
            Err(StoreError::Unavailable(_)) if self.listening.is_some() => {
                let clock = &self.shared.clock;
                clock.sleep_until_moment(clock.moment().after(STORE_PAUSE)).await;
                return Ok(());
            }
            entries => entries?,
        };
        if entries.is_empty() {
            // A later transition exists, so the missing history means that the operation was removed.
            return Err(EngineError::NotFound);
        }
        self.caught_up.extend(entries.into_iter().filter_map(|entry| match entry {
            HistoryEntry::Transition(event) => {
                let submission = Arc::clone(&self.operation.submission);
                let operation = Arc::new(Operation { submission, life: event.life });
                Some(Committed { operation, event_type: event.event_type })
            }
            HistoryEntry::Log(_) => None,
        }));
        Ok(())
    }

    /// Undelivered progress of the current attempt; none while the watch has yet to deliver the attempt's transition.
    fn progress_news(&self) -> Option<Progress> {
        let sent =
            self.progress.as_ref().filter(|_| self.operation.life.revision == self.cursor)?;
        self.operation.life.state.lease()?;
        let news = self.subscription.progress(self.operation.life.attempt)?;
        let known = sent.last.as_ref().or(self.operation.life.progress.as_ref());
        (known != Some(&news)).then_some(news)
    }

    /// The same, if it may be delivered at `now`.
    fn unsent_progress(&mut self, now: Moment) -> Option<WatchItem> {
        let news = self.progress_news()?;
        let sent = self.progress.as_mut().filter(|sent| sent.not_before <= now)?;
        sent.not_before = self.shared.clock.moment().after(PROGRESS_INTERVAL);
        sent.last = Some(news.clone());
        let mut operation = Operation::clone(&self.operation);
        operation.life.progress = Some(news);
        self.operation = Arc::new(operation);
        Some(WatchItem::Progress(Arc::clone(&self.operation)))
    }

    /// Waits until there may be something to deliver.
    async fn sleep(&mut self) {
        let waiting = self.unsent_is_waiting();
        tokio::select! {
            biased;
            () = self.subscription.changed() => {}
            () = self.shared.clock.sleep_until_moment(waiting), if waiting < Moment::MAX => {}
        }
    }

    /// When held-back progress may be delivered; `None` if there is none.
    fn unsent_is_waiting(&self) -> Moment {
        let sent = self.progress.as_ref().filter(|_| self.progress_news().is_some());
        sent.map_or(Moment::MAX, |sent| sent.not_before)
    }
}
