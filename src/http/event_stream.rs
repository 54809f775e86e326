//! `text/event-stream` (WHATWG HTML, "Server-sent events"): its negotiation, the last event's id, and the encoding of
//! events.
//!
//! Knows nothing of operations. The response's body pulls: no event is made before the client reads.

use std::convert::Infallible;
use std::fmt::Display;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio_stream::{Stream, StreamExt as _};

use super::call::Call;
use super::headers::{essence, split_unquoted};
use crate::service::ServiceError;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Makes nginx pass on each event at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const MEDIA_TYPE: &str = "text/event-stream";

/// A heartbeat. It is a comment, so programs do not see it.
pub(super) const HEARTBEAT: &str = ": alive\n\n";

/// Whether the client accepts events, and does not prefer JSON.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let (mut events, mut json) = (0.0, 0.0);
    for field in headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok()) {
        for range in split_unquoted(field, ',') {
            let quality = split_unquoted(range, ';').skip(1).find_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
            });
            match essence(range).as_str() {
                MEDIA_TYPE => events = quality.unwrap_or(1.0_f32),
                "application/json" => json = quality.unwrap_or(1.0_f32),
                _ => {}
            }
        }
    }
    events > 0.0 && events >= json
}

/// The id of the last event that the client has received: from the header, which browsers send when they reconnect,
/// else from the query's `last_event_id`, with which a page can begin.
pub(super) fn last_event_id(call: &mut Call) -> Result<Option<String>, ServiceError> {
    let in_query = call.query.take("last_event_id");
    let in_header = in_header(&call.parts.headers)?.map(str::to_owned);
    Ok(in_header.or(in_query).filter(|id| !id.is_empty()))
}

/// Like [`last_event_id`], from the header only.
pub(super) fn in_header(headers: &HeaderMap) -> Result<Option<&str>, ServiceError> {
    let field = headers.get(LAST_EVENT_ID).map(HeaderValue::to_str).transpose();
    let field = field.map_err(|_| ServiceError::invalid_field("Last-Event-ID", "must be ASCII"))?;
    // An empty one means that there was none.
    Ok(field.filter(|id| !id.is_empty()))
}

/// The beginning of a stream: the delay before a reconnect.
pub(super) fn opening(reconnect_delay: Duration) -> String {
    retry(reconnect_delay) + "\n"
}

/// The field with the delay before a reconnect.
pub(super) fn retry(reconnect_delay: Duration) -> String {
    format!("retry: {}\n", reconnect_delay.as_millis())
}

/// An event. Without an id, the client keeps its last one.
pub(super) fn event(name: &str, id: Option<impl Display>, data: &Value) -> String {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    // Compact JSON has no line breaks, so it is one line of data.
    format!("event: {name}\n{id}data: {data}\n\n")
}

/// A response whose body is a stream of such texts.
pub(super) fn response(
    parts: impl Stream<Item = impl Into<Bytes> + 'static> + Send + 'static,
) -> Response {
    let body = Body::from_stream(parts.map(|part| Ok::<Bytes, Infallible>(part.into())));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)),
        (VARY, HeaderValue::from_static("accept")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_wanted_where_they_are_named_and_json_is_not_liked_better() {
        let cases: [(&[&str], bool); 10] = [
            (&[], false),
            (&["*/*"], false),
            (&["text/*"], false),
            (&["text/event-stream"], true),
            (&["Text/Event-Stream; charset=utf-8"], true),
            (&["text/event-stream;q=0"], false),
            (&["application/json, text/event-stream"], true),
            (&["application/json", "text/event-stream; q=0.5"], false),
            (&["application/json; Q=0.2, text/event-stream; q=0.5"], true),
            (&["text/event-stream; q=x"], false),
        ];
        for (fields, wanted) in cases {
            let fields = fields.iter().map(|field| HeaderValue::from_static(field));
            let headers: HeaderMap = fields.map(|field| (ACCEPT, field)).collect();
            assert_eq!(is_wanted(&headers), wanted, "{headers:?}");
        }
    }

    #[test]
    fn events_are_written_as_browsers_read_them() {
        assert_eq!(opening(Duration::from_millis(1_500)), "retry: 1500\n\n");
        let data = json!({"text": "two\nlines"});
        let written = event("progress", None::<u64>, &data);
        assert_eq!(written, "event: progress\ndata: {\"text\":\"two\\nlines\"}\n\n");
        assert!(
            event("transition", Some(3), &data).starts_with("event: transition\nid: 3\ndata: ")
        );
    }
}
