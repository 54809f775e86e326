//! The log of all commits, read by the names of commits.
//!
//! A commit has a name, [`Stamp`]: a *writer* and a sequence number. A writer is one writing connection of a replica
//! (PostgreSQL) or one opening of the file (SQLite). Writers are numbered in the order in which their numbers become
//! visible, without gaps, and no number is used twice; each writer has a random nonce. A writer's commits are strictly
//! serial, so all of its sequence numbers up to the last visible one are visible.
//!
//! A vector of the last sequence of every writer, read in one statement ([`Head`], [`Frontier`]), is therefore causally
//! closed: a commit that depends on another begins after that one is visible. A reader at V reads U, then everything
//! with V < stamp <= U ordered by operation and revision, and is then at U. Nothing is remembered per operation. V itself
//! need only be closed for each operation: with a change of it, all earlier changes of the same operation.
//! [`Reader`] does that; [`Position`] is its place, as a token.
//!
//! No I/O here, except that [`Reader`] calls the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::operation::{EventType, Operation, OperationId, Revision};

mod key;
mod position;
mod reader;

pub use key::SigningKey;
pub use position::Position;
pub use reader::{ReadError, Reader};

/// The name of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The number of the writer; at least 1.
    pub writer: u64,
    /// The commit's number among those of its writer; at least 1.
    pub sequence: u64,
}

impl Stamp {
    /// The name of its writer's next commit.
    #[must_use]
    pub fn next(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }
}

/// A writer as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterState {
    /// Its number.
    pub writer: u64,
    /// Random, so that a restored or failed-over database is not mistaken for the original.
    pub nonce: u64,
    /// The last sequence number that is visible; 0 before the first.
    pub sequence: u64,
    /// Records of removals up to this sequence number have been deleted.
    pub trimmed: u64,
    /// Whether the writer has ended: it commits nothing more.
    pub is_ended: bool,
}

/// All writers that the store still knows, by rising number, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head(Vec<WriterState>);

/// The known commits of all writers: the resume position of a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    /// Everything of the writers up to this number is known, except of those in `open`.
    up_to: u64,
    open: BTreeMap<u64, Component>,
}

/// The known commits of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Component {
    nonce: u64,
    sequence: u64,
}

/// A part of the log: commits of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The writer.
    pub writer: u64,
    /// The sequence number after which it begins.
    pub after: u64,
    /// The last sequence number.
    pub up_to: u64,
}

impl Range {
    fn contains(&self, other: &Self) -> bool {
        self.writer == other.writer && self.after <= other.after && other.up_to <= self.up_to
    }
}

/// Part of the history after a frontier has been deleted, or the history is another database's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the changes behind this position are no longer kept")]
pub struct Gone;

/// A place within a part of the log: right after an entry.
pub type Cursor = (OperationId, Revision);

/// The entries to read, by rising [`Change::cursor`].
#[derive(Clone, Debug)]
pub struct LogQuery {
    /// The commits to read.
    pub ranges: Vec<Range>,
    /// Ranges in which the last transition before a removal may not have been delivered: these ranges and those that
    /// were read just before, where removals of these ranges may already have hidden it.
    pub unsure: Vec<Range>,
    /// The place after which to begin.
    pub after: Option<Cursor>,
    /// The maximum number of entries; a page has about [`PAGE_BYTES`] at most.
    pub limit: usize,
}

/// The maximum size of stored lives on a page, in bytes, unless a single change is larger.
pub const PAGE_BYTES: usize = 256 << 10;

/// A page of the log. Its entries are incomplete if [`Head::lacks`] says so of the ranges.
#[derive(Clone, Debug, Default)]
pub struct LogPage {
    /// The entries, except unreadable ones.
    pub entries: Vec<Logged>,
    /// Where to continue; `None` on the last page.
    pub next: Option<Cursor>,
    /// All writers, as of the moment of the page.
    pub head: Head,
}

/// A commit's change of one operation: one transition, or its removal.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The commit.
    pub stamp: Stamp,
    /// The change.
    pub change: Change,
}

/// A change of one operation.
#[derive(Clone, Debug)]
pub enum Change {
    /// A transition.
    Transition {
        /// The operation before it; `None` for the first.
        before: Option<Arc<Operation>>,
        /// The operation after it.
        after: Arc<Operation>,
        /// The event's type.
        event_type: EventType,
    },
    /// The operation was removed.
    Removed {
        /// Its last state.
        last: Arc<Operation>,
        /// Whether this may be the only notice of its last transition, which is in [`LogQuery::unsure`] and cannot be
        /// read any more. Always false for this process's own commits, which are delivered as they are made.
        is_only_word: bool,
    },
}

impl Change {
    /// The operation after the change; for a removal, before it.
    pub fn operation(&self) -> &Arc<Operation> {
        match self {
            Self::Transition { after, .. } => after,
            Self::Removed { last, .. } => last,
        }
    }

    /// The place right after this change. A removal comes after the last transition.
    pub fn cursor(&self) -> Cursor {
        let operation = self.operation();
        let revision = operation.life.revision;
        match self {
            Self::Transition { .. } => (operation.id(), revision),
            Self::Removed { .. } => (operation.id(), revision.next()),
        }
    }
}

impl Head {
    /// Sorts the writers that a store has read.
    pub fn new(mut writers: Vec<WriterState>) -> Self {
        writers.sort_unstable_by_key(|state| state.writer);
        Self(writers)
    }

    /// The writers, by rising number.
    pub fn writers(&self) -> &[WriterState] {
        &self.0
    }

    /// Whether records in these ranges have been deleted.
    pub fn lacks(&self, ranges: &[Range]) -> bool {
        let lacks =
            |range: &Range| self.get(range.writer).is_none_or(|state| state.trimmed > range.after);
        ranges.iter().any(lacks)
    }

    fn get(&self, writer: u64) -> Option<&WriterState> {
        let at = self.0.binary_search_by_key(&writer, |state| state.writer).ok()?;
        self.0.get(at)
    }

    /// Everything visible.
    pub fn frontier(&self) -> Frontier {
        let open = self.0.iter().filter(|state| !state.is_ended).map(|state| {
            (state.writer, Component { nonce: state.nonce, sequence: state.sequence })
        });
        Frontier { up_to: self.0.last().map_or(0, |state| state.writer), open: open.collect() }
    }

    /// The commits that are visible here and unknown at `from`.
    pub fn since(&self, from: &Frontier) -> Result<Vec<Range>, Gone> {
        let last = self.0.last().map_or(0, |state| state.writer);
        if from.up_to > last {
            return Err(Gone);
        }
        let mut ranges = Vec::new();
        let mut add = |state: &WriterState, after: u64| {
            if state.sequence < after || state.trimmed > after {
                return Err(Gone);
            }
            if state.sequence > after {
                let WriterState { writer, sequence: up_to, .. } = *state;
                ranges.push(Range { writer, after, up_to });
            }
            Ok(())
        };
        for (writer, known) in &from.open {
            let state = self.get(*writer).filter(|state| state.nonce == known.nonce).ok_or(Gone)?;
            add(state, known.sequence)?;
        }
        // A newer writer that is gone already has taken its records with it.
        for writer in from.up_to + 1..=last {
            if !from.open.contains_key(&writer) {
                add(self.get(writer).ok_or(Gone)?, 0)?;
            }
        }
        ranges.sort_unstable_by_key(|range| range.writer);
        Ok(ranges)
    }
}

impl Frontier {
    /// Whether the commit is known here.
    pub fn contains(&self, stamp: Stamp) -> bool {
        match self.open.get(&stamp.writer) {
            Some(known) => stamp.sequence <= known.sequence,
            None => stamp.writer <= self.up_to,
        }
    }

    /// Whether commits of that writer are expected.
    pub fn expects(&self, writer: u64) -> bool {
        self.open.contains_key(&writer)
    }

    /// Whether the commit is the next one of its writer.
    pub fn is_next(&self, stamp: Stamp) -> bool {
        self.sequence(stamp.writer).is_some_and(|known| known + 1 == stamp.sequence)
    }

    /// The last known sequence of a writer; `None` if all of it is known.
    fn sequence(&self, writer: u64) -> Option<u64> {
        match self.open.get(&writer) {
            Some(known) => Some(known.sequence),
            None if writer <= self.up_to => None,
            None => Some(0),
        }
    }

    /// Adds everything that `other` knows.
    pub fn join(&mut self, other: &Self) {
        let writers: BTreeSet<u64> = self.open.keys().chain(other.open.keys()).copied().collect();
        let joined = writers.into_iter().filter_map(|writer| {
            let sequence = self.sequence(writer)?.max(other.sequence(writer)?);
            let known = self.open.get(&writer).or_else(|| other.open.get(&writer))?;
            Some((writer, Component { nonce: known.nonce, sequence }))
        });
        self.open = joined.collect();
        self.up_to = self.up_to.max(other.up_to);
    }

    /// What is unknown at `from`: all of this frontier, and of its open writers at most `most` commits beyond it.
    fn beyond(&self, from: &Self, most: u64) -> Vec<Range> {
        let open = from.open.keys().chain(self.open.keys()).copied();
        let writers: BTreeSet<u64> = open.chain(from.up_to + 1..=self.up_to).collect();
        let ranges = writers.into_iter().filter_map(|writer| {
            let known = self.sequence(writer);
            let up_to = known.map_or(u64::MAX, |known| known.saturating_add(most));
            Some(Range { writer, after: from.sequence(writer)?, up_to })
        });
        ranges.collect()
    }

    /// Cuts the range at the end of this frontier. Returns whether anything is left.
    fn limits(&self, range: &mut Range) -> bool {
        if let Some(sequence) = self.sequence(range.writer) {
            range.up_to = range.up_to.min(sequence);
        }
        range.up_to > range.after
    }

    /// This frontier, but with that writer's commits only up to the end of `range`.
    fn back_to(mut self, range: Range, head: &Head) -> Self {
        let nonce = head.get(range.writer).map_or(0, |state| state.nonce);
        self.open.insert(range.writer, Component { nonce, sequence: range.up_to });
        self
    }

    /// This frontier with a later commit of a writer that is open in it.
    #[must_use]
    pub fn with(&self, stamp: Stamp) -> Self {
        let mut with = self.clone();
        if let Some(known) = with.open.get_mut(&stamp.writer) {
            known.sequence = known.sequence.max(stamp.sequence);
        }
        with
    }
}

#[cfg(test)]
mod tests;
