//! What the committer must know when replicas share the store: the owners of sessions and of queued work.

use std::sync::Arc;

use super::claims::Claims;
use super::dispatcher::Dispatcher;
use super::quarantine::Quarantine;
use super::queue::{Lane, QueueKey};
use super::session_rows::{LATE, Looks, SessionRows};
use super::sessions::Sessions;
use super::upkeep::{Upkeep, Wake, lost_sessions};
use crate::engine::Shared;
use crate::engine::clock::{Moment, Now};
use crate::engine::request::{AttemptLease, EngineError, Taken, WorkerHello};
use crate::engine::round::draft::Draft;
use crate::engine::round::work::Work;
use crate::operation::limits::LimitTable;
use crate::operation::{OperationId, SessionId};
use crate::store::StoreError;
use crate::store::shared::{SessionChanges, SharedStore};

#[derive(Debug)]
pub(super) struct Replicas {
    claims: Claims,
    rows: SessionRows,
    /// Whether a recheck of leases that other replicas have changed may have failed.
    rechecks_all: bool,
}

/// Work that other replicas left behind.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) works: Vec<Work>,
    /// Other replicas' sessions that hold no leases any more.
    pub(super) lost: Vec<SessionId>,
}

impl Replicas {
    pub(super) fn new(now: Moment, lease_duration: std::time::Duration) -> Self {
        let rows = SessionRows::new(now, lease_duration);
        Self { claims: Claims::default(), rows, rechecks_all: false }
    }

    pub(super) fn claims(&mut self) -> &mut Claims {
        &mut self.claims
    }

    pub(super) fn rows(&mut self) -> &mut SessionRows {
        &mut self.rows
    }

    pub(super) fn holds(&self) -> bool {
        self.rows.holds()
    }

    pub(super) fn is_ours(&self, session: SessionId) -> bool {
        self.rows.is_ours(session)
    }

    pub(super) fn expects(&self, key: &QueueKey) -> bool {
        self.claims.expects(key)
    }

    pub(super) fn recheck_all(&mut self) {
        self.rechecks_all = true;
    }

    /// When to act without a request.
    pub(super) fn next(&self, has_sessions: bool) -> Wake {
        let start = self.claims.next_start().filter(|_| has_sessions);
        let look = Wake::at_moment(self.rows.next(has_sessions));
        look.or(start.map_or(Wake::NEVER, Wake::at_time))
    }

    pub(super) fn changes(
        &self,
        draft: &Draft,
        sessions: &Sessions,
        lost: Vec<SessionId>,
        moment: Moment,
    ) -> SessionChanges {
        self.rows.changes(draft, sessions, lost, moment)
    }

    /// Notes that a worker has connected to a session of this replica.
    pub(super) fn connected(&mut self, session: SessionId, has_row: bool, hello: &WorkerHello) {
        self.rows.connected(session, has_row);
        for kind in &hello.kinds {
            self.claims.expect(Lane { scope: hello.scope.clone(), kind: kind.clone() });
        }
    }

    /// The session that the worker resumes, if it exists; `None`: take it over from the store first.
    pub(super) fn resume(
        &self,
        hello: &WorkerHello,
        taken: Option<Taken>,
        sessions: &mut Sessions,
        expires_at: Moment,
    ) -> Result<Option<Option<SessionId>>, EngineError> {
        let known = sessions.resumable(hello);
        let Some(session) = hello.resume else { return Ok(Some(known)) };
        match taken {
            None => Ok(None),
            Some(Taken::Over(leases)) => {
                for lease in leases {
                    let (scope, worker) = (hello.scope.clone(), hello.worker.clone());
                    let lease = (lease.id, lease.attempt);
                    sessions.restore(session, scope, worker, lease, expires_at);
                }
                Ok(Some(Some(session)))
            }
            Some(Taken::Gone) if self.rows.is_fresh(session) => Ok(Some(known)),
            Some(Taken::Gone) => Ok(Some(None)),
            // While the store is unavailable, a session resumes only if every lease it names is known here; others
            // may have been reassigned.
            Some(Taken::Unknown(error)) => {
                let is_held = |&(id, attempt): &_| sessions.holds(session, id, attempt);
                match known.is_some() && hello.running.iter().all(is_held) {
                    true => Ok(Some(known)),
                    false => Err(error),
                }
            }
        }
    }

    /// Renews the lease of an attempt without a stream. `None`: take its session over from the store first. Otherwise,
    /// whether the lease is known.
    pub(super) fn renew_attempt(
        &mut self,
        lease: AttemptLease,
        taken: Option<Taken>,
        sessions: &mut Sessions,
        expires_at: Moment,
    ) -> Result<Option<bool>, EngineError> {
        let AttemptLease { session, tenant, worker, .. } = lease;
        if sessions.renew(session, expires_at) {
            return Ok(Some(true));
        }
        match taken {
            None => Ok(None),
            Some(Taken::Over(leases)) => {
                let is_held = !leases.is_empty();
                for lease in leases {
                    let held = (lease.id, lease.attempt);
                    sessions.restore(session, tenant.clone(), worker.clone(), held, expires_at);
                }
                self.rows.connected(session, true);
                Ok(Some(is_held))
            }
            Some(Taken::Gone) => Ok(Some(false)),
            Some(Taken::Unknown(error)) => Err(error),
        }
    }

    /// Looks for work that other replicas have left, when it is time to. `jitter` spreads the next look.
    pub(super) async fn look(
        &mut self,
        shared: &Arc<Shared>,
        (dispatcher, upkeep): (&mut Dispatcher, &mut Upkeep),
        (now, moment): Now,
        jitter: f64,
    ) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let Some(store) = shared.store.shared() else { return Ok(found) };
        let may_start = self.claims.take_due(now);
        let Looks { polls, sweeps } = self.rows.looks(moment, jitter);
        if sweeps {
            let asked_at = shared.clock.moment();
            let next_wake = shared.store.next_wake(now).await?;
            self.rows.answered(asked_at, shared.clock.moment());
            if let Some(at) = next_wake {
                // The replica that wrote it wakes first; the others handle what it leaves.
                upkeep.recheck(at, moment.after(LATE));
            }
            if self.rows.may_miss(moment) {
                let sessions = dispatcher.sessions();
                (found.works, found.lost) = lost_sessions(store, &mut self.rows, sessions).await?;
            }
        }
        if std::mem::take(&mut self.rechecks_all) {
            found.works.extend(dispatcher.sessions().leased().into_iter().map(Work::Recheck));
        }
        if polls || may_start {
            self.claims.expect_all(dispatcher);
        }
        Ok(found)
    }

    /// Claims queued operations of the store for workers with free slots.
    pub(super) async fn claim(
        &mut self,
        store: &dyn SharedStore,
        most: usize,
        (dispatcher, quarantine): (&mut Dispatcher, &mut Quarantine),
        table: &LimitTable,
        draft: &mut Draft,
    ) -> Result<Vec<(SessionId, OperationId)>, StoreError> {
        self.claims.look_up(store, dispatcher).await?;
        let slots = self.claims.slots(most, dispatcher);
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        self.rows.hold();
        self.claims.claim(store, slots, (dispatcher, quarantine), table, draft).await
    }
}
