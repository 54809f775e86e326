//! Cancels, retries or deletes all operations that match a filter: first the count, then the change.
//!
//! The change covers only operations that existed at the count. A change of very many operations is made in parts, each
//! of which ends in time and offers to continue.

use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::time::{Duration, Instant};

use super::view::{Row, When};
use super::visit::Visit;
use crate::operation::OperationId;
use crate::service::{
    Action, Document, ListParameters, OperationName, Page, Reason, ServiceError, parse_filter,
};
use crate::time_text::parse_time;
use crate::wire::decode;

/// The time limit of a count, and of a part of a change.
const COUNTING: Duration = Duration::from_secs(4);
const CHANGING: Duration = Duration::from_secs(15);
/// The maximum count.
const MOST_COUNTED: usize = 100_000;
/// How many operations are read at once.
const PAGE_SIZE: i32 = 500;
/// How many operations are changed at once; they share commits.
const AT_ONCE: usize = 64;
/// How many operations a page shows.
const SHOWN: usize = 10;

/// The action on the selected operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Cancel,
    Retry,
    Delete,
}

#[derive(Debug, Serialize)]
struct Asked {
    verb: Verb,
    filter: String,
    count: usize,
    /// Whether there may be more than counted.
    is_least: bool,
    before: String,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Changed {
    verb: Verb,
    filter: String,
    before: String,
    done: usize,
    refused: Vec<(String, usize)>,
    /// Where to continue.
    next: Option<String>,
}

impl Verb {
    fn of(text: &str) -> Result<Self, ServiceError> {
        match text {
            "cancel" => Ok(Self::Cancel),
            "retry" => Ok(Self::Retry),
            "delete" => Ok(Self::Delete),
            _ => Err(ServiceError::invalid_field("action", "must be cancel, retry or delete")),
        }
    }

    /// A filter for the operations that the action applies to.
    const fn also(self) -> &'static str {
        match self {
            Self::Cancel => "(state=QUEUED OR state=RUNNING)",
            Self::Retry | Self::Delete => "done=true",
        }
    }

    const fn action(self) -> Action {
        match self {
            Self::Cancel | Self::Delete => Action::Change,
            Self::Retry => Action::Submit,
        }
    }
}

/// The operations that existed at that time, oldest first.
async fn list(
    visit: &Visit,
    (verb, filter, before): (Verb, &str, &str),
    token: &str,
) -> Result<Page<Document>, ServiceError> {
    let (also, time) = (verb.also(), format!("create_time<=\"{before}\""));
    // Checked by itself, so that no parenthesis in it can widen the selection.
    parse_filter(filter)?;
    let filter = match filter {
        "" => format!("{also} AND {time}"),
        filter => format!("({filter}) AND {also} AND {time}"),
    };
    let parameters = ListParameters {
        page_size: PAGE_SIZE,
        page_token: token,
        filter: &filter,
        order_by: "create_time",
        ..ListParameters::default()
    };
    visit.list(parameters).await
}

/// `GET bulk`: the count, and a question whether to change.
pub(super) async fn ask(visit: &Visit) -> Result<Response, ServiceError> {
    let verb = Verb::of(visit.query.get("action"))?;
    visit.caller.may(verb.action())?;
    let filter = visit.query.word("filter");
    let now = visit.service().now();
    let before = When::new(now, None).iso;
    let (until, mut token) = (Instant::now() + COUNTING, String::new());
    let (mut count, mut rows) = (0, Vec::new());
    let is_least = loop {
        let page = list(visit, (verb, filter, &before), &token).await?;
        let shown = page.entries.iter().take(SHOWN.saturating_sub(rows.len()));
        rows.extend(shown.map(|document| Row::of(document, Some(now))));
        count += page.entries.len();
        token = page.next_page_token;
        if token.is_empty() || count >= MOST_COUNTED || Instant::now() >= until {
            break !token.is_empty();
        }
    };
    let asked = Asked { verb, filter: filter.to_owned(), count, is_least, before, rows };
    visit.show(StatusCode::OK, "bulk.html", &visit.frame("Change many", "operations"), asked)
}

/// `POST bulk`: the change, or as much of it as the time allows.
pub(super) async fn change(visit: &Visit) -> Result<Response, ServiceError> {
    let verb = Verb::of(visit.form.get("action"))?;
    visit.caller.may(verb.action())?;
    let (filter, before) = (visit.form.word("filter"), visit.form.word("before"));
    parse_time(before).map_err(|rule| ServiceError::invalid_field("before", rule.to_string()))?;
    let (until, mut token) = (Instant::now() + CHANGING, visit.form.get("page").to_owned());
    let (mut done, mut refused) = (0, BTreeMap::<String, usize>::new());
    let next = loop {
        let page = list(visit, (verb, filter, before), &token).await?;
        let ids = page.entries.iter().map(|document| document.operation.id());
        let ids: Vec<OperationId> = ids.collect();
        let changes = stream::iter(ids).map(|id| change_one(visit, (verb, before), id));
        let mut changes = std::pin::pin!(changes.buffer_unordered(AT_ONCE));
        while let Some(changed) = changes.next().await {
            match changed {
                Ok(()) => done += 1,
                // Continuing would not help.
                Err(error) if error.reason == Reason::Unavailable => return Err(error),
                Err(error) if error.reason == Reason::ResourceExhausted => return Err(error),
                Err(error) => *refused.entry(error.reason.title().to_owned()).or_default() += 1,
            }
        }
        token = page.next_page_token;
        if token.is_empty() || Instant::now() >= until {
            break Some(token).filter(|token| !token.is_empty());
        }
    };
    let (filter, before) = (filter.to_owned(), before.to_owned());
    let refused = refused.into_iter().collect();
    let changed = Changed { verb, filter, before, done, refused, next };
    visit.show(StatusCode::OK, "bulk_done.html", &visit.frame("Changed", "operations"), changed)
}

async fn change_one(
    visit: &Visit,
    (verb, before): (Verb, &str),
    id: OperationId,
) -> Result<(), ServiceError> {
    let (service, caller, name) =
        (visit.service(), &visit.caller, OperationName { tenant: None, id });
    match verb {
        Verb::Cancel => service.cancel(caller, &name, String::new()).await.map(drop),
        Verb::Retry => {
            // A form that is sent again must not submit again.
            let key = decode::idempotency_key("before", &format!("pages:{id}:{before}"))?;
            service.retry(caller, &name, key, None).await.map(drop)
        }
        Verb::Delete => service.delete(caller, &name).await,
    }
}
