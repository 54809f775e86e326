//! One operation: its state with the reason, its transitions, its log, its input and result, and its possible changes.

use async_trait::async_trait;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep_until};

use super::children::Children;
use super::commands::{self, Command};
use super::contents::{self, Role, Shown};
use super::deliveries::{self, DeliveryRow};
use super::facts::{Facts, Trouble, troubles};
use super::live::{self, Live, Wake};
use super::pretty::without_colours;
use super::region::Region;
use super::timeline::{MAX_STEPS, Step, Timeline};
use super::view::{Row, When};
use super::visit::{Frame, Visit};
use crate::operation::{OperationId, Revision, Timestamp};
use crate::service::{
    Action, CoursePoint, Document, HistoryRequest, OperationName, Reason, ServiceError, View,
    WatchMessage, WatchOptions, WatchStream, echo,
};
use crate::store::{HistoryEntry, HistoryPosition, LogEntry};
use crate::wire::size;

/// How often to render without a transition, because time passes and log lines arrive.
const INTERVAL: Duration = Duration::from_secs(1);

/// The maximum number of pages of a history read for one rendering: each has up to 3 MiB, and few operations need two.
const MOST_READS: usize = 32;

/// The regions of the page and the templates of their parts.
const PARTS: [(&str, &str); 7] = [
    ("head", "operation_head.html"),
    ("facts", "operation_facts.html"),
    ("troubles", "operation_troubles.html"),
    ("timeline", "operation_timeline.html"),
    ("children", "operation_children.html"),
    ("contents", "operation_contents.html"),
    ("deliveries", "operation_deliveries.html"),
];

#[derive(Debug, Serialize)]
struct Whole<'a> {
    row: Row,
    facts: Facts,
    troubles: Vec<Trouble>,
    timeline: Timeline,
    steps: &'a [Step],
    /// How many earlier steps are not listed.
    left_out: usize,
    lines: Vec<Line>,
    children: Option<&'a Children>,
    contents: Vec<&'a Shown>,
    deliveries: Deliveries<'a>,
    commands: Vec<Command>,
    /// Distinguishes this page's forms from those of another rendering.
    once: String,
    /// The URL of the page's stream, while something can change.
    live: Option<String>,
}

/// Deliveries of webhooks.
#[derive(Debug, Serialize)]
struct Deliveries<'a> {
    rows: &'a [DeliveryRow],
}

/// A line of the log.
#[derive(Debug, Serialize)]
struct Line {
    key: String,
    when: When,
    attempt: u64,
    text: String,
    dropped: u64,
}

impl Line {
    fn of(entry: &LogEntry, now: Option<Timestamp>) -> Self {
        Self {
            key: entry.number.to_string(),
            when: When::new(entry.at, now),
            attempt: entry.attempt.0.into(),
            text: without_colours(&entry.text),
            dropped: entry.dropped_before,
        }
    }
}

/// The part of a history that was read.
#[derive(Debug, Default)]
struct History {
    at: HistoryPosition,
    /// The steps after the last shown transition.
    steps: Vec<Step>,
    left_out: usize,
}

impl History {
    /// Reads further, and returns the new log lines.
    async fn read(
        &mut self,
        visit: &Visit,
        name: &OperationName,
    ) -> Result<Vec<LogEntry>, ServiceError> {
        let mut lines = Vec::new();
        for _ in 0..MOST_READS {
            let request = HistoryRequest::behind(name.clone(), self.at);
            let page = visit.service().events(&visit.caller, request, size::event).await?;
            for entry in page.entries {
                self.at = entry.position();
                match entry {
                    HistoryEntry::Transition(event) => self.steps.push(Step::of(&event, None)),
                    HistoryEntry::Log(line) => lines.push(line),
                }
            }
            if page.next_page_token.is_empty() {
                break;
            }
        }
        let too_many = self.steps.len().saturating_sub(MAX_STEPS);
        self.steps.drain(..too_many);
        self.left_out += too_many;
        Ok(lines)
    }

    /// The position, for a link.
    fn position(&self) -> String {
        format!("{}.{}", self.at.revision.0, self.at.log_number)
    }
}

/// The operation in the path.
pub(super) fn named(visit: &Visit) -> Result<OperationName, ServiceError> {
    by_id(visit.places.first().map(String::as_str).unwrap_or_default())
}

/// The operation with this id.
pub(super) fn by_id(text: &str) -> Result<OperationName, ServiceError> {
    let id = OperationId::parse(text).map_err(|_| {
        let message = format!("there is no operation {}", echo(text));
        ServiceError::new(Reason::OperationNotFound, message)
    })?;
    Ok(OperationName { tenant: None, id })
}

/// The operation on its page, without the history.
struct Read {
    document: Document,
    contents: [Option<Shown>; 2],
    /// The children, for a batch.
    children: Option<Children>,
    /// Deliveries of webhooks, for callers that administer them.
    deliveries: Vec<DeliveryRow>,
    /// How far it had come at which time.
    course: Vec<CoursePoint>,
}

impl Read {
    /// Reads the operation with its result. `input` is the earlier read of its input, which never changes.
    async fn of(
        visit: &Visit,
        name: &OperationName,
        input: Option<Option<Shown>>,
        now: Option<Timestamp>,
    ) -> Result<Self, ServiceError> {
        let document = visit.service().get(&visit.caller, name, View::Full).await?;
        let (id, operation) = (name.id, &document.operation);
        let result = contents::show(visit, id, Role::Result, operation.result()).await;
        let input = match input {
            Some(input) => input,
            None => {
                let info = operation.submission.input.as_ref();
                contents::show(visit, id, Role::Input, info).await
            }
        };
        let deliveries = match visit.caller.can(Action::Administer) {
            true => deliveries::of_operation(visit, name, now).await?,
            false => Vec::new(),
        };
        let children = Children::of(visit, &document, now).await?;
        let course = visit.service().course(&document);
        Ok(Self { document, contents: [result, input], children, deliveries, course })
    }

    fn whole<'a>(
        &'a self,
        visit: &Visit,
        history: &'a History,
        lines: &[LogEntry],
        now: Option<Timestamp>,
    ) -> Whole<'a> {
        let operation = &self.document.operation;
        let id = operation.id().to_string();
        Whole {
            row: Row::of(&self.document, now),
            facts: Facts::of(operation, visit.shared().options.trace_url.as_deref(), now),
            troubles: troubles(operation),
            timeline: Timeline::of(&history.steps, &self.course, visit.service().now()),
            steps: &history.steps,
            left_out: history.left_out,
            lines: lines.iter().map(|line| Line::of(line, None)).collect(),
            children: self.children.as_ref(),
            contents: self.contents.iter().flatten().collect(),
            deliveries: Deliveries { rows: &self.deliveries },
            once: format!("{:x}", visit.service().now().micros()),
            commands: commands::of_operation(visit, &id, operation.is_done()),
            live: (!operation.is_done()).then(|| format!("{id}/live?from={}", history.position())),
        }
    }
}

/// `GET operations/ID`.
pub(super) async fn page(visit: &Visit) -> Result<Response, ServiceError> {
    let name = named(visit)?;
    // The history first: later entries come by the stream.
    let mut history = History::default();
    let lines = history.read(visit, &name).await?;
    let now = Some(visit.service().now());
    let read = Read::of(visit, &name, None, now).await?;
    let whole = read.whole(visit, &history, &lines, now);
    let title = format!("{} …{}", whole.row.kind, whole.row.short);
    visit.show(StatusCode::OK, "operation.html", &visit.frame(title, "operations"), whole)
}

struct Following {
    visit: Visit,
    frame: Frame,
    name: OperationName,
    watch: WatchStream,
    history: History,
    /// The shown part of the history.
    seen: HistoryPosition,
    /// The beginning of the input.
    input: Option<Option<Shown>>,
    is_over: bool,
}

/// `GET operations/ID/live`: the stream of that page; its log begins at a position.
pub(super) async fn live(visit: Visit) -> Result<Response, ServiceError> {
    let name = named(&visit)?;
    let from = visit.query.get("from").split_once('.');
    let from = from.and_then(|(revision, line)| Some((revision.parse().ok()?, line.parse().ok()?)));
    let (revision, log_number) = from.unwrap_or_default();
    let seen = HistoryPosition { revision: Revision(revision), log_number };
    let options =
        WatchOptions { after: None, include_progress: true, view: View::Basic, timeout: None };
    let watch = visit.service().watch(&visit.caller, &name, options).await?;
    // The stream's path is one step deeper than the page's.
    let frame = visit.frame("", "operations").at("../");
    let (service, tenant) = (visit.service().clone(), visit.caller.tenant.clone());
    let history = History::default();
    let page = Following { visit, frame, name, watch, history, seen, input: None, is_over: false };
    Ok(live::follow(service, tenant, page))
}

#[async_trait]
impl Live for Following {
    async fn look(&mut self) -> Result<Vec<Region>, ServiceError> {
        // The operation first, so that the history, which is read later, has all of its transitions.
        let read = Read::of(&self.visit, &self.name, self.input.take(), None).await?;
        let mut lines = self.history.read(&self.visit, &self.name).await?;
        lines.retain(|line| line.number > self.seen.log_number);
        let whole = read.whole(&self.visit, &self.history, &[], None);
        let mut regions = Vec::with_capacity(PARTS.len() + 2);
        for (id, template) in PARTS {
            regions.push(self.visit.region(id, template, &self.frame, &whole)?);
        }
        let steps = Steps { steps: &self.history.steps };
        regions.push(self.visit.region("steps", "operation_steps.html", &self.frame, steps)?);
        let lines = Lines { lines: lines.iter().map(|line| Line::of(line, None)).collect() };
        let log = self.visit.region("log", "operation_log.html", &self.frame, lines)?;
        regions.push(Region { is_more: true, ..log });
        self.is_over = read.document.operation.is_done();
        let [_, input] = read.contents;
        self.input = Some(input);
        Ok(regions)
    }

    async fn wait(&mut self, due: Instant) -> Result<Wake, ServiceError> {
        let again = Instant::now() + INTERVAL;
        tokio::select! {
            message = self.watch.next() => match message {
                None => return Ok(Wake::End),
                Some(Err(error)) => return Err(error),
                Some(Ok(WatchMessage::Heartbeat)) => return Ok(Wake::Silence),
                // Any message means that everything is read again.
                Some(Ok(_)) => {}
            },
            () = sleep_until(again) => {}
        }
        sleep_until(due).await;
        Ok(Wake::Changed)
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}

#[derive(Serialize)]
struct Steps<'a> {
    steps: &'a [Step],
}

#[derive(Serialize)]
struct Lines {
    lines: Vec<Line>,
}

#[cfg(test)]
mod tests;
