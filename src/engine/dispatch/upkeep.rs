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
mod tests {
    use tokio::sync::mpsc;
    use uuid::Uuid;

    use super::*;
    use crate::engine::request::WorkerHello;
    use crate::engine::sample::{at, id};
    use crate::operation::{Attempt, TenantId, WorkerId};

    fn moment(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    fn upkeep() -> Upkeep {
        Upkeep::new(moment(0), Duration::from_secs(10))
    }

    #[test]
    fn it_wakes_by_wall_time_for_what_is_stored_and_by_monotonic_time_for_sessions() {
        let mut upkeep = upkeep();
        assert_eq!(upkeep.next(at(0), false), Wake::NEVER);
        upkeep.wake_by(Some(at(20)));
        upkeep.wake_by(Some(at(30)));
        upkeep.wake_by(None);
        assert_eq!(upkeep.next(at(0), false), Wake::at_time(at(20)));
        let both = Wake::at_time(at(20)).or(Wake::at_moment(moment(0)));
        assert_eq!(upkeep.next(at(0), true), both);
        assert!(!upkeep.is_due(at(19), moment(100)) && upkeep.is_due(at(20), moment(0)));
    }

    #[test]
    fn what_expires_soon_after_a_look_that_found_all_is_gathered() {
        let mut upkeep = upkeep();
        upkeep.look_at = moment(5);
        upkeep.wake_by(Some(at(20)));
        assert_eq!(upkeep.next(at(19), false), Wake::at_time(at(20)));
        assert_eq!(upkeep.next(at(20), false), Wake::at_moment(moment(5)));
        assert!(!upkeep.is_due(at(20), moment(4)) && upkeep.is_due(at(20), moment(5)));
    }

    #[test]
    fn a_second_look_waits_for_both_clocks() {
        let mut upkeep = upkeep();
        upkeep.recheck(at(20), moment(5));
        assert_eq!(upkeep.next(at(19), false), Wake::at_time(at(20)));
        assert_eq!(upkeep.next(at(20), false), Wake::at_moment(moment(5)));
        assert!(!upkeep.is_due(at(20), moment(4)) && !upkeep.is_due(at(19), moment(5)));
        assert!(upkeep.is_due(at(20), moment(5)));
    }

    #[test]
    fn where_all_that_is_due_is_skipped_each_look_is_a_pause_after_the_last() {
        let mut upkeep = upkeep();
        upkeep.wake_by(Some(at(20)));
        for second in 5..9 {
            upkeep.look_later(at(20), moment(second));
            assert!(!upkeep.is_due(at(20), moment(second)));
            assert_eq!(upkeep.next(at(20), false), Wake::at_moment(moment(second + 1)));
            assert!(upkeep.is_due(at(20), moment(second + 1)));
        }
    }

    #[test]
    fn a_pause_ends_by_monotonic_time_whatever_the_clock_shows() {
        let mut upkeep = upkeep();
        assert!(!upkeep.is_pausing(moment(0)), "there is none at the start");
        upkeep.pause(moment(3));
        assert!(upkeep.is_pausing(moment(3)) && !upkeep.is_pausing(moment(4)));
        let early = Wake::at_time(at(0));
        assert_eq!(upkeep.after_pause(early, moment(3)), Wake::at_moment(moment(4)));
        assert_eq!(upkeep.after_pause(early, moment(4)), early);
    }

    #[test]
    fn a_stream_that_nobody_reads_ends_when_sessions_are_looked_over() {
        let (mut upkeep, mut sessions) = (upkeep(), Sessions::default());
        let hello = WorkerHello {
            in_process: false,
            scope: TenantId::default_tenant().into(),
            worker: WorkerId::parse("w").expect("a name"),
            kinds: Vec::new(),
            max_in_flight: 1,
            resume: None,
            running: Vec::new(),
        };
        // There was no room for the request that says so.
        let (sender, _) = mpsc::channel(1);
        let session = SessionId::from_uuid(Uuid::from_u128(1));
        sessions.connect(session, &hello, sender, moment(1_000));
        upkeep.ended_leases(&mut sessions, &Quarantine::default(), moment(0));
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn what_is_left_alone_keeps_the_lease_of_a_silent_worker() {
        let (mut upkeep, mut sessions) = (upkeep(), Sessions::default());
        let session = SessionId::from_uuid(Uuid::from_u128(1));
        for number in [1, 2] {
            let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("w"));
            sessions.restore(session, tenant, worker, (id(number), Attempt(1)), moment(5));
        }
        let mut quarantine = Quarantine::default();
        quarantine.set_aside(id(1), moment(0));
        assert!(upkeep.ended_leases(&mut sessions, &quarantine, moment(4)).is_empty());
        let lost = upkeep.ended_leases(&mut sessions, &quarantine, moment(5));
        assert_eq!(lost.iter().filter_map(Work::own_id).collect::<Vec<_>>(), [id(2)]);
        let lost = upkeep.ended_leases(&mut sessions, &quarantine, moment(30));
        assert_eq!(lost.len(), 2, "the first is tried again");
    }

    #[test]
    fn sessions_are_looked_over_more_often_where_leases_are_short() {
        for (lease, interval) in [(30, 1_000), (3, 500)] {
            let mut upkeep = Upkeep::new(moment(0), Duration::from_secs(lease) / 3);
            let mut sessions = Sessions::default();
            let none = upkeep.ended_leases(&mut sessions, &Quarantine::default(), moment(0));
            assert!(none.is_empty());
            assert_eq!(
                upkeep.next(at(0), true),
                Wake::at_moment(Moment::new(Duration::from_millis(interval)))
            );
        }
    }
}
