//! The one road of every change: take, load, decide, commit, then notify.
//!
//! One task owns all mutable state, so nothing is locked. The requests that arrived while the last commit was being
//! synced form the next one: no delay when idle, one sync for hundreds of changes under load. Nothing leaves this task
//! before its commit is durable.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::in_doubt::InDoubt;
use super::outage::Outage;
use super::planner::Planner;
use super::waiting::Waiting;
use super::write::write;
use crate::engine::clock::{Moment, Now};
use crate::engine::dispatch::quarantine::Suspects;
use crate::engine::dispatch::resumed::ResumedSessions;
use crate::engine::dispatch::upkeep::Wake;
use crate::engine::health::not_writable;
use crate::engine::request::{EngineError, Request};
use crate::engine::round::draft::Draft;
use crate::engine::round::work::{Answer, Work, touching};
use crate::engine::round::{Loss, Next, Round};
use crate::engine::{EngineConfig, Shared};
use crate::operation::{OperationId, Revision, SessionId};
use crate::store::log::Stamp;
use crate::store::{Batch, StoreError};

/// The maximum number of requests that are received at once.
const MAX_BATCH: usize = 1_024;
/// The maximum number of attempts that one commit starts.
const MAX_STARTS: usize = 512;
/// Workers send this many heartbeats within a lease duration.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// With replicas, pauses of an outage are at most a lease divided by this; after longer ones sessions would seem lost.
const PAUSES_PER_LEASE: u32 = 6;

/// A commit that did not succeed.
struct Failed {
    error: StoreError,
    /// Set if the commit may have been written all the same.
    doubt: Option<InDoubt>,
    /// The works, by number, that touch what another writer changed or locked.
    colliding: BTreeSet<usize>,
    /// The rows that it would have written, with the stored revisions.
    written: Vec<(OperationId, Option<Revision>)>,
}

/// The task's state.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    lease_duration: Duration,
    planner: Planner,
    outage: Outage,
    in_doubt: Option<InDoubt>,
    /// When the loop was last known to run.
    ran_at: Moment,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, config: EngineConfig) -> Self {
        let lease_duration = config.lease_duration;
        let longest = shared.store.shared().map(|_| lease_duration / PAUSES_PER_LEASE);
        let ran_at = shared.clock.moment();
        let planner =
            Planner::new(Arc::clone(&shared), config, lease_duration / HEARTBEATS_PER_LEASE);
        let outage = Outage::new(longest);
        Self { shared, lease_duration, planner, outage, in_doubt: None, ran_at }
    }

    /// Rebuilds from the store the state that is in memory only.
    pub(crate) async fn recover(&mut self) -> Result<(), StoreError> {
        self.planner.recover().await
    }

    /// Runs until `stop`, then finishes the requests that have arrived, and ends.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) {
        let mut received = Vec::with_capacity(MAX_BATCH);
        let mut waiting = Waiting::default();
        loop {
            if stop.is_cancelled() {
                requests.close();
            }
            if waiting.is_empty() {
                let wake = self.next_wake();
                tokio::select! {
                    biased;
                    count = requests.recv_many(&mut received, MAX_BATCH) => if count == 0 { break },
                    () = stop.cancelled() => requests.close(),
                    () = self.shared.clock.sleep_until_moment(wake.moment()) => {}
                    () = self.shared.clock.sleep_until(wake.time()) => {}
                }
            }
            // A request that has arrived meanwhile may be another tenant's, whose turn it is.
            while let Ok(request) = requests.try_recv() {
                received.push(request);
            }
            let now = self.shared.clock.moment();
            received.drain(..).for_each(|request| waiting.push(request, now));
            self.round(waiting.next_commit(now)).await;
        }
    }

    fn now(&self) -> Now {
        (self.shared.clock.now(), self.shared.clock.moment())
    }

    /// When to act without a request.
    fn next_wake(&mut self) -> Wake {
        match self.outage.next_try() {
            Some(at) => Wake::at_moment(at),
            None => {
                let now = self.now();
                self.planner.workforce().next_wake(now)
            }
        }
    }

    /// Makes one commit, if there is anything to commit; several if works must be separated.
    async fn round(&mut self, requests: Vec<Request>) {
        let now = self.now();
        self.forgive_gap(now.1);
        let (mut works, mut lost) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                Request::StoreFailed(error) if !self.outage.is_on() => {
                    self.begin_outage(&error, None);
                }
                request => self.planner.take(request, now, &mut works),
            }
        }
        if self.is_up().await
            && let Err(error) =
                self.planner.workforce().add_timed_work(now, &mut works, &mut lost).await
        {
            self.begin_outage(&error, None);
        }
        if self.outage.is_on() {
            works.into_iter().for_each(|work| work.refuse(not_writable()));
            self.planner.workforce().recheck_all();
        } else {
            self.commit_all(works, lost, now).await;
        }
        self.planner.workforce().end_round();
    }

    /// A process that was not running, or waited for its disk, could not receive heartbeats: after such a gap every
    /// session here gets one full lease duration.
    fn forgive_gap(&mut self, moment: Moment) {
        let gap = moment.since(self.ran_at);
        self.ran_at = moment;
        if gap > self.lease_duration / HEARTBEATS_PER_LEASE {
            self.planner.workforce().renew_all(moment.after(self.lease_duration), gap);
        }
    }

    /// Commits works together; separates those that lose races or cannot be written.
    async fn commit_all(&mut self, works: Vec<Work>, mut lost: Vec<SessionId>, now: Now) {
        let mut rounds = VecDeque::from(Round::in_order(works, MAX_STARTS));
        let mut suspects = Suspects::default();
        while let Some(round) = rounds.pop_front() {
            // Lost sessions are reserved for this replica only until the first of these commits, which ends them.
            let failed = match self.try_commit(&round, std::mem::take(&mut lost), now).await {
                Ok(answers) => {
                    let works = round.into_works().into_iter();
                    works.zip(answers).for_each(|(work, answer)| work.answer(answer));
                    continue;
                }
                Err(failed) => failed,
            };
            let loss = match &failed.error {
                StoreError::Conflict(ids) => {
                    self.planner.lost_race(ids, &failed.written, &mut suspects);
                    Loss::Race(failed.colliding)
                }
                StoreError::Locked(ids) => {
                    if failed.colliding.is_empty() {
                        // The locked operation is among those that would start.
                        self.planner.set_aside(ids, now.1);
                    }
                    Loss::Lock(failed.colliding)
                }
                StoreError::SessionsTaken(ids) => {
                    self.planner.workforce().lose_sessions(ids);
                    Loss::Race(BTreeSet::new())
                }
                StoreError::Corrupt(error) => {
                    tracing::error!(error, "a commit cannot be written");
                    Loss::Damage
                }
                StoreError::Unavailable(_) | StoreError::Unknown(_) | StoreError::TimedOut => {
                    let error = self.begin_outage(&failed.error, failed.doubt);
                    let all = std::iter::once(round).chain(rounds).flat_map(Round::into_works);
                    all.for_each(|work| work.refuse(error.clone()));
                    return self.planner.workforce().recheck_all();
                }
            };
            match round.lost(&loss) {
                Next::Again(round) => rounds.push_front(round),
                Next::Apart(parts) => {
                    parts.into_iter().rev().for_each(|part| rounds.push_front(part));
                }
                Next::GiveUp(round) => {
                    let is_damage = loss == Loss::Damage;
                    self.planner.give_up(round.into_works(), is_damage, &failed.written, now.1);
                }
            }
        }
    }

    /// Loads, decides, commits and settles. On failure nothing was written, unless the commit is in doubt.
    async fn try_commit(
        &mut self,
        round: &Round,
        lost: Vec<SessionId>,
        now: Now,
    ) -> Result<Vec<Answer>, Failed> {
        let mut draft = self.planner.new_draft(now);
        let planned = match self.planner.plan(round, &mut draft, now.1).await {
            Ok(planned) => planned,
            Err(error) => return Err(self.failed(error, round, &[], draft)),
        };
        let (answers, messages) = planned;
        let sessions = self.planner.workforce().session_changes(&draft, lost, now.1);
        let changes_sessions = !sessions.kept.is_empty() || !sessions.ended.is_empty();
        let mut stamp = None;
        if !draft.is_empty() || self.planner.workforce().holds() || changes_sessions {
            let batch = Batch { sessions: sessions.clone(), ..draft.batch() };
            self.shared.cache.hold(draft.touched());
            match write(&self.shared, batch).await {
                Ok(committed) => stamp = committed,
                Err(error @ StoreError::Unknown(_)) => {
                    let resumed = self.take_told(round);
                    let doubt = Some(InDoubt::new(draft, messages, resumed));
                    let (colliding, written) = (BTreeSet::new(), Vec::new());
                    return Err(Failed { error, doubt, colliding, written });
                }
                Err(error) => return Err(self.failed(error, round, &answers, draft)),
            }
            self.outage.committed();
        }
        self.take_told(round);
        self.planner.workforce().sessions_committed(&sessions, now.1);
        self.planner.committed(&draft, messages, stamp);
        Ok(answers)
    }

    /// Takes the sessions that this round notifies of what they missed, if it notifies any.
    fn take_told(&mut self, round: &Round) -> ResumedSessions {
        match round.starts() {
            0 => ResumedSessions::default(),
            _ => self.planner.workforce().dispatcher().resumed_mut().take(),
        }
    }

    fn failed(
        &mut self,
        error: StoreError,
        round: &Round,
        answers: &[Answer],
        draft: Draft,
    ) -> Failed {
        let mut colliding = BTreeSet::new();
        if let StoreError::Conflict(ids) | StoreError::Locked(ids) = &error {
            let touching = ids.iter().flat_map(|id| touching(round.works(), answers, *id));
            colliding.extend(touching);
        }
        let written = draft.written().collect();
        self.planner.abandoned(&draft);
        Failed { error, doubt: None, colliding, written }
    }

    /// Begins an outage after a failed commit: nothing more is decided until the store accepts writes again. Returns
    /// the callers' error.
    fn begin_outage(&mut self, error: &StoreError, doubt: Option<InDoubt>) -> EngineError {
        let now = self.now();
        self.shared.health.failing(error.to_string(), now);
        if !self.outage.is_on() {
            self.shared.meters.commits.outages.one();
        }
        self.outage.begin(now.1, doubt.is_some());
        self.in_doubt = doubt;
        not_writable()
    }

    /// Whether the store accepts writes, as far as is known. Tries the store when a try is due.
    async fn is_up(&mut self) -> bool {
        let Some(try_at) = self.outage.next_try() else { return true };
        if try_at > self.shared.clock.moment() {
            return false;
        }
        if let Err(error) = self.end_outage().await {
            let now = self.now();
            self.shared.health.failing(error.to_string(), now);
            self.outage.failed_again(now.1);
            return false;
        }
        self.shared.health.writable(self.shared.clock.moment());
        true
    }

    async fn end_outage(&mut self) -> Result<(), StoreError> {
        let committed = self.shared.store.settle().await?;
        if let Some(in_doubt) = self.in_doubt.take() {
            tracing::warn!(was_committed = committed.is_some(), "a commit in doubt was settled");
            self.clear_up(in_doubt, committed);
        }
        self.outage.end();
        self.planner.workforce().after_outage(self.shared.clock.moment());
        Ok(())
    }

    /// Completes or undoes a commit whose outcome has become known.
    fn clear_up(&mut self, in_doubt: InDoubt, committed: Option<Stamp>) {
        let since = self.planner.workforce().dispatcher().resumed_mut();
        let Some(stamp) = committed else {
            let draft = in_doubt.did_not_happen(since);
            return self.planner.abandoned(&draft);
        };
        let (draft, messages) = in_doubt.happened(since);
        self.planner.committed(&draft, messages, Some(stamp));
        // Another replica may have changed them since.
        draft.touched().for_each(|id| self.shared.cache.remove(id));
    }
}
