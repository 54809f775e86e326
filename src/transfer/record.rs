//! An operation with its payloads and history: read, written as rows again, and summed.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{Side, TransferError, payloads};
use crate::operation::{Event, Operation};
use crate::store::{
    Batch, HistoryEntry, HistoryPosition, HistoryQuery, LogAppend, LogEntry, PayloadRole, Write,
    codec,
};

/// The number of operations between two progress reports.
pub(super) const PAGE: usize = 1_000;
/// The number of history entries that are read at once.
const HISTORY_PAGE: usize = 1_000;
/// The limits of a group that is read and written together: operations, and bytes of payloads.
const GROUP: usize = 256;
const GROUP_BYTES: u64 = 8 << 20;

/// An operation with everything that belongs to it except its objects.
pub(super) struct Record {
    operation: Operation,
    input: Option<Bytes>,
    result: Option<Bytes>,
    history: Vec<HistoryEntry>,
}

/// The sum of a record. Equal sums mean equal records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) operation: [u8; 32],
    pub(super) payloads: [u8; 32],
    pub(super) payload_bytes: u64,
    pub(super) history: [u8; 32],
    pub(super) history_entries: u64,
}

impl Record {
    /// Reads everything that belongs to an operation.
    pub(super) async fn load(side: &Side, operation: Operation) -> Result<Self, TransferError> {
        let (mut input, mut result) = (None, None);
        for (role, _) in payloads(&operation).filter(|(_, info)| info.object.is_none()) {
            let contents = side.store.payload(operation.id(), role).await;
            let Some(contents) = contents.map_err(side.failed())? else {
                let (place, id) = (side.name.clone(), operation.id());
                return Err(TransferError::Damaged { place, id, role, problem: "is missing" });
            };
            match role {
                PayloadRole::Input => input = Some(contents),
                PayloadRole::Result => result = Some(contents),
            }
        }
        let history = history(side, &operation).await?;
        Ok(Self { operation, input, result, history })
    }

    /// Adds the record to a batch.
    pub(super) fn write(self, batch: &mut Batch) {
        let Self { operation, input, result, history } = self;
        let id = operation.id();
        let mut logs: Vec<LogAppend> = Vec::new();
        let mut keep_from = None;
        for entry in history {
            match entry {
                HistoryEntry::Transition(event) => batch.events.push((id, event)),
                HistoryEntry::Log(line) => {
                    let keep_from = *keep_from.get_or_insert(line.number);
                    match logs.last_mut().filter(|append| goes_with(append, &line)) {
                        Some(append) => append.lines.push((line.number, line.text)),
                        None => logs.push(LogAppend {
                            id,
                            revision: line.revision,
                            attempt: line.attempt,
                            worker: line.worker,
                            at: line.at,
                            lines: vec![(line.number, line.text)],
                            keep_from,
                        }),
                    }
                }
            }
        }
        batch.logs.extend(logs);
        batch.writes.push(Write { operation, expected: None, input, result });
    }

    /// The record's sums.
    pub(super) fn sums(&self) -> Sums {
        let mut contents = Sum::default();
        for payload in [&self.input, &self.result] {
            contents.number(payload.is_some().into());
            contents.bytes(payload.as_deref().unwrap_or_default());
        }
        let mut history = Sum::default();
        for entry in &self.history {
            match entry {
                HistoryEntry::Transition(event) => history.event(event),
                HistoryEntry::Log(line) => history.line(line),
            }
        }
        let sizes = [&self.input, &self.result].map(|it| it.as_ref().map_or(0, Bytes::len) as u64);
        Sums {
            operation: operation_sum(&self.operation),
            payloads: contents.end(),
            payload_bytes: sizes.iter().sum(),
            history: history.end(),
            history_entries: self.history.len() as u64,
        }
    }
}

/// Splits operations into groups, each of which fits in memory.
pub(super) fn groups(operations: Vec<Operation>) -> Vec<Vec<Operation>> {
    let mut groups = Vec::new();
    let (mut group, mut bytes) = (Vec::new(), 0);
    for operation in operations {
        let inline = payloads(&operation).filter(|(_, info)| info.object.is_none());
        // A row may state a wrong size.
        let size = inline.fold(0_u64, |sum, (_, info)| sum.saturating_add(info.size_bytes));
        if !group.is_empty() && (group.len() == GROUP || size > GROUP_BYTES - bytes) {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        bytes = size.saturating_add(bytes).min(GROUP_BYTES);
        group.push(operation);
    }
    groups.extend((!group.is_empty()).then_some(group));
    groups
}

async fn history(side: &Side, operation: &Operation) -> Result<Vec<HistoryEntry>, TransferError> {
    let mut entries: Vec<HistoryEntry> = Vec::new();
    loop {
        let after = entries.last().map_or_else(HistoryPosition::default, HistoryEntry::position);
        let (id, limit) = (operation.id(), HISTORY_PAGE);
        let query = HistoryQuery { id, after, include_log: true, limit };
        let page = side.store.history(query).await.map_err(side.failed())?;
        let is_last = page.len() < HISTORY_PAGE;
        entries.extend(page);
        if is_last {
            return Ok(entries);
        }
    }
}

fn goes_with(append: &LogAppend, line: &LogEntry) -> bool {
    (append.revision, append.attempt, append.at) == (line.revision, line.attempt, line.at)
        && append.worker == line.worker
}

fn operation_sum(operation: &Operation) -> [u8; 32] {
    let submission = &operation.submission;
    let columns = codec::Columns::of(submission);
    let mut sum = Sum::default();
    sum.bytes(columns.id.as_bytes());
    sum.bytes(columns.tenant.as_str().as_bytes());
    sum.bytes(columns.kind.as_str().as_bytes());
    sum.number(columns.priority.into());
    sum.bytes(&columns.created_at.micros().to_be_bytes());
    let key = columns.idempotency_key.as_ref();
    sum.bytes(key.map_or("", |key| key.as_str()).as_bytes());
    sum.bytes(&codec::encode_submission(submission));
    sum.bytes(&codec::encode_life(&operation.life));
    sum.end()
}

/// A SHA-256 over parts, each preceded by its length.
#[derive(Default)]
pub(super) struct Sum(Sha256);

impl Sum {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn event(&mut self, event: &Event) {
        self.number(event.event_type as u64);
        self.bytes(&codec::encode_life(&event.life));
    }

    fn line(&mut self, line: &LogEntry) {
        // No event type has this number.
        self.number(0);
        for number in [line.number, line.revision.0, line.attempt.0.into(), line.dropped_before] {
            self.number(number);
        }
        self.bytes(line.worker.as_ref().map_or("", |worker| worker.as_str()).as_bytes());
        self.bytes(&line.at.micros().to_be_bytes());
        self.bytes(line.text.as_bytes());
    }

    pub(super) fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
