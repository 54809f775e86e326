//! The list of operations that match a filter, page by page, newest first by default.

use async_trait::async_trait;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep_until};

use super::commands::{self, Command};
use super::fields::encode;
use super::live::{self, Live, Wake};
use super::problem::status;
use super::region::Region;
use super::view::Row;
use super::visit::{Frame, Visit};
use crate::service::{
    Document, FeedMessage, FeedStart, FeedStream, ListParameters, ListRequest, Page, ServiceError,
    View, Violations, parse_filter,
};
use crate::wire::size;

/// The number of operations on a page.
const PAGE_SIZE: i32 = 50;
/// How often a page with waiting operations is rendered, because the reasons change without transitions of theirs.
const WAITING_INTERVAL: Duration = Duration::from_secs(2);

/// Common filters, with their names.
const VIEWS: [(&str, &str); 5] = [
    ("All", ""),
    ("Queued", "state=QUEUED"),
    ("Running", "state=RUNNING OR state=CANCELLING"),
    ("Failed", "state=FAILED"),
    ("Done", "done=true"),
];
/// Example filters.
const EXAMPLES: [&str; 8] = [
    "state=QUEUED",
    "state=RUNNING",
    "state=FAILED",
    "done=true",
    "kind=\"report.*\"",
    "labels.team=\"maps\"",
    "create_time>=\"2026-01-31T00:00:00Z\"",
    "attempt>1 AND done=false",
];

/// Fields and values of filters, for the script's completion.
const WORDS: &str = "state=QUEUED state=RUNNING state=CANCELLING state=SUCCEEDED state=PARTIALLY_SUCCEEDED \
                     state=FAILED state=CANCELLED kind= labels. create_time>= update_time>= start_time>= end_time>= \
                     priority>= attempt> done=true done=false parent= AND OR NOT";

/// The orders by their names in queries: the first is the default. With their names for people, and for the API.
const ORDERS: [Order; 3] = [
    Order { name: "newest", text: "Newest first", order_by: "create_time desc" },
    Order { name: "oldest", text: "Oldest first", order_by: "create_time" },
    Order { name: "ended", text: "Last ended first", order_by: "end_time desc" },
];

#[derive(Debug, Serialize)]
struct Order {
    name: &'static str,
    text: &'static str,
    #[serde(skip)]
    order_by: &'static str,
}

#[derive(Debug, Serialize)]
struct List {
    filter: String,
    /// The filter, encoded for a query.
    query: String,
    order: String,
    orders: &'static [Order],
    views: Vec<(&'static str, &'static str, bool)>,
    examples: [&'static str; 8],
    words: &'static str,
    rows: Vec<Row>,
    /// The URL of the next page.
    next: Option<String>,
    is_first: bool,
    /// The URL of the page's stream.
    live: Option<String>,
    /// The filter's error.
    wrong: Option<String>,
    commands: Vec<Command>,
}

/// The parameters of the list.
#[derive(Clone, Debug)]
struct Asked {
    filter: String,
    order: String,
    token: String,
}

impl Asked {
    fn of(visit: &Visit) -> Self {
        let order = Some(visit.query.word("order")).filter(|order| !order.is_empty());
        Self {
            filter: visit.query.word("filter").to_owned(),
            order: order.unwrap_or(ORDERS[0].name).to_owned(),
            token: visit.query.get("page").to_owned(),
        }
    }

    fn request(&self, visit: &Visit) -> Result<ListRequest, ServiceError> {
        let mut found = Violations::default();
        let order = ORDERS.iter().find(|order| order.name == self.order);
        if order.is_none() {
            let names = ORDERS.each_ref().map(|order| order.name).join(", ");
            found.note("order", format!("must be one of {names}"));
        }
        let parameters = ListParameters {
            page_size: PAGE_SIZE,
            page_token: &self.token,
            filter: &self.filter,
            order_by: order.map_or("", |order| order.order_by),
            ..ListParameters::default()
        };
        let request = parameters.read(&visit.caller, &mut found);
        found.settle(request)
    }

    /// The query of the same list, without its page.
    fn query(&self) -> String {
        let filter = match self.filter.as_str() {
            "" => String::new(),
            filter => format!("filter={}", encode(filter)),
        };
        let order = match self.order == ORDERS[0].name {
            true => String::new(),
            false => format!("order={}", encode(&self.order)),
        };
        let parts = [filter, order].into_iter().filter(|it| !it.is_empty());
        parts.collect::<Vec<_>>().join("&")
    }

    async fn list(&self, visit: &Visit) -> Result<Page<Document>, ServiceError> {
        let request = self.request(visit)?;
        visit.service().list(&visit.caller, request, View::Basic, size::operation).await
    }
}

/// `GET operations`.
pub(super) async fn page(visit: &Visit) -> Result<Response, ServiceError> {
    let asked = Asked::of(visit);
    let now = visit.service().now();
    let (page, status, wrong) = match asked.list(visit).await {
        Ok(page) => (page, StatusCode::OK, None),
        // The page shows violations beside the filter, where they can be corrected.
        Err(error) if !error.violations.is_empty() => {
            let rules =
                error.violations.iter().map(|it| format!("{} {}", it.field, it.description));
            let rules: Vec<String> = rules.collect();
            let empty = Page { entries: Vec::new(), next_page_token: String::new() };
            (empty, status(error.reason), Some(rules.join("; ")))
        }
        Err(error) => return Err(error),
    };
    let query = asked.query();
    let with = |rest: String| match query.as_str() {
        "" => rest,
        query => format!("{query}&{rest}"),
    };
    let is_first = asked.token.is_empty();
    let token = format!("page={}", encode(&asked.token));
    let live = if is_first { query.clone() } else { with(token) };
    let next = Some(&page.next_page_token).filter(|token| !token.is_empty());
    let list = List {
        next: next.map(|token| format!("operations?{}", with(format!("page={}", encode(token))))),
        rows: page.entries.iter().map(|it| Row::of(it, Some(now))).collect(),
        views: VIEWS.map(|(name, filter)| (name, filter, filter == asked.filter)).to_vec(),
        examples: EXAMPLES,
        words: WORDS,
        is_first,
        live: wrong.is_none().then(|| format!("operations/live?{live}")),
        wrong,
        query,
        order: asked.order,
        orders: &ORDERS,
        commands: commands::of_list(visit, &asked.filter),
        filter: asked.filter,
    };
    visit.show(status, "operations.html", &visit.frame("Operations", "operations"), list)
}

/// A list that is rendered again when a matching operation changes.
struct Following {
    visit: Visit,
    frame: Frame,
    asked: Asked,
    feed: FeedStream,
    is_changed: bool,
    has_waiting: bool,
}

/// `GET operations/live`: the stream of a page of the list.
pub(super) fn live(visit: Visit) -> Result<Response, ServiceError> {
    let asked = Asked::of(&visit);
    asked.request(&visit)?;
    let filter = parse_filter(&asked.filter)?;
    let feed = visit.service().watch_all(&visit.caller, filter, true, FeedStart::Now, None)?;
    // The page is one step further up than its stream.
    let frame = visit.frame("", "operations").at("");
    let (service, tenant) = (visit.service().clone(), visit.caller.tenant.clone());
    let page = Following { visit, frame, asked, feed, is_changed: false, has_waiting: false };
    Ok(live::follow(service, tenant, page))
}

#[async_trait]
impl Live for Following {
    async fn look(&mut self) -> Result<Vec<Region>, ServiceError> {
        // What has changed is seen now, whatever it was; what changes from here on causes another rendering.
        self.feed.skip().await?;
        self.is_changed = false;
        let page = self.asked.list(&self.visit).await?;
        self.has_waiting = page.entries.iter().any(|it| it.waiting.is_some());
        let rows = page.entries.iter().map(|it| Row::of(it, None)).collect();
        Ok(vec![self.visit.region("rows", "rows.html", &self.frame, Rows { rows })?])
    }

    async fn wait(&mut self, due: Instant) -> Result<Wake, ServiceError> {
        let again = Instant::now() + WAITING_INTERVAL;
        if !self.is_changed {
            tokio::select! {
                () = sleep_until(again), if self.has_waiting => {}
                message = self.feed.next() => match message {
                    None => return Ok(Wake::End),
                    Some(Err(error)) => return Err(error),
                    Some(Ok(FeedMessage::Heartbeat)) => return Ok(Wake::Silence),
                    Some(Ok(FeedMessage::Item(_))) => self.is_changed = true,
                },
            }
        }
        // Nothing of what else changes until then is needed.
        sleep_until(due).await;
        Ok(Wake::Changed)
    }
}

#[derive(Serialize)]
struct Rows {
    rows: Vec<Row>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_a_filter() {
        for filter in VIEWS.iter().map(|(_, filter)| filter).chain(&EXAMPLES) {
            parse_filter(filter).unwrap();
        }
        let whole = WORDS.split(' ').filter(|word| word.contains('=') && !word.ends_with('='));
        for word in whole {
            parse_filter(word).unwrap();
        }
    }
}
