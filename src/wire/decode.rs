//! Messages into words of the domain. What breaks a rule is refused by field and rule, all fields at once.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{json_value, settings, time};
use crate::operation::error::ErrorSource;
use crate::operation::id::{InvalidName, valid_label_key, valid_label_value};
use crate::operation::{
    Attempt, HttpEnvelope, HttpHeader, IdempotencyKey, InvalidEnvelope, Kind, NewOperation,
    OperationError, OperationId, Payload, PayloadForm, Progress, Settings, TenantId, Timestamp,
    mark,
};
use crate::proto::v1;
use crate::service::{DEFAULT_WAIT, Limits, OperationName, ServiceError, View, Violation};

/// Most labels of an operation.
const MAX_LABELS: usize = 64;
/// Longest message of an error, in bytes.
const MAX_ERROR_MESSAGE: usize = 64 << 10;
/// Longest message of a progress report, in characters.
const MAX_PROGRESS_MESSAGE: usize = 1_000;

/// A submission. `path` stands before the names of fields: `requests[3].`, or nothing. The tenant is
/// the service's to set.
pub fn new_operation(
    request: v1::SubmitRequest,
    path: &str,
    limits: &Limits,
) -> Result<NewOperation, ServiceError> {
    let mut violations = Vec::new();
    let kind = name(Kind::parse(&request.kind), path, "kind", &mut violations);
    let labels = labels(request.labels, path, &mut violations);
    let keeps_default = request.settings.as_ref().is_none_or(|given| given.retention.is_none());
    let settings = settings::decode(request.settings, path, &mut violations);
    let configured = keeps_default
        .then(|| Box::new(Settings { retention: limits.default_retention, ..settings.clone() }));
    let start_at = request.start_time.and_then(|start| {
        let at = time::decode_timestamp(&start).filter(|at| *at <= NewOperation::LATEST_START);
        if at.is_none() {
            let rule = "must be a valid time, at most 9000-01-01T00:00:00Z";
            violations.push(Violation::new(format!("{path}start_time"), rule));
        }
        at
    });
    let key = match request.idempotency_key.as_str() {
        "" => None,
        key => name(IdempotencyKey::parse(key), path, "idempotency_key", &mut violations),
    };
    let input = match payload(request.input, &format!("{path}input")) {
        Ok(input) => input,
        Err(violation) => {
            violations.push(violation);
            None
        }
    };
    match kind {
        Some(kind) if violations.is_empty() => Ok(NewOperation {
            labels,
            settings,
            configured,
            start_at,
            idempotency_key: key,
            input,
            ..NewOperation::of(kind)
        }),
        _ => Err(ServiceError::invalid(violations)),
    }
}

fn name<T>(
    parsed: Result<T, InvalidName>,
    path: &str,
    field: &str,
    violations: &mut Vec<Violation>,
) -> Option<T> {
    let note = |invalid: InvalidName| {
        violations.push(Violation::new(format!("{path}{field}"), invalid.to_string()));
    };
    parsed.map_err(note).ok()
}

fn labels(
    given: impl IntoIterator<Item = (String, String)>,
    path: &str,
    violations: &mut Vec<Violation>,
) -> BTreeMap<String, String> {
    let labels: BTreeMap<String, String> = given.into_iter().collect();
    if labels.len() > MAX_LABELS {
        let rule = format!("must have at most {MAX_LABELS} entries");
        violations.push(Violation::new(format!("{path}labels"), rule));
        return labels;
    }
    for (key, value) in &labels {
        let shown = || key.chars().take(64).collect::<String>();
        if mark::is_reserved(key) {
            let rule = "must not begin with longrun/, which is for this service's own";
            violations.push(Violation::new(format!("{path}labels key {:?}", shown()), rule));
        } else if let Err(invalid) = valid_label_key(key) {
            let field = format!("{path}labels key {:?}", shown());
            violations.push(Violation::new(field, invalid.to_string()));
        } else if let Err(invalid) = valid_label_value(value) {
            violations.push(Violation::new(format!("{path}labels.{key}"), invalid.to_string()));
        }
    }
    labels
}

/// A payload, where there is one.
pub fn payload(message: Option<v1::Payload>, field: &str) -> Result<Option<Payload>, Violation> {
    use v1::payload::Content;
    let Some(message) = message else { return Ok(None) };
    let http = message.http.map(|http| envelope(http, field)).transpose()?;
    let content_type = message.content_type.as_str();
    if content_type.len() > 255 || content_type.bytes().any(|b| !matches!(b, b' '..=b'~')) {
        let rule = "must be at most 255 printable ASCII characters";
        return Err(Violation::new(format!("{field}.content_type"), rule));
    }
    let payload = match message.content {
        None => Payload::new(PayloadForm::Data, content_type, Bytes::new()),
        Some(Content::Data(data)) => Payload::new(PayloadForm::Data, content_type, data),
        Some(Content::Text(text)) => Payload::new(PayloadForm::Text, content_type, text.into()),
        Some(Content::Json(value)) => {
            let json = json_value::to_json(&value)
                .map_err(|rule| Violation::new(format!("{field}.json"), rule))?;
            Payload::new(PayloadForm::Json, content_type, json.to_string().into())
        }
        Some(Content::Any(any)) => {
            if any.type_url.is_empty() || any.type_url.len() > 1_024 {
                let rule = "must have from 1 to 1,024 bytes";
                return Err(Violation::new(format!("{field}.any.type_url"), rule));
            }
            Payload::any(content_type, any.type_url, any.value.into())
        }
    };
    Ok(Some(match http {
        Some(http) => payload.within(http),
        None => payload,
    }))
}

/// The request or the response around the payload `field`.
fn envelope(message: v1::HttpEnvelope, field: &str) -> Result<HttpEnvelope, Violation> {
    let violation = |part: String, rule: &str| Violation::new(format!("{field}.http.{part}"), rule);
    // A number of messages beyond the limit is not worth its conversion.
    if message.headers.len() > HttpEnvelope::MAX_HEADERS {
        let rule = format!("must be at most {}", HttpEnvelope::MAX_HEADERS);
        return Err(violation("headers".to_owned(), &rule));
    }
    let headers = message.headers.into_iter().enumerate().map(|(at, header)| {
        let value = header.value.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>();
        let rule = "must have characters up to U+00FF only";
        let value = value.map_err(|_| violation(format!("headers[{at}].value"), rule))?;
        Ok(HttpHeader { name: header.name.to_ascii_lowercase(), value })
    });
    let envelope = HttpEnvelope {
        method: message.method,
        target: message.target,
        // A number that no status can be is refused with those out of range.
        status: u16::try_from(message.status).unwrap_or(u16::MAX),
        headers: headers.collect::<Result<_, _>>()?,
    };
    // A request is a client's own words; a response is checked as what it is.
    let checked = if envelope.status == 0 { envelope.check_submitted() } else { envelope.check() };
    match checked {
        Ok(()) => Ok(envelope),
        Err(InvalidEnvelope { field, rule }) => Err(violation(field, &rule)),
    }
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

/// An idempotency key, where there is one.
pub fn idempotency_key(field: &str, text: &str) -> Result<Option<IdempotencyKey>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    let key = IdempotencyKey::parse(text);
    key.map(Some).map_err(|invalid| ServiceError::invalid_field(field, invalid.to_string()))
}

/// A view by its number.
pub fn view(number: i32, default: View) -> Result<View, ServiceError> {
    match v1::OperationView::try_from(number) {
        Ok(v1::OperationView::Unspecified) => Ok(default),
        Ok(v1::OperationView::Basic) => Ok(View::Basic),
        Ok(v1::OperationView::Result) => Ok(View::Result),
        Ok(v1::OperationView::Full) => Ok(View::Full),
        Err(_) => Err(ServiceError::invalid_field("view", "must be a known view")),
    }
}

/// How long to wait; [`DEFAULT_WAIT`] if the message does not say.
pub fn wait(
    field: &str,
    message: Option<&prost_types::Duration>,
) -> Result<Duration, ServiceError> {
    let rule = "must be a valid duration, not negative";
    message
        .map_or(Some(DEFAULT_WAIT), time::decode_duration)
        .ok_or_else(|| ServiceError::invalid_field(field, rule))
}

/// An attempt's reference in a worker's message.
pub fn attempt(
    field: &str,
    message: Option<&v1::AttemptRef>,
    violations: &mut Vec<Violation>,
) -> Option<(OperationId, Attempt)> {
    let Some(message) = message else {
        violations.push(Violation::new(field, "must be set"));
        return None;
    };
    let name = operation_name(&format!("{field}.operation"), &message.operation);
    let name = name.map_err(|error| violations.extend(error.violations)).ok();
    let number = u32::try_from(message.attempt).ok().filter(|number| *number > 0);
    if number.is_none() {
        violations.push(Violation::new(format!("{field}.attempt"), "must be at least 1"));
    }
    Some((name?.id, Attempt(number?)))
}

/// A progress report received at `now`. What is out of range is brought into it: a report is no place to fail.
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

/// Errors of an operation, as its worker reports them.
pub fn operation_errors(
    field: &str,
    messages: Vec<v1::Error>,
    violations: &mut Vec<Violation>,
) -> Vec<OperationError> {
    nested_errors(field, messages, OperationError::MAX_DEPTH, violations)
}

/// An error of an operation, as its worker reports it.
pub fn operation_error(
    field: &str,
    message: v1::Error,
    violations: &mut Vec<Violation>,
) -> OperationError {
    nested_error(field, message, OperationError::MAX_DEPTH, violations)
}

/// Beyond this number no errors are looked at, because refusals name far fewer violations.
const MAX_VIOLATIONS: usize = 1_000;

fn nested_errors(
    field: &str,
    messages: Vec<v1::Error>,
    depth: usize,
    violations: &mut Vec<Violation>,
) -> Vec<OperationError> {
    let mut errors = Vec::with_capacity(messages.len());
    for (at, message) in messages.into_iter().enumerate() {
        let field = format!("{field}[{at}]");
        if violations.len() >= MAX_VIOLATIONS {
            break;
        } else if depth == 0 {
            violations.push(Violation::new(field, "must not be nested more than 8 deep"));
        } else {
            errors.push(nested_error(&field, message, depth, violations));
        }
    }
    errors
}

/// An error, whose causes may be nested one level less than `depth`.
fn nested_error(
    field: &str,
    message: v1::Error,
    depth: usize,
    violations: &mut Vec<Violation>,
) -> OperationError {
    let mut note = |name: &str, rule: &str| {
        violations.push(Violation::new(format!("{field}{name}"), rule));
    };
    if message.code.is_empty() || message.code.chars().count() > 128 {
        note(".code", "must have from 1 to 128 characters");
    }
    if message.message.len() > MAX_ERROR_MESSAGE {
        note(".message", "must be at most 64 KiB");
    }
    if message.metadata.len() > 64 {
        note(".metadata", "must have at most 64 entries");
    }
    let status_code = match (message.status_code, u8::try_from(message.status_code)) {
        (0, _) => 2,
        (_, Ok(code @ 1..=16)) => code,
        _ => {
            note(".status_code", "must be from 1 to 16");
            2
        }
    };
    let causes = nested_errors(&format!("{field}.causes"), message.causes, depth - 1, violations);
    OperationError {
        code: message.code,
        message: message.message,
        status_code,
        metadata: message.metadata.into_iter().collect(),
        causes,
        source: ErrorSource::Application,
    }
}
