//! The one road of every change: gather, load, decide, commit, then answer, publish and dispatch.
//!
//! One task owns the queue and the sessions, so they are not locked. Whatever has
//! come in while the last commit was being synced forms the next one: no delay when idle, one sync
//! for hundreds of changes under load. Nothing leaves this task before its commit is durable.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dispatch::{Message, Resumed};
use super::draft::{Draft, Outcome};
use super::health::not_writable;
use super::outage::{Doubt, Outage};
use super::queue::{DirtyQueues, Queue, QueueKey};
use super::replicas::Replicas;
use super::request::{Applied, Apply, EngineError, Request, Submitted};
use super::sessions::Sessions;
use super::timers::Timers;
use super::work::{Answer, Reply, Work, one_commit};
use super::{EngineConfig, Shared};
use crate::operation::log::LogBook;
use crate::operation::{NewOperation, Operation, OperationId, Rejection, SessionId, Timestamp};
use crate::store::{Batch, LogAppend, Lookup, Place, StoreError};

/// Most requests of one commit.
const MAX_BATCH: usize = 1_024;
/// How often a batch that lost a race is decided again.
const MAX_RACES: usize = 16;
/// For so many commits after a known idempotency key has come, keys are looked up before they are used.
const CAREFUL: u32 = 64;
/// How many unfinished operations are read at a time at start.
const RECOVERY_PAGE: usize = 10_000;

/// A commit that did not succeed.
struct Failed {
    error: StoreError,
    /// If it may have happened all the same.
    doubt: Option<Doubt>,
}

/// The task's state.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) config: EngineConfig,
    pub(super) queue: Queue,
    pub(super) sessions: Sessions,
    pub(super) timers: Timers,
    pub(super) dirty: DirtyQueues,
    /// Sessions that were resumed and are to be told what they missed.
    pub(super) resumed: Vec<Resumed>,
    /// While the store takes no writes.
    pub(super) outage: Option<Outage>,
    /// Failed commits since the last that succeeded.
    pub(super) failures: u32,
    /// Where others share the store.
    pub(super) replicas: Option<Replicas>,
    pub(super) log_books: HashMap<OperationId, LogBook>,
    /// For how many more commits idempotency keys are looked up.
    careful: u32,
    chance: fastrand::Rng,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, config: EngineConfig) -> Self {
        let replicas = shared.store.shared().map(|_| {
            // Others may share it.
            Replicas::new(shared.clock.now(), config.lease_duration)
        });
        Self {
            replicas,
            queue: Queue::default(),
            sessions: Sessions::default(),
            timers: Timers::new(shared.clock.now()),
            dirty: DirtyQueues::default(),
            resumed: Vec::new(),
            outage: None,
            failures: 0,
            log_books: HashMap::new(),
            careful: 0,
            chance: fastrand::Rng::with_seed(config.seed),
            shared,
            config,
        }
    }

    /// Rebuilds from the store what is kept in memory only. Leases have one lease duration for their
    /// workers to come back.
    pub(super) async fn recover(&mut self) -> Result<(), StoreError> {
        if let Some(store) = self.shared.store.shared() {
            let counts = store.outstanding().await?;
            self.set_counts(counts);
            return Ok(());
        }
        let now = self.shared.clock.now();
        let mut after = None;
        loop {
            let page = self.shared.store.unfinished(after, RECOVERY_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for operation in page {
                let (id, tenant) = (operation.id, operation.tenant);
                let key = QueueKey { tenant: tenant.clone(), kind: operation.kind };
                self.shared.backlog.add(key.clone());
                match operation.place {
                    Place::Queued { not_before } => {
                        self.queue.add(key, operation.priority, id, not_before, now);
                    }
                    Place::Leased { session, worker, attempt } => {
                        // The store is one process's: a worker within an earlier one is gone and
                        // cannot come back.
                        let grace = match session.is_in_process() {
                            true => Duration::ZERO,
                            false => self.config.lease_duration,
                        };
                        let expires_at = now.after(grace);
                        self.sessions.restore(session, tenant, worker, (id, attempt), expires_at);
                    }
                }
            }
        }
        self.timers.wake_by(self.shared.store.next_wake().await?);
        Ok(())
    }

    /// Works until `stop`, then finishes what has come in, and ends.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) {
        let mut received = Vec::with_capacity(MAX_BATCH);
        let mut waiting = VecDeque::with_capacity(MAX_BATCH);
        loop {
            if waiting.is_empty() {
                let wake = self.next_wake();
                tokio::select! {
                    biased;
                    count = requests.recv_many(&mut received, MAX_BATCH) => if count == 0 { break },
                    () = stop.cancelled() => requests.close(),
                    () = self.shared.clock.sleep_until(wake) => {}
                }
                waiting.extend(received.drain(..));
            }
            self.round(one_commit(&mut waiting)).await;
        }
    }

    /// When there is something to do without a request.
    fn next_wake(&self) -> Timestamp {
        let now = self.shared.clock.now();
        if let Some(outage) = &self.outage {
            return outage.next_try(now);
        }
        if !self.dirty.is_empty() && !self.timers.is_pausing(now) {
            return now;
        }
        let next = self.timers.next(now, self.queue.next_due(), self.sessions.len() > 0);
        let shared = self.replicas.as_ref().map(|replicas| replicas.next(&self.sessions));
        // In a pause neither is looked at.
        next.min(shared.map_or(Timestamp::MAX, |at| self.timers.after_pause(at, now)))
    }

    /// One commit, if there is anything to commit.
    async fn round(&mut self, requests: Vec<Request>) {
        let now = self.shared.clock.now();
        let (mut works, mut lost) = (Vec::new(), Vec::new());
        let mut replies: Vec<Reply> = Vec::new();
        for request in requests {
            self.take(request, now, &mut works, &mut replies);
        }
        if self.is_up(now).await {
            self.add_timed_work(now, &mut works, &mut lost).await;
        }
        if self.outage.is_some() {
            replies.into_iter().for_each(|reply| reply.send(Err(not_writable())));
            self.look_again();
            self.hand_queue_over();
            return;
        }
        for key in self.queue.release_due(now) {
            self.dirty.mark(key);
        }
        let mut outcome = Err(EngineError::Unavailable("the store is contended".to_owned()));
        for race in 1..=MAX_RACES {
            // What was found to be lost is kept from others until the first of these only.
            match self.try_commit(&works, std::mem::take(&mut lost), now).await {
                Ok(answers) => {
                    outcome = Ok(answers);
                    break;
                }
                Err(Failed { error: StoreError::Conflict(ids), .. }) => {
                    if race == MAX_RACES {
                        tracing::error!(operations = ?ids, "a commit lost every race");
                    }
                    for id in ids {
                        self.shared.cache.remove(id);
                        self.log_books.remove(&id);
                    }
                    self.careful = CAREFUL;
                }
                Err(Failed { error: StoreError::SessionsTaken(ids), .. }) => {
                    self.lose_sessions(&ids);
                }
                Err(Failed { error, doubt }) => {
                    outcome = Err(self.begin_outage(&error, doubt, now));
                    break;
                }
            }
        }
        match outcome {
            Ok(answers) => {
                replies.into_iter().zip(answers).for_each(|(reply, answer)| reply.send(Ok(answer)));
            }
            Err(error) => {
                replies.into_iter().for_each(|reply| reply.send(Err(error.clone())));
                self.look_again();
            }
        }
        self.hand_queue_over();
    }

    /// Loads, decides, commits and settles. Nothing has happened when it fails, unless there is doubt.
    async fn try_commit(
        &mut self,
        works: &[Work],
        lost: Vec<SessionId>,
        now: Timestamp,
    ) -> Result<Vec<Answer>, Failed> {
        let mut draft = Draft::new(now, &self.config);
        let decided = self.decide_all(works, &mut draft).await;
        let (answers, messages) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                self.abandon(draft);
                return Err(Failed { error, doubt: None });
            }
        };
        let sessions = self.session_changes(&draft, lost);
        let holds = self.replicas.as_ref().is_some_and(|replicas| replicas.holds);
        let changes_sessions = !sessions.kept.is_empty() || !sessions.ended.is_empty();
        if !draft.is_empty() || holds || changes_sessions {
            let batch = Batch { sessions: sessions.clone(), ..draft.batch() };
            self.shared.cache.hold(draft.touched());
            if let Err(error) = self.commit(batch).await {
                let doubt = if matches!(error, StoreError::Unknown(_)) {
                    Some(self.doubt(draft, messages))
                } else {
                    self.abandon(draft);
                    None
                };
                return Err(Failed { error, doubt });
            }
            self.failures = 0;
        }
        if let Some(replicas) = &mut self.replicas {
            replicas.committed(&sessions, now);
        }
        self.settle(draft, messages, false);
        Ok(answers)
    }

    /// Waits for the store, and says so when that takes long.
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut commit = self.shared.store.commit(batch);
        let committed = tokio::select! {
            biased;
            committed = &mut commit => return committed,
            () = self.stalled() => commit.await,
        };
        // It answers again. What else it may answer begins an outage.
        if matches!(committed, Ok(()) | Err(StoreError::Conflict(_) | StoreError::SessionsTaken(_)))
        {
            self.shared.health.writable(self.shared.clock.now());
        }
        committed
    }

    async fn decide_all(
        &mut self,
        works: &[Work],
        draft: &mut Draft,
    ) -> Result<(Vec<Answer>, Vec<Message>), StoreError> {
        self.load(works, draft).await?;
        let mut answers = Vec::with_capacity(works.len());
        let mut added = Added::default();
        for work in works {
            answers.push(match work {
                Work::Submit(items) => Answer::Submit(
                    items.iter().map(|new| self.submit(new, &mut added, draft)).collect(),
                ),
                Work::Apply(apply) => Answer::Apply(self.apply(apply, draft).await?),
                Work::Own(id, command) => {
                    if draft.damaged.contains(&Lookup::Id(*id)) {
                        self.leave_alone(*id);
                    } else if let Some(operation) = draft.current(*id) {
                        let board = &self.shared.progress;
                        // A rejection means that something else came first, which is fine.
                        let _ = draft.apply(&operation, command, None, board, &mut self.queue);
                    }
                    Answer::Own
                }
                Work::Look(id) => {
                    self.look(*id, draft);
                    Answer::Own
                }
                Work::Forget => {
                    draft.forget();
                    Answer::Own
                }
            });
        }
        self.mark_queued(draft);
        let mut messages = self.catch_up(draft).await?;
        messages.extend(self.dispatch(draft).await?);
        Ok((answers, messages))
    }

    /// Makes the draft know every operation that the works name. By an idempotency key hardly any
    /// submission names one: keys are taken for new until the store says otherwise, by a conflict, or
    /// until there is no room for what is new.
    async fn load(&mut self, works: &[Work], draft: &mut Draft) -> Result<(), StoreError> {
        let room = self.config.max_outstanding.saturating_sub(self.shared.backlog.all());
        let is_careful = self.careful > 0 || room < submissions(works);
        self.careful = self.careful.saturating_sub(1);
        let mut lookups = Vec::new();
        works.iter().for_each(|work| self.doubt_cached(work));
        for work in works {
            match work {
                Work::Submit(items) => {
                    // Where a kind has its own limit, whether there is room is known too late.
                    let asked = items.iter().filter(|new| is_careful || new.capacity.is_some());
                    lookups.extend(asked.filter_map(|new| {
                        let key = new.idempotency_key.clone()?;
                        Some(Lookup::Key(new.tenant.clone(), key))
                    }));
                }
                Work::Apply(apply) => self.know(apply.id, draft, &mut lookups),
                Work::Own(id, _) | Work::Look(id) => self.know(*id, draft, &mut lookups),
                Work::Forget => {}
            }
        }
        self.look_up(lookups, draft).await
    }

    /// Takes the operation from the cache, or notes that it must be looked up.
    pub(super) fn know(&mut self, id: OperationId, draft: &mut Draft, lookups: &mut Vec<Lookup>) {
        if draft.knows(id) {
            return;
        }
        match self.shared.cache.get(id) {
            Some(operation) => draft.learn(operation),
            None => lookups.push(Lookup::Id(id)),
        }
    }

    pub(super) async fn look_up(
        &mut self,
        lookups: Vec<Lookup>,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        if lookups.is_empty() {
            return Ok(());
        }
        match self.shared.store.load(lookups.clone()).await {
            // Only those that are damaged are to suffer from it.
            Err(StoreError::Corrupt(_)) => self.look_up_each(lookups, draft).await,
            found => {
                let found = found?.into_iter().flatten();
                found.for_each(|operation| draft.learn(Arc::new(operation)));
                Ok(())
            }
        }
    }

    async fn look_up_each(
        &mut self,
        lookups: Vec<Lookup>,
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        for lookup in lookups {
            match self.shared.store.load(vec![lookup.clone()]).await {
                Err(StoreError::Corrupt(error)) => {
                    tracing::error!(lookup = ?lookup, error, "what is stored is damaged");
                    draft.damaged.insert(lookup);
                }
                found => {
                    let found = found?.into_iter().flatten();
                    found.for_each(|operation| draft.learn(Arc::new(operation)));
                }
            }
        }
        Ok(())
    }

    /// An operation that is damaged is left alone: time changes it no more, and nobody holds it.
    fn leave_alone(&mut self, id: OperationId) {
        self.timers.ignored.insert(id);
        self.sessions.forget(id);
    }

    fn submit(
        &mut self,
        new: &NewOperation,
        added: &mut Added,
        draft: &mut Draft,
    ) -> Result<Submitted, EngineError> {
        // A known key is answered whatever the load: it is no new work.
        if let Some(existing) = draft.existing(new) {
            return existing.map(|operation| Submitted { operation, existing: true });
        }
        let key = new.idempotency_key.clone();
        let lookup = key.map(|key| Lookup::Key(new.tenant.clone(), key));
        if lookup.is_some_and(|lookup| draft.damaged.contains(&lookup)) {
            return Err(EngineError::damaged());
        }
        let limit = self.config.max_outstanding;
        let key = QueueKey { tenant: new.tenant.clone(), kind: new.kind.clone() };
        let added_of_kind = added.of.entry(key.clone()).or_default();
        self.shared.backlog.check(limit, &key, new.capacity, (added.all, *added_of_kind))?;
        added.all += 1;
        *added_of_kind += 1;
        let id = self.shared.ids.operation(draft.now);
        let operation = draft.submit(new, id, &mut self.queue);
        Ok(Submitted { operation, existing: false })
    }

    async fn apply(
        &mut self,
        apply: &Apply,
        draft: &mut Draft,
    ) -> Result<Result<Applied, EngineError>, StoreError> {
        if draft.damaged.contains(&Lookup::Id(apply.id)) {
            return Ok(Err(EngineError::damaged()));
        }
        let Some(operation) =
            draft.current(apply.id).filter(|found| found.submission.tenant == apply.tenant)
        else {
            return Ok(Err(EngineError::NotFound));
        };
        if let Err(rejection) = check_holder(&operation, apply) {
            return Ok(Err(rejection.into()));
        }
        let board = &self.shared.progress;
        let outcome =
            draft.apply(&operation, &apply.command, apply.result.as_ref(), board, &mut self.queue);
        if outcome.is_ok() && !apply.lines.is_empty() {
            self.append_log(&operation, &apply.lines, draft).await?;
        }
        Ok(outcome.map(|Outcome { operation, changed }| Applied { operation, changed }))
    }

    async fn append_log(
        &mut self,
        operation: &Operation,
        lines: &[String],
        draft: &mut Draft,
    ) -> Result<(), StoreError> {
        let id = operation.id();
        if !self.log_books.contains_key(&id) {
            self.log_books.insert(id, self.shared.store.log_book(id).await?);
        }
        let appended = self.log_books.entry(id).or_default().append(lines.iter().cloned());
        draft.add_log(LogAppend {
            id,
            revision: operation.life.revision,
            attempt: operation.life.attempt,
            worker: operation.life.worker.clone(),
            at: draft.now,
            lines: appended.lines,
            keep_from: appended.keep_from,
        });
        Ok(())
    }

    /// Undoes a draft whose commit did not happen.
    pub(super) fn abandon(&mut self, mut draft: Draft) {
        self.sessions.settle(std::mem::take(&mut draft.reserved));
        for id in draft.touched() {
            self.shared.cache.remove(id);
        }
        for id in draft.logged() {
            self.log_books.remove(&id);
        }
        for key in draft.undo(&mut self.queue) {
            self.dirty.mark(key);
        }
    }

    /// A random number from 0 to 1.
    pub(super) fn chance(&mut self) -> f64 {
        self.chance.f64()
    }

    /// An operation has come to be, or to its end.
    pub(super) fn count(&mut self, submitted: bool, operation: &Operation) {
        let key = QueueKey::of(operation);
        if submitted {
            self.shared.backlog.add(key.clone());
        }
        if operation.is_done() {
            self.shared.backlog.remove(key);
            self.log_books.remove(&operation.id());
        }
    }
}

/// The submissions that a draft has taken in.
#[derive(Debug, Default)]
struct Added {
    all: u64,
    of: HashMap<QueueKey, u64>,
}

/// How many submissions there are.
fn submissions(works: &[Work]) -> u64 {
    let submissions = works.iter().map(|work| match work {
        Work::Submit(items) => items.len() as u64,
        _ => 0,
    });
    submissions.sum()
}

/// A report must come from the session that holds the lease, while there is a lease.
fn check_holder(operation: &Operation, apply: &Apply) -> Result<(), Rejection> {
    match (apply.session, operation.life.state.lease()) {
        (Some(session), Some(lease)) if lease.session != session => {
            Err(Rejection::StaleAttempt { reported: operation.life.attempt.0 })
        }
        _ => Ok(()),
    }
}
