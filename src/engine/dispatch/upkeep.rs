//! Timers, as commands: limits and retention of operations, and leases of silent workers. One timer serves them all.

use std::sync::Arc;
use std::time::Duration;

use super::quarantine::Quarantine;
use super::session_rows::SessionRows;
use super::sessions::Sessions;
use crate::engine::clock::Moment;
use crate::engine::round::work::Work;
use crate::operation::{Command, SessionId, Timestamp};
use crate::store::shared::SharedStore;
use crate::store::{Store, StoreError};

/// The maximum number of operations that one commit changes because time has passed. Other work goes on between such
/// commits, also while retention deletes.
const MAX_DUE: usize = 128;
/// How long the next look for due operations waits after one that has found all of them. Otherwise every commit of a
/// busy server would remove the few operations that have just expired.
const GATHERING: Duration = Duration::from_millis(50);
/// The longest interval between checks of sessions.
const SESSION_CHECK: Duration = Duration::from_secs(1);
/// How long the store is not read after a read has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// The maximum number of lost sessions that one commit handles, and of leases of each.
const MAX_EXPIRED: (usize, usize) = (32, 256);

/// When to act without a request: as soon as either clock gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wake {
    time: Timestamp,
    moment: Moment,
}

impl Wake {
    /// Never.
    pub(crate) const NEVER: Self = Self { time: Timestamp::MAX, moment: Moment::MAX };

    /// By wall time.
    pub(crate) fn at_time(time: Timestamp) -> Self {
        Self { time, ..Self::NEVER }
    }

    /// By monotonic time.
    pub(crate) fn at_moment(moment: Moment) -> Self {
        Self { moment, ..Self::NEVER }
    }

    pub(crate) fn time(&self) -> Timestamp {
        self.time
    }

    pub(crate) fn moment(&self) -> Moment {
        self.moment
    }

    /// The earlier of the two, on each clock.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { time: self.time.min(other.time), moment: self.moment.min(other.moment) }
    }
}

/// The next due times.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// At most the earliest `wake_at` of what was committed here.
    wake_at: Option<Timestamp>,
    /// The store is not read for that before this moment.
    look_at: Moment,
    /// The store is read again when both times have come.
    recheck: Option<(Timestamp, Moment)>,
    check_sessions_at: Moment,
    /// The interval between checks of sessions.
    check_interval: Duration,
    /// The store is not read before this moment, because a read failed.
    paused_until: Moment,
}

impl Upkeep {
    /// Checks sessions often enough to notice a gap of a heartbeat interval.
    pub(crate) fn new(moment: Moment, heartbeat_interval: Duration) -> Self {
        Self {
            wake_at: None,
            look_at: moment,
            recheck: None,
            check_sessions_at: moment,
            check_interval: SESSION_CHECK.min(heartbeat_interval / 2),
            paused_until: moment,
        }
    }

    /// Wakes at `at` at the latest, when something in the store becomes due.
    pub(crate) fn wake_by(&mut self, at: Option<Timestamp>) {
        self.wake_at = [self.wake_at, at].into_iter().flatten().min();
    }

    /// Reads the store at `at`, when something may become due there, but not before `not_before`.
    pub(crate) fn recheck(&mut self, at: Timestamp, not_before: Moment) {
        let (earliest, soonest) = self.recheck.unwrap_or((at, not_before));
        self.recheck = Some((earliest.min(at), soonest.min(not_before)));
    }

    /// Whether to look for due operations in the store.
    pub(crate) fn is_due(&self, now: Timestamp, moment: Moment) -> bool {
        self.wake_at.is_some_and(|at| at <= now && self.look_at <= moment)
            || self.recheck.is_some_and(|(at, not_before)| at <= now && not_before <= moment)
    }

    /// All that is due is skipped: new due operations are looked for now and then. Replaces the look that has just
    /// been, whose time is past.
    fn look_later(&mut self, now: Timestamp, moment: Moment) {
        (self.wake_at, self.recheck) = (None, Some((now, moment.after(PAUSE))));
    }

    /// Stops reading the store for a while.
    pub(crate) fn pause(&mut self, moment: Moment) {
        self.paused_until = moment.after(PAUSE);
    }

    pub(crate) fn is_pausing(&self, moment: Moment) -> bool {
        self.paused_until > moment
    }

    /// When to act next, with or without sessions.
    pub(crate) fn next(&self, now: Timestamp, sessions: bool) -> Wake {
        let check = sessions.then(|| Wake::at_moment(self.check_sessions_at));
        let both = |(at, not_before)| match at <= now {
            true => Wake::at_moment(not_before),
            false => Wake::at_time(at),
        };
        let look = self.wake_at.map(|at| both((at, self.look_at)));
        let times = [look, self.recheck.map(both), check];
        times.into_iter().flatten().fold(Wake::NEVER, Wake::or)
    }

    /// `next`, or the end of the pause if there is one.
    pub(crate) fn after_pause(&self, next: Wake, moment: Moment) -> Wake {
        if self.is_pausing(moment) { Wake::at_moment(self.paused_until) } else { next }
    }

    /// Checks sessions at `moment` at the latest.
    pub(crate) fn check_sessions_by(&mut self, moment: Moment) {
        self.check_sessions_at = self.check_sessions_at.min(moment);
    }

    /// Ends leases that their workers do not report, when a check is due: leases of silent sessions are lost, and
    /// attempts that polls gave up are released.
    pub(crate) fn ended_leases(
        &mut self,
        sessions: &mut Sessions,
        quarantine: &Quarantine,
        moment: Moment,
    ) -> Vec<Work> {
        if self.check_sessions_at > moment {
            return Vec::new();
        }
        self.check_sessions_at = moment.after(self.check_interval);
        sessions.end_closed_streams();
        let mut expired = sessions.expired(moment);
        expired.retain(|(id, _)| !quarantine.holds(*id, moment));
        for (id, attempt) in &expired {
            tracing::warn!(operation.id = %id, attempt = attempt.0, "a worker was lost");
        }
        let lost = |(id, attempt)| Work::Own(id, Command::LoseLease { attempt });
        let released = |(id, reporter)| Work::Own(id, Command::Release { reporter });
        let given_up = sessions.given_up().into_iter();
        let given_up = given_up.filter(|(id, _)| !quarantine.holds(*id, moment));
        expired.into_iter().map(lost).chain(given_up.map(released)).collect()
    }

    /// Commands for due operations of the store. `chance` returns numbers from 0 to 1.
    pub(crate) async fn due(
        &mut self,
        store: &Arc<dyn Store>,
        quarantine: &Quarantine,
        (now, moment): (Timestamp, Moment),
        mut chance: impl FnMut() -> f64,
    ) -> Result<Vec<Work>, StoreError> {
        // Skipped operations stay due, and must not hide the ones behind them.
        let most = MAX_DUE + quarantine.len();
        let mut due = store.due(now, most).await?;
        if (1..most).contains(&due.len()) {
            self.look_at = moment.after(GATHERING);
        }
        if due.is_empty() {
            // The timer was early, its reason has changed since, or it was for tombstones.
            let next = store.next_wake(now).await?;
            (self.wake_at, self.recheck) = (next, None);
            let Some(at) = next.filter(|at| *at <= now) else { return Ok(Vec::new()) };
            if store.shared().is_some() {
                // Another replica may be handling it just now.
                self.wake_at = None;
                self.recheck(at, moment.after(PAUSE));
            }
            return Ok(vec![Work::Forget]);
        }
        due.retain(|id| !quarantine.holds(*id, moment));
        if due.is_empty() {
            self.look_later(now, moment);
        }
        due.truncate(MAX_DUE);
        Ok(due.into_iter().map(|id| Work::Own(id, Command::Tick { chance: chance() })).collect())
    }
}

/// The leases of sessions that other replicas have lost, and the lost sessions without leases.
pub(crate) async fn lost_sessions(
    store: &dyn SharedStore,
    rows: &mut SessionRows,
    sessions: &Sessions,
) -> Result<(Vec<Work>, Vec<SessionId>), StoreError> {
    let (mut works, mut lost) = (Vec::new(), Vec::new());
    rows.hold();
    let (most, leases) = MAX_EXPIRED;
    for expired in store.expired(most, leases).await? {
        if sessions.get(expired.session).is_some() {
            continue;
        }
        let (session, leases) = (expired.session, expired.leases.len());
        tracing::warn!(session.id = %session, leases, "a worker was lost, with its replica");
        if expired.leases.is_empty() {
            lost.push(session);
        }
        let own = |lease: crate::store::shared::Lease| {
            Work::Own(lease.id, Command::LoseLease { attempt: lease.attempt })
        };
        works.extend(expired.leases.into_iter().map(own));
    }
    Ok((works, lost))
}

#[cfg(test)]
mod tests;
