//! What time alone changes: operations by their `wake_at`, and when the next one is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::StoreError;
use super::super::sql::columns::limit;
use super::floors::Floors;
use super::link::Pool;
use super::looks::{self, Looks};
use super::rows;
use super::session::Session;
use super::step::Step;
use super::tombstones::Tombstones;
use super::writer::Writer;
use crate::operation::{OperationId, Timestamp};

/// Times later than this are above every floor that a look has found, because a commit may be under way.
const YOUNG: Duration = Duration::from_secs(1);

/// Reads in the order of `wake_at`. A time that the clock has not reached is no floor: the clock was set back.
pub(super) struct Wakes {
    floors: Arc<Floors<(), i64>>,
}

impl Wakes {
    pub(super) fn new(slow: Duration) -> Self {
        Self { floors: Arc::new(Floors::new(Some(slow))) }
    }

    /// Operations whose time has come, earliest first; locked until the next commit.
    pub(super) async fn due(
        &self,
        (writer, looks): (&Writer, &Looks),
        now: Timestamp,
        most: usize,
    ) -> Result<Vec<OperationId>, StoreError> {
        let step = Step::new(
            "SELECT id, wake_at FROM operations WHERE wake_at >= $1 AND wake_at <= $2
             ORDER BY wake_at LIMIT $3 FOR UPDATE SKIP LOCKED",
        );
        let step = step.with(self.floor(now)).with(now.micros()).with(limit(most));
        let begin = Instant::now();
        let found = writer.query(&[step]).await?;
        let found = found.first().map(Vec::as_slice).unwrap_or_default();
        self.used(looks, begin, now);
        // All of this replica's own commits are visible here.
        let first = found.first().map(|row| row.try_get(1)).transpose()?;
        self.floors.raise(&(), first.unwrap_or_else(|| now.micros()), Instant::now());
        found.iter().map(|row| rows::id(row, 0)).collect()
    }

    /// The earliest time at which an operation or a tombstone becomes due.
    pub(super) async fn next(
        &self,
        (lookups, looks): (&Pool, &Looks),
        tombstones: &Tombstones,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (floor, oldest) = (self.floor(now), tombstones.floor());
        let begin = Instant::now();
        let next = lookups.run(|session| next(session, floor, oldest)).await?;
        self.used(looks, begin, now);
        Ok(next)
    }

    fn floor(&self, now: Timestamp) -> i64 {
        self.floors.of(&()).filter(|floor| *floor <= now.micros()).unwrap_or(i64::MIN)
    }

    fn used(&self, looks: &Looks, begin: Instant, now: Timestamp) {
        let look = self.floors.used([()], begin.elapsed(), Instant::now());
        looks.make(&self.floors, look, move |session, from| async move {
            let sql = "SELECT min(wake_at) FROM operations WHERE wake_at >= $1";
            let least = looks::least(&session, sql, &from).await?;
            let young = now.before(YOUNG).micros();
            Ok(vec![least.map_or(young, |least| least.min(young))])
        });
    }
}

async fn next(
    session: Arc<Session>,
    floor: i64,
    oldest: i64,
) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT least((SELECT min(wake_at) FROM operations WHERE wake_at >= $1),
                            (SELECT forget_at FROM tombstones WHERE n >= $2 ORDER BY n LIMIT 1))";
    let found = session.query(sql, &[&floor, &oldest]).await?;
    let Some(row) = found.first() else { return Ok(None) };
    Ok(row.try_get::<_, Option<i64>>(0)?.map(Timestamp::from_micros))
}
