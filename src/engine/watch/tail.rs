//! The one reader of the log if several replicas share the store: it makes links of the chain from other writers'
//! commits. It reads after hints, and now and then anyway while there are watches. It also deletes old parts of the
//! log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::Shared;
use super::super::clock::Moment;
use crate::store::log::{Frontier, Logged, Position, ReadError, Reader};
use crate::store::{Store, TrimLog};

/// How often the log is read, whatever hints say, and when a failed read is repeated.
const POLL: Duration = Duration::from_secs(2);
/// With other writers, what becomes known within this time after a read is read together.
const GATHERING: Duration = Duration::from_millis(5);
/// How many changes are read at a time.
const PAGE: usize = 512;
/// The maximum number of changes in one link. Watches read further ones themselves, each at its client's speed.
const MAX_CHANGES: usize = 4_096;
/// How often old parts of the log are deleted.
const TRIM_INTERVAL: Duration = Duration::from_secs(120);
/// How long a reader that is behind can delay the deletion.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 3_600);
/// How long removals are kept, for watches that were disconnected.
const KEEP_FOR: Duration = Duration::from_secs(3_600);
/// The maximum number of removals that are kept; on SQLite, of each writer.
const KEEP: u64 = 100_000;

/// The tail.
pub(in crate::engine) struct Tail {
    shared: Arc<Shared>,
    read_at: Moment,
    poll_at: Moment,
    trim_at: Moment,
    /// Whether a reader is behind; and since when, as seen whenever a deletion was due.
    is_wanted: Arc<AtomicBool>,
    wanted_since: Option<Moment>,
}

impl Tail {
    pub(in crate::engine) fn new(shared: Arc<Shared>, is_wanted: Arc<AtomicBool>) -> Self {
        let now = shared.clock.moment();
        let (poll_at, trim_at) = (now.after(POLL), now.after(TRIM_INTERVAL));
        Self { shared, read_at: now, poll_at, trim_at, is_wanted, wanted_since: None }
    }

    /// Reads until `stop`.
    pub(in crate::engine) async fn run(mut self, stop: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let chain = shared.hub.chain();
        let is_shared = shared.store.shared().is_some();
        loop {
            // A sole writer needs no reads once the chain has begun anew.
            let must_poll = is_shared || chain.tip().is_none();
            let poll_at = if must_poll { self.poll_at } else { Moment::MAX };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.unread() => self.read().await,
                () = shared.clock.sleep_until_moment(poll_at) => self.read().await,
                () = shared.clock.sleep_until_moment(self.trim_at) => self.trim().await,
            }
        }
    }

    /// Returns when there may be something to read, and it is time.
    async fn unread(&self) {
        self.shared.clock.sleep_until_moment(self.read_at).await;
        self.shared.hub.chain().wait_for_unread().await;
    }

    async fn read(&mut self) {
        let read = self.follow().await;
        let now = self.shared.clock.moment();
        self.poll_at = now.after(POLL);
        if self.shared.store.shared().is_some() {
            self.read_at = now.after(GATHERING);
        }
        match read {
            Ok(()) => {}
            // The next poll repeats the read.
            Err(ReadError::Store(error)) => tracing::debug!(%error, "the log cannot be read"),
            // Happens only if nothing was read for an hour.
            Err(ReadError::Gone(gone)) => tracing::warn!(%gone, "the log was not followed"),
        }
    }

    /// Reads everything visible.
    async fn follow(&self) -> Result<(), ReadError> {
        let (chain, store) = (self.shared.hub.chain(), &*self.shared.store);
        // With other writers, the first watch begins the chain.
        if chain.tip().is_none() && store.shared().is_none() {
            return Ok(chain.begin(store).await?);
        }
        while let Some(from) = chain.read_from() {
            match read(store, &from).await {
                Ok((to, changes)) => {
                    let is_whole = changes.is_some();
                    chain.read(&from, to, changes);
                    if is_whole {
                        break;
                    }
                }
                Err(error) => {
                    if matches!(error, ReadError::Gone(_)) {
                        chain.read(&from, store.head().await?.frontier(), None);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn trim(&mut self) {
        let clock = &self.shared.clock;
        let now = clock.moment();
        self.trim_at = now.after(TRIM_INTERVAL);
        if self.is_wanted.load(Ordering::Relaxed) {
            let since = *self.wanted_since.get_or_insert(now);
            if now.since(since) < LONGEST_HOLD {
                return;
            }
        }
        self.wanted_since = None;
        let trim = TrimLog { now: clock.now(), keep_for: KEEP_FOR, keep: KEEP };
        if let Err(error) = self.shared.store.trim_log(trim).await {
            tracing::debug!(%error, "the log was not trimmed");
        }
    }
}

/// Reads all changes from a frontier on. Returns up to where, and `None` if the changes are too many.
async fn read(
    store: &dyn Store,
    from: &Frontier,
) -> Result<(Frontier, Option<Vec<Logged>>), ReadError> {
    let mut reader = Reader::new(Position::at(from.clone()));
    let is_cut = reader.begin(store, PAGE).await?;
    let mut changes = Vec::new();
    while changes.len() <= MAX_CHANGES
        && let Some(more) = reader.read_part(store, PAGE).await?
    {
        changes.extend(more);
    }
    // Waiting commits of this process may depend on what a cut part lacks.
    let is_whole = changes.len() <= MAX_CHANGES && !is_cut;
    Ok((Frontier::clone(&reader.end_of_part()), is_whole.then_some(changes)))
}
