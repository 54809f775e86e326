//! Recent commits for watches over filters: a chain of links, each from one frontier to the next. Watches follow it
//! at their own pace; a watch whose next link has been dropped reads the log instead.
//!
//! A watch takes its place before it reads anything, so everything that it does not read is in a later link. Links
//! may repeat what it has read; stamps show that.
//!
//! If this process is the only writer, every commit becomes a link directly. With other writers, one of its commits
//! does so only if every operation that it changes was last changed by commits in earlier links. Otherwise it waits until
//! the tail has read what the others committed, and becomes part of that link. So everything up to a link is closed for
//! each operation, and no watch is told a change before an earlier one of the same operation.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::signal::{Signal, Waiter};
use crate::store::log::{Frontier, Logged, Stamp};
use crate::store::{Store, StoreError};

/// The maximum size of kept operations, in bytes.
const MAX_BYTES: usize = 16 << 20;
/// The maximum size of operations in commits that wait for the tail, in bytes. The tail reads further ones.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// The maximum number of kept links, and of commits that wait: some have no changes, and so no size.
const MAX_LINKS: usize = 4_096;

/// Changes from one frontier to the next.
#[derive(Debug)]
pub(in crate::engine) struct Link {
    /// The frontier after the changes.
    pub(super) to: Frontier,
    /// In the order of operation and revision.
    pub(super) changes: Vec<Logged>,
}

/// The chain.
#[derive(Debug)]
pub(in crate::engine) struct Chain {
    is_shared: bool,
    state: Mutex<State>,
    /// Wakes the watches that wait for a link.
    grown: Signal,
    /// Notified when something to read may have been committed.
    unread: Notify,
    /// Changes when something may have been committed, here or elsewhere.
    touched: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The end of the last link. With other writers, `None` while there are no watches.
    tip: Option<Frontier>,
    /// The number of the first kept link.
    first: u64,
    links: VecDeque<Arc<Link>>,
    bytes: usize,
    /// Commits of this process after the tip, for the next link.
    waiting: Vec<(Stamp, Vec<Logged>)>,
    waiting_bytes: usize,
    watches: usize,
}

/// A watch's place in the chain.
#[derive(Debug)]
pub(super) struct Place {
    chain: Arc<Chain>,
    /// The next link.
    next: u64,
    grown: Waiter,
}

/// What follows a place.
#[derive(Debug)]
pub(super) enum Next {
    /// The next link.
    Link(Arc<Link>),
    /// No link yet.
    Nothing,
    /// The next links have been dropped. The place is at the end of the chain now.
    Skipped,
}

impl Chain {
    pub(in crate::engine) fn new(is_shared: bool) -> Arc<Self> {
        Arc::new(Self {
            is_shared,
            state: Mutex::default(),
            grown: Signal::default(),
            unread: Notify::new(),
            touched: watch::Sender::new(()),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the chain at the present frontier, unless it has begun.
    pub(in crate::engine) async fn begin(&self, store: &dyn Store) -> Result<(), StoreError> {
        if self.state().tip.is_none() {
            let tip = store.head().await?.frontier();
            let mut state = self.state();
            if state.tip.is_none() {
                state.tip = Some(tip);
                // A commit without a tip is in no link: watches that have a place read it.
                state.skip();
            }
            drop(state);
            self.grown.give();
            // Commits since then were not noticed.
            self.unread();
        }
        Ok(())
    }

    /// Takes a place at the end of the chain. Links follow once the chain has begun.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        let mut state = self.state();
        state.watches += 1;
        Place { chain: Arc::clone(self), next: state.end(), grown: self.grown.waiter() }
    }

    /// Whether there are watches over filters.
    pub(super) fn is_watched(&self) -> bool {
        self.state().watches > 0
    }

    /// Adds a commit of this process, with its changes in the order of operation and revision. `follows` are the commits
    /// that changed the same operations last; `None` if they are not all known.
    pub(in crate::engine) fn committed(
        &self,
        stamp: Stamp,
        follows: Option<&[Stamp]>,
        changes: impl FnOnce() -> Vec<Logged>,
    ) {
        self.touched.send_replace(());
        let mut state = self.state();
        let Some(tip) = state.tip.as_ref().filter(|tip| !tip.contains(stamp)) else { return };
        let follows_links = || {
            let are_in_links = |follows: &[Stamp]| follows.iter().all(|it| tip.contains(*it));
            tip.is_next(stamp) && follows.is_some_and(are_in_links)
        };
        let can_join = tip.expects(stamp.writer) && (!self.is_shared || follows_links());
        if !can_join {
            if self.is_shared {
                state.wait(stamp, changes);
            } else {
                // The first commit since the store was opened, which also added this writer to the frontier.
                state.tip = None;
            }
            drop(state);
            return self.unread();
        }
        let to = tip.with(stamp);
        let changes = if state.watches > 0 { changes() } else { Vec::new() };
        state.add(to, changes);
        drop(state);
        self.grown.give();
    }

    /// Notes that something to read may have been committed.
    pub(super) fn unread(&self) {
        self.touched.send_replace(());
        self.unread.notify_one();
    }

    /// Changes when something may have been committed. Commits of other writers do not always change it.
    pub(in crate::engine) fn touched(&self) -> watch::Receiver<()> {
        self.touched.subscribe()
    }

    /// Returns when there may be something to read.
    pub(super) async fn wait_for_unread(&self) {
        self.unread.notified().await;
    }

    /// The end of the last link; `None` while there are no watches.
    pub(super) fn tip(&self) -> Option<Frontier> {
        self.state().tip.clone()
    }

    /// Where the tail reads on: the tip, with the next commits that wait, which need not be read. `None` while there are
    /// no watches.
    pub(super) fn read_from(&self) -> Option<Frontier> {
        let state = self.state();
        let mut from = state.tip.clone()?;
        for (stamp, _) in &state.waiting {
            // A later one may depend on what is between them.
            if !from.is_next(*stamp) {
                break;
            }
            from = from.with(*stamp);
        }
        Some(from)
    }

    /// Adds the changes between two frontiers that were read, and those that waited. `None`: they were too many, so
    /// watches read them.
    pub(super) fn read(&self, from: &Frontier, to: Frontier, changes: Option<Vec<Logged>>) {
        let mut state = self.state();
        // Commits of this process may have been added meanwhile.
        let Some(tip) = state.tip.clone() else { return };
        let mut joined = tip.clone();
        joined.join(&to);
        match changes {
            Some(mut changes) => {
                changes.extend(state.waited(from, &joined));
                changes.retain(|logged| !tip.contains(logged.stamp));
                changes.sort_by_key(|logged| logged.change.cursor());
                let is_empty = changes.is_empty();
                state.add(joined, changes);
                if is_empty {
                    return;
                }
            }
            None => {
                state.tip = Some(joined);
                state.skip();
            }
        }
        drop(state);
        self.grown.give();
    }
}

impl State {
    /// The number of the next link.
    fn end(&self) -> u64 {
        self.first + self.links.len() as u64
    }

    fn add(&mut self, to: Frontier, changes: Vec<Logged>) {
        self.tip = Some(to.clone());
        if changes.is_empty() {
            return;
        }
        let link = Arc::new(Link { to, changes });
        self.bytes += bytes(&link.changes);
        self.links.push_back(link);
        while self.links.len() > MAX_LINKS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.links.pop_front() else { break };
            self.bytes -= bytes(&oldest.changes);
            self.first += 1;
        }
    }

    /// Keeps a commit of this process for the next link.
    fn wait(&mut self, stamp: Stamp, changes: impl FnOnce() -> Vec<Logged>) {
        let has_room = self.waiting.len() < MAX_LINKS && self.waiting_bytes < MAX_WAITING_BYTES;
        if self.watches > 0 && has_room {
            let changes = changes();
            self.waiting_bytes += bytes(&changes);
            self.waiting.push((stamp, changes));
        }
    }

    /// Takes the changes of the waiting commits up to `to`, except of those after `from`, which were read.
    fn waited(&mut self, from: &Frontier, to: &Frontier) -> Vec<Logged> {
        let mut taken = Vec::new();
        for (stamp, changes) in std::mem::take(&mut self.waiting) {
            if !to.contains(stamp) {
                self.waiting.push((stamp, changes));
                continue;
            }
            self.waiting_bytes -= bytes(&changes);
            if from.contains(stamp) {
                taken.extend(changes);
            }
        }
        taken
    }

    /// Drops all links, and an unfinished one, so that no watch continues from before this point.
    fn skip(&mut self) {
        self.first = self.end() + 1;
        self.links.clear();
        self.bytes = 0;
        self.waiting.clear();
        self.waiting_bytes = 0;
    }
}

/// The size of the changes' operations.
fn bytes(changes: &[Logged]) -> usize {
    changes.iter().map(|logged| logged.change.operation().size()).sum()
}

impl Place {
    /// Takes the next link, and moves behind it.
    pub(super) fn take(&mut self) -> Next {
        self.grown.mark_seen();
        let state = self.chain.state();
        let Some(at) = self.next.checked_sub(state.first) else {
            self.next = state.end();
            return Next::Skipped;
        };
        match usize::try_from(at).ok().and_then(|at| state.links.get(at)) {
            Some(link) => {
                self.next += 1;
                Next::Link(Arc::clone(link))
            }
            None => Next::Nothing,
        }
    }

    /// Returns when there may be another link.
    pub(super) async fn changed(&mut self) {
        self.grown.given().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.chain.state();
        state.watches = state.watches.saturating_sub(1);
        if state.watches == 0 {
            state.skip();
            if self.chain.is_shared {
                state.tip = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
