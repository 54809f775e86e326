//! A batch as statements: a handful, however large it is, each over arrays.
//!
//! One statement writes the table `operations`, made of the parts that the batch has, and raises an error that
//! names every operation whose revision is not the expected one, or whose id or key is taken. Rows are
//! touched by rising id, so that hardly any two writers wait for each other.

use std::collections::HashSet;

use uuid::Uuid;

use super::super::sql::columns::{Changing, apart, inline, number, role_number};
use super::super::{Batch, LogAppend, PayloadRole, Removal, Write, codec};
use super::tombstones;
use super::writer::Step;
use crate::operation::{Event, OperationId};

/// Bytes of large payloads in one statement.
const PAYLOAD_BYTES: usize = 32 << 20;
/// Longest value of a label that is looked up, which is as long as a client's can be.
const LABEL_BYTES: usize = 1_020;

/// The statements that write the batch, its sessions and what others are told excepted.
pub(super) fn steps(batch: &Batch) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    steps.extend(operations(batch));
    if !batch.removals.is_empty() {
        steps.push(remove_parts(&batch.removals));
    }
    steps.extend(tombstones::put(batch));
    let new: Vec<&Write> = batch.writes.iter().filter(|write| write.expected.is_none()).collect();
    steps.extend(labels(&new));
    steps.extend(payloads(&batch.writes));
    steps.extend(objects(&batch.writes));
    if !batch.events.is_empty() {
        steps.push(events(&batch.events));
    }
    steps.extend(lines(&batch.logs));
    steps.extend(batch.forget.map(tombstones::forget));
    steps
}

pub(super) fn uuid(id: OperationId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// The parts of the statement that writes the table `operations`.
#[derive(Default)]
struct Operations<'a> {
    parts: Vec<String>,
    names: Vec<&'static str>,
    ids: Vec<Uuid>,
    step: Option<Step<'a>>,
    bound: usize,
}

impl<'a> Operations<'a> {
    /// Adds a part that names in its column `id` each of these that it has found as expected.
    fn part(
        &mut self,
        name: &'static str,
        ids: Vec<Uuid>,
        sql: impl FnOnce(&mut dyn FnMut(&str) -> String) -> String,
    ) {
        let bound = &mut self.bound;
        let mut place = |of: &str| {
            *bound += 1;
            format!("${bound}::{of}[]")
        };
        self.parts.push(format!("{name} AS ({})", sql(&mut place)));
        self.names.push(name);
        self.ids.extend(ids);
    }

    fn bind(&mut self, bind: impl FnOnce(Step<'a>) -> Step<'a>) {
        let step = self.step.take().unwrap_or_else(|| Step::new(""));
        self.step = Some(bind(step));
    }

    fn step(self) -> Option<Step<'a>> {
        let all = self.bound + 1;
        let found = self.names.iter().map(|name| format!("SELECT id FROM {name}"));
        let found = found.collect::<Vec<_>>().join(" UNION ALL ");
        let sql = format!(
            "WITH {}
             SELECT CASE WHEN (SELECT count(*) FROM ({found}) AS found) <> cardinality(${all}::uuid[])
               THEN longrun_conflict(ARRAY(SELECT unnest(${all}::uuid[]) EXCEPT ({found}))) END",
            self.parts.join(",\n"),
        );
        Some(self.step?.with(self.ids).reading(sql))
    }
}

fn operations(batch: &Batch) -> Option<Step<'_>> {
    let (mut new, mut changed): (Vec<&Write>, Vec<&Write>) =
        batch.writes.iter().partition(|write| write.expected.is_none());
    // Two that bring the same keys wait for each other in one direction.
    new.sort_by_key(|write| {
        let submission = &write.operation.submission;
        (submission.idempotency.as_ref().map(|it| it.key.as_str()), submission.id)
    });
    changed.sort_by_key(|write| write.operation.id());
    let mut operations = Operations::default();
    if !new.is_empty() {
        insert(&mut operations, &new);
    }
    if !changed.is_empty() {
        update(&mut operations, &changed);
    }
    if !batch.removals.is_empty() {
        remove(&mut operations, &batch.removals);
    }
    if !batch.logs.is_empty() {
        check_current(&mut operations, batch);
    }
    operations.step()
}

fn insert<'a>(operations: &mut Operations<'a>, writes: &[&'a Write]) {
    let ids: Vec<Uuid> = writes.iter().map(|write| uuid(write.operation.id())).collect();
    operations.part("inserted", ids.clone(), |place| {
        let types = [
            "uuid", "text", "text", "smallint", "smallint", "bigint", "bigint", "bigint", "bigint",
            "bigint", "bigint", "bigint", "bigint", "uuid", "text", "text", "bytea", "bytea",
            "bytea", "bytea",
        ];
        let places: Vec<String> = types.into_iter().map(place).collect();
        format!(
            "INSERT INTO operations (id, tenant, kind, state, priority, attempt, revision,
               created_at, updated_at, started_at, ended_at, not_before, wake_at, session, worker,
               idempotency_key, submission, life, input, result)
             SELECT * FROM unnest({}) ON CONFLICT DO NOTHING RETURNING id",
            places.join(", ")
        )
    });
    let submissions = || writes.iter().map(|write| &write.operation.submission);
    let changing: Vec<_> = writes.iter().map(|write| Changing::of(&write.operation)).collect();
    let submitted: Vec<Vec<u8>> = submissions().map(|it| codec::encode_submission(it)).collect();
    operations.bind(|step| {
        let step = step
            .with(ids)
            .with(submissions().map(|it| it.tenant.as_str()).collect::<Vec<_>>())
            .with(submissions().map(|it| it.kind.as_str()).collect::<Vec<_>>())
            .with(changing.iter().map(|it| i16::from(it.state)).collect::<Vec<_>>())
            .with(submissions().map(|it| i16::from(it.settings.priority)).collect::<Vec<_>>())
            .with(changing.iter().map(|it| i64::from(it.attempt)).collect::<Vec<_>>())
            .with(changing.iter().map(|it| it.revision).collect::<Vec<_>>())
            .with(submissions().map(|it| it.created_at.micros()).collect::<Vec<_>>());
        let keys = submissions().map(|it| it.idempotency.as_ref().map(|it| it.key.as_str()));
        let keys: Vec<_> = keys.collect();
        with_times(step, &changing)
            .with(keys)
            .with(submitted)
            .with(changing.into_iter().map(|it| it.life).collect::<Vec<_>>())
            .with(writes.iter().map(|it| inline(it.input.as_deref())).collect::<Vec<_>>())
            .with(writes.iter().map(|it| inline(it.result.as_deref())).collect::<Vec<_>>())
    });
}

fn update<'a>(operations: &mut Operations<'a>, writes: &[&'a Write]) {
    let ids: Vec<Uuid> = writes.iter().map(|write| uuid(write.operation.id())).collect();
    operations.part("updated", ids.clone(), |place| {
        let types = [
            "uuid", "bigint", "smallint", "bigint", "bigint", "bigint", "bigint", "bigint",
            "bigint", "bigint", "uuid", "text", "bytea", "bytea",
        ];
        let places: Vec<String> = types.into_iter().map(place).collect();
        format!(
            "UPDATE operations AS o SET state = n.state, attempt = n.attempt,
               revision = n.revision, updated_at = n.updated_at, started_at = n.started_at,
               ended_at = n.ended_at, not_before = n.not_before, wake_at = n.wake_at,
               session = n.session, worker = n.worker, life = n.life,
               result = coalesce(n.result, o.result)
             FROM unnest({}) AS n (id, expected, state, attempt, revision, updated_at, started_at,
               ended_at, not_before, wake_at, session, worker, life, result)
             WHERE o.id = n.id AND o.revision = n.expected RETURNING o.id",
            places.join(", ")
        )
    });
    let changing: Vec<_> = writes.iter().map(|write| Changing::of(&write.operation)).collect();
    let expected = writes.iter().map(|write| write.expected.map_or(0, |it| number(it.0)));
    operations.bind(|step| {
        let step = step
            .with(ids)
            .with(expected.collect::<Vec<_>>())
            .with(changing.iter().map(|it| i16::from(it.state)).collect::<Vec<_>>())
            .with(changing.iter().map(|it| i64::from(it.attempt)).collect::<Vec<_>>())
            .with(changing.iter().map(|it| it.revision).collect::<Vec<_>>());
        with_times(step, &changing)
            .with(changing.into_iter().map(|it| it.life).collect::<Vec<_>>())
            .with(writes.iter().map(|it| inline(it.result.as_deref())).collect::<Vec<_>>())
    });
}

/// The columns from `updated_at` to `worker`.
fn with_times<'a>(step: Step<'a>, changing: &[Changing<'a>]) -> Step<'a> {
    let sessions = changing.iter().map(|it| it.session.map(|id| Uuid::from_bytes(*id)));
    step.with(changing.iter().map(|it| it.updated_at).collect::<Vec<_>>())
        .with(changing.iter().map(|it| it.started_at).collect::<Vec<_>>())
        .with(changing.iter().map(|it| it.ended_at).collect::<Vec<_>>())
        .with(changing.iter().map(|it| it.not_before).collect::<Vec<_>>())
        .with(changing.iter().map(|it| it.wake_at).collect::<Vec<_>>())
        .with(sessions.collect::<Vec<_>>())
        .with(changing.iter().map(|it| it.worker).collect::<Vec<_>>())
}

fn remove<'a>(operations: &mut Operations<'a>, removals: &'a [Removal]) {
    let mut removals: Vec<&Removal> = removals.iter().collect();
    removals.sort_by_key(|removal| removal.id);
    let ids: Vec<Uuid> = removals.iter().map(|removal| uuid(removal.id)).collect();
    operations.part("removed", ids.clone(), |place| {
        format!(
            "DELETE FROM operations AS o USING unnest({}, {}) AS n (id, expected)
             WHERE o.id = n.id AND o.revision = n.expected RETURNING o.id",
            place("uuid"),
            place("bigint"),
        )
    });
    let expected = removals.iter().map(|removal| number(removal.expected.0));
    operations.bind(|step| step.with(ids).with(expected.collect::<Vec<_>>()));
}

/// Lines of operations that are not written with them: the revision must be the stored one, and stay it.
fn check_current(operations: &mut Operations<'_>, batch: &Batch) {
    let written: HashSet<OperationId> =
        batch.writes.iter().map(|write| write.operation.id()).collect();
    let appends = batch.logs.iter().filter(|append| !written.contains(&append.id));
    let mut current: Vec<_> = appends.map(|append| (append.id, append.revision)).collect();
    current.sort_unstable();
    current.dedup();
    if current.is_empty() {
        return;
    }
    let ids: Vec<Uuid> = current.iter().map(|(id, _)| uuid(*id)).collect();
    operations.part("current", ids.clone(), |place| {
        format!(
            "SELECT o.id FROM unnest({}, {}) AS n (id, revision)
             JOIN operations AS o ON o.id = n.id AND o.revision = n.revision
             FOR NO KEY UPDATE OF o",
            place("uuid"),
            place("bigint"),
        )
    });
    let revisions = current.iter().map(|(_, revision)| number(revision.0));
    operations.bind(|step| step.with(ids).with(revisions.collect::<Vec<_>>()));
}

/// Everything of removed operations that is in other tables.
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

/// A value as it can be in an index. No client's label is changed by this.
fn label_value(value: &str) -> String {
    let mut value = value.replace('\0', "\u{fffd}");
    crate::operation::log::truncate(&mut value, LABEL_BYTES);
    value
}

/// The large payloads of writes, so many to a statement as it can take. An input comes only with a new operation.
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

/// The objects that come with writes: an input's with a new operation, a result's with the end.
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

fn events(events: &[(OperationId, Event)]) -> Step<'_> {
    Step::new(
        "INSERT INTO events (id, revision, type, life)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::bytea[])",
    )
    .with(events.iter().map(|(id, _)| uuid(*id)).collect::<Vec<_>>())
    .with(events.iter().map(|(_, event)| number(event.life.revision.0)).collect::<Vec<_>>())
    .with(events.iter().map(|(_, event)| event.event_type as i16).collect::<Vec<_>>())
    .with(events.iter().map(|(_, event)| codec::encode_life(&event.life)).collect::<Vec<_>>())
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
