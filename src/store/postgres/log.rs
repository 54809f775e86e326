//! The log: writers, and names of commits. `changes` reads what commits changed.
//!
//! A writer is registered by one statement. It takes a row lock that all registrations take, so that numbers become
//! visible in order, and the writer's advisory lock, which its connection holds to its end: a connection that can take
//! that lock knows that the writer commits nothing more.

use std::sync::Arc;

use super::super::log::{Head, SigningKey, Stamp, WriterState};
use super::super::sql::columns::number;
use super::super::{StoreError, TrimLog};
use super::link::Pool;
use super::session::Session;
use super::step::Step;

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

pub(super) async fn head(session: Arc<Session>) -> Result<Head, StoreError> {
    let found = session.query(&format!("SELECT {HEAD}"), &[]).await?;
    let text = found.first().map(|row| row.try_get(0)).transpose()?;
    parse_head(text.flatten())
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
