//! Deliveries of webhooks: sent ones, waiting ones, and given-up ones that can be sent again.

use async_trait::async_trait;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tokio::time::{Duration, Instant};

use super::commands::{self, Command};
use super::fields::encode;
use super::live::{self, Live, Wake};
use super::region::Region;
use super::view::When;
use super::visit::{Frame, Visit};
use super::{routes, to};
use crate::operation::Timestamp;
use crate::proto::v1;
use crate::service::webhooks::DeliveryRecord;
use crate::service::{FeedStream, OperationName, Reason, ServiceError, Violations};
use crate::store::deliveries::DeliveryState;
use crate::wire::webhooks;

/// The number of deliveries on a page.
const PAGE_SIZE: i32 = 50;
/// The number of deliveries on an operation's page.
const OF_OPERATION: i32 = 20;
/// How often a live page reads the deliveries.
const INTERVAL: Duration = Duration::from_millis(500);

/// States with their names for people.
const VIEWS: [(&str, &str); 4] =
    [("All", ""), ("Waiting", "PENDING"), ("Delivered", "DELIVERED"), ("Dead letters", "DEAD")];

/// The deliveries that a page shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The page's path, relative to the path of all pages.
    path: String,
    webhook: String,
    operation: String,
    state: String,
    token: String,
}

/// A list of deliveries with its links.
#[derive(Debug, Serialize)]
pub(super) struct Deliveries {
    webhook: String,
    operation: String,
    rows: Vec<DeliveryRow>,
    /// Name, link, and whether it is the present view.
    views: Vec<(&'static str, String, bool)>,
    /// The dead letters on the page, to be sent again together.
    dead: Vec<String>,
    /// This page's path, relative to the path of all pages.
    here: String,
    next: Option<String>,
    first: Option<String>,
    live: String,
    commands: Vec<Command>,
}

/// A delivery as a row.
#[derive(Debug, Serialize)]
pub(super) struct DeliveryRow {
    id: String,
    webhook: String,
    url: String,
    operation: String,
    /// The end of the operation's id.
    short: String,
    event: String,
    state: DeliveryBadge,
    attempts: u32,
    created: When,
    tried: Option<When>,
    /// When it is sent next.
    next: Option<When>,
    /// The status of the receiver's last response.
    status: Option<u16>,
    error: String,
    is_dead: bool,
}

/// A delivery's state, as templates show states.
#[derive(Debug, Serialize)]
struct DeliveryBadge {
    text: &'static str,
    tone: &'static str,
}

impl DeliveryRow {
    fn of(record: &DeliveryRecord, now: Option<Timestamp>) -> Self {
        let DeliveryRecord { id, webhook, state, due_at, record, .. } = record;
        let (text, tone) = match state {
            DeliveryState::Pending => ("Waiting", "queued"),
            DeliveryState::Delivered => ("Delivered", "succeeded"),
            DeliveryState::Dead => ("Given up", "failed"),
        };
        let when = |micros| When::new(Timestamp::from_micros(micros), now);
        let end = record.operation.len().saturating_sub(8);
        Self {
            id: id.clone(),
            webhook: webhook.clone(),
            url: record.url.clone(),
            operation: record.operation.clone(),
            short: record.operation.get(end..).unwrap_or_default().to_owned(),
            event: record.event.clone(),
            state: DeliveryBadge { text, tone },
            attempts: record.attempts,
            created: when(record.created_at),
            tried: record.tried_at.map(when),
            next: (*state == DeliveryState::Pending).then(|| When::new(*due_at, now)),
            status: record.status,
            error: record.error.clone(),
            is_dead: *state == DeliveryState::Dead,
        }
    }
}

impl Asked {
    fn of(visit: &Visit) -> Self {
        let word = |name| visit.query.word(name).to_owned();
        Self {
            path: "deliveries".to_owned(),
            webhook: word("webhook"),
            operation: word("operation"),
            state: word("state"),
            token: word("page"),
        }
    }

    /// The deliveries of a webhook, on its own page.
    pub(super) fn of_webhook(visit: &Visit, webhook: &str) -> Self {
        let path = format!("webhooks/{}", encode(webhook));
        let operation = String::new();
        Self { path, webhook: webhook.to_owned(), operation, ..Self::of(visit) }
    }

    async fn list(
        &self,
        visit: &Visit,
        page_size: i32,
    ) -> Result<(Vec<DeliveryRecord>, String), ServiceError> {
        let request = v1::ListDeliveriesRequest {
            state: self.state.clone(),
            page_size,
            page_token: self.token.clone(),
            webhook_id: self.webhook.clone(),
            operation: match self.operation.as_str() {
                "" => String::new(),
                id => format!("operations/{id}"),
            },
            ..v1::ListDeliveriesRequest::default()
        };
        let mut found = Violations::default();
        let listing = webhooks::listing(request, &visit.caller, &mut found);
        visit.service().list_deliveries(&visit.caller, found.settle(listing)?).await
    }

    /// The link to the same list in another state, or to another page of it.
    fn link(&self, path: &str, state: &str, token: &str) -> String {
        // The path of a webhook's own page names the webhook.
        let webhook = if self.path == "deliveries" { self.webhook.as_str() } else { "" };
        let fields = [
            ("webhook", webhook),
            ("operation", &self.operation),
            ("state", state),
            ("page", token),
        ];
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let fields: Vec<String> =
            fields.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        match fields.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{}", fields.join("&")),
        }
    }

    fn here(&self) -> String {
        self.link(&self.path, &self.state, &self.token)
    }

    pub(super) async fn read(self, visit: &Visit) -> Result<Deliveries, ServiceError> {
        let now = Some(visit.service().now());
        let (records, token) = self.list(visit, PAGE_SIZE).await?;
        let link = |state: &str, token: &str| self.link(&self.path, state, token);
        let rows: Vec<DeliveryRow> = records.iter().map(|it| DeliveryRow::of(it, now)).collect();
        Ok(Deliveries {
            dead: rows.iter().filter(|row| row.is_dead).map(|row| row.id.clone()).collect(),
            views: VIEWS.map(|(name, state)| (name, link(state, ""), state == self.state)).to_vec(),
            here: self.here(),
            next: (!token.is_empty()).then(|| link(&self.state, &token)),
            first: (!self.token.is_empty()).then(|| link(&self.state, "")),
            live: self.link(&format!("{}/live", self.path), &self.state, &self.token),
            commands: commands::of_deliveries(visit, &self.webhook, &self.operation, &self.state),
            rows,
            webhook: self.webhook,
            operation: self.operation,
        })
    }
}

/// The latest deliveries of an operation, for its own page.
pub(super) async fn of_operation(
    visit: &Visit,
    name: &OperationName,
    now: Option<Timestamp>,
) -> Result<Vec<DeliveryRow>, ServiceError> {
    let asked = Asked { operation: name.id.to_string(), ..Asked::default() };
    let records = match asked.list(visit, OF_OPERATION).await {
        Ok((records, _)) => records,
        // An embedder's server may have no webhooks.
        Err(error) if error.reason == Reason::Unsupported => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(records.iter().map(|record| DeliveryRow::of(record, now)).collect())
}

/// `GET deliveries`.
pub(super) async fn page(visit: &Visit) -> Result<Response, ServiceError> {
    let list = Asked::of(visit).read(visit).await?;
    let view = Listed { list };
    visit.show(StatusCode::OK, "deliveries.html", &visit.frame("Deliveries", "webhooks"), view)
}

/// `POST deliveries/redeliver`: sends the deliveries in the form again, and redirects back.
pub(super) async fn redeliver(visit: &Visit) -> Result<Response, ServiceError> {
    for id in visit.form.all("id") {
        visit.service().redeliver(&visit.caller, None, id).await?;
    }
    let here = visit.form.get("here");
    Ok(to(&format!("../{}", if routes::shown(here).is_some() { here } else { "deliveries" })))
}

#[derive(Serialize)]
struct Listed {
    list: Deliveries,
}

struct Following {
    visit: Visit,
    frame: Frame,
    asked: Asked,
    feed: FeedStream,
}

/// `GET deliveries/live`: the stream of a list of deliveries.
pub(super) fn live(visit: Visit) -> Result<Response, ServiceError> {
    let asked = Asked::of(&visit);
    follow(visit, asked, "")
}

/// The stream of a list; `root` leads from its page to the path of all pages.
pub(super) fn follow(visit: Visit, asked: Asked, root: &str) -> Result<Response, ServiceError> {
    let feed = live::quiet_feed(&visit)?;
    let frame = visit.frame("", "").at(root);
    let (service, tenant) = (visit.service().clone(), visit.caller.tenant.clone());
    Ok(live::follow(service, tenant, Following { visit, frame, asked, feed }))
}

#[async_trait]
impl Live for Following {
    async fn look(&mut self) -> Result<Vec<Region>, ServiceError> {
        let (records, _) = self.asked.list(&self.visit, PAGE_SIZE).await?;
        let rows = records.iter().map(|record| DeliveryRow::of(record, None)).collect();
        let view = LiveRows { list: Rows { here: self.asked.here(), rows } };
        Ok(vec![self.visit.region("rows", "delivery_rows.html", &self.frame, view)?])
    }

    async fn wait(&mut self, due: Instant) -> Result<Wake, ServiceError> {
        live::until(due.max(Instant::now() + INTERVAL), &mut self.feed).await
    }
}

#[derive(Serialize)]
struct LiveRows {
    list: Rows,
}

#[derive(Serialize)]
struct Rows {
    here: String,
    rows: Vec<DeliveryRow>,
}
