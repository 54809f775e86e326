//! Submits: as JSON, or with any body as the input of a kind.

use axum::body::Body;
use http::StatusCode;
use serde_json::{Map, Value};

use super::call::Call;
use super::documents::{self, Answer};
use super::headers::{of_a_body, rate_limits};
use super::links::Links;
use super::submission::{self, Face, Sent};
use crate::operation::{HttpEnvelope, NewOperation, Range, Setting, Settings};
use crate::proto::{json, v1};
use crate::service::{ManySubmitted, Submitted};
use crate::wire::{batches, decode};

/// `POST /v1/operations`: a `SubmitRequest` as JSON.
pub(super) async fn operation(mut call: Call, body: Body) -> Answer {
    let mut found = call.finish_query();
    let mut request: Option<v1::SubmitRequest> = call.message(body, &mut found).await?;
    let in_body = request.as_mut().map(|request| std::mem::take(&mut request.idempotency_key));
    let key = found.take(call.idempotency_key(&in_body.unwrap_or_default()));
    let limits = call.service().limits();
    let new = request.and_then(|it| decode::new_operation(it, "", limits, &mut found));
    let (new, idempotency_key) = found.settle(new.zip(key))?;
    let new = NewOperation { idempotency_key, ..new };
    let submitted = submission::submit(&call, new).await?;
    submission::answer(&call, submitted, Face::Own).await
}

/// `POST /v1/kinds/{kind}/operations`: the body is the input, whatever it is. The query has the rest: `label=KEY=VALUE`
/// (may be repeated), `start_at` (RFC 3339), `start_in`, `callback_url`, `parent`, and all of [`Settings::ALL`].
pub(super) async fn of_kind(mut call: Call, body: Body) -> Answer {
    let kind = call.segment("kind").to_owned();
    let mut request = v1::SubmitRequest { kind, ..Default::default() };
    let settings = take_settings(&mut call, &mut request);
    let mut found = call.finish_query();
    request.settings = found.take(json::from_fields(settings));
    let key = found.take(call.idempotency_key(""));
    let new = decode::new_operation(request, "", call.service().limits(), &mut found);
    let sent = Sent::of(&call, envelope(&call), body, &mut found);
    let decoded = found.renamed(to_parameter).settle(new.zip(key).zip(sent));
    let ((new, idempotency_key), sent) = decoded?;
    let submitted = submission::take(&call, NewOperation { idempotency_key, ..new }, sent).await?;
    submission::answer(&call, submitted, Face::Own).await
}

/// `POST /v1/batches`: a `SubmitBatchRequest` as JSON. For a stored batch, whose key may be a header field, the status and
/// the header are those of a submission; 200 if each submission has its own result.
pub(super) async fn many(mut call: Call, body: Body) -> Answer {
    let mut found = call.finish_query();
    let mut request: Option<v1::SubmitBatchRequest> = call.message(body, &mut found).await?;
    let is_read = request.is_some();
    let batch = request.as_mut().and_then(|request| request.batch.as_mut());
    let in_body = batch.as_ref().map(|batch| batch.idempotency_key.clone()).unwrap_or_default();
    let key = found.take(call.idempotency_key_text(&in_body)).unwrap_or_default();
    match batch {
        // Whether it is valid is found with what else is wrong with the batch.
        Some(batch) if !key.is_empty() => batch.idempotency_key = key,
        None if is_read && !key.is_empty() => {
            found.note(
                "Idempotency-Key",
                "must be empty without `batch`, because it is the batch's",
            );
        }
        _ => {}
    }
    let service = call.service();
    let asked = request.and_then(|it| found.take(batches::read(it, service.limits())));
    let asked = found.settle(asked)?;
    let mut stored = submission::submit_many(&call, asked).await?;
    let mut wait = None;
    if let Some(batch) = &mut stored.batch {
        (batch.document, wait) = submission::waited(&call, batch.document.clone()).await?;
    }
    let answer = batches::response(&stored, service.limits().page_bytes);
    let mut answer = documents::object(call.types(), &answer)?;
    locate(&mut answer, &stored, &call.links());
    let answer = Value::Object(answer);
    let Some(Submitted { document, .. }) = &stored.batch else {
        let mut response = documents::json(StatusCode::OK, &answer);
        let rate = service.rate(&call.caller);
        response.headers_mut().extend(rate.into_iter().flat_map(rate_limits));
        return Ok(response);
    };
    let status = match document.operation.is_done() {
        true => StatusCode::SEE_OTHER,
        false => StatusCode::ACCEPTED,
    };
    let location = call.links().operation(document.operation.id());
    let answer = (status, &answer);
    let mut response = documents::answer_with(&call, answer, Some(&location), document)?;
    submission::of_submission(&mut response, &call, document, wait)?;
    Ok(response)
}

/// Adds its location to each operation, as everywhere in JSON.
fn locate(answer: &mut Map<String, Value>, stored: &ManySubmitted, links: &Links) {
    let add = |operation: Option<&mut Value>, submitted: &Submitted| {
        if let Some(operation) = operation.and_then(Value::as_object_mut) {
            let location = links.operation(submitted.document.operation.id());
            operation.insert("location".to_owned(), location.into());
        }
    };
    if let Some(batch) = &stored.batch {
        add(answer.get_mut("batch"), batch);
    }
    let entries = answer.get_mut("results").and_then(Value::as_array_mut).into_iter().flatten();
    for (entry, submitted) in entries.zip(&stored.results) {
        if let Ok(submitted) = submitted {
            add(entry.get_mut("operation"), submitted);
        }
    }
}

/// The request around an input, if it has more than a body and a type. The query's values are in the settings.
fn envelope(call: &Call) -> Option<HttpEnvelope> {
    let headers = of_a_body(&call.parts.headers);
    let envelope = || HttpEnvelope {
        method: call.parts.method.as_str().to_owned(),
        target: call.parts.uri.path().to_owned(),
        headers: headers.clone(),
        ..HttpEnvelope::default()
    };
    (!headers.is_empty()).then(envelope)
}

/// Reads the parameters of a submission. Returns the settings by their paths.
fn take_settings(call: &mut Call, request: &mut v1::SubmitRequest) -> Vec<(&'static str, Value)> {
    let query = &mut call.query;
    for label in query.take_all("label") {
        let Some((key, value)) = label.split_once('=') else {
            query.note("label", "must be KEY=VALUE");
            continue;
        };
        if request.labels.insert(key.to_owned(), value.to_owned()).is_some() {
            query.note("label", format!("must give {key:?} once"));
        }
    }
    request.start_at = query.take_moment("start_at");
    request.callback_url = query.take("callback_url").unwrap_or_default();
    request.parent = query.take("parent").unwrap_or_default();
    request.start_in = query.take_time("start_in");
    request.start_time = query.take_moment("start_time");
    let mut given = Vec::new();
    for Setting { name, path, range, .. } in Settings::ALL {
        let value = match range {
            Range::Whole(..) => query.take_number(name).map(Value::from),
            Range::Real(..) => query.take_real(name).map(Value::from),
            Range::Time(..) => query.take_time(name).map(|time| time.to_string().into()),
        };
        given.extend(value.map(|value| (*path, value)));
    }
    given
}

/// Renames a setting's path to its parameter.
fn to_parameter(field: &mut String) {
    if let Some(setting) = field.strip_prefix("settings.").and_then(Setting::at) {
        setting.name.clone_into(field);
    }
}
