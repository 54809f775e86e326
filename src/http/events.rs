//! Events of operations: one operation's history in pages, one operation's transitions as a stream, and a stream of all
//! operations that match a filter.
//!
//! Streams are `text/event-stream`, for a browser's `EventSource`. The data of an event is the message that gRPC
//! streams (`WatchOperationResponse`, `WatchOperationsResponse`) as JSON, the operation in it with its `location`: a
//! page that shows an operation needs no state of its own, whichever event comes. An event's name is its type, so that
//! a page can listen for what it wants: `snapshot`, `transition` and `progress` of one operation; `current`, `synced`,
//! `transition`, `left`, `deleted`, `progress` and `reset` of many. `problem` says why a stream breaks off.
//!
//! The id of a snapshot or a transition is its revision, from which a reconnect resumes. Progress has no id. After the
//! terminal event the response ends; the browser reconnects once, and 204 makes it stop. The id of an event over a
//! filter is its position, from which a reconnect resumes as with gRPC: without a gap, or with a `reset`.

use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use http::header::VARY;
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use tokio_stream::StreamExt as _;

use super::call::Call;
use super::documents::{self, Answer, page_of};
use super::event_stream;
use super::links::Links;
use super::problem::Problem;
use crate::operation::{OperationId, Revision};
use crate::proto::types::KnownTypes;
use crate::service::{
    FeedItem, FeedMessage, FeedStart, FeedStream, HistoryRequest, ServiceError, View, WatchMessage,
    WatchOptions, WatchStream, parse_filter,
};
use crate::wire::encodings::Encodings;
use crate::wire::{encode, shared, size, streams};

/// `GET …/{id}/events`: a page of the history, or the transitions as a stream.
pub(super) async fn of_operation(call: Call) -> Answer {
    if event_stream::is_wanted(&call.parts.headers) { watch(call).await } else { page(call).await }
}

async fn page(mut call: Call) -> Answer {
    let page_size = call.query.take_number("page_size").unwrap_or_default();
    let page_token = call.query.take("page_token").unwrap_or_default();
    let (name, mut found) = call.finish_path();
    let asked = HistoryRequest::read(name, page_size, &page_token, &mut found);
    let asked = found.settle(asked)?;
    let page = call.service().events(&call.caller, asked, size::event).await?;
    let events =
        page.entries.iter().map(|entry| documents::object(call.types(), &encode::event(entry)));
    let events = events.map(|event| event.map(Value::Object)).collect::<Result<Vec<_>, _>>()?;
    let page = page_of("events", events, page.next_page_token);
    let mut response = documents::json(StatusCode::OK, &page);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// The transitions of an operation as a stream.
pub(super) async fn watch(mut call: Call) -> Answer {
    let last_event_id = event_stream::last_event_id(&mut call);
    let include_progress = call.query.take_flag("include_progress").unwrap_or(true);
    let view = call.take_view(View::Result);
    let (name, mut found) = call.finish_path();
    let after = last_event_id.and_then(|id| id.map(|id| revision(&id)).transpose());
    let after = found.take(after);
    let (name, after) = found.settle(name.zip(after))?;
    let options = WatchOptions { after, include_progress, view, timeout: None };
    let watch = call.service().watch(&call.caller, &name, options).await?;
    if watch.is_over() {
        // The only response after which an EventSource does not reconnect.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let opening = event_stream::opening(call.service().reconnect_delay());
    let state = (watch, Writer::of(&call));
    let events = stream::unfold(state, |(mut watch, writer)| async move {
        let text = writer.next_of_one(&mut watch).await?;
        Some((text, (watch, writer)))
    });
    Ok(event_stream::response(tokio_stream::once(opening).chain(events)))
}

/// `GET /v1/operations/events`: all operations that match, and their changes.
pub(super) async fn of_all(mut call: Call) -> Answer {
    let last_event_id = event_stream::last_event_id(&mut call);
    let filter = call.query.take("filter").unwrap_or_default();
    let include_progress = call.query.take_flag("include_progress").unwrap_or(true);
    let skip_current = call.query.take_flag("skip_current").unwrap_or(false);
    let mut found = call.finish_query();
    let last_event_id = found.take(last_event_id);
    let filter = found.take(parse_filter(&filter));
    let (last_event_id, filter) = found.settle(last_event_id.zip(filter))?;
    let start = match &last_event_id {
        Some(position) => FeedStart::After(position),
        None if skip_current => FeedStart::Now,
        None => FeedStart::Current,
    };
    let feed = call.service().watch_all(&call.caller, filter, include_progress, start, None)?;
    let opening = Bytes::from(event_stream::opening(call.service().reconnect_delay()));
    let writer = Writer::of(&call);
    let events = stream::unfold((feed, writer), |(mut feed, writer)| async move {
        let text = writer.next_of_all(&mut feed).await?;
        Some((text, (feed, writer)))
    });
    Ok(event_stream::response(tokio_stream::once(opening).chain(events)))
}

/// The revision in an event's id.
fn revision(id: &str) -> Result<Revision, ServiceError> {
    let digits = id.bytes().all(|byte| byte.is_ascii_digit());
    let number = id.parse().ok().filter(|_| digits);
    let rule = "must be the id of an event of this stream, or 0 to begin with the first";
    number.map(Revision).ok_or_else(|| ServiceError::invalid_field("Last-Event-ID", rule))
}

/// Everything that determines the text of an event that many readers are sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    name: &'static str,
    /// The operation and its revision.
    operation: (OperationId, Revision),
    /// The position after the event.
    position: Option<String>,
    /// The base of links in it.
    base: String,
}

/// Encodes messages as events.
struct Writer {
    types: KnownTypes,
    links: Links,
    path: String,
    encodings: Encodings<Key>,
}

impl Writer {
    fn of(call: &Call) -> Self {
        Self {
            types: call.types().clone(),
            links: call.links(),
            path: call.parts.uri.path().to_owned(),
            encodings: call.http.encodings.clone(),
        }
    }

    async fn next_of_one(&self, watch: &mut WatchStream) -> Option<String> {
        let message = watch.next().await?;
        let written = message
            .map_err(Problem::from)
            .and_then(|message| self.watch_message(message, watch.cursor()));
        Some(written.unwrap_or_else(|problem| self.problem(problem)))
    }

    async fn next_of_all(&self, feed: &mut FeedStream) -> Option<Bytes> {
        let message = feed.next().await?;
        let written = message
            .map_err(Problem::from)
            .and_then(|message| self.feed_message(message, feed.position()));
        Some(written.unwrap_or_else(|problem| self.problem(problem).into()))
    }

    fn watch_message(&self, message: WatchMessage, cursor: Revision) -> Result<String, Problem> {
        let (name, id, operation) = match &message {
            WatchMessage::Snapshot(document) => ("snapshot", Some(cursor.0), document),
            WatchMessage::Transition(document, _) => ("transition", Some(cursor.0), document),
            WatchMessage::Progress(document) => ("progress", None, document),
            WatchMessage::Heartbeat => return Ok(event_stream::HEARTBEAT.to_owned()),
        };
        let location = self.links.operation(operation.operation.id());
        let mut message = streams::watch_message(message, cursor);
        if self.links.are_of_share() {
            message.operation = message.operation.map(shared::operation);
            message.event = message.event.map(shared::event);
        }
        let data = documents::object(&self.types, &message)?;
        Ok(event_stream::event(name, id, &located(data.into(), Some(location))))
    }

    fn feed_message(
        &self,
        message: FeedMessage,
        position: Option<String>,
    ) -> Result<Bytes, Problem> {
        let FeedMessage::Item(item) = &message else {
            return Ok(Bytes::from_static(event_stream::HEARTBEAT.as_bytes()));
        };
        let (name, operation, is_for_all) = match item {
            FeedItem::Current(operation) => ("current", Some(operation), false),
            FeedItem::Synced => ("synced", None, false),
            FeedItem::Transition(change) => ("transition", Some(&change.operation), true),
            FeedItem::Left(change) => ("left", Some(&change.operation), true),
            FeedItem::Deleted(operation) => ("deleted", Some(operation), true),
            FeedItem::Progress(operation) => ("progress", Some(operation), false),
            FeedItem::Reset => ("reset", None, false),
        };
        let key = operation.filter(|_| is_for_all).map(|operation| Key {
            name,
            operation: (operation.id(), operation.life.revision),
            position: position.clone(),
            base: self.links.base().to_owned(),
        });
        let location = operation.map(|operation| self.links.operation(operation.id()));
        let write = || {
            let mut message = streams::feed_message(message);
            message.position = position.clone().unwrap_or_default();
            let data = documents::object(&self.types, &message)?;
            Ok(event_stream::event(name, position, &located(data.into(), location)).into())
        };
        match key {
            Some(key) => self.encodings.try_get_or(key, write),
            None => write(),
        }
    }

    fn problem(&self, problem: Problem) -> String {
        event_stream::event("problem", None::<u64>, &problem.document(&self.path))
    }
}

/// The message with the operation's URL as `location`, as everywhere over HTTP.
fn located(mut message: Value, location: Option<String>) -> Value {
    if let Some((Value::Object(operation), location)) = message.get_mut("operation").zip(location) {
        operation.insert("location".to_owned(), location.into());
    }
    message
}
