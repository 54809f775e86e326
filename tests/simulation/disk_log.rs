//! The log of a [`Disk`](crate::disk::Disk), as plain data: writers, names of commits, records of removals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longrun::operation::{Operation, OperationId};
use longrun::store::codec::encode_life;
use longrun::store::log::{
    Change, Head, LogPage, LogQuery, Logged, PAGE_BYTES, Stamp, WriterState,
};

#[derive(Clone, Default)]
pub struct DiskLog {
    writers: BTreeMap<u64, Writer>,
    /// The names that were taken, and whether in vain.
    names: BTreeMap<Stamp, bool>,
    removals: BTreeMap<(Stamp, OperationId), Arc<Operation>>,
    last_writer: u64,
}

#[derive(Clone)]
struct Writer {
    nonce: u64,
    trimmed: u64,
    is_connected: bool,
    is_ended: bool,
}

impl DiskLog {
    /// A new writer.
    pub fn register(&mut self, nonce: u64) -> u64 {
        self.last_writer += 1;
        let writer = Writer { nonce, trimmed: 0, is_connected: true, is_ended: false };
        self.writers.insert(self.last_writer, writer);
        self.last_writer
    }

    /// Nothing more comes of a writer.
    pub fn disconnect(&mut self, writer: u64) {
        if let Some(writer) = self.writers.get_mut(&writer) {
            writer.is_connected = false;
        }
    }

    /// Marks writers of which nothing more comes.
    pub fn end_disconnected(&mut self) {
        self.writers.values_mut().for_each(|writer| writer.is_ended |= !writer.is_connected);
    }

    /// Takes a name for its commit, or in vain; whether it was free.
    pub fn claim(&mut self, stamp: Stamp, is_void: bool) -> bool {
        if self.names.contains_key(&stamp) {
            return false;
        }
        self.names.insert(stamp, is_void);
        true
    }

    /// Whether a name was taken by its commit.
    pub fn was_committed(&self, stamp: Stamp) -> bool {
        self.names.get(&stamp) == Some(&false)
    }

    pub fn removed(&mut self, stamp: Stamp, operation: Operation) {
        self.removals.insert((stamp, operation.id()), Arc::new(operation));
    }

    pub fn head(&self) -> Head {
        let writers = self.writers.iter().map(|(number, writer)| WriterState {
            writer: *number,
            nonce: writer.nonce,
            sequence: self.last(*number),
            trimmed: writer.trimmed,
            is_ended: writer.is_ended,
        });
        Head::new(writers.collect())
    }

    fn last(&self, writer: u64) -> u64 {
        let names = Stamp { writer, sequence: 0 }..Stamp { writer: writer + 1, sequence: 0 };
        self.names.range(names).next_back().map_or(0, |(stamp, _)| stamp.sequence)
    }

    /// A page, of these transitions and of the removals.
    pub fn page(&self, query: &LogQuery, transitions: Vec<Logged>) -> LogPage {
        let removals = self.removals.iter().map(|((stamp, _), operation)| Logged {
            stamp: *stamp,
            change: Change::Removed { last: Arc::clone(operation), is_only_word: false },
        });
        let mut entries: Vec<Logged> = transitions.into_iter().chain(removals).collect();
        entries.retain(|logged| {
            let Stamp { writer, sequence } = logged.stamp;
            let is_asked = query.ranges.iter().any(|range| {
                range.writer == writer && range.after < sequence && sequence <= range.up_to
            });
            is_asked && query.after.is_none_or(|after| logged.change.cursor() > after)
        });
        entries.sort_by_key(|logged| logged.change.cursor());
        let mut bytes = 0;
        let fits = entries.iter().take_while(|logged| {
            let before = bytes;
            bytes += encode_life(&logged.change.operation().life).len();
            before < PAGE_BYTES
        });
        let most = fits.count().min(query.limit);
        let is_full = entries.len() > most;
        entries.truncate(most);
        let next = entries.last().filter(|_| is_full).map(|last| last.change.cursor());
        LogPage { entries, next, head: self.head() }
    }

    /// Keeps so many removals of each writer, and forgets writers that are gone.
    pub fn trim(&mut self, keep: usize) {
        self.end_disconnected();
        for (number, writer) in &mut self.writers {
            let of_writer: BTreeSet<Stamp> = self
                .removals
                .keys()
                .map(|(stamp, _)| *stamp)
                .filter(|it| it.writer == *number)
                .collect();
            if let Some(last) = of_writer.iter().rev().nth(keep) {
                writer.trimmed = writer.trimmed.max(last.sequence);
            }
        }
        let writers = &self.writers;
        self.removals.retain(|(stamp, _), _| stamp.sequence > writers[&stamp.writer].trimmed);
        let heads: BTreeMap<u64, u64> = writers.keys().map(|it| (*it, self.last(*it))).collect();
        self.names.retain(|stamp, _| {
            heads.get(&stamp.writer).is_none_or(|last| stamp.sequence + 2 > *last)
        });
    }
}
