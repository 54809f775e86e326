//! The state of the server: its store, replicas, watches and limits.

use async_trait::async_trait;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tokio::time::{Duration, Instant};

use super::limit_row::LimitRow;
use super::live::{self, Live, Wake};
use super::region::Region;
use super::view::When;
use super::visit::{Frame, Visit};
use crate::operation::{Kind, Timestamp};
use crate::service::{
    Action, FeedStream, LimitUse, Limits, Percentiles, ServiceError, StoreHealth, WorkerState,
};
use crate::words;

/// How often the page is rendered.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
struct System {
    /// The problem, if the server accepts no work; may be empty.
    trouble: Option<String>,
    since: Option<When>,
    groups: Vec<Group>,
}

/// Figures that belong together.
#[derive(Debug, Serialize)]
struct Group {
    title: &'static str,
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    text: String,
    /// How much is used, and the most that may be, if it is a limit whose use adds up.
    full: Option<(u64, u64)>,
}

impl Group {
    fn of(title: &'static str, figures: Vec<(&str, Option<String>)>) -> Self {
        let figure = |(name, text): (&str, Option<String>)| {
            Some(Figure { name: name.to_owned(), text: text?, full: None })
        };
        Self { title, figures: figures.into_iter().filter_map(figure).collect() }
    }
}

async fn read(visit: &Visit, now: Option<Timestamp>) -> Result<System, ServiceError> {
    let (service, caller) = (visit.service(), &visit.caller);
    let figures = service.system(caller).await?;
    let (kinds, kind_count) = service.list_kinds(caller).await?;
    let (workers, worker_count) = service.workers(caller, None).await?;
    let number = |number: u64| Some(number.to_string());
    let count = |number: usize| Some(number.to_string());
    let sum = |of: fn(&crate::service::KindRecord) -> u64| number(kinds.iter().map(of).sum());
    let (trouble, since) = match &figures.store {
        _ if figures.is_stopping => (Some("the server is stopping".to_owned()), None),
        StoreHealth::Writable => (None, None),
        StoreHealth::Failing { reason, since } => {
            (Some(format!("the store takes no writes: {reason}")), Some(When::new(*since, now)))
        }
    };
    // The store's URL is for operators only.
    let store = caller.can(Action::Operate).then(|| visit.shared().options.store.clone());
    let replicas = figures.other_replicas.map(|others| (others + 1).to_string());
    let server = vec![
        ("Version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("Address", Some(visit.base()).filter(|base| !base.is_empty())),
        ("Store", store),
        ("Replicas", replicas.or_else(|| Some("this one alone".to_owned()))),
        ("Not done, of all tenants", figures.outstanding.and_then(number)),
        ("Commits took (50 · 95 · 99 %)", figures.commits.map(percentiles)),
    ];
    // The server's own worker of batches has thousands of places that execute nothing else.
    let is_of_batches = |kinds: &[Kind]| kinds.iter().any(Kind::is_of_batches);
    let own = workers.iter().filter(|it| is_of_batches(&it.kinds)).count();
    let workers = workers.iter().filter(|it| !is_of_batches(&it.kinds));
    let serving = workers.filter(|it| it.state == WorkerState::Serving);
    let places = serving.clone().map(|it| it.places).sum();
    let work = vec![
        ("Kinds", count(kind_count)),
        ("Queued", sum(|it| it.figures.queued)),
        ("Running", sum(|it| it.figures.running)),
        ("Ended in the last minute", sum(|it| it.figures.ended)),
        ("Failed in the last minute", sum(|it| it.figures.failed)),
        ("Workers", count(worker_count.saturating_sub(own))),
        ("Of those serving", count(serving.clone().count())),
        ("Their places", count(places)),
        ("Taken of these", count(serving.map(|it| it.running).sum())),
        ("Sessions of workers, at this server", number(figures.sessions)),
        ("Watches, waits and live pages", number(figures.watches)),
    ];
    let groups = [
        Group::of("Server", server),
        Group::of("Work", work),
        of_server(service.limits()),
        of_tenant(&figures.limits),
    ];
    let groups = groups.into_iter().filter(|group| !group.figures.is_empty()).collect();
    Ok(System { trouble, since, groups })
}

/// `1.2 ms · 3.0 ms · 8.1 ms`.
fn percentiles(of: Percentiles) -> String {
    [of.p50, of.p95, of.p99].map(words::duration).join(" · ")
}

/// The figures of the whole server.
fn of_server(limits: &Limits) -> Group {
    let bytes = |bytes: usize| Some(words::bytes(bytes as u64));
    let time = |time: Duration| Some(words::duration(time));
    let figures = vec![
        ("Largest input or result", bytes(limits.max_payload_bytes)),
        ("Within a message", bytes(limits.max_message_bytes)),
        ("Within an operation", bytes(limits.inline_payload_bytes)),
        ("Done operations are kept", time(limits.default_retention)),
        ("A worker's lease", time(limits.lease_duration)),
        ("A stream's silence", time(limits.heartbeat_interval)),
        ("A stream's age", time(limits.max_stream_age)),
    ];
    Group::of("Limits of the server", figures)
}

/// The limits of the tenant.
fn of_tenant(limits: &[LimitUse]) -> Group {
    let figures = limits.iter().map(|limit| {
        let LimitRow { name, text, used, most } = LimitRow::of(limit);
        let kind = limit.limit.kind.as_ref().map(|kind| format!(" of kind {kind}"));
        let name = format!("{name}{}", kind.unwrap_or_default());
        Figure { name, text, full: used.map(|used| (used, most)) }
    });
    Group { title: "Limits of this tenant", figures: figures.collect() }
}

/// `GET system`.
pub(super) async fn page(visit: &Visit) -> Result<Response, ServiceError> {
    let view = read(visit, Some(visit.service().now())).await?;
    visit.show(StatusCode::OK, "system.html", &visit.frame("System", "system"), view)
}

struct Following {
    visit: Visit,
    frame: Frame,
    feed: FeedStream,
}

/// `GET system/live`.
pub(super) fn live(visit: Visit) -> Result<Response, ServiceError> {
    let feed = live::quiet_feed(&visit)?;
    let frame = visit.frame("", "").at("");
    let (service, tenant) = (visit.service().clone(), visit.caller.tenant.clone());
    Ok(live::follow(service, tenant, Following { visit, frame, feed }))
}

#[async_trait]
impl Live for Following {
    async fn look(&mut self) -> Result<Vec<Region>, ServiceError> {
        let view = read(&self.visit, None).await?;
        Ok(vec![self.visit.region("figures", "system_figures.html", &self.frame, view)?])
    }

    async fn wait(&mut self, due: Instant) -> Result<Wake, ServiceError> {
        live::until(due.max(Instant::now() + INTERVAL), &mut self.feed).await
    }
}
