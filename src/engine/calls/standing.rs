//! Why operations are not running, the connected workers, and the counts of each kind.
//!
//! All of it is read from what the committer has published, so it is available while the store is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Engine;
use crate::engine::commit::counts::Live;
use crate::engine::commit::recent::{Percentiles, Seen};
use crate::engine::course::CoursePoint;
use crate::engine::dispatch::queue::QueueKey;
use crate::engine::dispatch::roster::{WorkerRecord, WorkerState, Workers};
use crate::engine::health::StoreHealth;
use crate::operation::limits::{Place, RunningLimit};
use crate::operation::{
    Kind, Operation, OperationId, Scope, TenantId, Timestamp, WaitReason, Waiting, WorkerId,
};
use crate::store::shared::OtherWorker;

/// How long the store's answer about other replicas' workers is used.
const FRESH: Duration = Duration::from_secs(1);
/// The maximum number of other replicas' workers that are read.
const MOST_OTHERS: usize = 10_000;
/// The maximum number of kinds that a message names.
const MOST_NAMED: usize = 8;
/// The maximum number of characters of an error that a message repeats.
const MOST_ERROR: usize = 200;

/// The workers of other replicas, as stored.
#[derive(Clone, Debug)]
pub struct OtherWorkers(Arc<[OtherWorker]>);

/// A worker as callers see it.
#[derive(Clone, Debug)]
pub struct WorkerFigures {
    /// The worker's name for itself.
    pub worker: WorkerId,
    /// Whether the worker executes every tenant's operations.
    pub is_shared: bool,
    /// Whether it is connected to another replica.
    pub is_elsewhere: bool,
    /// The kinds that the worker serves.
    pub kinds: Arc<[Kind]>,
    /// The maximum number of attempts that the worker runs at once.
    pub places: usize,
    /// The number of attempts that the worker runs.
    pub running: usize,
    /// Its state.
    pub state: WorkerState,
    /// When the worker connected, if this replica knows.
    pub since: Option<Timestamp>,
}

/// The numbers of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindFigures {
    /// The kind.
    pub kind: Kind,
    /// Queued operations.
    pub queued: u64,
    /// Operations with a running attempt.
    pub running: u64,
    /// Workers that serve it.
    pub workers: usize,
    /// Operations submitted in the last minute.
    pub submitted: u64,
    /// Attempts started in the last minute.
    pub started: u64,
    /// Operations that ended in the last minute.
    pub ended: u64,
    /// Operations that ended as FAILED in the last minute.
    pub failed: u64,
    /// How long the latest attempts that this server started had waited since they became due.
    pub waits: Option<Percentiles>,
    /// How long the latest attempts took that this server saw end.
    pub attempts: Option<Percentiles>,
    /// Whether the kind is paused, so that none of its operations start.
    pub is_paused: bool,
}

impl OtherWorkers {
    fn of<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a OtherWorker> {
        self.0.iter().filter(move |it| it.scope == Scope::All || it.scope == *scope)
    }

    fn workers_for(&self, key: &QueueKey, here: Workers) -> Workers {
        let scope = Scope::from(key.tenant.clone());
        let serving = self.of(&scope).filter(|it| it.kinds.contains(&key.kind));
        serving.fold(here, |sum, it| Workers {
            count: sum.count + 1,
            places: sum.places + it.places,
            running: sum.running + it.running,
        })
    }
}

impl Engine {
    /// The workers of other replicas; none if this process alone has the store, or if the store does not respond.
    pub async fn other_workers(&self) -> OtherWorkers {
        let Some(store) = self.shared.store.shared() else { return OtherWorkers(Arc::from([])) };
        let now = self.shared.clock.moment();
        let known = || self.shared.others.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = Arc::from([]);
        if let Some((at, others)) = &mut *known() {
            if now.since(*at) < FRESH {
                return OtherWorkers(Arc::clone(others));
            }
            // One call reads the store; concurrent calls, and one whose read fails, get the last known figures.
            (*at, before) = (now, Arc::clone(others));
        }
        let Ok(found) = store.workers(MOST_OTHERS).await else { return OtherWorkers(before) };
        let others: Arc<[OtherWorker]> = found.into();
        *known() = Some((now, Arc::clone(&others)));
        OtherWorkers(others)
    }

    /// The number of other replicas; `None` if this process alone has the store, or if the store does not respond.
    pub async fn other_replicas(&self) -> Option<u64> {
        self.shared.store.shared()?.others().await.ok()
    }

    /// Why the operation is not running; `None` if it is not queued.
    pub fn waiting(&self, operation: &Operation, others: &OtherWorkers) -> Option<Waiting> {
        let may_start_at = operation.may_start_at()?;
        let because = |reason, message| Waiting { reason, message, until: None };
        if let StoreHealth::Failing { reason, .. } = &*self.shared.health.subscribe().borrow() {
            let message = format!("the store takes no writes: {reason}");
            return Some(because(WaitReason::StoreNotWritable, message));
        }
        if may_start_at > self.shared.clock.now() {
            return Some(until(operation, may_start_at));
        }
        let key = QueueKey::of(operation);
        if self.shared.limits().is_paused(&key.tenant, &key.kind) {
            let message = format!("the kind {} is paused", key.kind);
            return Some(because(WaitReason::Paused, message));
        }
        let workers = others.workers_for(&key, self.shared.roster().workers_for(&key));
        if workers.count == 0 {
            return Some(because(WaitReason::NoWorker, self.nobody_serves(&key, others)));
        }
        if let Some((limit, place)) = self.full(operation) {
            return Some(because(WaitReason::LimitReached, limit_reached(&limit, &place)));
        }
        if workers.running >= workers.places {
            let Workers { count, places, .. } = workers;
            let who = if count == 1 { "the worker that serves" } else { "the workers that serve" };
            let message = format!("all {places} places of {who} {} are taken", key.kind);
            return Some(because(WaitReason::WorkersBusy, message));
        }
        let message = "it starts when its turn comes".to_owned();
        Some(because(WaitReason::WaitingTurn, message))
    }

    fn nobody_serves(&self, key: &QueueKey, others: &OtherWorkers) -> String {
        let scope = Scope::from(key.tenant.clone());
        let mut kinds: BTreeSet<Kind> = self.shared.roster().serving(&scope).into_keys().collect();
        kinds.extend(others.of(&scope).flat_map(|it| it.kinds.iter().cloned()));
        let named: Vec<&str> = kinds.iter().take(MOST_NAMED).map(Kind::as_str).collect();
        let serving = match (named.as_slice(), kinds.len() > MOST_NAMED) {
            ([], _) => "no worker is connected".to_owned(),
            (named, false) => format!("serving now: {}", named.join(", ")),
            (named, true) => format!("serving now: {}, …", named.join(", ")),
        };
        format!("no worker serves {} ({serving})", key.kind)
    }

    /// The limit on running attempts that holds the operation back, as far as this replica knows.
    fn full(&self, operation: &Operation) -> Option<(RunningLimit, Place)> {
        let submission = &operation.submission;
        let limits = self.shared.limits().running(&submission.tenant, &submission.kind);
        let counts = self.shared.store.shared().is_none();
        limits.into_iter().find_map(|limit| {
            let place = limit.place(submission)?;
            let taken = match (counts, &place) {
                (true, _) => self.shared.roster().taken(&place),
                // With replicas the store counts, now and then, but not by labels.
                (false, Place { label: Some(_), .. }) => 0,
                (false, Place { tenant, kind: None, .. }) => {
                    self.shared.counts().live_of_tenant(tenant).running
                }
                (false, Place { tenant, kind: Some(kind), .. }) => {
                    let key = QueueKey { tenant: tenant.clone(), kind: kind.clone() };
                    self.shared.counts().live(&key).running
                }
            };
            (taken >= limit.most).then_some((limit, place))
        })
    }

    /// The operations of the tenant that are not done, and how many of these have a running attempt; of all kinds
    /// together, or of one.
    pub fn not_done(&self, tenant: &TenantId, kind: Option<&Kind>) -> (u64, u64) {
        let counts = self.shared.counts();
        let live = match kind {
            None => counts.live_of_tenant(tenant),
            Some(kind) => counts.live(&QueueKey { tenant: tenant.clone(), kind: kind.clone() }),
        };
        (live.all, live.running)
    }

    /// How far the operation had come at which time, oldest first, as this server saw it since it started; empty if it
    /// has not reported or is forgotten.
    pub fn course(&self, id: OperationId) -> Vec<CoursePoint> {
        self.shared.progress.course(id)
    }

    /// How long the latest commits took; `None` before the first.
    pub fn latest_commits(&self) -> Option<Percentiles> {
        self.shared.counts().commits()
    }

    /// How long the latest attempts of the operation's queue waited and took, as this server saw them.
    pub fn latest_durations(
        &self,
        operation: &Operation,
    ) -> (Option<Percentiles>, Option<Percentiles>) {
        let counts = self.shared.counts();
        let seen = counts.seen(&QueueKey::of(operation), self.shared.clock.moment());
        (seen.waits, seen.attempts)
    }

    /// The workers that execute the tenant's operations, by name.
    pub fn workers(&self, tenant: &TenantId, others: &OtherWorkers) -> Vec<WorkerFigures> {
        let scope = Scope::from(tenant.clone());
        let here = self.shared.roster().workers(&scope).into_iter().map(WorkerFigures::from);
        let elsewhere = others.of(&scope).map(|it| WorkerFigures {
            worker: it.worker.clone(),
            is_shared: it.scope == Scope::All,
            is_elsewhere: true,
            kinds: Arc::clone(&it.kinds),
            places: it.places.max(it.running),
            running: it.running,
            state: WorkerState::Serving,
            since: None,
        });
        let mut workers: Vec<WorkerFigures> = here.chain(elsewhere).collect();
        workers.sort_by(|a, b| (&a.worker, a.since).cmp(&(&b.worker, b.since)));
        workers
    }

    /// The tenant's kinds: those with operations that are not done or have ended recently, those that a worker serves,
    /// and those that are paused.
    pub fn kinds(&self, tenant: &TenantId, others: &OtherWorkers) -> Vec<KindFigures> {
        let scope = Scope::from(tenant.clone());
        let now = self.shared.clock.moment();
        let counts = self.shared.counts();
        let seen = |kind: &Kind| {
            counts.seen(&QueueKey { tenant: tenant.clone(), kind: kind.clone() }, now)
        };
        let mut figures: BTreeMap<Kind, KindFigures> = counts
            .kinds(tenant, now)
            .into_iter()
            .map(|(kind, live)| (kind.clone(), figures_of(kind.clone(), live, seen(&kind))))
            .collect();
        drop(counts);
        // The committer waits for the roster's lock, so it is held only to copy.
        let here = self.shared.roster().serving(&scope);
        let elsewhere = others.of(&scope).flat_map(|it| it.kinds.iter().map(|kind| (kind, 1)));
        for (kind, workers) in here.iter().map(|(kind, count)| (kind, *count)).chain(elsewhere) {
            let entry = figures.entry(kind.clone());
            let new = || figures_of(kind.clone(), Live::default(), Seen::default());
            entry.or_insert_with(new).workers += workers;
        }
        for kind in self.shared.limits().paused(tenant) {
            let entry = figures.entry(kind.clone());
            let new = || figures_of(kind.clone(), Live::default(), Seen::default());
            entry.or_insert_with(new).is_paused = true;
        }
        figures.into_values().collect()
    }
}

fn figures_of(kind: Kind, live: Live, seen: Seen) -> KindFigures {
    let Seen { happened, waits, attempts } = seen;
    KindFigures {
        kind,
        queued: live.all.saturating_sub(live.running),
        running: live.running,
        workers: 0,
        submitted: happened.submitted,
        started: happened.started,
        ended: happened.ended,
        failed: happened.failed,
        waits,
        attempts,
        is_paused: false,
    }
}

impl From<WorkerRecord> for WorkerFigures {
    fn from(record: WorkerRecord) -> Self {
        let WorkerRecord { worker, is_shared, kinds, places, running, state, since } = record;
        let (is_elsewhere, since) = (false, Some(since));
        Self { worker, is_shared, is_elsewhere, kinds, places, running, state, since }
    }
}

/// The operation waits for its start time, or for the end of the pause after a failed attempt.
fn until(operation: &Operation, not_before: Timestamp) -> Waiting {
    let (reason, message) = match &operation.life.last_error {
        None => (WaitReason::Scheduled, "its start time has not come".to_owned()),
        Some(error) => {
            let text: String = error.message.chars().take(MOST_ERROR).collect();
            let attempt = operation.life.attempt.0;
            let message =
                format!("attempt {attempt} failed ({}: {text}); it is retried", error.code);
            (WaitReason::BackingOff, message)
        }
    };
    Waiting { reason, message, until: Some(not_before) }
}

/// `tenant acme runs 5 operations of kind report.build with customer=7, which is its limit`.
fn limit_reached(limit: &RunningLimit, place: &Place) -> String {
    let kind = place.kind.as_ref().map(|kind| format!(" of kind {kind}")).unwrap_or_default();
    let label = place.label.as_ref().map(|(key, value)| format!(" with the label {key}={value}"));
    let (tenant, most, label) = (&place.tenant, limit.most, label.unwrap_or_default());
    format!("tenant {tenant} runs {most} operations{kind}{label}, which is its limit")
}
