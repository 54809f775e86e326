//! Documents in responses: the operation as JSON with a location, and the status document.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::call::Call;
use super::etag;
use super::headers::{PREFERENCE_APPLIED, vary_by};
use super::links::Links;
use super::problem::Problem;
use crate::operation::{Operation, OperationId, StateName};
use crate::proto::types::KnownTypes;
use crate::proto::v1;
use crate::service::{Document, MAX_WAIT, Reason, ServiceError};
use crate::wire::{encode, shared};

/// The result of a handler.
pub(super) type Answer = Result<Response, Problem>;

/// A JSON document.
pub(super) fn json(status: StatusCode, document: &Value) -> Response {
    json_text(status, text(document))
}

/// The text of a document.
pub(super) fn text(document: &Value) -> Bytes {
    format!("{document}\n").into()
}

/// The answer with a document's text.
pub(super) fn json_text(status: StatusCode, text: Bytes) -> Response {
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, text).into_response()
}

/// The JSON form of a message, which is an object.
pub(super) fn object<M: prost::Message + prost::Name>(
    types: &KnownTypes,
    message: &M,
) -> Result<Map<String, Value>, Problem> {
    match types.get().to_value(message) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(unwritable("it is not an object")),
        Err(error) => Err(unwritable(&error.to_string())),
    }
}

fn unwritable(error: &str) -> Problem {
    tracing::error!(error, "a message cannot be written as JSON");
    ServiceError::new(Reason::Internal, "the answer cannot be written as JSON").into()
}

/// The operation as JSON, with its own URL as `location`.
pub(super) fn operation(
    types: &KnownTypes,
    links: &Links,
    document: &Document,
) -> Result<Value, Problem> {
    located(types, links, document.operation.id(), &message(links, document))
}

/// The operation's message: without what a share hides, if the client names the operation by a share.
pub(super) fn message(links: &Links, document: &Document) -> v1::Operation {
    let message = encode::operation(document);
    if links.are_of_share() { shared::operation(message) } else { message }
}

/// An operation's message with its location.
pub(super) fn located(
    types: &KnownTypes,
    links: &Links,
    id: OperationId,
    message: &v1::Operation,
) -> Result<Value, Problem> {
    let mut object = object(types, message)?;
    object.insert("location".to_owned(), links.operation(id).into());
    Ok(Value::Object(object))
}

/// The list is present even if it is empty, the token only if there is another page.
pub(super) fn page_of(name: &str, entries: Vec<Value>, next_page_token: String) -> Value {
    let mut page = Map::from_iter([(name.to_owned(), Value::Array(entries))]);
    if !next_page_token.is_empty() {
        page.insert("nextPageToken".to_owned(), next_page_token.into());
    }
    Value::Object(page)
}

/// The operation under `status`, with the fields of every response about an operation. `location` is where to poll;
/// while the operation is not done, `Retry-After` says when.
pub(super) fn answer(
    call: &Call,
    status: StatusCode,
    location: Option<String>,
    document: &Document,
) -> Answer {
    let body = operation(call.types(), &call.links(), document)?;
    answer_with(call, (status, &body), location.as_deref(), document)
}

/// The same with another document as the body.
pub(super) fn answer_with(
    call: &Call,
    (status, body): (StatusCode, &Value),
    location: Option<&str>,
    document: &Document,
) -> Answer {
    let mut response = json(status, body);
    vary_by(response.headers_mut(), "prefer");
    if let Some(location) = location {
        response.headers_mut().insert(LOCATION, header_value(location)?);
    }
    about(&mut response, call, &document.operation);
    Ok(response)
}

/// Adds `ETag`, and `Retry-After` while the operation is not done.
pub(super) fn about(response: &mut Response, call: &Call, operation: &Operation) {
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(etag::of(operation)) {
        headers.insert(ETAG, etag);
    }
    if !operation.is_done() {
        headers.insert(RETRY_AFTER, call.service().poll_after(operation).as_secs().into());
    }
}

/// Adds the preferences that were applied.
pub(super) fn preferences_applied(
    response: &mut Response,
    applied: impl IntoIterator<Item = String>,
) {
    let applied = applied.into_iter().collect::<Vec<_>>().join(", ");
    let value = HeaderValue::try_from(applied).ok().filter(|value| !value.is_empty());
    response.headers_mut().extend(value.map(|value| (PREFERENCE_APPLIED.clone(), value)));
}

/// The applied preference; the maximum wait may be shorter than the requested one.
pub(super) fn applied_wait(wait: Duration) -> String {
    format!("wait={}", wait.min(MAX_WAIT).as_secs())
}

/// A URL as a header's value.
pub(super) fn header_value(url: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(url).map_err(|_| {
        ServiceError::new(Reason::Internal, "the public URL is not fit for a header").into()
    })
}

/// The status document in the form of Microsoft's REST guidelines, which their pollers read.
pub(super) fn status(call: &Call, document: &Document) -> Result<Value, Problem> {
    let (operation, id, links) = (&document.operation, document.operation.id(), call.links());
    let message = message(&links, &Document::basic(operation.clone()));
    let mut from = object(call.types(), &message)?;
    let mut take = |name: &str| from.remove(name);
    let state = operation.state_name();
    let mut status = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        status.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("id", Some(id.to_string().into()));
    put("name", take("name"));
    put("kind", take("kind"));
    put("status", Some(microsoft_status(state).into()));
    put("state", Some(state.as_str().into()));
    put("done", Some(state.is_done().into()));
    put("revision", Some(operation.life.revision.0.into()));
    put("createdDateTime", take("createTime"));
    put("lastActionDateTime", take("updateTime"));
    let progress = take("progress");
    put("percentComplete", progress.as_ref().and_then(|progress| progress.get("percent").cloned()));
    put("progress", progress);
    if matches!(state, StateName::Failed | StateName::Cancelled) {
        put("error", take("error").as_ref().map(microsoft_error));
    }
    put("errors", take("errors"));
    put("warnings", take("warnings"));
    // Their pollers fetch the final result here, even if there is none; without this URL they would fetch the Location
    // of the submission.
    let has_succeeded = matches!(state, StateName::Succeeded | StateName::PartiallySucceeded);
    put("resourceLocation", has_succeeded.then(|| links.result(id).into()));
    let links = json!({
        "self": links.status(id),
        "operation": links.operation(id),
        "result": links.result(id),
        "events": links.events(id),
    });
    put("links", Some(links));
    Ok(Value::Object(status))
}

const fn microsoft_status(state: StateName) -> &'static str {
    match state {
        StateName::Queued => "NotStarted",
        StateName::Running | StateName::Cancelling => "Running",
        StateName::Succeeded | StateName::PartiallySucceeded => "Succeeded",
        StateName::Failed => "Failed",
        StateName::Cancelled => "Canceled",
    }
}

/// An error with its causes as `details`. The recursion is limited by the nesting of causes.
fn microsoft_error(error: &Value) -> Value {
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut document = json!({"code": text("code"), "message": text("message")});
    if let Some(causes) = error.get("causes").and_then(Value::as_array) {
        document["details"] = causes.iter().map(microsoft_error).collect();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_take_microsofts_shape() {
        let error = json!({
            "code": "A",
            "message": "a",
            "statusCode": 5,
            "causes": [{"code": "B", "causes": [{"code": "C", "message": "c"}]}],
        });
        let expected = json!({
            "code": "A",
            "message": "a",
            "details": [
                {"code": "B", "message": "", "details": [{"code": "C", "message": "c"}]},
            ],
        });
        assert_eq!(microsoft_error(&error), expected);
    }

    #[test]
    fn every_state_has_one_of_microsofts_words() {
        let words: Vec<_> = StateName::ALL.map(microsoft_status).into();
        let expected =
            ["NotStarted", "Running", "Running", "Succeeded", "Succeeded", "Failed", "Canceled"];
        assert_eq!(words, expected);
    }
}
