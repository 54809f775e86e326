//! Sessions as rows, when replicas share the store: one write renews all of a replica's sessions, so that any
//! replica can take over those of a dead one. Also decides when to look for work and for sessions that others have
//! left.
//!
//! Hints report what other replicas do; occasional reads find what hints miss. Nothing counts as lost while the
//! store, and so every replica, may have been unavailable.

use std::collections::BTreeSet;
use std::time::Duration;

use super::roster::Seen;
use super::sessions::Sessions;
use crate::engine::clock::Moment;
use crate::engine::round::draft::Draft;
use crate::engine::round::transition::Transition;
use crate::operation::SessionId;
use crate::store::shared::{KeptSession, SessionChanges};

/// How often a replica with free workers looks for work that no hint spoke of.
const POLL: Duration = Duration::from_secs(2);
/// How often a replica looks for what others should have done: lost sessions, and what is due. More often where
/// leases are short.
const SWEEP: Duration = Duration::from_secs(2);
/// Other replicas leave due operations to the replica that wrote them for this long.
pub(crate) const LATE: Duration = Duration::from_secs(1);
/// Session rows are renewed this many times per lease duration.
const KEPT_PER_LEASE: u32 = 3;

#[derive(Debug)]
pub(crate) struct SessionRows {
    /// Sessions that have no row yet.
    fresh: Vec<SessionId>,
    /// Sessions that have one, and those of them that have come to their end.
    rows: BTreeSet<SessionId>,
    lease_duration: Duration,
    renew_at: Moment,
    poll_at: Moment,
    sweep_at: Moment,
    /// No session is taken for lost before this moment: all had to wait while the store was away.
    grace_until: Moment,
    /// When the store has last answered a sweep.
    last_answer_at: Moment,
    /// Whether something is kept from others until the next commit.
    holds: bool,
}

/// The reads that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Looks {
    /// For work in the queues served here.
    pub(crate) polls: bool,
    /// For what is due, and for sessions that others have lost.
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

    /// When there is something to do without a request, while workers are here or are not.
    pub(crate) fn next(&self, has_sessions: bool) -> Moment {
        match has_sessions {
            true => self.sweep_at.min(self.renew_at).min(self.poll_at),
            false => self.sweep_at,
        }
    }

    /// What it is time to look for; the next time is spread by `jitter`, around 1.
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

    /// A session was made here, or has come from another replica with a row of its own.
    pub(crate) fn connected(&mut self, session: SessionId, has_row: bool) {
        if has_row {
            self.rows.insert(session);
        } else if !self.is_ours(session) {
            self.fresh.push(session);
        }
    }

    /// Whether the session is, or lately was, one of this replica's.
    pub(crate) fn is_ours(&self, session: SessionId) -> bool {
        self.rows.contains(&session) || self.fresh.contains(&session)
    }

    /// Whether the session has no row yet.
    pub(crate) fn is_fresh(&self, session: SessionId) -> bool {
        self.fresh.contains(&session)
    }

    /// Another replica has the session now.
    pub(crate) fn taken_over(&mut self, session: SessionId) {
        self.rows.remove(&session);
        self.fresh.retain(|fresh| *fresh != session);
    }

    /// What was answered is kept from other replicas until the next commit, which must follow.
    pub(crate) fn hold(&mut self) {
        self.holds = true;
    }

    pub(crate) fn holds(&self) -> bool {
        self.holds
    }

    /// The store was away, and so were its sessions' replicas.
    pub(crate) fn after_outage(&mut self, now: Moment) {
        self.grace_until = now.after(self.lease_duration);
    }

    /// The store has answered a sweep. If that took long, or nothing was heard for long, it was away, and the
    /// others could not keep their sessions.
    pub(crate) fn answered(&mut self, asked_at: Moment, now: Moment) {
        let was_away = now.since(asked_at) > self.lease_duration / (KEPT_PER_LEASE * 2)
            || now.since(self.last_answer_at) > self.sweep() * 2;
        self.last_answer_at = now;
        if was_away {
            self.grace_until = self.grace_until.max(now.after(self.lease_duration));
        }
    }

    /// Whether a session may be taken for lost.
    pub(crate) fn may_miss(&self, now: Moment) -> bool {
        self.grace_until <= now
    }

    /// Whether it is time to renew all rows.
    fn renews_all(&self, now: Moment) -> bool {
        self.renew_at <= now
    }

    /// How often to sweep: what outlasts a session that is kept in time is noticed.
    fn sweep(&self) -> Duration {
        SWEEP.min(self.lease_duration / KEPT_PER_LEASE)
    }

    /// What becomes of sessions with the draft's commit; of others' those end that are `lost`.
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
        // Only the holder of the lease numbers lines.
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
            // A poll that ends without an attempt leaves nothing behind.
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

    /// After a commit, or where there was nothing to commit.
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
