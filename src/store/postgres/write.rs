//! A batch as a handful of statements, however large it is, each over arrays.

use uuid::Uuid;

use super::super::log::Stamp;
use super::super::sql::columns::{apart, number, role_number};
use super::super::{Batch, LogAppend, PayloadRole, Removal, Write, codec};
use super::rows::uuid;
use super::step::Step;
use super::{log, operations, tombstones};
use crate::operation::{Event, OperationId};

/// The maximum size of large payloads in one statement, in bytes.
const PAYLOAD_BYTES: usize = 32 << 20;
/// The longest indexed value of a label, which is also the longest that a client can send.
const LABEL_BYTES: usize = 1_020;

/// The statements for the batch, except session rows and notifications. Tombstones are deleted
/// from number `oldest` on.
pub(super) fn steps(batch: &Batch, stamp: Stamp, oldest: i64) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    if batch.is_logged() && batch.events.is_empty() {
        steps.push(log::name(stamp));
    }
    steps.extend(operations::step(batch, stamp));
    if !batch.removals.is_empty() {
        steps.push(remove_parts(&batch.removals));
    }
    steps.extend(tombstones::put(batch));
    let new: Vec<&Write> = batch.writes.iter().filter(|write| write.expected.is_none()).collect();
    steps.extend(labels(&new));
    steps.extend(payloads(&batch.writes));
    steps.extend(objects(&batch.writes));
    if !batch.events.is_empty() {
        steps.push(events(&batch.events, stamp));
    }
    steps.extend(lines(&batch.logs));
    steps.extend(batch.forget.map(|forget| tombstones::forget(forget, oldest)));
    steps
}

/// The bytes to send beside rows.
pub(super) fn payload_bytes(batch: &Batch) -> usize {
    let payloads = batch.writes.iter().flat_map(|write| [&write.input, &write.result]);
    payloads.flatten().map(|data| data.len()).sum()
}

/// Removes the rows of removed operations in other tables.
fn remove_parts(removals: &[Removal]) -> Step<'_> {
    Step::new(
        "WITH labels AS (DELETE FROM labels WHERE id = ANY($1)),
           events AS (DELETE FROM events WHERE id = ANY($1)),
           lines AS (DELETE FROM log_lines WHERE id = ANY($1)),
           payloads AS (DELETE FROM payloads WHERE id = ANY($1))
         DELETE FROM objects WHERE operation = ANY($1)",
    )
    .with(removals.iter().map(|removal| uuid(removal.id)).collect::<Vec<_>>())
}

fn labels<'a>(writes: &[&'a Write]) -> Option<Step<'a>> {
    let (mut ids, mut keys, mut values, mut tenants) = (vec![], vec![], vec![], vec![]);
    for write in writes {
        let submission = &write.operation.submission;
        for (key, value) in &submission.labels {
            ids.push(uuid(submission.id));
            keys.push(key.as_str());
            values.push(label_value(value));
            tenants.push(submission.tenant.as_str());
        }
    }
    let insert = "INSERT INTO labels (id, key, value, tenant)
                  SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])";
    let step = || Step::new(insert).with(ids).with(keys).with(values).with(tenants);
    (!writes.iter().all(|write| write.operation.submission.labels.is_empty())).then(step)
}

/// A label's value as indexed. No client's label is changed by this.
fn label_value(value: &str) -> String {
    let mut value = value.replace('\0', "\u{fffd}");
    crate::operation::log::truncate(&mut value, LABEL_BYTES);
    value
}

/// The large payloads of writes, split so that no statement grows too large. An input comes only with a new operation.
fn payloads(writes: &[Write]) -> Vec<Step<'_>> {
    let mut rows: Vec<(Uuid, i16, &[u8])> = Vec::new();
    for write in writes {
        let input = write.input.as_deref().filter(|_| write.expected.is_none());
        let payloads =
            [(PayloadRole::Input, input), (PayloadRole::Result, write.result.as_deref())];
        for (role, data) in payloads {
            if let Some(data) = apart(data) {
                rows.push((uuid(write.operation.id()), i16::from(role_number(role)), data));
            }
        }
    }
    let mut steps = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, (.., data)) in rows.iter().enumerate() {
        bytes += data.len();
        if bytes >= PAYLOAD_BYTES || at + 1 == rows.len() {
            steps.extend(rows.get(from..=at).map(put_payloads));
            (from, bytes) = (at + 1, 0);
        }
    }
    steps
}

fn put_payloads<'a>(rows: &[(Uuid, i16, &'a [u8])]) -> Step<'a> {
    Step::new(
        "INSERT INTO payloads (id, role, data)
         SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bytea[])
         ON CONFLICT (id, role) DO UPDATE SET data = EXCLUDED.data",
    )
    .with(rows.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
    .with(rows.iter().map(|(_, role, _)| *role).collect::<Vec<_>>())
    .with(rows.iter().map(|(.., data)| *data).collect::<Vec<_>>())
}

/// The objects of writes: the input's with a new operation, the result's with its end.
fn objects(writes: &[Write]) -> Option<Step<'_>> {
    let (mut ids, mut of) = (vec![], vec![]);
    for write in writes {
        let operation = &write.operation;
        let input = operation.submission.input.as_ref().filter(|_| write.expected.is_none());
        let payloads = [input, operation.result()].into_iter().flatten();
        for object in payloads.filter_map(|it| it.object) {
            ids.push(Uuid::from_bytes(*object.id.as_bytes()));
            of.push(uuid(operation.id()));
        }
    }
    let insert = "INSERT INTO objects (id, operation) SELECT * FROM unnest($1::uuid[], $2::uuid[])
                  ON CONFLICT DO NOTHING";
    (!ids.is_empty()).then(|| Step::new(insert).with(ids).with(of))
}

/// The events, and the commit's name.
fn events(events: &[(OperationId, Event)], stamp: Stamp) -> Step<'_> {
    Step::new(
        "WITH name AS (
           INSERT INTO commits (writer, sequence, is_void) VALUES ($5::bigint, $6::bigint, FALSE))
         INSERT INTO events (id, revision, type, life, writer, sequence)
         SELECT n.*, $5::bigint, $6::bigint
         FROM unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bytea[]) AS n",
    )
    .with(events.iter().map(|(id, _)| uuid(*id)).collect::<Vec<_>>())
    .with(events.iter().map(|(_, event)| number(event.life.revision.0)).collect::<Vec<_>>())
    .with(events.iter().map(|(_, event)| i16::from(event.event_type.number())).collect::<Vec<_>>())
    .with(events.iter().map(|(_, event)| codec::encode_life(&event.life)).collect::<Vec<_>>())
    .with(number(stamp.writer))
    .with(number(stamp.sequence))
}

fn lines(appends: &[LogAppend]) -> Vec<Step<'_>> {
    let each =
        || appends.iter().flat_map(|append| append.lines.iter().map(move |line| (append, line)));
    if appends.is_empty() {
        return Vec::new();
    }
    let insert = Step::new(
        "INSERT INTO log_lines (id, number, revision, attempt, worker, logged_at, line)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[],
           $6::bigint[], $7::bytea[])",
    )
    .with(each().map(|(append, _)| uuid(append.id)).collect::<Vec<_>>())
    .with(each().map(|(_, (line, _))| number(*line)).collect::<Vec<_>>())
    .with(each().map(|(append, _)| number(append.revision.0)).collect::<Vec<_>>())
    .with(each().map(|(append, _)| i64::from(append.attempt.0)).collect::<Vec<_>>())
    .with(
        each().map(|(append, _)| append.worker.as_ref().map(|it| it.as_str())).collect::<Vec<_>>(),
    )
    .with(each().map(|(append, _)| append.at.micros()).collect::<Vec<_>>())
    .with(each().map(|(_, (_, text))| text.as_bytes()).collect::<Vec<_>>());
    let trim = Step::new(
        "DELETE FROM log_lines AS l USING unnest($1::uuid[], $2::bigint[]) AS n (id, keep_from)
         WHERE l.id = n.id AND l.number < n.keep_from",
    )
    .with(appends.iter().map(|append| uuid(append.id)).collect::<Vec<_>>())
    .with(appends.iter().map(|append| number(append.keep_from)).collect::<Vec<_>>());
    vec![insert, trim]
}
