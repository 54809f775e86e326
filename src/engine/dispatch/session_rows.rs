//! Sessions as rows, when replicas share the store: one write renews all of a replica's sessions, so that any replica
//! can take over those of a dead one. Also decides when to look for work and for sessions that other replicas left.
//!
//! Hints report what other replicas do; periodic reads find what hints miss. No session counts as lost while the store,
//! and so every replica, may have been unavailable.

use std::collections::BTreeSet;
use std::time::Duration;

use super::roster::Seen;
use super::sessions::Sessions;
use crate::engine::clock::Moment;
use crate::engine::round::draft::Draft;
use crate::engine::round::transition::Transition;
use crate::operation::SessionId;
use crate::store::shared::{KeptSession, SessionChanges};

/// How often a replica with free workers looks for work that no hint reported.
const POLL: Duration = Duration::from_secs(2);
/// How often a replica looks for what other replicas should have handled: lost sessions, and due operations. More often
/// if leases are short.
const SWEEP: Duration = Duration::from_secs(2);
/// How long other replicas leave a due operation to the replica that wrote it.
pub(crate) const LATE: Duration = Duration::from_secs(1);
/// Session rows are renewed this many times per lease duration.
const KEPT_PER_LEASE: u32 = 3;

#[derive(Debug)]
pub(crate) struct SessionRows {
    /// Sessions without a row.
    fresh: Vec<SessionId>,
    /// Sessions with a row, including those that have ended but whose row is not deleted yet.
    rows: BTreeSet<SessionId>,
    lease_duration: Duration,
    renew_at: Moment,
    poll_at: Moment,
    sweep_at: Moment,
    /// No session counts as lost before this moment, because all had to wait while the store was unavailable.
    grace_until: Moment,
    /// When the store last responded to a sweep.
    last_answer_at: Moment,
    /// Whether what the store returned is reserved for this replica until the next commit.
    holds: bool,
}

/// The reads that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Looks {
    /// Look for work in the queues served here.
    pub(crate) polls: bool,
    /// Look for due operations, and for sessions that other replicas have lost.
    pub(crate) sweeps: bool,
}

impl SessionRows {
    pub(crate) fn new(now: Moment, lease_duration: Duration) -> Self {
        Self {
            fresh: Vec::new(),
            rows: BTreeSet::new(),
            lease_duration,
            renew_at: now,
            poll_at: now,
            sweep_at: now,
            grace_until: now.after(lease_duration),
            last_answer_at: now,
            holds: false,
        }
    }

    /// When to act without a request, with or without connected workers.
    pub(crate) fn next(&self, has_sessions: bool) -> Moment {
        match has_sessions {
            true => self.sweep_at.min(self.renew_at).min(self.poll_at),
            false => self.sweep_at,
        }
    }

    /// The looks that are due; `jitter`, around 1, spreads the next ones.
    pub(crate) fn looks(&mut self, now: Moment, jitter: f64) -> Looks {
        let looks = Looks { polls: self.poll_at <= now, sweeps: self.sweep_at <= now };
        if looks.polls {
            self.poll_at = now.after(POLL.mul_f64(jitter));
        }
        if looks.sweeps {
            self.sweep_at = now.after(self.sweep().mul_f64(jitter));
        }
        looks
    }

    /// Adds a session that was made here, or that came from another replica with a row of its own.
    pub(crate) fn connected(&mut self, session: SessionId, has_row: bool) {
        if has_row {
            self.rows.insert(session);
        } else if !self.is_ours(session) {
            self.fresh.push(session);
        }
    }

    /// Whether the session is, or recently was, this replica's.
    pub(crate) fn is_ours(&self, session: SessionId) -> bool {
        self.rows.contains(&session) || self.fresh.contains(&session)
    }

    /// Whether the session has no row yet.
    pub(crate) fn is_fresh(&self, session: SessionId) -> bool {
        self.fresh.contains(&session)
    }

    /// Removes a session that another replica now has.
    pub(crate) fn taken_over(&mut self, session: SessionId) {
        self.rows.remove(&session);
        self.fresh.retain(|fresh| *fresh != session);
    }

    /// Notes that what the store returned is reserved for this replica until the next commit, which must follow.
    pub(crate) fn hold(&mut self) {
        self.holds = true;
    }

    pub(crate) fn holds(&self) -> bool {
        self.holds
    }

    /// Grants a grace period after the store, and so other replicas' sessions, could not be renewed.
    pub(crate) fn after_outage(&mut self, now: Moment) {
        self.grace_until = now.after(self.lease_duration);
    }

    /// Records the store's response to a sweep. If it took long, or came long after the previous one, the store was
    /// unavailable, and other replicas could not renew their sessions.
    pub(crate) fn answered(&mut self, asked_at: Moment, now: Moment) {
        let was_away = now.since(asked_at) > self.lease_duration / (KEPT_PER_LEASE * 2)
            || now.since(self.last_answer_at) > self.sweep() * 2;
        self.last_answer_at = now;
        if was_away {
            self.grace_until = self.grace_until.max(now.after(self.lease_duration));
        }
    }

    /// Whether sessions may be taken for lost.
    pub(crate) fn may_miss(&self, now: Moment) -> bool {
        self.grace_until <= now
    }

    /// Whether it is time to renew all rows.
    fn renews_all(&self, now: Moment) -> bool {
        self.renew_at <= now
    }

    /// How often to sweep, so that outages longer than a renewal interval are noticed.
    fn sweep(&self) -> Duration {
        SWEEP.min(self.lease_duration / KEPT_PER_LEASE)
    }

    /// The session changes of the draft's commit; of other replicas' sessions, the `lost` ones end.
    pub(crate) fn changes(
        &self,
        draft: &Draft,
        sessions: &Sessions,
        lost: Vec<SessionId>,
        now: Moment,
    ) -> SessionChanges {
        let is_time = self.renews_all(now);
        let gone = self.rows.iter().filter(|id| is_time && sessions.get(**id).is_none());
        let ended = gone.copied().chain(lost).collect();
        let is_here = |session: &SessionId| sessions.get(*session).is_some();
        // Only the lease's holder numbers log lines.
        let mut used: BTreeSet<SessionId> = draft.logging_sessions().filter(is_here).collect();
        let mut told = Vec::new();
        for Transition { before, after, .. } in draft.transitions() {
            let held = before.as_ref().and_then(|before| before.life.state.lease());
            let Some(lease) = held.or_else(|| after.life.state.lease()) else { continue };
            // The session may belong to another replica by now. Then the commit is refused, and the retry
            // notifies that replica.
            if is_here(&lease.session) || held.is_none() {
                used.insert(lease.session);
            } else {
                told.push((lease.session, after.id()));
            }
        }
        let kept = |session: SessionId| {
            let held = sessions.get(session)?;
            // A poll that ends without an attempt leaves no row.
            let has_row = self.rows.contains(&session);
            if held.is_free_place() && !used.contains(&session) && !has_row {
                return None;
            }
            let (scope, worker) = (held.scope().clone(), held.worker().clone());
            let lease = session.lease(self.lease_duration).max(self.lease_duration);
            let Seen { kinds, places, .. } = held.seen();
            Some(KeptSession { session, scope, worker, kinds, places, lease })
        };
        let kept = match is_time {
            true => sessions.ids().filter_map(kept).collect(),
            false => self.fresh.iter().copied().filter_map(kept).collect(),
        };
        let used = used.into_iter().collect();
        SessionChanges { kept, used, ended, told }
    }

    /// Applies the changes after a commit, or when there was nothing to commit.
    pub(crate) fn committed(&mut self, changes: &SessionChanges, sessions: &Sessions, now: Moment) {
        self.holds = false;
        self.rows.extend(changes.kept.iter().map(|kept| kept.session));
        let rows = &self.rows;
        self.fresh.retain(|fresh| !rows.contains(fresh) && sessions.get(*fresh).is_some());
        for ended in &changes.ended {
            self.rows.remove(ended);
        }
        if self.renews_all(now) {
            self.renew_at = now.after(self.lease_duration / KEPT_PER_LEASE);
        }
    }
}

#[cfg(test)]
mod tests;
