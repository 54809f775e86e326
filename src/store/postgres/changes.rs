//! Reads the log by name: pages of the changes that ranges of commits made.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::log::{
    Change, Cursor, Head, LogPage, LogQuery, Logged, PAGE_BYTES, Range, Stamp,
};
use super::super::sql::columns::{OPERATION, OPERATION_COLUMNS, limit, number};
use super::super::{StoreError, codec};
use super::log::{self, unsigned};
use super::rows::{self, uuid};
use super::session::Session;
use crate::operation::{Event, Operation, OperationId, Revision, Submission};

/// Ranges of the log as arrays, for `unnest`.
struct Arrays {
    writers: Vec<i64>,
    afters: Vec<i64>,
    up_tos: Vec<i64>,
}

impl Arrays {
    fn of(ranges: &[Range]) -> Self {
        let each = |part: fn(&Range) -> u64| ranges.iter().map(|it| number(part(it))).collect();
        Self {
            writers: each(|it| it.writer),
            afters: each(|it| it.after),
            up_tos: each(|it| it.up_to),
        }
    }

    fn values(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.writers, &self.afters, &self.up_tos]
    }
}

/// A change with its place in its page.
type Placed = (Cursor, Stamp, Result<Change, StoreError>);

/// A page: transitions, removals, and all writers, in one statement, so that they are of one moment.
pub(super) async fn page(session: Arc<Session>, query: LogQuery) -> Result<LogPage, StoreError> {
    let (ranges, unsure) = (Arrays::of(&query.ranges), Arrays::of(&query.unsure));
    // No operation has this id.
    let after = query.after.map(|(id, revision)| (uuid(id), number(revision.0)));
    let (id, revision) = after.unwrap_or((Uuid::nil(), 0));
    let most = limit(query.limit.saturating_add(1));
    let start: [&(dyn ToSql + Sync); 3] = [&id, &revision, &most];
    let rows = session.query(&sql(), &[ranges.values(), start, unsure.values()].concat()).await?;
    read(&rows, query.limit)
}

/// The columns behind those of the operation.
const TYPE: usize = OPERATION_COLUMNS;
const BEFORE: usize = TYPE + 2;
const STAMP: usize = TYPE + 3;
const ID: usize = TYPE + 5;
const REVISION: usize = TYPE + 6;
const TOTAL: usize = TYPE + 7;
const IS_ONLY_WORD: usize = TYPE + 8;
const HEAD: usize = TYPE + 9;

/// Transitions by operation and revision; removals; one row with the writers.
///
/// The events of the page are found first, and then what belongs to them is looked up one by one (LIMIT keeps the
/// planner from reversing that, and from reading all removals by id), unless it is in the row before: the life before
/// the event, and the operation.
fn sql() -> String {
    let head = log::HEAD;
    format!(
        "(SELECT {OPERATION}, s.type, s.life, s.before, s.writer, s.sequence, s.id, s.revision, s.total,
           NULL::boolean, NULL::text
         FROM (
           SELECT m.*, p.life AS before,
             sum(octet_length(m.life) + coalesce(octet_length(p.life), 0))
               OVER (ORDER BY m.id, m.revision) - octet_length(m.life) AS bytes
           FROM (
             SELECT page.*, count(*) OVER () AS total,
               lag(page.id) OVER w AS earlier_id, lag(page.revision) OVER w AS earlier_revision
             FROM (
               SELECT r.writer, e.*
               FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (writer, after, up_to)
               CROSS JOIN LATERAL (
                 SELECT e.sequence, e.id, e.revision, e.type, e.life FROM events AS e
                 WHERE e.writer = r.writer AND e.sequence > r.after AND e.sequence <= r.up_to
                 ORDER BY e.writer, e.sequence) AS e
               WHERE (e.id, e.revision) > ($4, $5) ORDER BY e.id, e.revision LIMIT $6) AS page
             WINDOW w AS (ORDER BY page.id, page.revision)) AS m
           LEFT JOIN LATERAL (
             SELECT p.life FROM events AS p
             WHERE p.id = m.id AND p.revision = m.revision - 1 AND m.revision > 1
               AND (m.id, m.revision - 1) IS DISTINCT FROM (m.earlier_id, m.earlier_revision)
             LIMIT 1) AS p ON TRUE) AS s
         LEFT JOIN LATERAL (
           SELECT * FROM operations AS o WHERE o.id = s.id AND s.id IS DISTINCT FROM s.earlier_id
           LIMIT 1) AS o ON TRUE
         WHERE s.bytes < {PAGE_BYTES} OR s.total = 1 ORDER BY s.id, s.revision)
         UNION ALL
         (SELECT {OPERATION}, NULL, NULL, NULL, r.writer, o.sequence, o.id, o.revision + 1, NULL,
           EXISTS (
             SELECT 1 FROM unnest($7::bigint[], $8::bigint[], $9::bigint[]) AS l (writer, after, up_to)
             WHERE l.writer = o.last_writer AND o.last_sequence > l.after AND o.last_sequence <= l.up_to),
           NULL
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (writer, after, up_to)
         CROSS JOIN LATERAL (
           SELECT * FROM removals AS o
           WHERE o.writer = r.writer AND o.sequence > r.after AND o.sequence <= r.up_to
           ORDER BY o.writer, o.sequence) AS o
         WHERE (o.id, o.revision + 1) > ($4, $5) ORDER BY o.id, o.revision LIMIT $6)
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, {head}"
    )
}

/// What rows of the same operation share.
struct Last {
    id: OperationId,
    submission: Arc<Submission>,
    /// As the row before says; `None` if that cannot be read.
    operation: Option<Arc<Operation>>,
}

fn read(rows: &[Row], limit: usize) -> Result<LogPage, StoreError> {
    let mut places = Vec::with_capacity(rows.len());
    let (mut last, mut head) = (None, None);
    let (mut transitions, mut total) = (0, 0);
    for row in rows {
        let Some(id) = row.try_get::<_, Option<Uuid>>(ID)? else {
            head = row.try_get(HEAD)?;
            continue;
        };
        let id = OperationId::from_bytes(*id.as_bytes());
        let cursor = (id, Revision(unsigned(row.try_get(REVISION)?)));
        let change = match row.try_get(IS_ONLY_WORD)? {
            Some(is_only_word) => rows::operation(row)
                .map(|last| Change::Removed { last: Arc::new(last), is_only_word }),
            None => {
                transitions += 1;
                total = unsigned(row.try_get(TOTAL)?);
                transition(cursor, row, &mut last)
            }
        };
        let number = |at| Ok::<_, StoreError>(unsigned(row.try_get(at)?));
        let stamp = Stamp { writer: number(STAMP)?, sequence: number(STAMP + 1)? };
        places.push((cursor, stamp, change));
    }
    let head = log::parse_head(head)?;
    // Changes beyond the size of a page are left to the next page, and so are the removals after them.
    let is_cut = total > transitions as u64;
    let limit = if is_cut { limit.min(transitions) } else { limit };
    Ok(first(places, limit, is_cut, head))
}

/// The first changes in order, without unreadable ones.
fn first(mut places: Vec<Placed>, limit: usize, is_cut: bool, head: Head) -> LogPage {
    places.sort_by_key(|(cursor, ..)| *cursor);
    let is_full = is_cut || places.len() > limit;
    places.truncate(limit);
    let next = places.last().filter(|_| is_full).map(|(cursor, ..)| *cursor);
    let entries = places.into_iter().filter_map(|((id, _), stamp, change)| match change {
        Ok(change) => Some(Logged { stamp, change }),
        Err(error) => {
            tracing::error!(operation.id = %id, %error, "a change cannot be read");
            None
        }
    });
    LogPage { entries: entries.collect(), next, head }
}

/// A transition. What the row before has is neither sent nor decoded again.
fn transition(
    (id, revision): Cursor,
    row: &Row,
    last: &mut Option<Last>,
) -> Result<Change, StoreError> {
    let earlier = last.take().filter(|last| last.id == id);
    let (submission, earlier) = match earlier {
        Some(Last { submission, operation, .. }) => (submission, operation),
        None => (rows::operation(row)?.submission, None),
    };
    let with = |life| Arc::new(Operation { submission: Arc::clone(&submission), life });
    let read = || {
        let Event { event_type, life } = rows::event_at(id, row, TYPE)?;
        let before: Option<&[u8]> = row.try_get(BEFORE)?;
        let before = before.map(|life| codec::decode_life(id, life)).transpose()?.map(with);
        let is_next = |it: &Arc<Operation>| it.life.revision.next() == revision;
        let before = before.or_else(|| earlier.filter(is_next));
        Ok(Change::Transition { before, after: with(life), event_type })
    };
    let change = read();
    let operation = change.as_ref().ok().map(|change: &Change| Arc::clone(change.operation()));
    *last = Some(Last { id, submission, operation });
    change
}
