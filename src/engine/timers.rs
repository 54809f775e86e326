//! When the committer must act without being asked: limits and retention, queued work that becomes
//! due, sessions that may have expired. One timer for all of them.

use std::collections::HashSet;
use std::time::Duration;

use super::committer::Committer;
use super::work::Work;
use crate::operation::{Command, OperationId, SessionId, Timestamp};
use crate::store::StoreError;

/// Most operations that one commit changes because time has passed. Retention deletes in batches of
/// this size, between which other work goes on.
const MAX_DUE: usize = 128;
/// How often sessions are looked over.
const SESSION_CHECK: Duration = Duration::from_secs(1);

/// What is known of the times to come.
#[derive(Debug)]
pub(super) struct Timers {
    /// Not later than the earliest `wake_at` in the store.
    wake_at: Option<Timestamp>,
    check_sessions_at: Timestamp,
    /// Operations that are damaged.
    pub(super) ignored: HashSet<OperationId>,
    /// After a failure of the store nothing is tried before this time.
    paused_until: Timestamp,
}

impl Timers {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { wake_at: None, check_sessions_at: now, ignored: HashSet::new(), paused_until: now }
    }

    /// Something in the store changes by itself at `at`.
    pub(super) fn wake_by(&mut self, at: Option<Timestamp>) {
        self.wake_at = [self.wake_at, at].into_iter().flatten().min();
    }

    /// Leaves the store alone until `until`.
    pub(super) fn pause_until(&mut self, until: Timestamp) {
        self.paused_until = until;
    }

    pub(super) fn is_pausing(&self, now: Timestamp) -> bool {
        // A clock that was set back must not pause for longer than the pause was.
        self.paused_until > now && self.paused_until.since(now) <= SESSION_CHECK
    }

    /// When to act next.
    pub(super) fn next(
        &self,
        now: Timestamp,
        queue_due: Option<Timestamp>,
        sessions: bool,
    ) -> Timestamp {
        let sessions = sessions.then_some(self.check_sessions_at);
        let next = [self.wake_at, queue_due, sessions].into_iter().flatten().min();
        self.after_pause(next.unwrap_or(Timestamp::MAX), now)
    }

    /// `at`, but not within the pause.
    pub(super) fn after_pause(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        if self.is_pausing(now) { at.max(self.paused_until) } else { at }
    }
}

impl Committer {
    /// Adds the commands that time brings, and others' sessions that are to end.
    pub(super) async fn add_timed_work(
        &mut self,
        now: Timestamp,
        works: &mut Vec<Work>,
        lost: &mut Vec<SessionId>,
    ) {
        if self.timers.is_pausing(now) {
            return;
        }
        let next_check = now.after(SESSION_CHECK);
        // Also when the clock was set back: the next check is never further away than one interval.
        if self.timers.check_sessions_at <= now || self.timers.check_sessions_at > next_check {
            self.timers.check_sessions_at = next_check;
            let expired = self.sessions.expired(now);
            for (id, attempt) in &expired {
                tracing::warn!(operation.id = %id, attempt = attempt.0, "a worker was lost");
            }
            works.extend(
                expired
                    .into_iter()
                    .map(|(id, attempt)| Work::Own(id, Command::LoseLease { attempt })),
            );
        }
        let added = match self.add_shared_work(now, works, lost).await {
            Ok(()) if self.timers.wake_at.is_some_and(|at| at <= now) => {
                self.add_due(now, works).await
            }
            added => added,
        };
        if let Err(error) = added {
            if matches!(error, StoreError::Corrupt(_)) {
                // Whatever can be read goes on.
                self.timers.pause_until(now.after(SESSION_CHECK));
                tracing::error!(error = %error, "reading what is due failed");
            } else {
                self.begin_outage(&error, None, now);
            }
        }
    }

    async fn add_due(&mut self, now: Timestamp, works: &mut Vec<Work>) -> Result<(), StoreError> {
        let mut due = self.shared.store.due(now, MAX_DUE).await?;
        if let Some(replicas) = &mut self.replicas {
            replicas.holds = true;
        }
        if due.is_empty() {
            // The timer was early, what it was set for has changed since; or it was for tombstones.
            self.timers.wake_at = self.shared.store.next_wake().await?;
            if self.timers.wake_at.is_some_and(|at| at <= now) {
                works.push(Work::Forget);
                if self.replicas.is_some() {
                    // Or another replica is just seeing to it.
                    self.timers.wake_at = Some(now.after(SESSION_CHECK));
                }
            }
            return Ok(());
        }
        due.retain(|id| !self.timers.ignored.contains(id));
        if due.is_empty() {
            // They stay due; what is behind them is looked for now and then.
            self.timers.wake_at = Some(now.after(SESSION_CHECK));
        }
        for id in due {
            let chance = self.chance();
            works.push(Work::Own(id, Command::Tick { chance }));
        }
        Ok(())
    }
}
