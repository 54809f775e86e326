//! Messages into domain types. A refusal names every violated field and its rule.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{json_value, settings, time};
use crate::operation::id::{InvalidName, valid_label_key, valid_label_value};
use crate::operation::{
    Attempt, CallbackUrl, HttpEnvelope, HttpHeader, IdempotencyKey, InvalidEnvelope, Kind,
    NewOperation, OperationId, Payload, PayloadForm, Progress, Settings, TenantId, Timestamp, mark,
};
use crate::proto::v1::{self, payload::Content};
use crate::service::{
    DEFAULT_WAIT, Limits, OperationName, ServiceError, View, Violations, batch_kind_rule,
};

/// The maximum number of labels of an operation.
const MAX_LABELS: usize = 64;
/// The longest reason of a cancel, in characters.
const MAX_REASON: usize = 1_000;
/// The longest message of a progress report, in characters.
const MAX_PROGRESS_MESSAGE: usize = 1_000;

/// A submission, unless it has violations. `path` is the prefix of field names: `requests[3].`, or empty. The service
/// sets the tenant.
pub fn new_operation(
    request: v1::SubmitRequest,
    path: &str,
    limits: &Limits,
    violations: &mut Violations,
) -> Option<NewOperation> {
    let kind = name(Kind::parse(&request.kind), path, "kind", violations);
    if kind.as_ref().is_some_and(Kind::is_of_batches) {
        violations.note(format!("{path}kind"), batch_kind_rule());
    }
    let (start_times, wait) = ([request.start_at, request.start_time], request.start_in);
    let labels = labels(request.labels, path, violations);
    let keeps_default = request.settings.as_ref().is_none_or(|given| given.retention.is_none());
    let settings = settings::decode(request.settings, path, violations);
    let configured = keeps_default
        .then(|| Box::new(Settings { retention: limits.default_retention, ..settings.clone() }));
    let (start_at, start_in) = start(start_times, wait, path, violations);
    let key = match request.idempotency_key.as_str() {
        "" => None,
        key => name(IdempotencyKey::parse(key), path, "idempotency_key", violations),
    };
    let callback = match request.callback_url.as_str() {
        "" => None,
        url => CallbackUrl::parse(url)
            .map_err(|refused| violations.note(format!("{path}callback_url"), refused.to_string()))
            .ok(),
    };
    let parent = match request.parent.as_str() {
        "" => None,
        parent => violations.take(operation_name(&format!("{path}parent"), parent)),
    };
    let most = limits.max_message_payload_bytes();
    let input = payload(request.input, &format!("{path}input"), most, violations);
    Some(NewOperation {
        labels,
        settings,
        configured,
        start_at,
        start_in,
        idempotency_key: key,
        input,
        callback,
        parent: parent.map(|parent| parent.id),
        ..NewOperation::of(kind?)
    })
}

/// The earliest start: a time, and a delay.
fn start(
    [start_at, start_time]: [Option<prost_types::Timestamp>; 2],
    start_in: Option<prost_types::Duration>,
    path: &str,
    violations: &mut Violations,
) -> (Option<Timestamp>, Option<Duration>) {
    let times = [("start_at", start_at), ("start_time", start_time)];
    let times = times.into_iter().filter_map(|(field, time)| {
        let at = time::decode_timestamp(&time?).filter(|at| *at <= NewOperation::LATEST_START);
        if at.is_none() {
            let rule = "must be a valid time, at most 9000-01-01T00:00:00Z";
            violations.note(format!("{path}{field}"), rule);
        }
        at
    });
    let start_at = times.max();
    let start_in = start_in.and_then(|wait| {
        let wait = time::decode_duration(&wait).filter(|wait| *wait <= Settings::MAX_DURATION);
        if wait.is_none() {
            violations.note(format!("{path}start_in"), "must be from 0s to 3660d");
        }
        wait
    });
    (start_at, start_in)
}

pub(super) fn name<T>(
    parsed: Result<T, InvalidName>,
    path: &str,
    field: &str,
    violations: &mut Violations,
) -> Option<T> {
    let note = |invalid: InvalidName| {
        violations.note(format!("{path}{field}"), invalid.to_string());
    };
    parsed.map_err(note).ok()
}

pub(super) fn labels(
    given: impl IntoIterator<Item = (String, String)>,
    path: &str,
    violations: &mut Violations,
) -> BTreeMap<String, String> {
    let labels: BTreeMap<String, String> = given.into_iter().collect();
    if labels.len() > MAX_LABELS {
        let rule = format!("must have at most {MAX_LABELS} entries");
        violations.note(format!("{path}labels"), rule);
    }
    for (key, value) in labels.iter().take(2 * MAX_LABELS) {
        let shown = || key.chars().take(64).collect::<String>();
        if mark::is_reserved(key) {
            let rule = "must not begin with longrun/, which is for this service's own";
            violations.note(format!("{path}labels key {:?}", shown()), rule);
        } else if let Err(invalid) = valid_label_key(key) {
            let field = format!("{path}labels key {:?}", shown());
            violations.note(field, invalid.to_string());
        } else if let Err(invalid) = valid_label_value(value) {
            violations.note(format!("{path}labels.{key}"), invalid.to_string());
        }
    }
    labels
}

/// A payload of at most `most` bytes, if there is one without violations.
pub fn payload(
    message: Option<v1::Payload>,
    field: &str,
    most: usize,
    violations: &mut Violations,
) -> Option<Payload> {
    let v1::Payload { content_type, content, size_bytes: _, omitted, http } = message?;
    if omitted && content.is_none() {
        // A payload from an answer, passed on as it came: its contents would be lost.
        let rule = "must not be set: the contents are elsewhere, and must be read and sent";
        violations.note(format!("{field}.omitted"), rule);
    }
    let http = http.map(|http| envelope(http, field, violations));
    if content_type.len() > 255 || content_type.bytes().any(|b| !matches!(b, b' '..=b'~')) {
        let rule = "must be at most 255 printable ASCII characters";
        violations.note(format!("{field}.content_type"), rule);
    }
    let payload = contents(content, &content_type, field, violations)?;
    let size = payload.data.len();
    if size > most {
        violations.too_large(field, format!("must be at most {most} bytes, and is {size}"));
    }
    Some(match http {
        Some(http) => payload.within(http),
        None => payload,
    })
}

fn contents(
    content: Option<Content>,
    content_type: &str,
    field: &str,
    violations: &mut Violations,
) -> Option<Payload> {
    Some(match content {
        None => Payload::new(PayloadForm::Data, content_type, Bytes::new()),
        Some(Content::Data(data)) => Payload::new(PayloadForm::Data, content_type, data),
        Some(Content::Text(text)) => Payload::new(PayloadForm::Text, content_type, text.into()),
        Some(Content::Json(value)) => {
            let json = json_value::to_json(&value);
            let json = json.map_err(|rule| violations.note(format!("{field}.json"), rule)).ok()?;
            Payload::new(PayloadForm::Json, content_type, json.to_string().into())
        }
        Some(Content::Any(any)) => {
            let is_odd = any.type_url.chars().any(char::is_control);
            if any.type_url.is_empty() || any.type_url.len() > 1_024 || is_odd {
                let rule = "must have from 1 to 1,024 bytes, none of them a control character";
                violations.note(format!("{field}.any.type_url"), rule);
            }
            Payload::any(content_type, any.type_url, any.value.into())
        }
    })
}

/// The HTTP envelope of the payload `field`.
fn envelope(message: v1::HttpEnvelope, field: &str, violations: &mut Violations) -> HttpEnvelope {
    let mut note = |part: String, rule: &str| violations.note(format!("{field}.http.{part}"), rule);
    // Header fields beyond the limit are not converted; one more shows that there are too many.
    let headers = message.headers.into_iter().enumerate().take(HttpEnvelope::MAX_HEADERS + 1);
    let headers = headers.map(|(at, header)| {
        let value = header.value.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>();
        let value = value.unwrap_or_else(|_| {
            note(format!("headers[{at}].value"), "must have characters up to U+00FF only");
            Vec::new()
        });
        HttpHeader { name: header.name.to_ascii_lowercase(), value }
    });
    let headers = headers.collect();
    let envelope = HttpEnvelope {
        method: message.method,
        target: message.target,
        // A number that no status can be is refused as out of range.
        status: u16::try_from(message.status).unwrap_or(u16::MAX),
        headers,
    };
    // A request comes from a client, which may not send every field; a response is only checked for its form.
    let checked = if envelope.status == 0 { envelope.check_submitted() } else { envelope.check() };
    for InvalidEnvelope { field, rule } in checked.err().unwrap_or_default() {
        note(field, &rule);
    }
    envelope
}

/// `operations/{id}`, `tenants/{tenant}/operations/{id}`, or a bare id.
pub fn operation_name(field: &str, text: &str) -> Result<OperationName, ServiceError> {
    let invalid = || {
        let rule = "must be operations/{id} or tenants/{tenant}/operations/{id}, with a UUID as id";
        ServiceError::invalid_field(field, rule)
    };
    let parts: Vec<&str> = text.splitn(5, '/').collect();
    let (tenant, id) = match parts[..] {
        [id] | ["operations", id] => (None, id),
        ["tenants", tenant, "operations", id] => {
            (Some(TenantId::parse(tenant).map_err(|_| invalid())?), id)
        }
        _ => return Err(invalid()),
    };
    let id = OperationId::parse(id).map_err(|_| invalid())?;
    Ok(OperationName { tenant, id })
}

/// An id that must not be empty.
pub fn given<'a>(field: &str, id: &'a str) -> Result<&'a str, ServiceError> {
    match id {
        "" => Err(ServiceError::invalid_field(field, "must not be empty")),
        id => Ok(id),
    }
}

/// An idempotency key, if there is one.
pub fn idempotency_key(field: &str, text: &str) -> Result<Option<IdempotencyKey>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    let key = IdempotencyKey::parse(text);
    key.map(Some).map_err(|invalid| ServiceError::invalid_field(field, invalid.to_string()))
}

/// The view with this number.
pub fn view(number: i32, default: View) -> Result<View, ServiceError> {
    match v1::OperationView::try_from(number) {
        Ok(v1::OperationView::Unspecified) => Ok(default),
        Ok(v1::OperationView::Basic) => Ok(View::Basic),
        Ok(v1::OperationView::Result) => Ok(View::Result),
        Ok(v1::OperationView::Full) => Ok(View::Full),
        Err(_) => Err(ServiceError::invalid_field("view", "must be a known view")),
    }
}

/// The duration of a wait; by default [`DEFAULT_WAIT`].
pub fn wait(
    field: &str,
    message: Option<&prost_types::Duration>,
) -> Result<Duration, ServiceError> {
    let rule = "must be a valid duration, not negative";
    message
        .map_or(Some(DEFAULT_WAIT), time::decode_duration)
        .ok_or_else(|| ServiceError::invalid_field(field, rule))
}

/// The reason of a cancel.
pub fn reason(field: &str, text: String) -> Result<String, ServiceError> {
    if text.chars().count() > MAX_REASON {
        return Err(ServiceError::invalid_field(field, "must be at most 1,000 characters"));
    }
    Ok(text)
}

/// The offset from which to read contents; their length is not known here.
pub fn offset(field: &str, number: i64) -> Result<u64, ServiceError> {
    u64::try_from(number).map_err(|_| ServiceError::invalid_field(field, "must not be negative"))
}

/// An attempt's reference in a worker's message.
pub fn attempt(
    field: &str,
    message: Option<&v1::AttemptRef>,
    violations: &mut Violations,
) -> Option<(OperationId, Attempt)> {
    let Some(message) = message else {
        violations.note(field, "must be set");
        return None;
    };
    let name = violations.take(operation_name(&format!("{field}.operation"), &message.operation));
    let number = u32::try_from(message.attempt).ok().filter(|number| *number > 0);
    if number.is_none() {
        violations.note(format!("{field}.attempt"), "must be at least 1");
    }
    Some((name?.id, Attempt(number?)))
}

/// A progress report received at `now`. Values out of range are clamped, because a report should not fail for them.
pub fn progress(message: v1::Progress, now: Timestamp) -> Progress {
    let mut text = message.message;
    if let Some((end, _)) = text.char_indices().nth(MAX_PROGRESS_MESSAGE) {
        text.truncate(end);
    }
    let units = |number: Option<i64>| number.map(|number| number.max(0));
    let (done_units, total_units) = (units(message.done_units), units(message.total_units));
    let counted = match (done_units, total_units) {
        (Some(done), Some(total @ 1..)) => Some(done as f64 * 100.0 / total as f64),
        _ => None,
    };
    let percent = message.percent.filter(|percent| percent.is_finite()).or(counted);
    Progress {
        percent: percent.map(|percent| percent.clamp(0.0, 100.0)),
        done_units,
        total_units,
        message: text,
        at: now,
    }
}
