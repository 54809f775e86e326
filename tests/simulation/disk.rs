//! What is stored, as plain data: the contract of `Store` in as few words as can be, so that it can be
//! copied, put back to an earlier state, and looked at.
//!
//! `tests/store_contract` holds it to the same suite as the real stores.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use longrun::operation::log::LogBook;
use longrun::operation::{
    ChildCounts, Event, IdempotencyKey, Life, ObjectId, Operation, OperationId, Revision, Scope,
    State, StateName, TenantId, Timestamp,
};
use longrun::store::log::{Change, LogPage, LogQuery, Logged, Stamp};
use longrun::store::{
    Batch, CatalogueChange, CatalogueSpace, CatalogueVersions, FORGET_BATCH, Forget, HistoryEntry,
    HistoryPosition, HistoryQuery, ListOrder, ListQuery, LogAppend, LogEntry, Lookup, OrderBy,
    PayloadRole, Place, Removal, StoreError, Tombstone, Unfinished,
};

use crate::disk_log::DiskLog;

/// One operation with all that belongs to it.
#[derive(Clone)]
struct Row {
    operation: Operation,
    input: Option<Bytes>,
    result: Option<Bytes>,
    events: Vec<(Event, Stamp)>,
    lines: Vec<LogEntry>,
    /// The number of the last line that there ever was.
    last_line: u64,
}

/// Everything.
#[derive(Clone, Default)]
pub struct Disk {
    /// Shared with earlier states until one is changed.
    rows: BTreeMap<OperationId, Arc<Row>>,
    keys: BTreeMap<(TenantId, IdempotencyKey), OperationId>,
    tombstones: Vec<(OperationId, Tombstone)>,
    /// How many tombstones there ever were.
    buried: u64,
    /// Of each batch that is there, the states of its children that were removed.
    removed_children: BTreeMap<OperationId, Vec<StateName>>,
    catalogue: BTreeMap<String, CatalogueSpace>,
    pub log: DiskLog,
}

impl Disk {
    pub fn known_objects(&self, ids: &[ObjectId]) -> Vec<bool> {
        let payloads = self.rows.values().flat_map(|row| {
            [row.operation.submission.input.as_ref(), row.operation.result()].into_iter().flatten()
        });
        let known: Vec<_> = payloads.filter_map(|info| Some(info.object?.id)).collect();
        ids.iter().map(|id| known.contains(id)).collect()
    }

    pub fn catalogue_versions(&self) -> CatalogueVersions {
        self.catalogue.iter().map(|(name, space)| (name.clone(), space.version)).collect()
    }

    pub fn catalogue(&self, space: &str) -> CatalogueSpace {
        self.catalogue.get(space).cloned().unwrap_or_default()
    }

    pub fn change_catalogue(&mut self, change: CatalogueChange) -> Result<u64, StoreError> {
        let mut space = self.catalogue(&change.space);
        if change.expected.is_some_and(|expected| expected != space.version) {
            return Err(StoreError::Conflict(Vec::new()));
        }
        space.version += 1;
        space.entries.retain(|name, _| !change.delete.contains(name));
        space.entries.extend(change.put);
        let version = space.version;
        self.catalogue.insert(change.space, space);
        Ok(version)
    }

    /// Writes all of the batch under that name, or nothing of it.
    pub fn commit(&mut self, batch: &Batch, stamp: Stamp) -> Result<(), StoreError> {
        let mut next = self.clone();
        next.apply(batch, stamp)?;
        *self = next;
        Ok(())
    }

    /// All operations with which another writer was first.
    pub fn conflicts(&self, batch: &Batch) -> Vec<OperationId> {
        let is_removed = |id| batch.removals.iter().any(|removal| removal.id == id);
        let revision = |id| self.rows.get(&id).map(|row| row.operation.life.revision);
        let mut conflicts = BTreeSet::new();
        let mut written = BTreeSet::new();
        for write in &batch.writes {
            let (id, submission) = (write.operation.id(), &write.operation.submission);
            written.insert(id);
            let key = submission.idempotency.as_ref();
            let key = key.map(|known| (submission.tenant.clone(), known.key.clone()));
            let is_taken =
                key.and_then(|key| self.keys.get(&key)).is_some_and(|id| !is_removed(*id));
            if revision(id) != write.expected || write.expected.is_none() && is_taken {
                conflicts.insert(id);
            }
        }
        for removal in &batch.removals {
            if revision(removal.id) != Some(removal.expected) {
                conflicts.insert(removal.id);
            }
        }
        for (parent, expected) in &batch.parents {
            if revision(*parent) != Some(*expected) {
                conflicts.insert(*parent);
            }
        }
        for append in &batch.logs {
            let is_moved =
                !written.contains(&append.id) && revision(append.id) != Some(append.revision);
            let last = self.rows.get(&append.id).map_or(0, |row| row.last_line);
            if is_moved || append.lines.first().is_some_and(|(number, _)| *number <= last) {
                conflicts.insert(append.id);
            }
        }
        conflicts.into_iter().collect()
    }

    fn apply(&mut self, batch: &Batch, stamp: Stamp) -> Result<(), StoreError> {
        if batch.is_logged() && !self.log.claim(stamp, false) {
            return Err(StoreError::Corrupt(format!("{stamp:?} is taken")));
        }
        for removal in &batch.removals {
            self.remove(removal, stamp)?;
        }
        let written: BTreeSet<OperationId> =
            batch.writes.iter().map(|write| write.operation.id()).collect();
        for write in &batch.writes {
            let id = write.operation.id();
            match write.expected {
                None => self.insert(write.operation.clone(), write.input.clone())?,
                Some(expected) => {
                    let row = self.row(id)?;
                    if row.operation.life.revision != expected {
                        return Err(StoreError::Conflict(vec![id]));
                    }
                    row.operation = write.operation.clone();
                }
            }
            if write.result.is_some() {
                self.row(id)?.result = write.result.clone();
            }
        }
        for (parent, expected) in &batch.parents {
            if self.row(*parent)?.operation.life.revision != *expected {
                return Err(StoreError::Conflict(vec![*parent]));
            }
        }
        for (id, event) in &batch.events {
            let row = self.row(*id)?;
            if row.events.iter().any(|(known, _)| known.life.revision == event.life.revision) {
                return Err(StoreError::Corrupt(format!("{id} has that event already")));
            }
            row.events.push((event.clone(), stamp));
            row.events.sort_by_key(|(event, _)| event.life.revision);
        }
        for append in &batch.logs {
            let row = self.row(append.id)?;
            if !written.contains(&append.id) && row.operation.life.revision != append.revision {
                return Err(StoreError::Conflict(vec![append.id]));
            }
            row.append(append)?;
        }
        for (id, tombstone) in &batch.tombstones {
            self.buried += 1;
            self.tombstones.retain(|(of, _)| of != id);
            self.tombstones.push((*id, tombstone.clone()));
        }
        if let Some(Forget { until, keep }) = batch.forget {
            let first = self.buried - self.tombstones.len() as u64;
            let mut at = 0;
            self.tombstones.retain(|(_, tombstone)| {
                at += 1;
                let looked_at = at <= FORGET_BATCH as u64;
                let too_many = first + at + keep <= self.buried;
                !(looked_at && (tombstone.forget_at <= until || too_many))
            });
        }
        Ok(())
    }

    fn remove(&mut self, removal: &Removal, stamp: Stamp) -> Result<(), StoreError> {
        let operation = self.row(removal.id)?.operation.clone();
        if operation.life.revision != removal.expected {
            return Err(StoreError::Conflict(vec![removal.id]));
        }
        self.rows.remove(&removal.id);
        self.removed_children.remove(&removal.id);
        let parent = operation.submission.parent.filter(|parent| self.rows.contains_key(parent));
        if let Some(parent) = parent {
            self.removed_children.entry(parent).or_default().push(operation.state_name());
        }
        self.log.removed(stamp, operation);
        self.keys.retain(|_, id| *id != removal.id);
        if let Some(tombstone) = &removal.tombstone {
            self.buried += 1;
            self.tombstones.push((removal.id, tombstone.clone()));
        }
        Ok(())
    }

    /// A page of the log.
    pub fn log_page(&self, query: &LogQuery) -> LogPage {
        let transitions = self.rows.values().flat_map(|row| {
            let submission = &row.operation.submission;
            let with = |life: &Life| {
                let (submission, life) = (Arc::clone(submission), life.clone());
                Arc::new(Operation { submission, life })
            };
            row.events.iter().enumerate().map(move |(at, (event, stamp))| {
                let before = at.checked_sub(1).map(|at| with(&row.events[at].0.life));
                let (after, event_type) = (with(&event.life), event.event_type);
                Logged { stamp: *stamp, change: Change::Transition { before, after, event_type } }
            })
        });
        self.log.page(query, transitions.collect())
    }

    fn insert(&mut self, operation: Operation, input: Option<Bytes>) -> Result<(), StoreError> {
        let (id, submission) = (operation.id(), &operation.submission);
        let key = submission.idempotency.as_ref();
        let key = key.map(|known| (submission.tenant.clone(), known.key.clone()));
        let is_taken = key.as_ref().is_some_and(|key| self.keys.contains_key(key));
        if is_taken || self.rows.contains_key(&id) {
            return Err(StoreError::Conflict(vec![id]));
        }
        self.keys.extend(key.map(|key| (key, id)));
        let (events, lines) = (Vec::new(), Vec::new());
        let row = Row { operation, input, result: None, events, lines, last_line: 0 };
        self.rows.insert(id, Arc::new(row));
        Ok(())
    }

    fn row(&mut self, id: OperationId) -> Result<&mut Row, StoreError> {
        self.rows.get_mut(&id).map(Arc::make_mut).ok_or_else(|| StoreError::Conflict(vec![id]))
    }

    /// As in a lie of the simulation: an event that nobody has written.
    pub fn drop_last_event(&mut self, id: OperationId) {
        if let Ok(row) = self.row(id) {
            row.events.pop();
        }
    }

    pub fn load(&self, lookup: &Lookup) -> Option<Operation> {
        let id = match lookup {
            Lookup::Id(id) => *id,
            Lookup::Key(tenant, key) => *self.keys.get(&(tenant.clone(), key.clone()))?,
        };
        self.rows.get(&id).map(|row| row.operation.clone())
    }

    pub fn payload(&self, id: OperationId, role: PayloadRole) -> Option<Bytes> {
        let row = self.rows.get(&id)?;
        match role {
            PayloadRole::Input => row.input.clone(),
            PayloadRole::Result => row.result.clone(),
        }
    }

    pub fn tombstone(&self, id: OperationId) -> Option<Tombstone> {
        let found = self.tombstones.iter().rev().find(|(of, _)| *of == id);
        found.map(|(_, tombstone)| tombstone.clone())
    }

    pub fn tombstones(&self) -> usize {
        self.tombstones.len()
    }

    pub fn list(&self, query: &ListQuery) -> Vec<Operation> {
        let ListQuery { scope, filter, order: ListOrder { by, descending }, after, limit } = query;
        let place = |operation: &Operation| {
            let end = operation.ended_at().unwrap_or(Timestamp::MAX);
            (if *by == OrderBy::EndTime { end } else { Timestamp::MAX }, operation.id())
        };
        let end = |at: Timestamp| if *by == OrderBy::EndTime { at } else { Timestamp::MAX };
        let after = after.map(|after| (end(after.end_time), after.id));
        let is_batches = *scope == Scope::All && *by == OrderBy::EndTime;
        let operations = self.rows.values().map(|row| &row.operation);
        let mut page: Vec<&Operation> = operations
            .filter(|it| !is_batches || it.submission.kind.is_of_batches() && it.is_done())
            .filter(|it| scope.contains(&it.submission.tenant) && filter.matches(it))
            .filter(|operation| {
                after.is_none_or(|after| match descending {
                    true => place(operation) < after,
                    false => place(operation) > after,
                })
            })
            .collect();
        page.sort_by_key(|operation| place(operation));
        if *descending {
            page.reverse();
        }
        page.into_iter().take(*limit).cloned().collect()
    }

    /// Of everything its latest revision.
    pub fn revisions(&self) -> impl Iterator<Item = (OperationId, Revision)> {
        self.rows.iter().map(|(id, row)| (*id, row.operation.life.revision))
    }

    pub fn history(&self, query: &HistoryQuery) -> Vec<HistoryEntry> {
        let Some(row) = self.rows.get(&query.id) else { return Vec::new() };
        let transitions = row.events.iter().map(|(it, _)| HistoryEntry::Transition(it.clone()));
        let lines = row.lines.iter().enumerate().map(|(at, line)| {
            let dropped_before = if at == 0 { line.number - 1 } else { 0 };
            HistoryEntry::Log(LogEntry { dropped_before, ..line.clone() })
        });
        let lines = lines.filter(|_| query.include_log);
        let HistoryPosition { revision, log_number } = query.after;
        let mut entries: Vec<HistoryEntry> = transitions
            .chain(lines)
            .filter(|entry| match entry {
                HistoryEntry::Transition(event) => event.life.revision > revision,
                HistoryEntry::Log(line) => {
                    line.number > log_number
                        && (line.revision, line.number) > (revision, log_number)
                }
            })
            .collect();
        entries.sort_by_key(HistoryEntry::position);
        entries.truncate(query.limit);
        entries
    }

    pub fn log_book(&self, id: OperationId) -> LogBook {
        self.rows.get(&id).map_or_else(
            || LogBook::new(0, []),
            |row| LogBook::new(row.last_line, row.lines.iter().map(|line| line.text.len() as u32)),
        )
    }

    pub fn children(&self, tenant: &TenantId, batch: OperationId) -> ChildCounts {
        let mut counts = ChildCounts::default();
        let stored = self.rows.values().map(|row| &row.operation);
        let stored = stored.filter(|it| it.submission.tenant == *tenant);
        for child in stored.filter(|it| it.submission.parent == Some(batch)) {
            counts.add_stored(child.state_name(), 1);
        }
        for state in self.removed_children.get(&batch).into_iter().flatten() {
            counts.add_removed(*state, 1);
        }
        counts
    }

    pub fn count(&self) -> u64 {
        self.rows.len() as u64
    }

    pub fn scan(&self, after: Option<OperationId>, limit: usize) -> Vec<Operation> {
        let rows = self.rows.values().map(|row| &row.operation);
        let rest = rows.filter(|operation| after.is_none_or(|after| operation.id() > after));
        rest.take(limit).cloned().collect()
    }

    pub fn tombstone_page(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Vec<(OperationId, Tombstone)> {
        let known = self.tombstones.iter().position(|(id, _)| Some(*id) == after);
        let first = known.map_or(0, |at| at + 1);
        self.tombstones.iter().skip(first).take(limit).cloned().collect()
    }

    pub fn unfinished(
        &self,
        after: Option<(TenantId, OperationId)>,
        limit: usize,
    ) -> Vec<Unfinished> {
        let place = |row: &Arc<Row>| (row.operation.submission.tenant.clone(), row.operation.id());
        let mut rows: Vec<&Arc<Row>> = self.rows.values().collect();
        rows.sort_by_cached_key(|row| place(row));
        let rows = rows.into_iter().filter(|row| after.as_ref().is_none_or(|it| place(row) > *it));
        let unfinished = rows.filter_map(|row| {
            let Operation { submission, life } = &row.operation;
            let place = match &life.state {
                State::Queued { .. } => Place::Queued { not_before: row.operation.may_start_at()? },
                State::Running { lease } | State::Cancelling { lease, .. } => Place::Leased {
                    session: lease.session,
                    worker: life.worker.clone()?,
                    attempt: life.attempt,
                },
                State::Done { .. } => return None,
            };
            Some(Unfinished {
                id: submission.id,
                tenant: submission.tenant.clone(),
                kind: submission.kind.clone(),
                priority: submission.settings.priority,
                place,
            })
        });
        unfinished.take(limit).collect()
    }

    pub fn due(&self, now: Timestamp, limit: usize) -> Vec<OperationId> {
        let mut due: Vec<(Timestamp, OperationId)> = self.wakes().collect();
        due.retain(|(at, _)| *at <= now);
        due.sort_unstable();
        due.into_iter().take(limit).map(|(_, id)| id).collect()
    }

    pub fn next_wake(&self) -> Option<Timestamp> {
        let oldest = self.tombstones.first().map(|(_, tombstone)| tombstone.forget_at);
        self.wakes().map(|(at, _)| at).chain(oldest).min()
    }

    fn wakes(&self) -> impl Iterator<Item = (Timestamp, OperationId)> {
        self.rows.values().filter_map(|row| Some((row.operation.wake_at()?, row.operation.id())))
    }
}

impl Row {
    fn append(&mut self, append: &LogAppend) -> Result<(), StoreError> {
        for (number, text) in &append.lines {
            if *number <= self.last_line {
                return Err(StoreError::Corrupt(format!(
                    "{} has line {number} already",
                    append.id
                )));
            }
            self.last_line = *number;
            self.lines.push(LogEntry {
                number: *number,
                revision: append.revision,
                attempt: append.attempt,
                worker: append.worker.clone(),
                at: append.at,
                text: text.clone(),
                dropped_before: 0,
            });
        }
        self.lines.retain(|line| line.number >= append.keep_from);
        Ok(())
    }
}
