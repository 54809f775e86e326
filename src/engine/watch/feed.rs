//! A watch over a filter: current matches, then changes, each once; those of one operation are in order.
//!
//! A watch has a frontier of the log. It reads the current matches page by page by rising id, each page with its
//! frontier; changes of listed operations since then are read from the log before the page is delivered. Then it
//! follows the chain, and reads the log itself when it has fallen behind. It starts anew only if the history after
//! its position is gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use super::super::Shared;
use super::super::request::EngineError;
use super::chain::{Next, Place};
use super::gathered::Gathered;
use super::item::{Committed, FeedItem, FeedStart};
use crate::operation::filter::Filter;
use crate::operation::{Operation, OperationId, Scope, Timestamp};
use crate::store::log::{Change, Frontier, Logged, Position, ReadError, Reader};
use crate::store::shared::{Listening, Topic};
use crate::store::{ListOrder, ListPosition, ListQuery, OrderBy, StoreError};

/// The maximum number of changes that are read at a time.
const PAGE: usize = 200;
/// How many current matches are read at first; later reads adapt to their size.
const FIRST_MATCHES: usize = 4;
/// The approximate size of current matches read at a time. A watch whose client does not read keeps as much in memory.
const MATCHES_BYTES: usize = 32 << 10;
/// The pause after a store that does not respond.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// A watch over a filter.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
    place: Place,
    reports: broadcast::Receiver<Arc<Operation>>,
    /// The subscription to hints of other replicas.
    listening: Option<Listening>,
    scope: Scope,
    filter: Filter,
    include_progress: bool,
    phase: Phase,
    /// Whether anything was delivered: from then on the watch waits while the store is unavailable.
    has_begun: bool,
    /// Items, each with the position after it.
    pending: VecDeque<(FeedItem, Option<Position>)>,
    /// The position after the last delivered item.
    position: Option<Position>,
    progress: Gathered,
}

#[derive(Debug)]
enum Phase {
    /// Nothing has been read.
    Opening(FeedStart),
    /// Reading current matches.
    Listing(Listing),
    /// Reading the log.
    Reading(Reader),
    /// Following the chain.
    Following(Arc<Frontier>),
}

/// A list of current matches, partly delivered.
#[derive(Debug)]
struct Listing {
    /// Reads the log from the frontier of the last delivered page.
    reader: Reader,
    /// The last delivered match.
    listed: Option<OperationId>,
    /// The next page, with its frontier.
    page: Option<(Vec<Operation>, Arc<Frontier>)>,
    /// How many matches the next read asks for.
    limit: usize,
}

impl Feed {
    pub(in crate::engine) fn new(
        shared: Arc<Shared>,
        scope: Scope,
        filter: Filter,
        include_progress: bool,
        start: FeedStart,
    ) -> Self {
        let listening = shared.store.shared().map(|store| store.listen(Topic::Operations));
        let position = match &start {
            FeedStart::After(position) => Some(position.clone()),
            _ => None,
        };
        Self {
            // Taken before anything is read, so that later commits are in the chain.
            place: shared.hub.chain().place(),
            reports: shared.hub.reports(),
            listening,
            shared,
            scope,
            filter,
            include_progress,
            phase: Phase::Opening(start),
            has_begun: position.is_some(),
            pending: VecDeque::new(),
            position,
            progress: Gathered::default(),
        }
    }

    /// The next item. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<FeedItem, EngineError> {
        loop {
            if let Some((item, position)) = self.pending.pop_front() {
                if !matches!(item, FeedItem::Progress(_)) {
                    self.position = position;
                }
                self.has_begun = true;
                return Ok(item);
            }
            let stepped = match &mut self.phase {
                Phase::Following(_) => {
                    self.follow().await;
                    Ok(())
                }
                Phase::Opening(_) => self.open().await,
                Phase::Listing(_) => self.list().await,
                Phase::Reading(_) => self.read().await,
            };
            match stepped {
                Ok(()) => {}
                Err(ReadError::Gone(_)) => self.reset(),
                Err(ReadError::Store(StoreError::Unavailable(_))) if self.has_begun => {
                    let clock = &self.shared.clock;
                    clock.sleep_until_moment(clock.moment().after(STORE_PAUSE)).await;
                }
                Err(ReadError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// Skips what was committed before this call.
    pub async fn skip(&mut self) -> Result<(), EngineError> {
        (self.place, self.reports) = (self.shared.hub.chain().place(), self.shared.hub.reports());
        self.progress.take();
        self.pending.clear();
        self.phase = Phase::Opening(FeedStart::Now);
        self.has_begun = false;
        self.next().await.map(drop)
    }

    /// The position after the last delivered item; `None`: start from the beginning.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether it has yet to read what happened before now.
    pub fn is_behind(&self) -> bool {
        !matches!(self.phase, Phase::Following(_))
    }

    async fn open(&mut self) -> Result<(), ReadError> {
        if let Some(listening) = &mut self.listening {
            listening.effective().await;
        }
        let store = &*self.shared.store;
        self.shared.hub.chain().begin(store).await?;
        let Phase::Opening(start) = &self.phase else { return Ok(()) };
        self.phase = match start {
            FeedStart::Current => Phase::Listing(Listing::default()),
            FeedStart::Now => {
                let at = Arc::new(store.head().await?.frontier());
                self.pending.push_back((FeedItem::Synced, Some(Position::at(Arc::clone(&at)))));
                Phase::Following(at)
            }
            FeedStart::After(position) => match position.listed {
                Some(listed) => {
                    let reader = Reader::new(position.clone());
                    Phase::Listing(Listing { reader, listed, ..Listing::default() })
                }
                None => Phase::Reading(Reader::new(position.clone())),
            },
            FeedStart::Reset => {
                self.reset();
                return Ok(());
            }
        };
        Ok(())
    }

    /// Reads a page of the list, or of the changes of listed operations.
    async fn list(&mut self) -> Result<(), ReadError> {
        let Phase::Listing(listing) = &mut self.phase else { return Ok(()) };
        let store = &*self.shared.store;
        if let Some(changes) = listing.reader.read_part(store, PAGE).await? {
            let listed = listing.listed;
            let behind = |position: Position| Position { listed: Some(listed), ..position };
            let (at, reader) = (listing.reader.frontier(), &listing.reader);
            let known = changes.into_iter().filter(|it| Some(it.change.operation().id()) <= listed);
            let known: Vec<(Logged, Position)> = known
                .map(|it| {
                    let position = behind(reader.position_behind(it.change.cursor()));
                    (it, position)
                })
                .collect();
            self.tell(known, &at);
            return Ok(());
        }
        let Some((page, to)) = listing.page.take() else {
            let query = ListQuery {
                scope: self.scope.clone(),
                filter: self.filter.clone(),
                order: ListOrder { by: OrderBy::CreateTime, descending: false },
                after: listing.listed.map(|id| ListPosition { end_time: Timestamp::MAX, id }),
                limit: listing.limit,
            };
            let (page, head) = store.list_with_head(query).await?;
            let page = self.shared.refresh(page).await;
            let to = Arc::new(head.frontier());
            if listing.listed.is_some() {
                listing.reader.begin_part(Arc::clone(&to));
            }
            listing.page = Some((page, to));
            return Ok(());
        };
        let is_last = page.len() < listing.limit;
        let bytes: usize = page.iter().map(Operation::size).sum();
        listing.limit = (page.len() * MATCHES_BYTES / bytes.max(1)).clamp(1, PAGE);
        let at = |listed| Position { listed, ..Position::at(Arc::clone(&to)) };
        for operation in page {
            let position = at(Some(Some(operation.id())));
            listing.listed = Some(operation.id());
            self.pending.push_back((FeedItem::Current(Arc::new(operation)), Some(position)));
        }
        if is_last {
            self.pending.push_back((FeedItem::Synced, Some(at(None))));
            self.phase = Phase::Following(to);
        } else {
            listing.reader = Reader::new(Position::at(to));
        }
        Ok(())
    }

    /// Reads a page of the log.
    async fn read(&mut self) -> Result<(), ReadError> {
        let Phase::Reading(reader) = &mut self.phase else { return Ok(()) };
        let changes = reader.read(&*self.shared.store, PAGE).await?;
        let at = reader.frontier();
        if changes.is_empty() {
            self.move_to(&at);
            self.phase = Phase::Following(at);
            return Ok(());
        }
        let (last, end) = (changes.len() - 1, reader.position());
        let changes = changes.into_iter().enumerate().map(|(number, it)| {
            let position = reader.position_behind(it.change.cursor());
            (it, if number == last { end.clone() } else { position })
        });
        let changes = changes.collect();
        self.tell(changes, &at);
        Ok(())
    }

    async fn follow(&mut self) {
        let Phase::Following(at) = &self.phase else { return };
        let at = Arc::clone(at);
        match self.place.take() {
            Next::Link(link) => {
                let mut to = Frontier::clone(&at);
                to.join(&link.to);
                let to = Arc::new(to);
                let position = |it: &Logged| Position {
                    part: Some((Arc::clone(&to), it.change.cursor())),
                    ..Position::at(Arc::clone(&at))
                };
                let changes = link.changes.iter();
                self.tell(changes.map(|it| (it.clone(), position(it))).collect(), &at);
                self.move_to(&to);
                self.phase = Phase::Following(to);
            }
            Next::Skipped => self.phase = Phase::Reading(Reader::new(Position::at(at))),
            Next::Nothing => tokio::select! {
                biased;
                () = self.place.changed() => {}
                report = self.reports.recv(), if self.include_progress => {
                    // A report that is missed because of lag is made good by the next one.
                    let is_match = |it: &Arc<Operation>| {
                        self.scope.contains(&it.submission.tenant) && self.filter.matches(it)
                    };
                    if let Some(operation) = report.ok().filter(is_match) {
                        self.progress.add(operation, self.shared.clock.moment());
                    }
                }
                () = self.shared.clock.sleep_until_moment(self.progress.due()) => {
                    let progress = self.progress.take().into_iter().map(FeedItem::Progress);
                    self.pending.extend(progress.map(|item| (item, None)));
                }
            },
        }
    }

    fn reset(&mut self) {
        self.progress.take();
        self.pending.push_back((FeedItem::Reset, None));
        self.phase = Phase::Listing(Listing::default());
    }

    /// Moves to the frontier, because everything before it was delivered or does not match.
    fn move_to(&mut self, to: &Arc<Frontier>) {
        let position = Some(Position::at(Arc::clone(to)));
        match self.pending.back_mut() {
            Some((_, last)) => *last = position,
            None => self.position = position,
        }
    }

    /// Delivers the changes that match and are not contained in `at`.
    fn tell(&mut self, changes: Vec<(Logged, Position)>, at: &Frontier) {
        for (Logged { stamp, change }, position) in changes {
            let is_within = self.scope.contains(&change.operation().submission.tenant);
            if !is_within || at.contains(stamp) {
                continue;
            }
            let matches = |operation: &Operation| self.filter.matches(operation);
            let item = match change {
                Change::Transition { before, after, event_type } => {
                    let is_match = matches(&after);
                    let committed = Committed { operation: after, event_type };
                    if is_match {
                        FeedItem::Transition(committed)
                    } else if before.is_some_and(|before| matches(&before)) {
                        FeedItem::Left(committed)
                    } else {
                        continue;
                    }
                }
                Change::Removed { last, .. } if matches(&last) => FeedItem::Deleted(last),
                Change::Removed { .. } => continue,
            };
            self.pending.push_back((item, Some(position)));
        }
    }
}

impl Default for Listing {
    fn default() -> Self {
        let reader = Reader::new(Position::at(Frontier::default()));
        Self { reader, listed: None, page: None, limit: FIRST_MATCHES }
    }
}
