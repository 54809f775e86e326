//! Writes a batch into the table `operations`: one statement, made of the parts that the batch has.
//!
//! It raises an error that names every operation whose revision is not the expected one, or whose id or key is taken.
//! It touches rows by rising id, so that writers rarely wait for each other.

use std::collections::HashSet;

use uuid::Uuid;

use super::super::log::Stamp;
use super::super::sql::columns::{Changing, inline, number};
use super::super::{Batch, Removal, Write, codec};
use super::rows::uuid;
use super::step::Step;
use crate::operation::{OperationId, Revision};

/// The statement, if the batch needs one. Removed operations are recorded under the commit's name.
pub(super) fn step(batch: &Batch, stamp: Stamp) -> Option<Step<'_>> {
    let (mut new, mut changed): (Vec<&Write>, Vec<&Write>) =
        batch.writes.iter().partition(|write| write.expected.is_none());
    // Writers with the same keys then wait for each other in one direction only.
    new.sort_by_key(|write| {
        let submission = &write.operation.submission;
        (submission.idempotency.as_ref().map(|it| it.key.as_str()), submission.id)
    });
    changed.sort_by_key(|write| write.operation.id());
    let mut operations = Operations::default();
    if !batch.removals.is_empty() {
        remove(&mut operations, &batch.removals, stamp);
    }
    if !new.is_empty() {
        insert(&mut operations, &new, !batch.removals.is_empty());
    }
    if !changed.is_empty() {
        update(&mut operations, &changed);
    }
    if !batch.logs.is_empty() {
        check_current(&mut operations, batch);
    }
    if !batch.parents.is_empty() {
        check_parents(&mut operations, &batch.parents);
    }
    operations.step()
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
    /// Adds a part, whose column `id` must name each of these operations if it is as expected.
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

fn insert<'a>(operations: &mut Operations<'a>, writes: &[&'a Write], after_removals: bool) {
    let ids: Vec<Uuid> = writes.iter().map(|write| uuid(write.operation.id())).collect();
    operations.part("inserted", ids.clone(), |place| {
        let types = [
            "uuid", "text", "text", "smallint", "smallint", "bigint", "bigint", "bigint", "bigint",
            "bigint", "bigint", "bigint", "bigint", "uuid", "text", "text", "bytea", "bytea",
            "bytea", "bytea", "uuid",
        ];
        let places: Vec<String> = types.into_iter().map(place).collect();
        // Counting them forces the removals to run first, so that their keys are free.
        let removed = if after_removals { "WHERE (SELECT count(*) FROM removed) >= 0" } else { "" };
        format!(
            "INSERT INTO operations (id, tenant, kind, state, priority, attempt, revision,
               created_at, updated_at, started_at, ended_at, not_before, wake_at, session, worker,
               idempotency_key, submission, life, input, result, parent)
             SELECT * FROM unnest({}) {removed} ON CONFLICT DO NOTHING RETURNING id",
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
            .with(submissions().map(|it| it.parent.map(uuid)).collect::<Vec<_>>())
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

fn remove<'a>(operations: &mut Operations<'a>, removals: &'a [Removal], stamp: Stamp) {
    let mut removals: Vec<&Removal> = removals.iter().collect();
    removals.sort_by_key(|removal| removal.id);
    let ids: Vec<Uuid> = removals.iter().map(|removal| uuid(removal.id)).collect();
    let Stamp { writer, sequence } = stamp;
    operations.part("removed", ids.clone(), |place| {
        format!(
            "DELETE FROM operations AS o USING unnest({}, {}) AS n (id, expected)
             WHERE o.id = n.id AND o.revision = n.expected RETURNING o.*),
             recorded AS (
               INSERT INTO removals (writer, sequence, id, revision, tenant, kind, priority,
                 created_at, idempotency_key, submission, life, last_writer, last_sequence)
               SELECT {writer}, {sequence}, r.id, r.revision, r.tenant, r.kind, r.priority,
                 r.created_at, r.idempotency_key, r.submission, r.life, e.writer, e.sequence
               FROM removed AS r LEFT JOIN LATERAL (
                 SELECT e.writer, e.sequence FROM events AS e
                 WHERE e.id = r.id AND e.revision = r.revision LIMIT 1) AS e ON TRUE",
            place("uuid"),
            place("bigint"),
            writer = place("bigint").trim_end_matches("[]"),
            sequence = place("bigint").trim_end_matches("[]"),
        )
    });
    let expected = removals.iter().map(|removal| number(removal.expected.0));
    operations.bind(|step| {
        let step = step.with(ids).with(expected.collect::<Vec<_>>());
        step.with(number(writer)).with(number(sequence))
    });
}

/// Checks operations that get lines but are not written: the revision must be the stored one, and remain it.
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

/// Checks batches that get children: their revisions must be these until the commit. Others may add children too.
fn check_parents(operations: &mut Operations<'_>, parents: &[(OperationId, Revision)]) {
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    let ids: Vec<Uuid> = parents.iter().map(|(id, _)| uuid(*id)).collect();
    operations.part("parents", ids.clone(), |place| {
        format!(
            "SELECT o.id FROM unnest({}, {}) AS n (id, revision)
             JOIN operations AS o ON o.id = n.id AND o.revision = n.revision
             FOR SHARE OF o",
            place("uuid"),
            place("bigint"),
        )
    });
    let revisions = parents.iter().map(|(_, revision)| number(revision.0));
    operations.bind(|step| step.with(ids).with(revisions.collect::<Vec<_>>()));
}
