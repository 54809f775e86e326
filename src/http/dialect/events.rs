//! An operation's transitions in a dialect's words, as a stream of events.
//!
//! Uses the same watch as `http::events`: it makes no event before the client reads, sends heartbeats during silence,
//! and ends after a while, to be resumed.

use std::sync::Arc;

use axum::response::IntoResponse as _;
use futures_util::stream;
use http::StatusCode;

use super::super::call::Call;
use super::super::documents::Answer;
use super::super::event_stream::{self, HEARTBEAT};
use super::super::problem::Problem;
use super::subject::bare;
use super::visit::{self, Asked, Visit, unwritable};
use crate::config::dialect::Mount;
use crate::dialect::{Document as Head, Event, Events, PROBLEM, Subject, TemplateError};
use crate::operation::{EventType, Revision};
use crate::service::{
    Document, OperationName, Service, ServiceError, View, WatchMessage, WatchOptions, WatchStream,
};

/// Responds with the operation's events. `head` is the response without its body.
pub(super) async fn answer(
    call: &Call,
    visit: &Visit<'_>,
    events: Arc<Events>,
    head: Head,
    document: Document,
) -> Answer {
    let in_query = in_query(visit, &events)?;
    let in_header = event_stream::in_header(&call.parts.headers)?;
    // If the dialect's ids are not numbers, the header has no meaning.
    let seen = in_query.or_else(|| in_header?.parse().ok());
    let name = OperationName { tenant: None, id: document.operation.id() };
    let options = WatchOptions {
        after: Some(events.after(seen)),
        include_progress: true,
        view: View::Result,
        timeout: None,
    };
    let watch = call.service().watch(&call.caller, &name, options).await?;
    let teller = Teller {
        service: call.service().clone(),
        mount: visit.mount.clone(),
        asked: visit.asked.clone(),
        path: call.parts.uri.path().to_owned(),
        events,
        seen,
        retry: Some(event_stream::retry(call.service().reconnect_delay())),
        first: document,
        watch: Some(watch),
        last: None,
    };
    if in_query.is_none() && teller.has_told_all().map_err(|error| visit.unwritable(&error))? {
        // The only response after which an EventSource does not reconnect.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let told = stream::unfold(teller, |mut teller| async move {
        let text = teller.next().await?;
        Some((text, teller))
    });
    let mut response = event_stream::response(told);
    let own = visit::response(head, StatusCode::OK)?;
    *response.status_mut() = own.status();
    response.headers_mut().extend(own.headers().clone());
    Ok(response)
}

/// The number of the last event that the client has received, by the dialect's parameter.
fn in_query(visit: &Visit<'_>, events: &Events) -> Result<Option<u64>, ServiceError> {
    let Some(name) = &events.resume else { return Ok(None) };
    let Some(text) = visit.parameter(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let rule = "must be the number of an event of this stream";
    text.parse().map(Some).map_err(|_| ServiceError::invalid_field(name, rule))
}

/// Sends one operation's transitions.
struct Teller {
    service: Service,
    mount: Mount,
    asked: Asked,
    path: String,
    events: Arc<Events>,
    /// The number of the last event that the client has received.
    seen: Option<u64>,
    /// The reconnect delay, sent with the first event, because some clients treat a field without data as an event.
    retry: Option<String>,
    /// The operation as found, with its input.
    first: Document,
    /// `None` after the last event.
    watch: Option<WatchStream>,
    /// The operation as last sent to the client.
    last: Option<Document>,
}

impl Teller {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<String> {
        loop {
            let watch = self.watch.as_mut()?;
            let (document, transition) = match watch.next().await {
                Some(Ok(WatchMessage::Transition(document, what))) => (document, Some(what)),
                Some(Ok(WatchMessage::Progress(document))) => (document, None),
                Some(Ok(WatchMessage::Heartbeat)) => return Some(HEARTBEAT.to_owned()),
                // The client has received the end.
                Some(Ok(WatchMessage::Snapshot(document))) => {
                    self.last = Some(document);
                    continue;
                }
                Some(Err(error)) => return Some(self.break_off(error.into())),
                None => {
                    self.watch = None;
                    return self.closing();
                }
            };
            let told = match self.tell(&document, transition) {
                Ok(told) => told,
                Err(error) => return Some(self.break_off(unwritable(&self.mount, &error))),
            };
            self.last = Some(document);
            if !told.is_empty() {
                return Some(self.retry.take().unwrap_or_default() + &told);
            }
        }
    }

    /// Whether the client has received the end and everything after it.
    fn has_told_all(&self) -> Result<bool, TemplateError> {
        let operation = &self.first.operation;
        let next = Revision(self.events.after(self.seen).0 + 1);
        let is_last = self.seen.is_some() && operation.is_done() && next == operation.life.revision;
        Ok(is_last && self.tell(&self.first, Some(EventType::Finished))?.is_empty())
    }

    fn tell(
        &self,
        document: &Document,
        transition: Option<EventType>,
    ) -> Result<String, TemplateError> {
        let scene = self.asked.scene(&self.mount, self.service.now());
        let subject = self.subject(document);
        let dialect = &self.mount.dialect;
        let told = dialect.tell(&self.events, &scene, &subject, transition, self.seen)?;
        Ok(told.iter().map(written).collect())
    }

    /// The text after the end of the operation; `None` if the stream ends before.
    fn closing(&self) -> Option<String> {
        let document = self.last.as_ref().filter(|document| document.operation.is_done())?;
        let scene = self.asked.scene(&self.mount, self.service.now());
        let closing = self.mount.dialect.closing(&self.events, &scene, &self.subject(document));
        match closing {
            Ok(closing) => closing.as_ref().map(written),
            Err(error) => Some(self.problem(unwritable(&self.mount, &error))),
        }
    }

    fn subject<'a>(&'a self, document: &'a Document) -> Subject<'a> {
        Subject { input: self.first.input.as_deref(), ..bare(&self.service, document) }
    }

    /// Ends the stream with the reason.
    fn break_off(&mut self, problem: Problem) -> String {
        self.watch = None;
        self.problem(problem)
    }

    /// The failure in the dialect's words, if it has any for it.
    fn problem(&self, problem: Problem) -> String {
        let scene = self.asked.scene(&self.mount, self.service.now());
        let last = self.last.as_ref().map(|last| last.operation.life.revision);
        let number = last.map(|last| self.events.last(last)).or(self.seen).unwrap_or_default();
        let dialect = &self.mount.dialect;
        match dialect.tell_refusal(&scene, &problem.refusal(), number) {
            Ok(told) if !told.is_empty() => return told.iter().map(written).collect(),
            Ok(_) => {}
            // A second failure is only logged.
            Err(error) => drop(unwritable(&self.mount, &error)),
        }
        event_stream::event(PROBLEM, None::<u64>, &problem.document(&self.path))
    }
}

/// The encoded event. A name and an id have one line; of several lines the first counts.
fn written(event: &Event) -> String {
    let mut text = String::new();
    for (field, value) in [("event", &event.name), ("id", &event.id)] {
        if let Some(line) = value.lines().next().filter(|line| !line.is_empty()) {
            text.push_str(&format!("{field}: {line}\n"));
        }
    }
    for line in event.data.lines() {
        text.push_str(&format!("data: {line}\n"));
    }
    text.push('\n');
    text
}
