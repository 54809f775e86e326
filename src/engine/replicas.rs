//! The committer's part where several replicas share the store: whose sessions are whose, and what time and others
//! bring. Claiming is in `claims`.
//!
//! What waits in a queue is known to the store only: the queue in memory holds what the round under way
//! has queued, and is empty between rounds. Sessions are rows, kept by one write for all of them, so that any
//! replica can take over those of one that is gone. What others do is heard of by hints; whatever hints
//! miss is found by looking now and then.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::committer::Committer;
use super::draft::{Draft, Transition};
use super::queue::QueueKey;
use super::sessions::{Sessions, ToWorker};
use super::work::Work;
use crate::operation::{Command, OperationId, SessionId, State, Timestamp};
use crate::store::StoreError;
use crate::store::shared::{KeptSession, Listening, Outstanding, SessionChanges};

mod claims;

/// How often a replica with free workers looks for work that no hint spoke of.
const POLL: Duration = Duration::from_secs(2);
/// How often a replica looks for what others should have done: lost sessions, and what is due. More often where
/// leases are short.
const SWEEP: Duration = Duration::from_secs(2);
/// Most lost sessions that one commit deals with, and most leases of each.
const MAX_EXPIRED: (usize, usize) = (32, 256);
/// Sessions are kept so many times within a lease duration.
const KEPT_PER_LEASE: u32 = 3;

/// What is known of the part that others have in the store.
#[derive(Debug)]
pub(super) struct Replicas {
    /// Queues served here that may hold more than is known.
    stocked: HashSet<QueueKey>,
    /// The wish to hear of what others leave in queues served here.
    listening: HashMap<QueueKey, Listening>,
    /// When the next operation may start that was found not to be due.
    next_start: Option<Timestamp>,
    /// Sessions that have no row yet.
    fresh: Vec<SessionId>,
    /// Sessions that have one, and those of them that have come to their end.
    rows: BTreeSet<SessionId>,
    lease_duration: Duration,
    keep_at: Timestamp,
    poll_at: Timestamp,
    sweep_at: Timestamp,
    /// Nobody's session is taken for lost before this time: all had to wait while the store was away.
    patient_until: Timestamp,
    /// When the store has last answered a sweep.
    heard_at: Timestamp,
    /// Whether something is kept from others until the next commit.
    pub(super) holds: bool,
    /// Whether a look at leases that others have changed may have come to nothing.
    looks_again: bool,
}

impl Replicas {
    pub(super) fn new(now: Timestamp, lease_duration: Duration) -> Self {
        Self {
            stocked: HashSet::new(),
            listening: HashMap::new(),
            next_start: None,
            fresh: Vec::new(),
            rows: BTreeSet::new(),
            lease_duration,
            keep_at: now,
            poll_at: now,
            sweep_at: now,
            patient_until: now.after(lease_duration),
            heard_at: now,
            holds: false,
            looks_again: false,
        }
    }

    /// When there is something to do without a request.
    pub(super) fn next(&self, sessions: &Sessions) -> Timestamp {
        let serves = sessions.len() > 0;
        let times = [
            serves.then_some(self.keep_at),
            serves.then_some(self.poll_at),
            self.next_start.filter(|_| serves),
            Some(self.sweep_at),
        ];
        times.into_iter().flatten().min().unwrap_or(Timestamp::MAX)
    }

    /// A session was made here, or has come from another replica with a row of its own.
    pub(super) fn connected(&mut self, session: SessionId, has_row: bool) {
        if has_row {
            self.rows.insert(session);
        } else if !self.is_ours(session) {
            self.fresh.push(session);
        }
    }

    /// Whether the session is, or lately was, one of this replica's.
    pub(super) fn is_ours(&self, session: SessionId) -> bool {
        self.rows.contains(&session) || self.fresh.contains(&session)
    }

    /// Whether the session has no row yet.
    pub(super) fn is_fresh(&self, session: SessionId) -> bool {
        self.fresh.contains(&session)
    }

    /// Another replica has the session now.
    fn taken_over(&mut self, session: SessionId) {
        self.rows.remove(&session);
        self.fresh.retain(|fresh| *fresh != session);
    }

    /// The store was away, and so were its sessions' replicas.
    pub(super) fn after_outage(&mut self, now: Timestamp) {
        self.patient_until = now.after(self.lease_duration);
    }

    /// The store has answered a sweep. If that took long, or nothing was heard for long, it was away, and the
    /// others could not keep their sessions.
    fn heard(&mut self, asked_at: Timestamp, now: Timestamp) {
        let was_away = now.since(asked_at) > self.lease_duration / (KEPT_PER_LEASE * 2)
            || now.since(self.heard_at) > self.sweep() * 2;
        self.heard_at = now;
        if was_away {
            self.patient_until = self.patient_until.max(now.after(self.lease_duration));
        }
    }

    /// Whether it is time to keep all sessions.
    fn keeps_all(&self, now: Timestamp) -> bool {
        self.keep_at <= now
    }

    /// How often to sweep: what outlasts a session that is kept in time is noticed.
    fn sweep(&self) -> Duration {
        SWEEP.min(self.lease_duration / KEPT_PER_LEASE)
    }

    /// After a commit, or where there was nothing to commit.
    pub(super) fn committed(&mut self, changes: &SessionChanges, now: Timestamp) {
        self.holds = false;
        self.rows.extend(changes.kept.iter().map(|kept| kept.session));
        self.fresh.retain(|fresh| changes.kept.iter().all(|kept| kept.session != *fresh));
        for ended in &changes.ended {
            self.rows.remove(ended);
        }
        if self.keeps_all(now) {
            self.keep_at = now.after(self.lease_duration / KEPT_PER_LEASE);
        }
    }
}

impl Committer {
    /// What becomes of sessions with the draft's commit; of others' those end that are `lost`.
    pub(super) fn session_changes(&self, draft: &Draft, lost: Vec<SessionId>) -> SessionChanges {
        let Some(replicas) = &self.replicas else { return SessionChanges::default() };
        let is_time = replicas.keeps_all(draft.now);
        let expires_at = draft.now.after(replicas.lease_duration);
        let kept = |session: SessionId| {
            let held = self.sessions.get(session)?;
            let (tenant, worker) = (held.tenant.clone(), held.worker.clone());
            Some(KeptSession { session, tenant, worker, expires_at })
        };
        let kept = match is_time {
            true => self.sessions.ids().filter_map(kept).collect(),
            false => replicas.fresh.iter().copied().filter_map(kept).collect(),
        };
        let gone = replicas.rows.iter().filter(|id| is_time && self.sessions.get(**id).is_none());
        let ended = gone.copied().chain(lost).collect();
        let (mut used, mut told) = (BTreeSet::new(), Vec::new());
        for Transition { before, after, .. } in &draft.transitions {
            let held = before.as_ref().and_then(|before| before.life.state.lease());
            let Some(lease) = held.or_else(|| after.life.state.lease()) else { continue };
            // What is taken for ours may be another's by now: the store says so, and it is told then.
            if self.sessions.get(lease.session).is_some() || held.is_none() {
                used.insert(lease.session);
            } else {
                told.push((lease.session, after.id()));
            }
        }
        let used = used.into_iter().collect();
        SessionChanges { kept, used, ended, told }
    }

    /// What others have done to leases here was not looked at in a round that failed.
    pub(super) fn look_again(&mut self) {
        if let Some(replicas) = &mut self.replicas {
            replicas.looks_again = true;
        }
    }

    /// These sessions have gone to another replica: so have their leases.
    pub(super) fn lose_sessions(&mut self, ids: &[SessionId]) {
        for id in ids {
            tracing::info!(session.id = %id, "a worker's session has gone to another replica");
            for lease in self.sessions.hand_over(*id) {
                self.log_books.remove(&lease);
                self.shared.progress.clear(lease);
            }
            if let Some(replicas) = &mut self.replicas {
                replicas.taken_over(*id);
            }
        }
    }

    /// Adds what time brings: looking for work, for lost sessions, and for what is due. Those that hold nothing any
    /// more are added to `lost`.
    pub(super) async fn add_shared_work(
        &mut self,
        now: Timestamp,
        works: &mut Vec<Work>,
        lost: &mut Vec<SessionId>,
    ) -> Result<(), StoreError> {
        let jitter = 0.75 + self.chance() / 2.0;
        let Some(replicas) = &mut self.replicas else { return Ok(()) };
        let Some(store) = self.shared.store.shared() else { return Ok(()) };
        let may_start = replicas.next_start.is_some_and(|at| at <= now);
        let polls = is_time(replicas.poll_at, now, POLL * 2);
        let sweep = replicas.sweep();
        let sweeps = is_time(replicas.sweep_at, now, sweep * 2);
        if polls {
            replicas.poll_at = now.after(POLL.mul_f64(jitter));
        }
        if may_start {
            replicas.next_start = None;
        }
        if sweeps {
            replicas.sweep_at = now.after(sweep.mul_f64(jitter));
            let asked_at = self.shared.clock.now();
            let next_wake = self.shared.store.next_wake().await?;
            replicas.heard(asked_at, self.shared.clock.now());
            // Whoever wrote it wakes first; the others see to what is left.
            let late = now.after(SWEEP / 2);
            self.timers.wake_by(next_wake.map(|at| at.max(late)));
            if replicas.patient_until <= now {
                replicas.holds = true;
                let (sessions, leases) = MAX_EXPIRED;
                for expired in store.expired(now, sessions, leases).await? {
                    if self.sessions.get(expired.session).is_some() {
                        continue;
                    }
                    tracing::warn!(
                        session.id = %expired.session,
                        leases = expired.leases.len(),
                        "a worker was lost, with its replica"
                    );
                    if expired.leases.is_empty() {
                        lost.push(expired.session);
                    }
                    works.extend(expired.leases.into_iter().map(|lease| {
                        Work::Own(lease.id, Command::LoseLease { attempt: lease.attempt })
                    }));
                }
            }
        }
        if std::mem::take(&mut replicas.looks_again) {
            works.extend(self.sessions.leased().into_iter().map(Work::Look));
        }
        if polls || may_start {
            self.stock_all();
        }
        Ok(())
    }

    /// Forgets what the cache has of an operation that others may have changed: a change made on it would be
    /// refused and made again, but that there is nothing to change is decided without the store. Of what a session
    /// here holds the cache is told.
    pub(super) fn doubt_cached(&mut self, work: &Work) {
        let id = match work {
            Work::Apply(apply) => {
                let session = apply.session.and_then(|session| self.sessions.get(session));
                let is_held = session.is_some_and(|held| held.leases.contains_key(&apply.id));
                if is_held { None } else { Some(apply.id) }
            }
            Work::Look(id) => {
                self.log_books.remove(id);
                Some(*id)
            }
            Work::Own(id, _) => Some(*id),
            Work::Submit(_) | Work::Forget => None,
        };
        if let Some(id) = id.filter(|_| self.replicas.is_some()) {
            self.shared.cache.remove(id);
        }
    }

    /// Looks at an operation that others have changed while a session here held its lease.
    pub(super) fn look(&mut self, id: OperationId, draft: &Draft) {
        let operation = draft.stored(id);
        for (session, attempt) in self.sessions.holders(id) {
            let current = operation.as_ref().filter(|operation| {
                let lease = operation.life.state.lease();
                lease.is_some_and(|lease| lease.session == session)
                    && operation.life.attempt == attempt
            });
            match current {
                Some(operation) => {
                    if matches!(operation.life.state, State::Cancelling { .. }) {
                        let operation = Arc::clone(operation);
                        self.sessions.send(session, ToWorker::CancelRequested { operation });
                    }
                }
                None => {
                    self.shared.progress.clear(id);
                    self.sessions.send(session, ToWorker::NotCurrent { id, attempt });
                    for key in self.sessions.end_lease(session, id) {
                        self.dirty.mark(key);
                    }
                }
            }
        }
    }

    /// How many operations are not done, as the store has counted them.
    pub(super) fn set_counts(&mut self, counts: Vec<Outstanding>) {
        let counts = counts.into_iter();
        let counts = counts.map(|of| (QueueKey { tenant: of.tenant, kind: of.kind }, of.count));
        self.shared.backlog.set(counts.collect());
    }
}

/// Whether `at` has come, or lies further away than it can have been set: then the clock was set back.
fn is_time(at: Timestamp, now: Timestamp, longest: Duration) -> bool {
    at <= now || at.since(now) > longest
}

#[cfg(test)]
mod tests;
