//! Unacknowledged reports: kept until the server has acknowledged them, and sent again on the next stream, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use super::attempt_key::AttemptKey;
use super::outcome::{self, Failure};
use super::report::{Pending, Report};
use crate::proto::v1;
use crate::proto::v1::work_request::Message;

/// The delay before a report that the server could not accept is sent again.
const RESEND_DELAY: Duration = Duration::from_millis(500);
/// The size of a chunk of contents, in bytes.
const CHUNK_BYTES: usize = 256 << 10;
/// Room in a report for everything but the result, in bytes.
const REPORT_SLACK: usize = 4 << 10;
/// The cost of a log line beyond its text, in bytes, so that empty lines are bounded too.
const LINE_COST: usize = 32;
/// The maximum size of unacknowledged log lines, in bytes; beyond it, handlers that log wait.
const LOG_BUDGET: usize = 1 << 20;
/// The maximum number of lines in one report, and their size in bytes; well below the server's limits.
const MAX_BATCH_LINES: usize = 500;
const MAX_BATCH_BYTES: usize = 128 * 1024;

/// The sent part of a report's contents.
#[derive(Clone, Copy, Debug)]
struct Sending {
    id: i64,
    offset: u64,
}

/// The lines of one attempt that wait for a common report.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<String>,
    bytes: usize,
}

/// The unacknowledged reports.
#[derive(Debug)]
pub(super) struct Reports {
    last_id: i64,
    max_bytes: usize,
    unacked: BTreeMap<i64, Pending>,
    unsent: VecDeque<i64>,
    /// The report whose contents are being sent.
    sending: Option<Sending>,
    /// Whether the last message was a chunk: chunks and other reports take turns.
    chunk_was_last: bool,
    later: BTreeSet<(Instant, i64)>,
    batches: BTreeMap<AttemptKey, Batch>,
    log_bytes: usize,
}

impl Reports {
    /// No reports yet. A report larger than `max_bytes` is never sent.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            last_id: 0,
            max_bytes,
            unacked: BTreeMap::new(),
            unsent: VecDeque::new(),
            sending: None,
            chunk_was_last: false,
            later: BTreeSet::new(),
            batches: BTreeMap::new(),
            log_bytes: 0,
        }
    }

    /// Whether more lines can be taken.
    pub(super) fn has_room(&self) -> bool {
        self.log_bytes < LOG_BUDGET
    }

    /// The number of unacknowledged reports.
    pub(super) fn unacked(&self) -> usize {
        self.unacked.len()
    }

    /// The attempts whose end is unacknowledged.
    pub(super) fn ended_keys(&self) -> impl Iterator<Item = &AttemptKey> {
        let ends = self.unacked.values().filter(|one| !matches!(one.report, Report::Log(_)));
        ends.map(|one| &one.key)
    }

    /// Adds a line, to be reported together with others of its attempt.
    pub(super) fn log(&mut self, key: &AttemptKey, line: String) {
        let cost = line.len() + LINE_COST;
        self.log_bytes += cost;
        let batch = self.batches.entry(key.clone()).or_default();
        batch.bytes += cost;
        batch.lines.push(line);
        if batch.lines.len() >= MAX_BATCH_LINES || batch.bytes >= MAX_BATCH_BYTES {
            self.flush_of(key);
        }
    }

    /// Makes reports of the waiting lines.
    pub(super) fn flush(&mut self) {
        for (key, batch) in std::mem::take(&mut self.batches) {
            self.add(key, Report::Log(batch.lines), false);
        }
    }

    /// Reports an attempt's end, after the lines that it logged.
    pub(super) fn end(&mut self, key: AttemptKey, report: Report) {
        self.flush_of(&key);
        self.add(key, report, false);
    }

    /// The next report to send, or the next chunk of one's contents.
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.chunk_was_last = !self.chunk_was_last;
        if !self.chunk_was_last
            && let Some(message) = self.next_report()
        {
            return Some(message);
        }
        match self.next_chunk().await {
            Some(message) => Some(message),
            None => self.next_report(),
        }
    }

    /// The next report. Begins to send the contents of one that needs that first.
    fn next_report(&mut self) -> Option<Message> {
        for _ in 0..self.unsent.len() {
            let id = self.unsent.pop_front()?;
            let Some(pending) = self.unacked.get(&id) else { continue };
            if pending.report.contents().is_none() {
                return Some(pending.message(id));
            }
            match self.sending {
                None => self.sending = Some(Sending { id, offset: 0 }),
                Some(_) => self.unsent.push_back(id),
            }
        }
        None
    }

    /// The next chunk of the contents that are being sent; after the last one, the report itself.
    async fn next_chunk(&mut self) -> Option<Message> {
        loop {
            let Sending { id, offset } = self.sending?;
            let Some(pending) = self.unacked.get(&id) else {
                self.sending = None;
                continue;
            };
            let contents = pending.report.contents().filter(|all| offset < all.size_bytes());
            let Some(contents) = contents.cloned() else {
                self.sending = None;
                return Some(pending.message(id));
            };
            let attempt = Some(v1::AttemptRef::from(&pending.key));
            match contents.piece(offset, CHUNK_BYTES).await {
                Ok(data) => {
                    self.sending = Some(Sending { id, offset: offset + data.len() as u64 });
                    let offset_bytes = offset.cast_signed();
                    let chunk = v1::ResultChunk { attempt, offset_bytes, data };
                    return Some(Message::ResultChunk(chunk));
                }
                Err(error) => {
                    self.sending = None;
                    let why = format!("the result's temporary file cannot be read: {error}");
                    if let Some(pending) = self.take(id) {
                        self.stand_in(&pending, "RESULT_LOST", &why);
                    }
                }
            }
        }
    }

    /// Whether there is something to send.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.sending.is_some()
    }

    /// Queues every unacknowledged report again, for a new stream.
    pub(super) fn resend_all(&mut self) {
        self.later.clear();
        self.sending = None;
        self.unsent = self.unacked.keys().copied().collect();
    }

    /// When to send the next report again that could not be accepted.
    pub(super) fn resend_at(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Queues the reports whose delay is over.
    pub(super) fn resend_due(&mut self, now: Instant) {
        while let Some((at, id)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, id));
            self.unsent.push_back(id);
        }
    }

    /// Handles the server's response to a report.
    pub(super) fn answered(&mut self, id: i64, error: Option<v1::RequestError>, now: Instant) {
        let code = error.as_ref().map(|error| Code::from_i32(error.status_code));
        if code == Some(Code::Unavailable) {
            if self.unacked.contains_key(&id) {
                self.later.insert((now + RESEND_DELAY, id));
            }
            return;
        }
        let Some(pending) = self.take(id) else { return };
        let (Some(code), Some(error)) = (code, error) else { return };
        tracing::warn!(
            operation.name = &*pending.key.operation,
            attempt = pending.key.attempt,
            code = ?code,
            reason = error.reason,
            "report refused: {}",
            error.message
        );
        // The attempt is still current, but the report is not acceptable. Without another report the operation would
        // stay RUNNING as long as this worker lives.
        let unacceptable =
            matches!(code, Code::InvalidArgument | Code::ResourceExhausted | Code::OutOfRange);
        if unacceptable && !pending.stand_in {
            self.stand_in(&pending, "REPORT_REFUSED", &error.message);
        }
    }

    /// Forgets everything about an attempt.
    pub(super) fn forget(&mut self, key: &AttemptKey) {
        self.flush_of(key);
        let ids = self.unacked.iter().filter(|(_, one)| one.key == *key).map(|(id, _)| *id);
        for id in ids.collect::<Vec<_>>() {
            self.take(id);
        }
    }

    /// Forgets everything.
    pub(super) fn forget_all(&mut self) {
        *self = Self { last_id: self.last_id, ..Self::new(self.max_bytes) };
    }

    fn flush_of(&mut self, key: &AttemptKey) {
        if let Some(batch) = self.batches.remove(key) {
            self.add(key.clone(), Report::Log(batch.lines), false);
        }
    }

    fn add(&mut self, key: AttemptKey, mut report: Report, stand_in: bool) {
        self.last_id += 1;
        if let Report::Complete(outcome) = &mut report {
            outcome.split(self.max_bytes.saturating_sub(REPORT_SLACK));
        }
        let pending = Pending { key, report, stand_in };
        let bounded = stand_in || matches!(pending.report, Report::Log(_));
        let size = if bounded { 0 } else { pending.encoded_len(self.last_id) };
        // Sending it would end this stream, and every later one.
        if size > self.max_bytes {
            let limit = self.max_bytes;
            let why = format!("the report has {size} bytes, more than the worker's {limit}");
            return self.stand_in(&pending, "RESULT_TOO_LARGE", &why);
        }
        self.unacked.insert(self.last_id, pending);
        self.unsent.push_back(self.last_id);
    }

    /// A final failure that replaces an undeliverable report. Lines get none, and a release has nothing that could be
    /// refused.
    fn stand_in(&mut self, pending: &Pending, code: &str, why: &str) {
        match &pending.report {
            Report::Log(_) | Report::Release => {}
            Report::Complete(_) => {
                let failure = Failure::permanent(code, why);
                self.add(pending.key.clone(), Report::Fail(failure), true);
            }
            Report::Fail(refused) => {
                let mut message = refused.message().to_owned();
                outcome::cut(&mut message, 1_024);
                let failure = Failure::permanent(refused.code(), message);
                let failure = failure.with_metadata("report_refused", why);
                let failure = Failure { permanent: refused.permanent, ..failure };
                self.add(pending.key.clone(), Report::Fail(failure), true);
            }
        }
    }

    fn take(&mut self, id: i64) -> Option<Pending> {
        let pending = self.unacked.remove(&id)?;
        if let Report::Log(lines) = &pending.report {
            let cost: usize = lines.iter().map(|line| line.len() + LINE_COST).sum();
            self.log_bytes = self.log_bytes.saturating_sub(cost);
        }
        Some(pending)
    }
}
