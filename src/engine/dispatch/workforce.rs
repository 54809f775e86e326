//! The workers of this replica and their work: their requests, timers, messages of other replicas, and the choice of
//! queued operations that start in a commit.

use std::sync::Arc;
use std::time::Duration;

use super::assign::{assign, catch_up, leave_alone};
use super::dispatcher::{Dispatcher, Outgoing};
use super::quarantine::Quarantine;
use super::queue::QueueKey;
use super::replicas::Replicas;
use super::session::Session;
use super::upkeep::{Upkeep, Wake};
use crate::engine::clock::{Moment, Now};
use crate::engine::round::draft::Draft;
use crate::engine::round::load::Loader;
use crate::engine::round::work::Work;
use crate::engine::{EngineConfig, Shared};
use crate::operation::{OperationId, SessionId};
use crate::store::StoreError;
use crate::store::shared::SessionChanges;

mod take;

pub(crate) struct Workforce {
    shared: Arc<Shared>,
    lease_duration: Duration,
    max_sessions: usize,
    dispatcher: Dispatcher,
    quarantine: Quarantine,
    upkeep: Upkeep,
    /// Set if replicas share the store.
    replicas: Option<Replicas>,
    /// Leases that have moved from or to another replica.
    moved: Vec<OperationId>,
    chance: fastrand::Rng,
}

impl Workforce {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: &EngineConfig,
        heartbeat_interval: Duration,
    ) -> Self {
        let moment = shared.clock.moment();
        let replicas = shared.store.shared().map(|_| Replicas::new(moment, config.lease_duration));
        let mut dispatcher = Dispatcher::default();
        if replicas.is_none() {
            dispatcher.places_mut().begin();
        }
        dispatcher.set_limits(&shared.limits());
        Self {
            lease_duration: config.lease_duration,
            max_sessions: config.max_sessions,
            dispatcher,
            quarantine: Quarantine::default(),
            upkeep: Upkeep::new(moment, heartbeat_interval),
            replicas,
            moved: Vec::new(),
            chance: fastrand::Rng::with_seed(config.seed),
            shared,
        }
    }

    pub(crate) fn dispatcher(&mut self) -> &mut Dispatcher {
        &mut self.dispatcher
    }

    pub(crate) fn quarantine(&mut self) -> &mut Quarantine {
        &mut self.quarantine
    }

    pub(crate) fn upkeep(&mut self) -> &mut Upkeep {
        &mut self.upkeep
    }

    /// Whether other replicas may have changed what was read or written here.
    pub(crate) fn is_shared(&self) -> bool {
        self.replicas.is_some()
    }

    /// The leases that have moved between replicas since the last call: what is known of them is out of date.
    pub(crate) fn take_moved(&mut self) -> Vec<OperationId> {
        std::mem::take(&mut self.moved)
    }

    /// Whether the session holds a lease of the operation.
    pub(crate) fn has_lease(&self, session: SessionId, id: OperationId) -> bool {
        self.dispatcher.sessions().get(session).is_some_and(|held| held.has_lease(id))
    }

    /// When to act without a request.
    pub(crate) fn next_wake(&self, (now, moment): Now) -> Wake {
        if self.dispatcher.has_turns() && !self.upkeep.is_pausing(moment) {
            return Wake::at_moment(moment);
        }
        let has_sessions = self.dispatcher.sessions().len() > 0;
        let shared = self.replicas.as_ref().map(|replicas| replicas.next(has_sessions));
        let next = self
            .upkeep
            .next(now, has_sessions)
            .or(self.dispatcher.next_due().map_or(Wake::NEVER, Wake::at_time))
            .or(shared.unwrap_or(Wake::NEVER));
        self.upkeep.after_pause(next, moment)
    }

    /// Returns attempts that polls gave up to the queue with the next commit.
    fn give_back_soon(&mut self, now: Moment) {
        if self.dispatcher.sessions_mut().take_given_up() {
            self.upkeep.check_sessions_by(now);
        }
    }

    /// Notes that the store may have work of every served lane.
    fn expect_all(&mut self) {
        if let Some(replicas) = &mut self.replicas {
            replicas.claims().expect_all(&mut self.dispatcher);
        }
    }

    /// Lets no session end before `until`, because this process could not hear any worker for a while.
    pub(crate) fn renew_all(&mut self, until: Moment, gap: Duration) {
        if self.dispatcher.sessions().len() > 0 {
            tracing::warn!(
                gap_seconds = gap.as_secs_f64(),
                "this server did not run for a while: its workers keep their leases"
            );
            self.dispatcher.sessions_mut().renew_all(until);
        }
    }

    /// Removes sessions that another replica has taken over, with their leases.
    pub(crate) fn lose_sessions(&mut self, ids: &[SessionId]) {
        for id in ids {
            tracing::info!(session.id = %id, "a worker's session has gone to another replica");
            for lease in self.dispatcher.sessions_mut().hand_over(*id) {
                self.moved.push(lease);
                self.shared.progress.clear(lease);
            }
            if let Some(replicas) = &mut self.replicas {
                replicas.rows().taken_over(*id);
            }
        }
    }

    /// Rechecks all leases, because a failed round has not looked at what other replicas did to them.
    pub(crate) fn recheck_all(&mut self) {
        if let Some(replicas) = &mut self.replicas {
            replicas.recheck_all();
        }
    }

    /// Adds work that is due. Adds other replicas' sessions without leases to `lost`.
    pub(crate) async fn add_timed_work(
        &mut self,
        now: Now,
        works: &mut Vec<Work>,
        lost: &mut Vec<SessionId>,
    ) -> Result<(), StoreError> {
        self.quarantine.release(now.1);
        if self.upkeep.is_pausing(now.1) {
            return Ok(());
        }
        self.dispatcher.release_due(now.0);
        let (sessions, quarantine) = (self.dispatcher.sessions_mut(), &self.quarantine);
        works.extend(self.upkeep.ended_leases(sessions, quarantine, now.1));
        match self.look_at_store(now, works, lost).await {
            Err(StoreError::Corrupt(error)) => {
                // What can be read is handled.
                tracing::error!(error, "reading what is due failed");
                self.upkeep.pause(now.1);
                Ok(())
            }
            looked => looked,
        }
    }

    async fn look_at_store(
        &mut self,
        now: Now,
        works: &mut Vec<Work>,
        lost: &mut Vec<SessionId>,
    ) -> Result<(), StoreError> {
        let Self { shared, dispatcher, quarantine, upkeep, replicas, chance, .. } = self;
        if let Some(replicas) = replicas {
            let jitter = 0.75 + chance.f64() / 2.0;
            let found = replicas.look(shared, (dispatcher, upkeep), now, jitter).await?;
            works.extend(found.works);
            lost.extend(found.lost);
        }
        if upkeep.is_due(now.0, now.1) {
            works.extend(upkeep.due(&shared.store, quarantine, now, || chance.f64()).await?);
            if let Some(replicas) = replicas {
                replicas.rows().hold();
            }
        }
        Ok(())
    }

    /// Quarantines an operation that cannot be read or written, and forgets its lease.
    pub(crate) fn leave_alone(&mut self, id: OperationId) {
        leave_alone(&mut self.dispatcher, &mut self.quarantine, id);
    }

    /// The messages that resumed sessions missed.
    pub(crate) async fn catch_up(
        &mut self,
        loader: &Loader,
        draft: &mut Draft,
        moment: Moment,
    ) -> Result<Vec<Outgoing>, StoreError> {
        let parts = (&mut self.dispatcher, &mut self.quarantine);
        catch_up(&self.shared, parts, loader, draft, moment).await
    }

    /// Assigns queued operations to workers with free slots.
    pub(crate) async fn dispatch(
        &mut self,
        most: usize,
        loader: &Loader,
        draft: &mut Draft,
        moment: Moment,
    ) -> Result<Vec<Outgoing>, StoreError> {
        let Self { shared, dispatcher, quarantine, upkeep, replicas, .. } = self;
        let table = shared.limits();
        let mut matches = Vec::new();
        if let (Some(replicas), Some(store)) = (&mut *replicas, shared.store.shared()) {
            let parts = (&mut *dispatcher, &mut *quarantine);
            match replicas.claim(store, most, parts, &table, draft).await {
                Ok(claimed) => matches = claimed,
                Err(StoreError::Corrupt(error)) => {
                    tracing::error!(error, "reading what waits failed");
                    upkeep.pause(moment);
                }
                Err(error) => return Err(error),
            }
        }
        // With replicas, only the store knows how many attempts run.
        let expects = |key: &QueueKey| {
            let is_limited = || !table.running(&key.tenant, &key.kind).is_empty();
            replicas.as_ref().is_some_and(|it| it.expects(key) || is_limited())
        };
        let left = most - matches.len();
        matches.extend(dispatcher.matches(left, (draft.now(), moment), quarantine, expects));
        assign(matches, (dispatcher, quarantine), loader, draft).await
    }

    /// The session changes of the draft's commit; of other replicas' sessions, the `lost` ones end.
    pub(crate) fn session_changes(
        &self,
        draft: &Draft,
        lost: Vec<SessionId>,
        moment: Moment,
    ) -> SessionChanges {
        let sessions = self.dispatcher.sessions();
        let changes = |replicas: &Replicas| replicas.changes(draft, sessions, lost, moment);
        self.replicas.as_ref().map(changes).unwrap_or_default()
    }

    /// Whether something is reserved for this replica until a commit.
    pub(crate) fn holds(&self) -> bool {
        self.replicas.as_ref().is_some_and(Replicas::holds)
    }

    /// Applies these changes, which are durable.
    pub(crate) fn sessions_committed(&mut self, changes: &SessionChanges, moment: Moment) {
        if let Some(replicas) = &mut self.replicas {
            replicas.rows().committed(changes, self.dispatcher.sessions(), moment);
        }
    }

    /// The draft is durable: notifies workers of what it did to their leases.
    pub(crate) fn committed(&mut self, draft: &Draft, messages: Vec<Outgoing>) {
        let now = self.shared.clock.moment();
        let lease_duration = self.lease_duration;
        let expires_at = |session: SessionId| now.after(session.lease(lease_duration));
        let replicas = &self.replicas;
        let is_ours = |session| replicas.as_ref().is_none_or(|replicas| replicas.is_ours(session));
        self.dispatcher.committed(draft, messages, expires_at, is_ours);
        self.give_back_soon(now);
        for transition in draft.transitions() {
            self.upkeep.wake_by(transition.after.wake_at());
        }
    }

    /// Resumes after the store was unavailable.
    pub(crate) fn after_outage(&mut self, moment: Moment) {
        if let Some(replicas) = &mut self.replicas {
            replicas.rows().after_outage(moment);
        }
        self.expect_all();
    }

    /// Ends the round. With replicas, the remaining queued operations are left to the store.
    pub(crate) fn end_round(&mut self) {
        if let (Some(replicas), Some(store)) = (&mut self.replicas, self.shared.store.shared()) {
            let table = self.shared.limits();
            for key in replicas.claims().hand_over(self.dispatcher.queue_mut()) {
                // Queues with limits are only claimed, never served from memory.
                if !table.running(&key.tenant, &key.kind).is_empty() {
                    self.dispatcher.mark(key);
                }
            }
            replicas.claims().listen(store, self.dispatcher.sessions());
        }
        self.publish();
    }

    /// Publishes the workers' states in the roster.
    fn publish(&mut self) {
        let now = self.shared.clock.now();
        let mut roster = self.shared.roster();
        for (id, session) in self.dispatcher.sessions_mut().take_unpublished() {
            roster.publish(id, session.map(Session::seen), now);
        }
        for (place, count) in self.dispatcher.places_mut().take_unpublished() {
            roster.set_taken(place, count);
        }
    }
}
