//! The log: writers, names of commits, and reading by name.
//!
//! A writer is registered by one statement. It takes a row lock that all registrations take, so that numbers become
//! visible in order, and the writer's advisory lock, which its connection holds to its end: a connection that can take
//! that lock knows that the writer commits nothing more.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::log::{
    Change, Cursor, Head, LogPage, LogQuery, Logged, PAGE_BYTES, Range, SigningKey, Stamp,
    WriterState,
};
use super::super::sql::columns::{OPERATION, OPERATION_COLUMNS as BEHIND, limit, number};
use super::super::{StoreError, TrimLog, codec};
use super::link::Pool;
use super::rows::{self, uuid};
use super::session::Session;
use super::step::Step;
use crate::operation::{Event, Operation, OperationId, Revision};

/// The first half of writers' advisory locks: "lrun" as a number.
const LOCKS: i32 = 0x6c72_756e;
/// How many of a writer's last names are kept. A commit in doubt has the last or the one before.
const KEPT_NAMES: i64 = 2;

/// All writers in one text, so that it can be a column of any statement.
pub(super) const HEAD: &str =
    "(SELECT string_agg(concat_ws(':', w.id, w.nonce, w.trimmed, w.is_ended::integer,
       coalesce((SELECT max(c.sequence) FROM commits AS c WHERE c.writer = w.id), 0)), ',')
     FROM writers AS w)";

/// Parses [`HEAD`].
pub(super) fn parse_head(text: Option<&str>) -> Result<Head, StoreError> {
    let parse = |writer: &str| {
        let mut numbers = writer.split(':').map(str::parse::<i64>);
        let mut next = || numbers.next()?.ok();
        Some(WriterState {
            writer: unsigned(next()?),
            nonce: next()?.cast_unsigned(),
            trimmed: unsigned(next()?),
            is_ended: next()? != 0,
            sequence: unsigned(next()?),
        })
    };
    let writers = text.into_iter().flat_map(|text| text.split(',')).map(parse);
    let writers: Option<Vec<WriterState>> = writers.collect();
    writers
        .map(Head::new)
        .ok_or_else(|| StoreError::Corrupt("the table of writers cannot be read".to_owned()))
}

/// Only this program writes this number.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A writer, as its own connection knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    number: u64,
    nonce: i64,
}

impl Writer {
    /// The name before its first commit.
    pub(super) fn beginning(self) -> Stamp {
        Stamp { writer: self.number, sequence: 0 }
    }
}

/// Makes the connection a writer. Does not wait for standbys, so that replicas can start while a standby is down. A
/// failover that loses a registration has also lost the writer's later commits; the number may then be used again, and
/// the nonce tells the two writers apart.
pub(super) async fn register(session: &Session) -> Result<Writer, StoreError> {
    let sql = "WITH next AS (
           UPDATE log_state SET last_writer = last_writer + 1 RETURNING last_writer),
         made AS (
           INSERT INTO writers (id, nonce)
           SELECT last_writer, ('x' || translate(left(gen_random_uuid()::text, 18), '-', ''))::bit(64)::bigint
           FROM next RETURNING id, nonce)
         SELECT id, nonce, pg_advisory_lock($1, id::integer) FROM made";
    session.client.batch_execute("BEGIN; SET LOCAL synchronous_commit = 'local'").await?;
    let made = session.query(sql, &[&LOCKS]).await?;
    session.client.batch_execute("COMMIT").await?;
    let row = made.first().ok_or_else(|| StoreError::Corrupt("log_state is empty".to_owned()))?;
    Ok(Writer { number: unsigned(row.try_get(0)?), nonce: row.try_get(1)? })
}

pub(super) async fn key(session: &Session) -> Result<SigningKey, StoreError> {
    let found = session.query("SELECT key FROM log_state", &[]).await?;
    let key: Option<Vec<u8>> = found.first().map(|row| row.try_get(0)).transpose()?;
    let key = key.and_then(|key| key.try_into().ok()).map(SigningKey);
    key.ok_or_else(|| StoreError::Corrupt("log_state has no key".to_owned()))
}

/// Takes the name for its commit.
pub(super) fn name<'a>(stamp: Stamp) -> Step<'a> {
    Step::new("INSERT INTO commits (writer, sequence, is_void) VALUES ($1, $2, FALSE)")
        .with(number(stamp.writer))
        .with(number(stamp.sequence))
}

/// Takes the name of a commit so that the commit can never be written; an error on the server if it was taken before.
/// Waits for a running commit of that name. A writer that does not exist has no commits.
pub(super) fn claim<'a>(writer: Writer, stamp: Stamp) -> Step<'a> {
    Step::new(
        "INSERT INTO commits (writer, sequence, is_void)
         SELECT id, $2, TRUE FROM writers WHERE id = $1 AND nonce = $3",
    )
    .with(number(stamp.writer))
    .with(number(stamp.sequence))
    .with(writer.nonce)
}

/// Whether a taken name was taken by its commit. The commit is final, because it blocked the claim.
pub(super) async fn was_committed(session: &Session, stamp: Stamp) -> Result<bool, StoreError> {
    let sql = "SELECT is_void FROM commits WHERE writer = $1 AND sequence = $2";
    let found = session.query(sql, &[&number(stamp.writer), &number(stamp.sequence)]).await?;
    let is_void: Option<bool> = found.first().map(|row| row.try_get(0)).transpose()?;
    Ok(is_void == Some(false))
}

/// Everything visible.
pub(super) fn seen<'a>() -> Step<'a> {
    Step::new(format!("SELECT {HEAD}"))
}

pub(super) async fn head(session: Arc<Session>) -> Result<Head, StoreError> {
    let found = session.query(&format!("SELECT {HEAD}"), &[]).await?;
    let text = found.first().map(|row| row.try_get(0)).transpose()?;
    parse_head(text.flatten())
}

/// A page: transitions and removals, and finally whether any of the removals are gone.
pub(super) async fn log(session: Arc<Session>, query: LogQuery) -> Result<LogPage, StoreError> {
    let (mut writers, mut afters, mut up_tos) = (Vec::new(), Vec::new(), Vec::new());
    for Range { writer, after, up_to } in &query.ranges {
        writers.push(number(*writer));
        afters.push(number(*after));
        up_tos.push(number(*up_to));
    }
    // No operation has this id.
    let after = query.after.map(|(id, revision)| (uuid(id), number(revision.0)));
    let (id, revision) = after.unwrap_or((Uuid::nil(), 0));
    let most = limit(query.limit.saturating_add(1));
    // The places are found first, then the operations are looked up place by place (LIMIT keeps the planner from
    // reversing that): otherwise PostgreSQL may read all events by id.
    let transitions = format!(
        "WITH found AS MATERIALIZED (
           SELECT r.writer, e.sequence, e.id, e.revision
           FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (writer, after, up_to)
           CROSS JOIN LATERAL (
             SELECT e.sequence, e.id, e.revision FROM events AS e
             WHERE e.writer = r.writer AND e.sequence > r.after AND e.sequence <= r.up_to
             ORDER BY e.writer, e.sequence) AS e
           WHERE (e.id, e.revision) > ($4, $5)),
         page AS MATERIALIZED (SELECT * FROM found ORDER BY id, revision LIMIT $6),
         sized AS (
           SELECT page.*, e.type, e.life, p.life AS before, count(*) OVER () AS total,
             sum(octet_length(e.life) + coalesce(octet_length(p.life), 0))
               OVER (ORDER BY page.id, page.revision) - octet_length(e.life) AS bytes
           FROM page
           CROSS JOIN LATERAL (
             SELECT e.type, e.life FROM events AS e
             WHERE e.id = page.id AND e.revision = page.revision LIMIT 1) AS e
           LEFT JOIN LATERAL (
             SELECT p.life FROM events AS p
             WHERE p.id = page.id AND p.revision = page.revision - 1 LIMIT 1) AS p ON TRUE)
         SELECT {OPERATION}, s.type, s.life, s.before, s.writer, s.sequence, s.revision, s.total
         FROM sized AS s
         CROSS JOIN LATERAL (SELECT * FROM operations AS o WHERE o.id = s.id LIMIT 1) AS o
         WHERE s.bytes < {PAGE_BYTES} OR s.total = 1 ORDER BY s.id, s.revision"
    );
    let removals = format!(
        "SELECT {OPERATION}, r.writer, o.sequence, o.revision + 1, EXISTS (
           SELECT 1 FROM unnest($7::bigint[], $8::bigint[], $9::bigint[]) AS l (writer, after, up_to)
           WHERE l.writer = o.last_writer AND o.last_sequence > l.after AND o.last_sequence <= l.up_to)
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (writer, after, up_to)
         JOIN removals AS o ON o.writer = r.writer AND o.sequence > r.after AND o.sequence <= r.up_to
         WHERE (o.id, o.revision + 1) > ($4, $5) ORDER BY o.id, o.revision LIMIT $6"
    );
    let gone = "SELECT count(*) FROM unnest($1::bigint[], $2::bigint[]) AS r (writer, after)
         LEFT JOIN writers AS w ON w.id = r.writer WHERE w.id IS NULL OR w.trimmed > r.after";
    let values: [&(dyn ToSql + Sync); 6] = [&writers, &afters, &up_tos, &id, &revision, &most];
    let unsure = |part: fn(&Range) -> u64| -> Vec<i64> {
        query.unsure.iter().map(|range| number(part(range))).collect()
    };
    let unsure = [unsure(|it| it.writer), unsure(|it| it.after), unsure(|it| it.up_to)];
    let also: Vec<&(dyn ToSql + Sync)> = unsure.iter().map(|it| it as _).collect();
    let of_removals = [&values[..], &also].concat();
    let (transitions, removals) = tokio::try_join!(
        session.query(&transitions, &values),
        session.query(&removals, &of_removals)
    )?;
    // Last, because everything present until then was read.
    let gone = session.query(gone, &[&writers, &afters]).await?;
    if gone.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))? > 0 {
        return Ok(LogPage { is_gone: true, ..LogPage::default() });
    }
    let mut places = Vec::with_capacity(transitions.len() + removals.len());
    let mut last: Option<Arc<Operation>> = None;
    for row in &transitions {
        let id = rows::id(row, 0)?;
        let place = place(id, row, BEHIND + 5)?;
        let change = transition(place, row, last.as_ref().filter(|last| last.id() == id));
        last = change.as_ref().ok().map(|change| Arc::clone(change.operation()));
        places.push((place, stamp(row, BEHIND + 3)?, change));
    }
    for row in &removals {
        let id = rows::id(row, 0)?;
        let is_only_word = row.try_get(BEHIND + 3)?;
        let removed =
            rows::operation(row).map(|it| Change::Removed { last: Arc::new(it), is_only_word });
        places.push((place(id, row, BEHIND + 2)?, stamp(row, BEHIND)?, removed));
    }
    // Changes beyond the size of a page are left to the next page, and so are the removals after them.
    let total: i64 =
        transitions.first().map(|row| row.try_get(BEHIND + 6)).transpose()?.unwrap_or(0);
    let is_cut = total > number(transitions.len() as u64);
    let limit = if is_cut { query.limit.min(transitions.len()) } else { query.limit };
    Ok(page(places, limit, is_cut))
}

/// The first changes in order, without unreadable ones.
fn page(
    mut places: Vec<(Cursor, Stamp, Result<Change, StoreError>)>,
    limit: usize,
    is_cut: bool,
) -> LogPage {
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

/// Marks writers that have ended, and deletes old records, by the database's clock. A writer is kept for a day, so that
/// a replica whose last commit is in doubt finds that commit's name.
pub(super) async fn trim(pool: &Pool, trim: TrimLog) -> Result<(), StoreError> {
    let seconds = trim.keep_for.as_secs_f64();
    let keep = number(trim.keep);
    let end = "UPDATE writers AS w SET is_ended = TRUE, ended_at = now()
         WHERE NOT is_ended AND pg_try_advisory_xact_lock($1, w.id::integer)";
    let removals = "WITH gone AS (
           DELETE FROM removals WHERE removed_at < greatest(now() - make_interval(secs => $1),
             (SELECT removed_at FROM removals ORDER BY removed_at DESC OFFSET $2 LIMIT 1))
           RETURNING writer, sequence),
         last AS (SELECT writer, max(sequence) AS sequence FROM gone GROUP BY writer)
         UPDATE writers AS w SET trimmed = greatest(w.trimmed, last.sequence)
         FROM last WHERE w.id = last.writer";
    let names = "DELETE FROM commits AS c USING writers AS w WHERE c.writer = w.id
         AND c.sequence <= (SELECT max(l.sequence) FROM commits AS l WHERE l.writer = w.id) - $1";
    let writers = "WITH gone AS (
           DELETE FROM writers AS w WHERE ended_at < now() - interval '1 day'
             AND w.id < (SELECT max(l.id) FROM writers AS l)
             AND NOT EXISTS (SELECT 1 FROM removals AS r WHERE r.writer = w.id)
           RETURNING id)
         DELETE FROM commits USING gone WHERE commits.writer = gone.id";
    pool.run(|session| async move {
        session.query(end, &[&LOCKS]).await?;
        session.query(removals, &[&seconds, &keep]).await?;
        session.query(names, &[&KEPT_NAMES]).await?;
        session.query(writers, &[]).await?;
        Ok(())
    })
    .await
}
