//! Plans one commit: decides the requests of a round in a draft, and applies the draft's outcome.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::counts::Added;
use super::logged::log;
use super::recovery::recover;
use crate::engine::clock::{Moment, Now};
use crate::engine::dispatch::dispatcher::Outgoing;
use crate::engine::dispatch::quarantine::Suspects;
use crate::engine::dispatch::workforce::Workforce;
use crate::engine::request::{Applied, Apply, EngineError, Request};
use crate::engine::round::Round;
use crate::engine::round::draft::{Draft, Outcome};
use crate::engine::round::load::Loader;
use crate::engine::round::log_books::LogBooks;
use crate::engine::round::transition::Transition;
use crate::engine::round::work::{Answer, Work};
use crate::engine::{EngineConfig, Shared};
use crate::metrics::KindRecorder;
use crate::operation::{Command, Operation, OperationId, Revision};
use crate::store::log::Stamp;
use crate::store::{Lookup, StoreError};

mod submit;

pub(super) struct Planner {
    shared: Arc<Shared>,
    config: EngineConfig,
    loader: Loader,
    log_books: LogBooks,
    recorder: KindRecorder,
    workforce: Workforce,
}

impl Planner {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: EngineConfig,
        heartbeat_interval: Duration,
    ) -> Self {
        Self {
            loader: Loader::new(Arc::clone(&shared)),
            log_books: LogBooks::default(),
            recorder: KindRecorder::new(Arc::clone(&shared.meters)),
            workforce: Workforce::new(Arc::clone(&shared), &config, heartbeat_interval),
            shared,
            config,
        }
    }

    /// The workers and their queues.
    pub(super) fn workforce(&mut self) -> &mut Workforce {
        &mut self.workforce
    }

    /// Handles at once the requests that need no commit; turns the rest into works.
    pub(super) fn take(&mut self, request: Request, now: Now, works: &mut Vec<Work>) {
        match request {
            Request::Counts(counts) => self.shared.counts().set(counts),
            request => self.workforce.take(request, now, works),
        }
    }

    /// Rebuilds from the store the state that is in memory only.
    pub(super) async fn recover(&mut self) -> Result<(), StoreError> {
        let Self { shared, config, workforce, .. } = self;
        match shared.store.shared() {
            Some(store) => {
                let counts = store.outstanding().await?;
                shared.counts().set(counts);
            }
            None => {
                recover(shared, config, workforce.dispatcher()).await?;
                workforce.upkeep().wake_by(shared.store.next_wake(shared.clock.now()).await?);
            }
        }
        Ok(())
    }

    pub(super) fn new_draft(&self, now: Now) -> Draft {
        Draft::new(now.0, &self.config)
    }

    /// Decides the works of a round, and which attempts start beside them.
    pub(super) async fn plan(
        &mut self,
        round: &Round,
        draft: &mut Draft,
        moment: Moment,
    ) -> Result<(Vec<Answer>, Vec<Outgoing>), StoreError> {
        for id in self.workforce.take_moved() {
            self.log_books.close(id);
        }
        let works = round.works();
        works.iter().for_each(|work| self.drop_uncertain(work));
        let room = self.shared.counts().room();
        let loading = self.loader.works(works, room, draft);
        let (loaded, books) = tokio::join!(loading, self.log_books.load(works, &self.shared.store));
        loaded.and(books)?;
        let mut added = Added::default();
        let answers = works.iter().map(|work| self.decide(work, &mut added, draft)).collect();
        self.workforce.dispatcher().follow(draft.transitions(), draft.now());
        let mut messages = Vec::new();
        if round.starts() > 0 {
            messages = self.workforce.catch_up(&self.loader, draft, moment).await?;
            messages.extend(
                self.workforce.dispatch(round.starts(), &self.loader, draft, moment).await?,
            );
        }
        Ok((answers, messages))
    }

    /// Removes an operation from the cache that other replicas may have changed. A stale change would be refused and
    /// retried, but "nothing to change" is decided without the store. Operations leased to a session here are kept,
    /// because other replicas report their changes.
    fn drop_uncertain(&mut self, work: &Work) {
        if !self.workforce.is_shared() {
            return;
        }
        let is_held = match work {
            Work::Apply { apply, .. } => {
                let reporter = apply.command.reporter();
                reporter.is_some_and(|it| self.workforce.has_lease(it.session, apply.id))
            }
            _ => false,
        };
        if let Some(id) = work.id().filter(|_| !is_held) {
            self.shared.cache.remove(id);
        }
        if let Work::Submit { items, .. } = work {
            items.iter().filter_map(|new| new.parent).for_each(|it| self.shared.cache.remove(it));
        }
        if let Work::Recheck(id) = work {
            self.log_books.close(*id);
        }
    }

    fn decide(&mut self, work: &Work, added: &mut Added, draft: &mut Draft) -> Answer {
        match work {
            Work::Submit { items, mode, .. } => {
                Answer::Submit(self.submit_all(items, *mode, added, draft))
            }
            Work::Apply { apply, .. } => Answer::Apply(self.apply(apply, draft)),
            Work::Own(id, _) | Work::Recheck(id) if draft.is_damaged(&Lookup::Id(*id)) => {
                self.workforce.leave_alone(*id);
                Answer::None
            }
            Work::Own(id, command) => {
                if let Some(operation) = draft.current(*id) {
                    // A rejection means that another change came first, which is fine.
                    let _ = self.apply_to(&operation, command, None, draft);
                }
                Answer::None
            }
            Work::Recheck(id) => {
                if self.workforce.dispatcher().recheck(*id, draft) {
                    self.shared.progress.clear(*id);
                }
                Answer::None
            }
            Work::Forget => {
                draft.forget();
                Answer::None
            }
        }
    }

    fn apply(&mut self, apply: &Apply, draft: &mut Draft) -> Result<Applied, EngineError> {
        if draft.is_damaged(&Lookup::Id(apply.id))
            || self.workforce.quarantine().is_unwritable(apply.id)
        {
            return Err(EngineError::damaged());
        }
        let operation = draft
            .current(apply.id)
            .filter(|found| apply.scope.contains(&found.submission.tenant))
            .ok_or(EngineError::NotFound)?;
        let outcome = self.apply_to(&operation, &apply.command, apply.result.as_ref(), draft)?;
        if !apply.lines.is_empty() {
            let append = self.log_books.append(&operation, &apply.lines, draft.now());
            draft.add_log(append.ok_or_else(EngineError::damaged)?);
        }
        let Outcome { operation, changed } = outcome;
        Ok(Applied { operation, changed })
    }

    fn apply_to(
        &self,
        operation: &Arc<Operation>,
        command: &Command,
        result: Option<&Bytes>,
        draft: &mut Draft,
    ) -> Result<Outcome, EngineError> {
        let progress = self.shared.progress.get(operation.id(), operation.life.attempt);
        draft.apply(operation, command, result, progress.as_ref())
    }

    /// The draft is durable: updates the state in memory, and publishes what was committed.
    pub(super) fn committed(
        &mut self,
        draft: &Draft,
        messages: Vec<Outgoing>,
        stamp: Option<Stamp>,
    ) {
        self.workforce.committed(draft, messages);
        let follows = self.shared.cache.commits(draft.replaced());
        let moment = self.shared.clock.moment();
        for transition in draft.transitions() {
            log(transition);
            let Transition { before, after, event_type, .. } = transition;
            self.recorder.record(before.as_deref(), after, *event_type);
            self.shared.spans.transition(before.as_deref(), after);
            self.shared.counts().committed(transition, moment);
            self.shared.children.committed(transition);
            let had_lease =
                transition.before.as_ref().is_some_and(|it| it.life.state.lease().is_some());
            if had_lease && transition.after.life.state.lease().is_none() {
                self.log_books.close(transition.after.id());
            }
            self.shared.progress.clear(transition.after.id());
        }
        for (operation, input, result) in draft.changed() {
            // With replicas the cache of a done operation is not read, because others may have changed it.
            if operation.is_done() && self.workforce.is_shared() {
                self.shared.cache.remove(operation.id());
            } else {
                self.shared.cache.put(operation, input, result);
            }
        }
        self.shared.cache.follow(draft.transitions(), stamp);
        for operation in draft.removed() {
            self.shared.cache.remove(operation.id());
            self.shared.children.changed(operation);
            self.config.discard_objects(operation);
        }
        let hub = &self.shared.hub;
        for Transition { after, event_type, .. } in draft.transitions() {
            hub.transition(after, *event_type);
        }
        draft.removed().iter().for_each(|operation| hub.gone(operation.id()));
        if let Some(stamp) = stamp {
            hub.chain().committed(stamp, follows.as_deref(), || draft.logged(stamp));
        }
    }

    /// The draft was not written: undoes it.
    pub(super) fn abandoned(&mut self, draft: &Draft) {
        self.workforce.dispatcher().abandoned(draft);
        draft.touched().for_each(|id| self.shared.cache.remove(id));
        draft.with_lines().for_each(|id| self.log_books.close(id));
    }

    /// Another writer changed these operations first. The revisions that the draft expected show which are damaged: the
    /// contents of those rows contradict their columns.
    pub(super) fn lost_race(
        &mut self,
        ids: &[OperationId],
        written: &[(OperationId, Option<Revision>)],
        suspects: &mut Suspects,
    ) {
        self.loader.precheck_keys();
        for id in ids {
            self.shared.cache.remove(*id);
            self.log_books.close(*id);
            let known = written.iter().find(|(written, _)| written == id);
            if let Some((_, Some(revision))) = known
                && suspects.lost(*id, *revision)
            {
                self.workforce.quarantine().add_unwritable(*id);
                self.workforce.leave_alone(*id);
            }
        }
    }

    /// Gives up works (or, if there are none, the attempts that were to start), which cannot be committed even alone.
    pub(super) fn give_up(
        &mut self,
        works: Vec<Work>,
        is_damage: bool,
        written: &[(OperationId, Option<Revision>)],
        moment: Moment,
    ) {
        let mut culprits: Vec<OperationId> = works.iter().filter_map(Work::own_id).collect();
        if works.is_empty() {
            culprits.extend(written.iter().map(|(id, _)| *id));
            if written.is_empty() {
                self.workforce.upkeep().pause(moment);
            }
        }
        match is_damage {
            true => culprits.into_iter().for_each(|id| self.workforce.leave_alone(id)),
            false => self.set_aside(&culprits, moment),
        }
        let error = match is_damage {
            true => EngineError::damaged(),
            false => EngineError::Unavailable("other writers were always first with it".to_owned()),
        };
        works.into_iter().for_each(|work| work.refuse(error.clone()));
    }

    /// Makes timers and dispatch skip these operations for a while.
    pub(super) fn set_aside(&mut self, ids: &[OperationId], moment: Moment) {
        ids.iter().for_each(|id| self.workforce.quarantine().set_aside(*id, moment));
    }
}
