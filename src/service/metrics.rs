//! Metrics: the permission to read them, and the snapshot behind a scrape.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::{Action, Caller, Service, ServiceError, access, code_name, parse_filter};
use crate::engine::{Figures, Moment, ServerLimit, StoreHealth, WorkerState};
use crate::metrics::{Calls, Meters, Metric, OTHER, Process, Scrape};
use crate::operation::limits::LimitName;
use crate::operation::{Kind, Scope, TenantId, Timestamp};
use crate::spans::Spans;
use crate::store::{ListOrder, ListQuery, OrderBy};

/// The names in metrics of requests that match no route of the table.
pub const OTHER_ROUTES: [&str; 4] = ["relay", "dialect", "grpc-web", "pages"];
/// The rpcs of health and reflection, which need no credentials.
const UNASKED: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// The number of queues whose oldest operation is looked up.
const MOST_QUEUES: usize = 64;
/// How long the result is used, and how long the lookup may take.
const FRESH: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);

/// When the oldest queued operations were submitted, by kind, and when that was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Oldest(Arc<Mutex<Option<Found>>>);

type Found = (Moment, BTreeMap<Kind, Timestamp>);

/// The server's counters: at most `most_kinds` kinds by name, and every rpc, route and limit.
pub fn meters(most_kinds: usize) -> Arc<Meters> {
    let routes = access::routes().chain(OTHER_ROUTES);
    let limits = ServerLimit::ALL.map(ServerLimit::name).into_iter();
    let limits = limits.chain(LimitName::ALL.map(LimitName::as_str)).collect();
    Meters::new(most_kinds, Calls::new(access::rpcs().chain(UNASKED), routes), limits)
}

impl Service {
    /// The server's counters.
    pub fn meters(&self) -> &Arc<Meters> {
        self.engine.meters()
    }

    /// Makes spans of calls and attempts.
    pub fn spans(&self) -> &Spans {
        self.engine.spans()
    }

    /// The metrics of the whole server, for operators.
    pub async fn metrics(&self, caller: &Caller) -> Result<Scrape, ServiceError> {
        caller.may(Action::Operate)?;
        Ok(self.scrape().await)
    }

    /// The same for the metrics listener, which requires no credentials.
    pub async fn scrape(&self) -> Scrape {
        let mut scrape = Scrape::default();
        let figures = self.engine.figures();
        self.add_kinds(&figures, &mut scrape).await;
        self.add_store(&mut scrape).await;
        self.add_calls(&mut scrape);
        for (state, name) in [
            (WorkerState::Serving, "serving"),
            (WorkerState::Draining, "draining"),
            (WorkerState::Away, "away"),
        ] {
            let count = figures.sessions.get(&state).copied().unwrap_or_default();
            scrape.count(Metric::Sessions, &[name], count as u64);
        }
        scrape.count(Metric::Places, &[], figures.places as u64);
        scrape.count(Metric::Build, &[env!("CARGO_PKG_VERSION")], 1);
        add_process(&mut scrape).await;
        scrape
    }

    async fn add_kinds(&self, figures: &Figures, scrape: &mut Scrape) {
        let kinds = &self.meters().kinds;
        let mut depths: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (kind, (queued, running)) in &figures.kinds {
            let sum = depths.entry(kinds.name(kind)).or_default();
            *sum = (sum.0 + queued, sum.1 + running);
        }
        let known = kinds.all();
        for (name, meters) in &known {
            let name = name.as_str();
            let depth = depths.entry(if name == OTHER { OTHER } else { name }).or_default();
            let is_used = name != OTHER || *depth != (0, 0) || meters.took.read().count() > 0;
            if !is_used && meters.transitions().all(|(_, count)| count == 0) {
                depths.remove(name);
                continue;
            }
            scrape.count(Metric::Submissions, &[name], meters.submissions.get());
            scrape.count(Metric::LeasesLost, &[name], meters.leases_lost.get());
            for (state, count) in meters.transitions() {
                scrape.count(Metric::Transitions, &[name, state.as_str()], count);
            }
            scrape.spread(Metric::QueueDuration, &[name], meters.waited.read());
            scrape.spread(Metric::AttemptDuration, &[name], meters.attempts.read());
            scrape.spread(Metric::OperationDuration, &[name], meters.took.read());
        }
        let now = self.engine.clock().now();
        let mut ages: BTreeMap<&str, Duration> = BTreeMap::new();
        let oldest = self.oldest().await;
        for (kind, at) in &oldest {
            let age = ages.entry(kinds.name(kind)).or_default();
            *age = (*age).max(now.since(*at));
        }
        for (name, (queued, running)) in depths {
            scrape.count(Metric::Queued, &[name], queued);
            scrape.count(Metric::Running, &[name], running);
            match (queued, ages.get(name)) {
                (0, _) => scrape.number(Metric::OldestQueued, &[name], 0.0),
                (_, Some(age)) => scrape.number(Metric::OldestQueued, &[name], age.as_secs_f64()),
                // A queue that was not read has an unknown oldest operation.
                (_, None) => {}
            }
        }
    }

    /// When the oldest queued operations were submitted, by kind: of the longest queues, if the store responds in time.
    async fn oldest(&self) -> BTreeMap<Kind, Timestamp> {
        let clock = self.engine.clock();
        let mut known = self.oldest.0.lock().await;
        let now = clock.moment();
        if let Some((_, found)) = known.as_ref().filter(|(at, _)| now.since(*at) < FRESH) {
            return found.clone();
        }
        let mut found: BTreeMap<Kind, Timestamp> = BTreeMap::new();
        let looking = async {
            for (tenant, kind) in self.engine.longest_queues(MOST_QUEUES) {
                if let Ok(Some(at)) = self.oldest_of(tenant, &kind).await {
                    let oldest = found.entry(kind).or_insert(at);
                    *oldest = (*oldest).min(at);
                }
            }
        };
        tokio::select! {
            () = looking => {}
            () = clock.sleep_until_moment(now.after(PATIENCE)) => {}
        }
        *known = Some((clock.moment(), found.clone()));
        found
    }

    /// When the oldest operation of a queue was submitted.
    async fn oldest_of(
        &self,
        tenant: TenantId,
        kind: &Kind,
    ) -> Result<Option<Timestamp>, ServiceError> {
        let query = ListQuery {
            scope: Scope::from(tenant),
            filter: parse_filter(&format!("state=QUEUED AND kind=\"{kind}\""))?,
            order: ListOrder { by: OrderBy::CreateTime, descending: false },
            after: None,
            limit: 1,
        };
        let oldest = self.engine.list(query).await?;
        Ok(oldest.first().map(|operation| operation.submission.created_at))
    }

    async fn add_store(&self, scrape: &mut Scrape) {
        let meters = self.meters();
        let commits = &meters.commits;
        scrape.spread(Metric::CommitSize, &[], commits.sizes.read());
        scrape.spread(Metric::CommitDuration, &[], commits.durations.read());
        for (error, count) in commits.errors.all() {
            scrape.count(Metric::StoreErrors, &[error], count);
        }
        scrape.count(Metric::StoreOutages, &[], commits.outages.get());
        let is_writable = *self.engine.store_health().borrow() == StoreHealth::Writable;
        scrape.count(Metric::StoreWritable, &[], is_writable.into());
        let mut size = None;
        for file in meters.files().into_iter().flatten() {
            // A log that does not exist yet has no size.
            let bytes = tokio::fs::metadata(file).await.map_or(0, |it| it.len());
            *size.get_or_insert(0) += bytes;
        }
        if let Some(size) = size {
            scrape.count(Metric::StoreSize, &[], size);
        }
    }

    fn add_calls(&self, scrape: &mut Scrape) {
        let meters = self.meters();
        for (method, codes, durations) in meters.calls.of_rpcs() {
            for (code, count) in codes {
                let code = i32::try_from(code).map_or("UNKNOWN", code_name);
                scrape.count(Metric::RpcCalls, &[method, code], count);
            }
            scrape.spread(Metric::RpcDuration, &[method], durations);
        }
        for (route, statuses, durations) in meters.calls.of_routes() {
            for (status, count) in statuses {
                scrape.count(Metric::HttpRequests, &[route, &status.to_string()], count);
            }
            scrape.spread(Metric::HttpDuration, &[route], durations);
        }
        for (limit, count) in meters.refusals.all() {
            scrape.count(Metric::Refusals, &[limit], count);
        }
        let webhooks = &meters.webhooks;
        for (outcome, count) in webhooks.outcomes.all() {
            scrape.count(Metric::Deliveries, &[outcome], count);
        }
        for (metric, count) in [
            (Metric::PendingDeliveries, webhooks.pending()),
            (Metric::WebhookGaps, webhooks.gaps.get()),
            (Metric::OpenRpcs, meters.calls.open_rpcs.get()),
            (Metric::OpenRequests, meters.calls.open_requests.get()),
            (Metric::Watchers, meters.watchers.get()),
            (Metric::Feeds, meters.feeds.get()),
            (Metric::Connections, meters.connections.get()),
            (Metric::Accepted, meters.accepted.get()),
            (Metric::TurnedAway, meters.turned_away.get()),
        ] {
            scrape.count(metric, &[], count);
        }
    }
}

async fn add_process(scrape: &mut Scrape) {
    let Ok(process) = tokio::task::spawn_blocking(Process::read).await else { return };
    scrape.number(Metric::ProcessCpu, &[], process.cpu_seconds);
    for (metric, count) in [
        (Metric::ProcessResident, process.resident_bytes),
        (Metric::ProcessVirtual, process.virtual_bytes),
        (Metric::ProcessThreads, process.threads),
        (Metric::ProcessFiles, process.open_files),
        (Metric::ProcessMostFiles, process.most_files),
    ] {
        if let Some(count) = count {
            scrape.count(metric, &[], count);
        }
    }
    if let Some(started) = process.started_seconds {
        scrape.number(Metric::ProcessStarted, &[], started);
    }
}
