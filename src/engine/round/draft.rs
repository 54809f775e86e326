//! A draft of one commit: the touched operations before and after it.
//!
//! Decides in memory and does no I/O: dropping a draft that is not committed undoes it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::transition::Transition;
use crate::engine::EngineConfig;
use crate::engine::request::EngineError;
use crate::operation::state::{Idempotency, Submission};
use crate::operation::{
    Command, Decision, Event, EventType, IdempotencyKey, NewOperation, Operation, OperationId,
    Progress, Revision, TenantId, Timestamp, decide, transition,
};
use crate::store::log::{Change, Logged, Stamp};
use crate::store::{Batch, Forget, LogAppend, Lookup, Removal, Tombstone, Write};

/// An operation in the draft.
#[derive(Debug, Default)]
struct Known {
    /// As stored.
    stored: Option<Arc<Operation>>,
    /// As of this draft.
    current: Option<Arc<Operation>>,
    input: Option<Bytes>,
    result: Option<Bytes>,
    /// Whether retention removed it, not a client's delete.
    expired: bool,
}

/// How long tombstones are kept, and how many.
#[derive(Clone, Copy, Debug)]
struct TombstonePolicy {
    retention: Duration,
    most: u64,
}

/// The contents of one commit while it is decided.
#[derive(Debug)]
pub(crate) struct Draft {
    now: Timestamp,
    tombstones: TombstonePolicy,
    forgets: bool,
    /// Ids rise with time, so rows are appended in order and operations of one commit keep their order.
    known: BTreeMap<OperationId, Known>,
    keys: HashMap<(TenantId, IdempotencyKey), OperationId>,
    transitions: Vec<Transition>,
    removed: Vec<Arc<Operation>>,
    logs: Vec<LogAppend>,
    /// Lookups whose rows cannot be read.
    damaged: HashSet<Lookup>,
}

/// The outcome of a command.
pub(crate) struct Outcome {
    pub(crate) operation: Arc<Operation>,
    pub(crate) changed: bool,
}

impl Draft {
    pub(crate) fn new(now: Timestamp, config: &EngineConfig) -> Self {
        let EngineConfig { tombstone_retention, max_tombstones, .. } = *config;
        Self {
            now,
            tombstones: TombstonePolicy { retention: tombstone_retention, most: max_tombstones },
            forgets: false,
            known: BTreeMap::new(),
            keys: HashMap::new(),
            transitions: Vec::new(),
            removed: Vec::new(),
            logs: Vec::new(),
            damaged: HashSet::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The transitions, in the order in which they were decided.
    pub(crate) fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// The removed operations, in their last state.
    pub(crate) fn removed(&self) -> &[Arc<Operation>] {
        &self.removed
    }

    /// Marks a row that cannot be read.
    pub(crate) fn mark_damaged(&mut self, lookup: Lookup) {
        self.damaged.insert(lookup);
    }

    pub(crate) fn is_damaged(&self, lookup: &Lookup) -> bool {
        self.damaged.contains(lookup)
    }

    /// Adds an operation as stored.
    pub(crate) fn learn(&mut self, operation: Arc<Operation>) {
        let submission = &operation.submission;
        if let Some(idempotency) = &submission.idempotency {
            let key = (submission.tenant.clone(), idempotency.key.clone());
            self.keys.insert(key, submission.id);
        }
        self.known.entry(submission.id).or_insert_with(|| Known {
            stored: Some(Arc::clone(&operation)),
            current: Some(operation),
            ..Known::default()
        });
    }

    /// The operation as of this draft.
    pub(crate) fn current(&self, id: OperationId) -> Option<Arc<Operation>> {
        self.known.get(&id).and_then(|known| known.current.clone())
    }

    /// The operation as stored.
    pub(crate) fn stored(&self, id: OperationId) -> Option<Arc<Operation>> {
        self.known.get(&id).and_then(|known| known.stored.clone())
    }

    /// Whether the operation was found.
    pub(crate) fn knows(&self, id: OperationId) -> bool {
        self.known.contains_key(&id)
    }

    /// The contents of an input that this commit stores.
    pub(crate) fn input(&self, id: OperationId) -> Option<Bytes> {
        self.known.get(&id).and_then(|known| known.input.clone())
    }

    /// The operation that has the submission's idempotency key already, if any.
    pub(crate) fn existing(
        &self,
        new: &NewOperation,
    ) -> Option<Result<Arc<Operation>, EngineError>> {
        let key = new.idempotency_key.clone()?;
        let id = self.keys.get(&(new.tenant.clone(), key))?;
        let existing = self.current(*id)?;
        let known = existing.submission.idempotency.as_ref()?;
        Some(if new.is_known_by(&known.fingerprint) {
            Ok(existing)
        } else {
            Err(EngineError::KeyReused(existing.id()))
        })
    }

    /// Adds a new submission.
    pub(crate) fn submit(&mut self, new: &NewOperation, id: OperationId) -> Arc<Operation> {
        let idempotency = new
            .idempotency_key
            .as_ref()
            .map(|key| Idempotency { key: key.clone(), fingerprint: new.fingerprint() });
        let submission = Submission {
            id,
            tenant: new.tenant.clone(),
            kind: new.kind.clone(),
            labels: new.labels.clone(),
            settings: new.in_force().clone(),
            created_at: self.now,
            start_at: new.earliest_start(self.now),
            idempotency,
            retry_of: new.retry_of,
            parent: new.parent,
            trace: new.trace.clone(),
            callback: new.callback.clone(),
            input: new.input.as_ref().map(|input| input.info.clone()),
        };
        let (operation, event_type) = transition::submit(Arc::new(submission));
        let operation = Arc::new(operation);
        if let Some(idempotency) = &operation.submission.idempotency {
            let key = (new.tenant.clone(), idempotency.key.clone());
            self.keys.insert(key, operation.id());
        }
        let in_row = new.input.as_ref().filter(|input| input.info.object.is_none());
        let input = in_row.map(|input| input.data.clone());
        self.known.insert(operation.id(), Known { input, ..Known::default() });
        self.record(None, Arc::clone(&operation), event_type, false);
        operation
    }

    /// Applies a command to an operation that the draft knows.
    pub(crate) fn apply(
        &mut self,
        operation: &Arc<Operation>,
        command: &Command,
        result: Option<&Bytes>,
        progress: Option<&Progress>,
    ) -> Result<Outcome, EngineError> {
        match decide(operation, command, progress, self.now)? {
            Decision::NoChange => Ok(Outcome { operation: Arc::clone(operation), changed: false }),
            Decision::Change(event) => {
                let Event { event_type, life } = *event;
                let submission = Arc::clone(&operation.submission);
                let after = Arc::new(Operation { submission, life });
                let by_report = matches!(
                    command,
                    Command::Complete { .. } | Command::Fail { .. } | Command::Release { .. }
                );
                if let Some(known) = self.known.get_mut(&operation.id())
                    && after.result().is_some()
                {
                    known.result = result.cloned();
                }
                let before = Some(Arc::clone(operation));
                self.record(before, Arc::clone(&after), event_type, by_report);
                Ok(Outcome { operation: after, changed: true })
            }
            Decision::Remove => {
                if let Some(known) = self.known.get_mut(&operation.id()) {
                    known.current = None;
                    known.expired = matches!(command, Command::Tick { .. });
                }
                self.removed.push(Arc::clone(operation));
                Ok(Outcome { operation: Arc::clone(operation), changed: true })
            }
        }
    }

    /// Removes expired tombstones with this commit.
    pub(crate) fn forget(&mut self) {
        self.forgets = true;
    }

    /// Adds log lines to write.
    pub(crate) fn add_log(&mut self, append: LogAppend) {
        self.logs.push(append);
    }

    fn record(
        &mut self,
        before: Option<Arc<Operation>>,
        after: Arc<Operation>,
        event_type: EventType,
        by_report: bool,
    ) {
        let known = self.known.entry(after.id()).or_default();
        known.current = Some(Arc::clone(&after));
        self.transitions.push(Transition { before, after, event_type, by_report });
    }

    /// Whether there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        let nothing_written = self.transitions.is_empty() && self.logs.is_empty();
        nothing_written && self.removed.is_empty() && !self.forgets
    }

    /// The stored batches that new operations are children of.
    fn parents(&self) -> Vec<(OperationId, Revision)> {
        let is_new = |known: &&Known| known.stored.is_none();
        let new = self.known.values().filter(is_new).filter_map(|known| known.current.as_ref());
        let parents: BTreeSet<OperationId> = new.filter_map(|it| it.submission.parent).collect();
        let untouched = parents.into_iter().filter_map(|parent| {
            let known = self.known.get(&parent)?;
            let (stored, current) = (known.stored.as_ref()?, known.current.as_ref()?);
            let revision = stored.life.revision;
            (revision == current.life.revision).then_some((parent, revision))
        });
        untouched.collect()
    }

    /// The rows to write.
    pub(crate) fn batch(&self) -> Batch {
        let mut batch = Batch { parents: self.parents(), ..Batch::default() };
        for (id, known) in &self.known {
            match (&known.stored, &known.current) {
                (stored, Some(current)) => {
                    let expected = stored.as_ref().map(|stored| stored.life.revision);
                    if expected == Some(current.life.revision) {
                        continue;
                    }
                    batch.writes.push(Write {
                        operation: Operation::clone(current),
                        expected,
                        input: known.input.clone(),
                        result: known.result.clone(),
                    });
                }
                (Some(stored), None) => {
                    let tombstone = known.expired.then(|| Tombstone {
                        tenant: stored.submission.tenant.clone(),
                        purged_at: self.now,
                        forget_at: self.now.after(self.tombstones.retention),
                    });
                    let expected = stored.life.revision;
                    batch.removals.push(Removal { id: *id, expected, tombstone, at: self.now });
                }
                (None, None) => {}
            }
        }
        // Each new tombstone may remove two that have expired or are too many.
        if self.forgets || batch.removals.iter().any(|removal| removal.tombstone.is_some()) {
            batch.forget = Some(Forget { until: self.now, keep: self.tombstones.most });
        }
        let transitions = self.transitions.iter().filter(|it| self.stays(it.after.id()));
        batch.events.extend(transitions.map(|transition| {
            let life = transition.after.life.clone();
            (transition.after.id(), Event { event_type: transition.event_type, life })
        }));
        batch.logs.extend(self.logs.iter().filter(|append| self.stays(append.id)).cloned());
        batch
    }

    /// Whether the operation exists after the commit. A removed operation's history goes with it.
    fn stays(&self, id: OperationId) -> bool {
        self.known.get(&id).is_none_or(|known| known.current.is_some())
    }

    /// The changes of the commit with that stamp, in the order of operation and revision.
    pub(crate) fn logged(&self, stamp: Stamp) -> Vec<Logged> {
        let transitions = self.transitions.iter().filter(|it| self.stays(it.after.id()));
        let transitions = transitions.map(|Transition { before, after, event_type, .. }| {
            let (before, after) = (before.clone(), Arc::clone(after));
            Change::Transition { before, after, event_type: *event_type }
        });
        let removals = self
            .removed
            .iter()
            .map(|removed| Change::Removed { last: Arc::clone(removed), is_only_word: false });
        let mut logged: Vec<Logged> =
            transitions.chain(removals).map(|change| Logged { stamp, change }).collect();
        logged.sort_by_key(|logged| logged.change.cursor());
        logged
    }
}

mod outcome;
#[cfg(test)]
mod tests;
