//! Reads the log by name: pages of the changes that ranges of commits made.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::log::{Change, Cursor, LogPage, LogQuery, Logged, PAGE_BYTES, Range, Stamp};
use super::super::sql::columns::{OPERATION, OPERATION_COLUMNS as BEHIND, limit, number};
use super::super::{StoreError, codec};
use super::log::unsigned;
use super::rows::{self, uuid};
use super::session::Session;
use crate::operation::{Event, Operation, OperationId, Revision};

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

/// A page: transitions and removals, and finally whether any of the removals are gone.
pub(super) async fn page(session: Arc<Session>, query: LogQuery) -> Result<LogPage, StoreError> {
    let (ranges, unsure) = (Arrays::of(&query.ranges), Arrays::of(&query.unsure));
    // No operation has this id.
    let after = query.after.map(|(id, revision)| (uuid(id), number(revision.0)));
    let (id, revision) = after.unwrap_or((Uuid::nil(), 0));
    let most = limit(query.limit.saturating_add(1));
    let start: [&(dyn ToSql + Sync); 3] = [&id, &revision, &most];
    let of_transitions = [ranges.values(), start].concat();
    let of_removals = [ranges.values(), start, unsure.values()].concat();
    let (transitions, removals) = (transitions_sql(), removals_sql());
    let (transitions, removals) = tokio::try_join!(
        session.query(&transitions, &of_transitions),
        session.query(&removals, &of_removals)
    )?;
    // Last, because everything present until then was read.
    if is_gone(&session, &ranges).await? {
        return Ok(LogPage { is_gone: true, ..LogPage::default() });
    }
    let mut places = read_transitions(&transitions)?;
    for row in &removals {
        places.push(removal(row)?);
    }
    // Changes beyond the size of a page are left to the next page, and so are the removals after them.
    let total: i64 =
        transitions.first().map(|row| row.try_get(BEHIND + 6)).transpose()?.unwrap_or(0);
    let is_cut = total > number(transitions.len() as u64);
    let limit = if is_cut { query.limit.min(transitions.len()) } else { query.limit };
    Ok(first(places, limit, is_cut))
}

/// Finds the page's events first, and then looks the operations up one by one (LIMIT keeps the planner from reversing
/// that): otherwise PostgreSQL may read all events by id.
fn transitions_sql() -> String {
    format!(
        "WITH page AS MATERIALIZED (
           SELECT r.writer, e.*
           FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (writer, after, up_to)
           CROSS JOIN LATERAL (
             SELECT e.sequence, e.id, e.revision, e.type, e.life FROM events AS e
             WHERE e.writer = r.writer AND e.sequence > r.after AND e.sequence <= r.up_to
             ORDER BY e.writer, e.sequence) AS e
           WHERE (e.id, e.revision) > ($4, $5) ORDER BY e.id, e.revision LIMIT $6),
         sized AS (
           SELECT page.*, p.life AS before, count(*) OVER () AS total,
             sum(octet_length(page.life) + coalesce(octet_length(p.life), 0))
               OVER (ORDER BY page.id, page.revision) - octet_length(page.life) AS bytes
           FROM page
           LEFT JOIN LATERAL (
             SELECT p.life FROM events AS p
             WHERE p.id = page.id AND p.revision = page.revision - 1 LIMIT 1) AS p ON TRUE)
         SELECT {OPERATION}, s.type, s.life, s.before, s.writer, s.sequence, s.revision, s.total
         FROM sized AS s
         CROSS JOIN LATERAL (SELECT * FROM operations AS o WHERE o.id = s.id LIMIT 1) AS o
         WHERE s.bytes < {PAGE_BYTES} OR s.total = 1 ORDER BY s.id, s.revision"
    )
}

/// The inner order keeps PostgreSQL from reading all removals by id.
fn removals_sql() -> String {
    format!(
        "SELECT {OPERATION}, r.writer, o.sequence, o.revision + 1, EXISTS (
           SELECT 1 FROM unnest($7::bigint[], $8::bigint[], $9::bigint[]) AS l (writer, after, up_to)
           WHERE l.writer = o.last_writer AND o.last_sequence > l.after AND o.last_sequence <= l.up_to)
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (writer, after, up_to)
         CROSS JOIN LATERAL (
           SELECT * FROM removals AS o
           WHERE o.writer = r.writer AND o.sequence > r.after AND o.sequence <= r.up_to
           ORDER BY o.writer, o.sequence) AS o
         WHERE (o.id, o.revision + 1) > ($4, $5) ORDER BY o.id, o.revision LIMIT $6"
    )
}

/// Whether any removals within the ranges are gone.
async fn is_gone(session: &Session, ranges: &Arrays) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM unnest($1::bigint[], $2::bigint[]) AS r (writer, after)
         LEFT JOIN writers AS w ON w.id = r.writer WHERE w.id IS NULL OR w.trimmed > r.after";
    let found = session.query(sql, &[&ranges.writers, &ranges.afters]).await?;
    Ok(found.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))? > 0)
}

fn read_transitions(rows: &[Row]) -> Result<Vec<Placed>, StoreError> {
    let mut places = Vec::with_capacity(rows.len());
    let mut last: Option<Arc<Operation>> = None;
    for row in rows {
        let id = rows::id(row, 0)?;
        let place = place(id, row, BEHIND + 5)?;
        let change = transition(place, row, last.as_ref().filter(|last| last.id() == id));
        last = change.as_ref().ok().map(|change| Arc::clone(change.operation()));
        places.push((place, stamp(row, BEHIND + 3)?, change));
    }
    Ok(places)
}

fn removal(row: &Row) -> Result<Placed, StoreError> {
    let place = place(rows::id(row, 0)?, row, BEHIND + 2)?;
    let is_only_word = row.try_get(BEHIND + 3)?;
    let last = rows::operation(row);
    let removed = last.map(|last| Change::Removed { last: Arc::new(last), is_only_word });
    Ok((place, stamp(row, BEHIND)?, removed))
}

/// The first changes in order, without unreadable ones.
fn first(mut places: Vec<Placed>, limit: usize, is_cut: bool) -> LogPage {
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
    LogPage { entries: entries.collect(), next, is_gone: false }
}

fn place(id: OperationId, row: &Row, at: usize) -> Result<Cursor, StoreError> {
    Ok((id, Revision(unsigned(row.try_get(at)?))))
}

fn stamp(row: &Row, at: usize) -> Result<Stamp, StoreError> {
    let number = |at| Ok::<_, StoreError>(unsigned(row.try_get(at)?));
    Ok(Stamp { writer: number(at)?, sequence: number(at + 1)? })
}

/// A transition. What it shares with an earlier one of the same operation is not decoded again.
fn transition(
    (id, revision): Cursor,
    row: &Row,
    earlier: Option<&Arc<Operation>>,
) -> Result<Change, StoreError> {
    let submission = match earlier {
        Some(earlier) => Arc::clone(&earlier.submission),
        None => rows::operation(row)?.submission,
    };
    let with = |life| Arc::new(Operation { submission: Arc::clone(&submission), life });
    let Event { event_type, life } = rows::event_at(id, row, BEHIND)?;
    let before = match earlier {
        Some(earlier) if earlier.life.revision.0.checked_add(1) == Some(revision.0) => {
            Some(Arc::clone(earlier))
        }
        _ => {
            let before: Option<&[u8]> = row.try_get(BEHIND + 2)?;
            before.map(|life| codec::decode_life(id, life)).transpose()?.map(with)
        }
    };
    Ok(Change::Transition { before, after: with(life), event_type })
}
