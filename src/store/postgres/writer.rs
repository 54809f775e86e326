//! The one writing connection: its transactions, and their outcome.
//!
//! A commit is one round trip: all statements are sent at once, and an error in one turns the following COMMIT into a
//! ROLLBACK. Commits that change operations have names; each connection is a writer of its own. The name of a commit
//! whose response was lost shows its outcome. The connection also holds an advisory lock of this replica's own, so that
//! of two connections of a replica the older is ended, with all its locks.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::StoreError;
use super::super::log::Stamp;
use super::error::{closed, describe, is_of_connection, is_taken, of_commit, unavailable};
use super::server::{CONNECTING, Server};
use super::session::{Role, Session};
use super::step::{Step, prepare, stalled};
use super::transaction::{self, Outcome, TRANSACTION, Work, query_open};
use super::{log, schema};

/// How often a new connection checks whether the old one is gone.
const LOOKING: Duration = Duration::from_millis(50);

/// The writing connection.
pub(super) struct Writer {
    server: Arc<Server>,
    replica: Uuid,
    /// The server's process id of the connection, 0 without one; this replica's own notifications carry it.
    pub(super) pid: AtomicI32,
    is_silent: AtomicBool,
    held: Mutex<Option<Held>>,
    /// The name of the last commit if its outcome is unknown. Locked while `held` is.
    in_doubt: std::sync::Mutex<Option<(log::Writer, Stamp)>>,
}

struct Held {
    session: Session,
    /// The connection's writer, and its last used name.
    writer: log::Writer,
    last: Stamp,
    /// Whether a transaction is open.
    is_open: bool,
    /// Expired sessions that the open transaction has locked.
    expired: Vec<Uuid>,
}

impl Writer {
    pub(super) fn new(server: Arc<Server>, replica: Uuid) -> Self {
        Self {
            server,
            replica,
            pid: AtomicI32::new(0),
            is_silent: AtomicBool::new(false),
            held: Mutex::default(),
            in_doubt: std::sync::Mutex::default(),
        }
    }

    /// Opens the connection.
    pub(super) async fn connect(&self) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        *held = Some(self.take(held.take()).await?);
        Ok(())
    }

    /// Commits, in the open transaction if there is one. `work` gets the expired sessions that this transaction has
    /// found, and the name that it may use. Returns the rows, and the name if it was used.
    pub(super) async fn commit<'a>(
        &self,
        work: impl FnOnce(Vec<Uuid>, Stamp) -> Work<'a>,
    ) -> Result<(Vec<Vec<Row>>, Option<Stamp>), StoreError> {
        let mut slot = self.held.lock().await;
        let mut held = self.take(slot.take()).await?;
        let stamp = held.last.next();
        let work = work(std::mem::take(&mut held.expired), stamp);
        if work.steps.is_empty() && !held.is_open {
            *slot = Some(held);
            return Ok((Vec::new(), None));
        }
        let (is_named, writer) = (work.is_named, held.writer);
        match self.transact(&mut slot, held, work).await? {
            Outcome::Committed(rows, _) => {
                if let Some(held) = slot.as_mut().filter(|_| is_named) {
                    held.last = stamp;
                }
                Ok((rows, is_named.then_some(stamp)))
            }
            Outcome::RolledBack(error) => Err(of_commit(error)),
            Outcome::Unknown(why) => {
                if is_named {
                    self.set_in_doubt(Some((writer, stamp)));
                }
                Err(StoreError::Unknown(why))
            }
        }
    }

    /// Resolves the last commit by claiming its name on a working connection; returns the name if the commit was
    /// written. Without a doubt it uses up the next name.
    pub(super) async fn settle(&self, tell: Option<Step<'_>>) -> Result<Option<Stamp>, StoreError> {
        self.roll_back().await?;
        let mut slot = self.held.lock().await;
        let held = self.take(slot.take()).await?;
        let in_doubt = *self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner);
        let (writer, stamp) = in_doubt.unwrap_or_else(|| (held.writer, held.last.next()));
        let work = Work { tell, ..Work::of(vec![log::claim(writer, stamp)]) };
        let was_committed = match self.transact(&mut slot, held, work).await? {
            Outcome::Committed(..) => false,
            Outcome::RolledBack(error) if is_taken(&error) => match &*slot {
                Some(held) => log::was_committed(&held.session, stamp).await?,
                None => return Err(error.into()),
            },
            Outcome::RolledBack(error) => return Err(unavailable(of_commit(error))),
            // This may have taken the name; the next try will see that.
            Outcome::Unknown(why) => return Err(StoreError::Unavailable(why)),
        };
        if let Some(held) = slot.as_mut().filter(|held| held.last.next() == stamp) {
            held.last = stamp;
        }
        if was_committed {
            // The commit is visible, but perhaps not on its standby yet. A later durable commit guarantees that.
            self.write_nothing(&mut slot).await?;
        }
        self.set_in_doubt(None);
        Ok(was_committed.then_some(stamp))
    }

    /// Uses up the next name, durably.
    async fn write_nothing(&self, slot: &mut Option<Held>) -> Result<(), StoreError> {
        let held = self.take(slot.take()).await?;
        let stamp = held.last.next();
        let work = Work::of(vec![log::claim(held.writer, stamp)]);
        match self.transact(slot, held, work).await? {
            Outcome::Committed(..) => {
                if let Some(held) = slot {
                    held.last = stamp;
                }
                Ok(())
            }
            Outcome::RolledBack(error) => Err(unavailable(of_commit(error))),
            Outcome::Unknown(why) => Err(StoreError::Unavailable(why)),
        }
    }

    fn set_in_doubt(&self, stamp: Option<(log::Writer, Stamp)>) {
        *self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
    }

    /// Runs one transaction; then puts the connection back if it can still be used.
    async fn transact(
        &self,
        slot: &mut Option<Held>,
        mut held: Held,
        work: Work<'_>,
    ) -> Result<Outcome, StoreError> {
        // If this fails, `held` is dropped and the connection is closed.
        let statements = prepare(&held.session, work.steps.iter().chain(&work.tell)).await?;
        let outcome = transaction::transact(&held.session, held.is_open, &work, &statements).await;
        held.is_open = false;
        match &outcome {
            Outcome::Committed(_, true) => *slot = Some(held),
            Outcome::RolledBack(error) if !is_of_connection(error) => *slot = Some(held),
            Outcome::RolledBack(_) => {}
            Outcome::Committed(_, false) | Outcome::Unknown(_) => self.be_silent(),
        }
        Ok(outcome)
    }

    /// Whether something was committed, or may have been, without a notification; resets that.
    pub(super) fn take_silence(&self) -> bool {
        self.is_silent.swap(false, Ordering::SeqCst)
    }

    /// Notes that others were not notified of something.
    pub(super) fn be_silent(&self) {
        self.is_silent.store(true, Ordering::SeqCst);
    }

    /// Runs statements in a transaction that the next commit ends. Only the first one locks rows.
    pub(super) async fn query(&self, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, StoreError> {
        let mut slot = self.held.lock().await;
        let mut held = self.take(slot.take()).await?;
        let statements = prepare(&held.session, steps.iter()).await?;
        let queried = query_open(&held.session, held.is_open, steps, &statements);
        // Closing the connection rolls back an open transaction.
        let rows = timeout(TRANSACTION, queried).await.map_err(|_| stalled())??;
        let has_found = rows.first().is_some_and(|found| !found.is_empty());
        if !has_found && !held.is_open {
            // Nothing is locked, so there is nothing to commit.
            let ended = timeout(TRANSACTION, held.session.client.batch_execute("ROLLBACK")).await;
            ended.map_err(|_| stalled())??;
        }
        held.is_open |= has_found;
        *slot = Some(held);
        Ok(rows)
    }

    /// Notes that the open transaction has locked these sessions, unless it was rolled back.
    pub(super) async fn found_expired(&self, sessions: impl IntoIterator<Item = Uuid>) {
        if let Some(held) = self.held.lock().await.as_mut().filter(|held| held.is_open) {
            held.expired.extend(sessions);
        }
    }

    /// Rolls back the open transaction, if any.
    pub(super) async fn roll_back(&self) -> Result<(), StoreError> {
        let mut slot = self.held.lock().await;
        let Some(mut held) = slot.take() else { return Ok(()) };
        if held.is_open {
            match timeout(TRANSACTION, held.session.client.batch_execute("ROLLBACK")).await {
                Ok(Ok(())) => {}
                // Closing the connection rolls back as well.
                Ok(Err(_)) | Err(_) => return Ok(()),
            }
            held.is_open = false;
            held.expired.clear();
        }
        *slot = Some(held);
        Ok(())
    }

    pub(super) async fn close(&self) {
        // Frees locks at once, not when the server notices that the client is gone.
        let _ = self.roll_back().await;
        *self.held.lock().await = None;
    }

    /// The connection if it works, else a new one.
    async fn take(&self, held: Option<Held>) -> Result<Held, StoreError> {
        if self.server.closing.is_cancelled() {
            return Err(closed());
        }
        if let Some(held) = held.filter(|held| !held.session.is_closed()) {
            return Ok(held);
        }
        self.pid.store(0, Ordering::SeqCst);
        let opening = async {
            let opened = Session::open(&self.server, Role::Write, |_| {}).await;
            let session = opened.map_err(StoreError::Unavailable)?;
            self.lock(&session).await?;
            schema::check_compatible(&session).await?;
            let writer = log::register(&session).await?;
            Ok((session, writer))
        };
        let opened = timeout(CONNECTING, opening).await.unwrap_or_else(|_| Err(stalled()));
        let (session, writer) = opened?;
        self.pid.store(session.pid, Ordering::SeqCst);
        let last = writer.beginning();
        Ok(Held { session, writer, last, is_open: false, expired: Vec::new() })
    }

    /// Ends other connections of this replica, and waits until the server has none.
    async fn lock(&self, session: &Session) -> Result<(), StoreError> {
        let key = self.lock_key();
        loop {
            let rows = session.query("SELECT pg_try_advisory_lock($1)", &[&key]).await?;
            if let Some(row) = rows.first()
                && row.try_get(0)?
            {
                return Ok(());
            }
            let end = "SELECT pg_terminate_backend(pid) FROM pg_locks
                 WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND classid = (($1::bigint >> 32) & 4294967295)::oid
                   AND objid = ($1::bigint & 4294967295)::oid AND objsubid = 1";
            // If that is forbidden, the server notices in its own time that the client is gone.
            if let Err(error) = session.query(end, &[&key]).await {
                tracing::debug!(error = %describe(&error), "an old connection cannot be ended");
            }
            sleep(LOOKING).await;
        }
    }

    fn lock_key(&self) -> i64 {
        let (high, low) = self.replica.as_u64_pair();
        (high ^ low) as i64
    }
}
