//! Which other replicas are connected; with none, nothing is notified.
//!
//! Each replica keeps a row of its own, by the database's clock, and learns of the others when it does. One that comes
//! tells all at once. Until they must have heard of it, it may miss what they do; the listener says so to
//! its caller once that time is over. One that is gone may have died between a commit and telling of it.

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

/// How often a replica says that it is there.
const RENEWAL: Duration = Duration::from_secs(4);
/// After this time at the latest everybody knows of a replica that came.
pub(super) const KNOWN_AFTER: Duration = Duration::from_secs(10);

/// A replica's knowledge of others.
pub(super) struct Presence {
    replica: Uuid,
    is_alone: AtomicBool,
    /// Rises when something is heard of others, so that an answer that is older says nothing.
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

    /// A replica connected, or may have connected unnoticed.
    pub(super) fn assume_others(&self) {
        self.heard.fetch_add(1, Ordering::SeqCst);
        self.is_alone.store(false, Ordering::SeqCst);
    }

    /// Says that this replica is there. `is_new` tells the others at once.
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

    /// Keeps saying so until it is dropped.
    pub(super) async fn keep(self: Arc<Self>, lookups: Arc<Pool>) {
        let mut is_new = false;
        loop {
            sleep(RENEWAL).await;
            // Who was away for long may have been forgotten.
            is_new = self.renew(&lookups, is_new).await.is_err();
        }
    }

    /// The last word. Others see by the row what is left of it.
    pub(super) async fn leave(&self, lookups: &Pool) {
        let replica = self.replica;
        let left = lookups.run(|session| async move {
            Ok(session.query("DELETE FROM replicas WHERE id = $1", &[&replica]).await?)
        });
        let _ = left.await;
    }
}

/// How many others have said that they are there.
pub(super) async fn others(session: Arc<Session>, replica: Uuid) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM replicas WHERE id <> $1 AND expires_at > now()";
    let found = session.query(sql, &[&replica]).await?;
    let count: i64 = found.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    Ok(u64::try_from(count).unwrap_or_default())
}

/// The others that there are.
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
