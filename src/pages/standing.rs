//! Kinds and workers: queues, running operations, and places.

use async_trait::async_trait;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tokio::time::{Duration, Instant};

use super::commands::{self, Command};
use super::limit_row::LimitRow;
use super::live::{self, Live, Wake};
use super::region::Region;
use super::view::{Bar, When};
use super::visit::{Frame, Visit};
use crate::operation::{Kind, Operation, Timestamp};
use crate::service::{
    FeedStream, KindRecord, Percentiles, ServiceError, WorkerRecord, WorkerState,
};
use crate::{wire, words};

/// How often to render without a transition, because workers come and go, and recent numbers change.
const INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of a worker's kinds that are named.
const MOST_KINDS: usize = 8;
/// The maximum number of a worker's operations that are shown.
const MOST_DOING: usize = 5;

#[derive(Debug, Serialize)]
struct Kinds {
    kinds: Vec<KindRow>,
    /// How many are not shown.
    more: usize,
    commands: Vec<Command>,
}

#[derive(Debug, Serialize)]
struct KindRow {
    kind: String,
    queued: u64,
    oldest: Option<When>,
    running: u64,
    workers: usize,
    started: u64,
    ended: u64,
    failed: u64,
    /// The median, the 95th and the 99th percentile of the latest attempts.
    waited: Option<[String; 3]>,
    took: Option<[String; 3]>,
    is_paused: bool,
    /// Whether operations wait, and no worker serves the kind.
    is_stuck: bool,
    limits: Vec<LimitRow>,
}

#[derive(Debug, Serialize)]
struct Workers {
    /// The kind that the shown workers serve, if the page is for one.
    kind: String,
    workers: Vec<WorkerRow>,
    more: usize,
    commands: Vec<Command>,
}

#[derive(Debug, Serialize)]
struct WorkerRow {
    key: String,
    name: String,
    state: &'static str,
    tone: &'static str,
    kinds: Vec<String>,
    more_kinds: usize,
    running: usize,
    places: usize,
    since: Option<When>,
    is_elsewhere: bool,
    is_shared: bool,
    /// What it does now.
    doing: Vec<Doing>,
    /// How many attempts it runs that are not shown.
    more: usize,
}

/// An operation that a worker executes.
#[derive(Debug, Serialize)]
struct Doing {
    id: String,
    /// The end of the id.
    short: String,
    kind: String,
    since: When,
    progress: Option<Bar>,
}

impl Doing {
    fn of(operation: &Operation, now: Option<Timestamp>) -> Self {
        let id = operation.id().to_string();
        Self {
            short: id.get(id.len().saturating_sub(8)..).unwrap_or(&id).to_owned(),
            id,
            kind: operation.submission.kind.to_string(),
            since: When::new(operation.life.updated_at, now),
            progress: operation.life.progress.as_ref().map(Bar::of),
        }
    }
}

impl KindRow {
    fn of(record: &KindRecord, now: Option<Timestamp>) -> Self {
        let KindRecord { figures, oldest_at, limits } = record;
        Self {
            kind: figures.kind.to_string(),
            queued: figures.queued,
            oldest: oldest_at.map(|at| When::new(at, now)),
            running: figures.running,
            workers: figures.workers,
            started: figures.started,
            ended: figures.ended,
            failed: figures.failed,
            waited: figures.waits.map(percentiles),
            took: figures.attempts.map(percentiles),
            is_paused: figures.is_paused,
            is_stuck: figures.queued > 0 && figures.workers == 0,
            limits: limits.iter().map(LimitRow::of).collect(),
        }
    }
}

fn percentiles(of: Percentiles) -> [String; 3] {
    [of.p50, of.p95, of.p99].map(words::duration)
}

impl WorkerRow {
    fn of(number: usize, record: &WorkerRecord, now: Option<Timestamp>) -> Self {
        let WorkerRecord { figures: worker, operations } = record;
        let doing = operations.iter().take(MOST_DOING);
        let doing: Vec<Doing> = doing.map(|operation| Doing::of(operation, now)).collect();
        let (state, tone) = match worker.state {
            WorkerState::Serving => ("Serving", "succeeded"),
            WorkerState::Draining => ("Draining", "cancelling"),
            WorkerState::Away => ("Away", "failed"),
        };
        Self {
            // Workers may share a name; then they are in the order of their arrival.
            key: format!("{number} {}", worker.worker),
            name: worker.worker.to_string(),
            state,
            tone,
            kinds: worker.kinds.iter().take(MOST_KINDS).map(Kind::to_string).collect(),
            more_kinds: worker.kinds.len().saturating_sub(MOST_KINDS),
            running: worker.running,
            places: worker.places,
            since: worker.since.map(|at| When::new(at, now)),
            is_elsewhere: worker.is_elsewhere,
            is_shared: worker.is_shared,
            more: worker.running.saturating_sub(doing.len()),
            doing,
        }
    }
}

/// Kinds or workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Kinds,
    Workers,
}

async fn kinds(
    visit: &Visit,
    now: Option<Timestamp>,
) -> Result<(Vec<KindRow>, usize), ServiceError> {
    let (records, total) = visit.service().list_kinds(&visit.caller).await?;
    let rows: Vec<KindRow> = records.iter().map(|record| KindRow::of(record, now)).collect();
    let more = total - rows.len();
    Ok((rows, more))
}

async fn workers(
    visit: &Visit,
    now: Option<Timestamp>,
) -> Result<(Vec<WorkerRow>, usize), ServiceError> {
    let kind = wire::standing::kind(visit.query.word("kind"))?;
    let (workers, total) = visit.service().list_workers(&visit.caller, kind.as_ref()).await?;
    let rows = workers.iter().enumerate().map(|(number, it)| WorkerRow::of(number, it, now));
    let rows: Vec<WorkerRow> = rows.collect();
    let more = total - rows.len();
    Ok((rows, more))
}

/// `GET kinds` and `GET workers`.
pub(super) async fn page(visit: &Visit, what: What) -> Result<Response, ServiceError> {
    let now = Some(visit.service().now());
    match what {
        What::Kinds => {
            let (kinds, more) = kinds(visit, now).await?;
            let commands = commands::of_standing(visit, "kinds", "ListKinds");
            let view = Kinds { kinds, more, commands };
            visit.show(StatusCode::OK, "kinds.html", &visit.frame("Kinds", "kinds"), view)
        }
        What::Workers => {
            let (workers, more) = workers(visit, now).await?;
            let commands = commands::of_standing(visit, "workers", "ListWorkers");
            let kind = visit.query.word("kind").to_owned();
            let view = Workers { kind, workers, more, commands };
            visit.show(StatusCode::OK, "workers.html", &visit.frame("Workers", "workers"), view)
        }
    }
}

struct Following {
    visit: Visit,
    frame: Frame,
    what: What,
    /// Counts towards the tenant's limit on streams, and ends the stream.
    feed: FeedStream,
}

/// `GET kinds/live` and `GET workers/live`.
pub(super) fn live(visit: Visit, what: What) -> Result<Response, ServiceError> {
    let feed = live::quiet_feed(&visit)?;
    let frame = visit.frame("", "").at("");
    let (service, tenant) = (visit.service().clone(), visit.caller.tenant.clone());
    Ok(live::follow(service, tenant, Following { visit, frame, what, feed }))
}

#[async_trait]
impl Live for Following {
    async fn look(&mut self) -> Result<Vec<Region>, ServiceError> {
        let (visit, frame) = (&self.visit, &self.frame);
        let region = match self.what {
            What::Kinds => {
                let (kinds, _) = kinds(visit, None).await?;
                visit.region("rows", "kind_rows.html", frame, KindRows { kinds })?
            }
            What::Workers => {
                let (workers, _) = workers(visit, None).await?;
                visit.region("rows", "worker_rows.html", frame, WorkerRows { workers })?
            }
        };
        Ok(vec![region])
    }

    async fn wait(&mut self, due: Instant) -> Result<Wake, ServiceError> {
        live::until(due.max(Instant::now() + INTERVAL), &mut self.feed).await
    }
}

#[derive(Serialize)]
struct KindRows {
    kinds: Vec<KindRow>,
}

#[derive(Serialize)]
struct WorkerRows {
    workers: Vec<WorkerRow>,
}
