//! Which other replicas are connected; with none, nothing is notified.
//!
//! Each replica renews a row of its own, by the database's clock, and then reads the others. A new one notifies all at
//! once. Until all must have heard of it, it may miss their changes; the listener reports that to its caller once that
//! time is over. A replica that disappears may have died between a commit and its notification.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::super::StoreError;
use super::super::shared::Hint;
use super::hints::Hints;
use super::link::Pool;
use super::notify;
use super::session::Session;
use super::step::Step;
use super::writer::Writer;

/// How often a replica renews its row.
const RENEWAL: Duration = Duration::from_secs(4);
/// After this time every replica knows of a new one.
pub(super) const KNOWN_AFTER: Duration = Duration::from_secs(10);

/// What a replica knows of the others.
pub(super) struct Presence {
    replica: Uuid,
    is_alone: AtomicBool,
    /// Counts messages about other replicas, so that an older answer is not used.
    heard: AtomicU64,
    others: Mutex<HashSet<Uuid>>,
    writer: Arc<Writer>,
    hints: Arc<Hints>,
}

impl Presence {
    pub(super) fn new(replica: Uuid, writer: Arc<Writer>, hints: Arc<Hints>) -> Self {
        let (is_alone, heard) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { replica, is_alone, heard, others: Mutex::default(), writer, hints }
    }

    /// Whether no other replica is connected, so that there is nothing to notify.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::SeqCst)
    }

    /// Notes that a replica connected, or may have connected unnoticed.
    pub(super) fn assume_others(&self) {
        self.heard.fetch_add(1, Ordering::SeqCst);
        self.is_alone.store(false, Ordering::SeqCst);
    }

    /// Renews this replica's row. `is_new` also notifies the others.
    pub(super) async fn renew(&self, lookups: &Pool, is_new: bool) -> Result<(), StoreError> {
        let heard = self.heard.load(Ordering::SeqCst);
        let replica = self.replica;
        let was_silent = self.writer.take_silence();
        let say = match (was_silent, is_new) {
            (true, _) => Some(notify::missed(replica)),
            (false, true) => Some(notify::here(replica)),
            (false, false) => None,
        };
        let renewed = lookups.run(|session| renew(session, replica, say)).await;
        if was_silent && renewed.is_err() {
            self.writer.be_silent();
        }
        let is_alone = match &renewed {
            Ok(others) => others.is_empty() && heard == self.heard.load(Ordering::SeqCst),
            Err(_) => false,
        };
        self.is_alone.store(is_alone, Ordering::SeqCst);
        let others = renewed?;
        let mut known = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.is_subset(&others) {
            self.hints.push(Hint::Missed);
        }
        *known = others;
        Ok(())
    }

    /// Renews the row until the future is dropped.
    pub(super) async fn keep(self: Arc<Self>, lookups: Arc<Pool>) {
        let mut is_new = false;
        loop {
            sleep(RENEWAL).await;
            // Replicas may have forgotten this one if it was not renewed for long.
            is_new = self.renew(&lookups, is_new).await.is_err();
        }
    }

    /// Deletes the row when this replica leaves.
    pub(super) async fn leave(&self, lookups: &Pool) {
        let replica = self.replica;
        let left = lookups.run(|session| async move {
            Ok(session.query("DELETE FROM replicas WHERE id = $1", &[&replica]).await?)
        });
        let _ = left.await;
    }
}

/// The number of other replicas with a current row.
pub(super) async fn others(session: Arc<Session>, replica: Uuid) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM replicas WHERE id <> $1 AND expires_at > now()";
    let found = session.query(sql, &[&replica]).await?;
    let count: i64 = found.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Renews the row; returns the other replicas.
async fn renew(
    session: Arc<Session>,
    replica: Uuid,
    say: Option<Step<'_>>,
) -> Result<HashSet<Uuid>, StoreError> {
    let keep = "WITH kept AS (
           INSERT INTO replicas (id, expires_at) VALUES ($1, now() + interval '15 seconds')
           ON CONFLICT (id) DO UPDATE SET expires_at = EXCLUDED.expires_at),
         gone AS (
           DELETE FROM replicas WHERE id <> $1 AND expires_at < now() - interval '1 minute')
         SELECT id FROM replicas WHERE id <> $1 AND expires_at > now()";
    let rows = session.query(keep, &[&replica]).await?;
    if let Some(say) = say {
        say.run(&session).await?;
    }
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
