//! One commit in the making: the touched operations as they were and as they are to be.
//!
//! Decides in memory, does no I/O. A draft that is not committed is dropped, and nothing has
//! happened but what its journal tells to undo in the queue.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::EngineConfig;
use super::progress::ProgressBoard;
use super::queue::{Queue, QueueKey, Rank};
use super::request::EngineError;
use crate::operation::state::{Idempotency, Submission};
use crate::operation::{
    Command, Decision, Event, EventType, IdempotencyKey, NewOperation, Operation, OperationId,
    SessionId, State, TenantId, Timestamp, decide, transition,
};
use crate::store::log::{Change, Logged, Stamp};
use crate::store::{Batch, Forget, LogAppend, Lookup, Removal, Tombstone, Write};

/// An operation of the draft.
#[derive(Debug, Default)]
struct Known {
    /// As it is stored.
    stored: Option<Arc<Operation>>,
    /// As it is to be.
    current: Option<Arc<Operation>>,
    input: Option<Bytes>,
    result: Option<Bytes>,
    /// Removed by its retention, not by somebody who wanted it forgotten.
    expired: bool,
}

/// What is remembered of operations that their retention removes.
#[derive(Clone, Copy, Debug)]
struct Memory {
    retention: Duration,
    most: u64,
}

/// A transition of the draft.
#[derive(Debug)]
pub(super) struct Transition {
    /// The operation before; `None` for a submission.
    pub(super) before: Option<Arc<Operation>>,
    /// The operation after.
    pub(super) after: Arc<Operation>,
    /// What it was.
    pub(super) event_type: EventType,
    /// Whether a report of the current attempt made it.
    pub(super) by_report: bool,
}

/// What was done to the queue ahead of the commit.
#[derive(Debug)]
enum QueueChange {
    Added(Arc<Operation>),
    Removed(Arc<Operation>),
    Popped(QueueKey, Rank),
}

/// One commit in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) now: Timestamp,
    memory: Memory,
    forgets: bool,
    /// Ids rise with time: rows are appended in order, and operations of one commit keep theirs.
    known: BTreeMap<OperationId, Known>,
    keys: HashMap<(TenantId, IdempotencyKey), OperationId>,
    pub(super) transitions: Vec<Transition>,
    pub(super) removed: Vec<Arc<Operation>>,
    logs: Vec<LogAppend>,
    journal: Vec<QueueChange>,
    /// What cannot be read.
    pub(super) damaged: HashSet<Lookup>,
    /// Sessions for which a place is reserved, once per place.
    pub(super) reserved: Vec<SessionId>,
    /// Queues with work for which there was no place, some of which this draft may have reserved in vain.
    pub(super) without_place: Vec<QueueKey>,
    /// Queues for which there is a place that others were offered and did not need.
    pub(super) spared: Vec<QueueKey>,
}

/// What a command came to.
pub(super) struct Outcome {
    pub(super) operation: Arc<Operation>,
    pub(super) changed: bool,
}

impl Draft {
    pub(super) fn new(now: Timestamp, config: &EngineConfig) -> Self {
        let EngineConfig { tombstone_retention, max_tombstones, .. } = *config;
        Self {
            now,
            memory: Memory { retention: tombstone_retention, most: max_tombstones },
            forgets: false,
            known: BTreeMap::new(),
            keys: HashMap::new(),
            transitions: Vec::new(),
            removed: Vec::new(),
            logs: Vec::new(),
            journal: Vec::new(),
            damaged: HashSet::new(),
            reserved: Vec::new(),
            without_place: Vec::new(),
            spared: Vec::new(),
        }
    }

    /// Takes in an operation as it is stored.
    pub(super) fn learn(&mut self, operation: Arc<Operation>) {
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

    /// The operation as it is to be.
    pub(super) fn current(&self, id: OperationId) -> Option<Arc<Operation>> {
        self.known.get(&id).and_then(|known| known.current.clone())
    }

    /// The operation as it is stored.
    pub(super) fn stored(&self, id: OperationId) -> Option<Arc<Operation>> {
        self.known.get(&id).and_then(|known| known.stored.clone())
    }

    /// Whether the operation was looked for.
    pub(super) fn knows(&self, id: OperationId) -> bool {
        self.known.contains_key(&id)
    }

    /// The contents of an input that comes with this commit.
    pub(super) fn input(&self, id: OperationId) -> Option<Bytes> {
        self.known.get(&id).and_then(|known| known.input.clone())
    }

    /// The operation that the submission's idempotency key names already, if it does.
    pub(super) fn existing(
        &self,
        new: &NewOperation,
    ) -> Option<Result<Arc<Operation>, EngineError>> {
        let key = new.idempotency_key.clone()?;
        let id = self.keys.get(&(new.tenant.clone(), key))?;
        let existing = self.current(*id)?;
        let known = existing.submission.idempotency.as_ref()?;
        Some(if known.fingerprint == new.fingerprint() {
            Ok(existing)
        } else {
            Err(EngineError::KeyReused(existing.id()))
        })
    }

    /// A submission that is new.
    pub(super) fn submit(
        &mut self,
        new: &NewOperation,
        id: OperationId,
        queue: &mut Queue,
    ) -> Arc<Operation> {
        let idempotency = new
            .idempotency_key
            .as_ref()
            .map(|key| Idempotency { key: key.clone(), fingerprint: new.fingerprint() });
        let submission = Submission {
            id,
            tenant: new.tenant.clone(),
            kind: new.kind.clone(),
            labels: new.labels.clone(),
            settings: new.settings.clone(),
            created_at: self.now,
            start_at: new.start_at.map_or(self.now, |at| at.max(self.now)),
            idempotency,
            retry_of: new.retry_of,
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
        self.record(None, Arc::clone(&operation), event_type, false, queue);
        operation
    }

    /// A command for an operation that the draft knows.
    pub(super) fn apply(
        &mut self,
        operation: &Arc<Operation>,
        command: &Command,
        result: Option<&Bytes>,
        board: &ProgressBoard,
        queue: &mut Queue,
    ) -> Result<Outcome, EngineError> {
        let progress = board.get(operation.id(), operation.life.attempt);
        match decide(operation, command, progress.as_ref(), self.now)? {
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
                self.record(before, Arc::clone(&after), event_type, by_report, queue);
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

    /// Tombstones whose time has come are to go.
    pub(super) fn forget(&mut self) {
        self.forgets = true;
    }

    /// Log lines to be written.
    pub(super) fn add_log(&mut self, append: LogAppend) {
        self.logs.push(append);
    }

    /// Takes the first of a queue.
    pub(super) fn pop(&mut self, queue: &mut Queue, key: &QueueKey) -> Option<OperationId> {
        let rank = queue.pop(key)?;
        self.journal.push(QueueChange::Popped(key.clone(), rank));
        Some(rank.1)
    }

    /// Puts an operation that was popped in vain where it belongs.
    pub(super) fn put_back(&mut self, queue: &mut Queue, operation: &Arc<Operation>) {
        if matches!(operation.life.state, State::Queued { .. }) {
            enqueue(queue, operation, self.now);
            self.journal.push(QueueChange::Added(Arc::clone(operation)));
        }
    }

    fn record(
        &mut self,
        before: Option<Arc<Operation>>,
        after: Arc<Operation>,
        event_type: EventType,
        by_report: bool,
        queue: &mut Queue,
    ) {
        if let Some(before) = &before
            && matches!(before.life.state, State::Queued { .. })
        {
            queue.remove(before);
            self.journal.push(QueueChange::Removed(Arc::clone(before)));
        }
        if matches!(after.life.state, State::Queued { .. }) {
            enqueue(queue, &after, self.now);
            self.journal.push(QueueChange::Added(Arc::clone(&after)));
        }
        let known = self.known.entry(after.id()).or_default();
        known.current = Some(Arc::clone(&after));
        self.transitions.push(Transition { before, after, event_type, by_report });
    }

    /// Whether there is nothing to commit.
    pub(super) fn is_empty(&self) -> bool {
        let nothing_written = self.transitions.is_empty() && self.logs.is_empty();
        nothing_written && self.removed.is_empty() && !self.forgets
    }

    /// The rows to write.
    pub(super) fn batch(&self) -> Batch {
        let mut batch = Batch::default();
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
                        forget_at: self.now.after(self.memory.retention),
                    });
                    let expected = stored.life.revision;
                    batch.removals.push(Removal { id: *id, expected, tombstone, at: self.now });
                }
                (None, None) => {}
            }
        }
        // Each that comes may take two with it that are out of date, or too many.
        if self.forgets || batch.removals.iter().any(|removal| removal.tombstone.is_some()) {
            batch.forget = Some(Forget { until: self.now, keep: self.memory.most });
        }
        let stays = |id| self.stays(id);
        let transitions = self.transitions.iter().filter(|transition| stays(transition.after.id()));
        batch.events.extend(transitions.map(|transition| {
            let life = transition.after.life.clone();
            (transition.after.id(), Event { event_type: transition.event_type, life })
        }));
        batch.logs.extend(self.logs.iter().filter(|append| stays(append.id)).cloned());
        batch
    }

    /// Whether the operation is there after the commit. What is removed takes its history along.
    fn stays(&self, id: OperationId) -> bool {
        self.known.get(&id).is_none_or(|known| known.current.is_some())
    }

    /// What the commit of that name did, in the order of operation and revision.
    pub(super) fn logged(&self, stamp: Stamp) -> Vec<Logged> {
        let transitions = self.transitions.iter().filter(|it| self.stays(it.after.id()));
        let transitions = transitions.map(|Transition { before, after, event_type, .. }| {
            let (before, after) = (before.clone(), Arc::clone(after));
            Change::Transition { before, after, event_type: *event_type }
        });
        let removals = self.removed.iter().map(|removed| Change::Removed(Arc::clone(removed)));
        let mut logged: Vec<Logged> =
            transitions.chain(removals).map(|change| Logged { stamp, change }).collect();
        logged.sort_by_key(|logged| logged.change.cursor());
        logged
    }

    /// The operations that were changed, as they are to be, with new inputs.
    pub(super) fn changed(&self) -> impl Iterator<Item = (Arc<Operation>, Option<Bytes>)> + '_ {
        self.known.values().filter_map(|known| {
            known.current.as_ref().map(|current| (Arc::clone(current), known.input.clone()))
        })
    }

    /// Every operation that the draft touched.
    pub(super) fn touched(&self) -> impl Iterator<Item = OperationId> + '_ {
        self.known.keys().copied()
    }

    /// Whose log lines would have been written.
    pub(super) fn with_lines(&self) -> impl Iterator<Item = OperationId> + '_ {
        self.logs.iter().map(|append| append.id)
    }

    /// Undoes what was done to the queue: the commit did not happen. Answers the queues that were to be
    /// served.
    pub(super) fn undo(self, queue: &mut Queue) -> Vec<QueueKey> {
        let mut unserved = self.without_place;
        unserved.extend(self.spared);
        for change in self.journal.into_iter().rev() {
            match change {
                QueueChange::Added(operation) => queue.remove(&operation),
                QueueChange::Removed(operation) => {
                    enqueue(queue, &operation, self.now);
                    unserved.push(QueueKey::of(&operation));
                }
                QueueChange::Popped(key, rank) => {
                    queue.put_back(key.clone(), rank);
                    unserved.push(key);
                }
            }
        }
        unserved
    }
}

fn enqueue(queue: &mut Queue, operation: &Operation, now: Timestamp) {
    if let State::Queued { not_before } = operation.life.state {
        let priority = operation.submission.settings.priority;
        queue.add(QueueKey::of(operation), priority, operation.id(), not_before, now);
    }
}
