//! An operation's transitions in a dialect's words, as a stream of events.
//!
//! The same watch as that of `http::events`: it makes no event before the reader takes it, fills silence with
//! heartbeats, and ends after a while, to be resumed.

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

/// Answers with the events of the operation that was found. `head` is the answer but for its body.
pub(super) async fn answer(
    call: &Call,
    visit: &Visit<'_>,
    events: Arc<Events>,
    head: Head,
    document: Document,
) -> Answer {
    let in_query = in_query(visit, &events)?;
    let in_header = event_stream::in_header(&call.parts.headers)?;
    // Where ids are no numbers, it says nothing.
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
        // The one answer after which an EventSource does not come back.
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

/// The number of the last event that the client has seen, by the parameter that the answer has for it.
fn in_query(visit: &Visit<'_>, events: &Events) -> Result<Option<u64>, ServiceError> {
    let Some(name) = &events.resume else { return Ok(None) };
    let Some(text) = visit.parameter(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let rule = "must be the number of an event of this stream";
    text.parse().map(Some).map_err(|_| ServiceError::invalid_field(name, rule))
}

/// Tells the life of one operation.
struct Teller {
    service: Service,
    mount: Mount,
    asked: Asked,
    path: String,
    events: Arc<Events>,
    /// The number of the last event that the reader has seen.
    seen: Option<u64>,
    /// When to come back after the stream ends: said in the first event, because some clients take a field without
    /// data for an event.
    retry: Option<String>,
    /// The operation as it was found, with its input.
    first: Document,
    /// None behind the last word.
    watch: Option<WatchStream>,
    /// The operation as the client last saw it.
    last: Option<Document>,
}

impl Teller {
    /// The next piece of the stream; none at its end.
    async fn next(&mut self) -> Option<String> {
        loop {
            let watch = self.watch.as_mut()?;
            let (document, transition) = match watch.next().await {
                Some(Ok(WatchMessage::Transition(document, what))) => (document, Some(what)),
                Some(Ok(WatchMessage::Progress(document))) => (document, None),
                Some(Ok(WatchMessage::Heartbeat)) => return Some(HEARTBEAT.to_owned()),
                // The reader has seen the end.
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

    /// Whether the reader has seen the end, and all that there is to say of it.
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

    /// What is said behind the end of the operation; nothing where the stream ends before.
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

    /// Ends the stream, and says why.
    fn break_off(&mut self, problem: Problem) -> String {
        self.watch = None;
        self.problem(problem)
    }

    /// The failure in the dialect's words if it has any for it.
    fn problem(&self, problem: Problem) -> String {
        let scene = self.asked.scene(&self.mount, self.service.now());
        let last = self.last.as_ref().map(|last| last.operation.life.revision);
        let number = last.map(|last| self.events.last(last)).or(self.seen).unwrap_or_default();
        let dialect = &self.mount.dialect;
        match dialect.tell_refusal(&scene, &problem.refusal(), number) {
            Ok(told) if !told.is_empty() => return told.iter().map(written).collect(),
            Ok(_) => {}
            // A second failure is for the log only.
            Err(error) => drop(unwritable(&self.mount, &error)),
        }
        event_stream::event(PROBLEM, None::<u64>, &problem.document(&self.path))
    }
}

/// The event as it goes over the wire. A name and an id have one line; of more, the first counts.
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
