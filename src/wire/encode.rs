//! Domain types into messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost_types::Any;

use super::time::encode_timestamp;
use super::{children, json_value, settings, standing};
use crate::operation::deadlines::Limit;
use crate::operation::error::ErrorSource;
use crate::operation::http::is_credential;
use crate::operation::{
    EventType, HttpEnvelope, HttpHeader, Life, Operation, OperationError, Outcome, Payload,
    PayloadForm, PayloadInfo, Progress, State, StateName, Submission, TraceContext, mark,
};
use crate::proto::v1;
use crate::proto::v1::submit_batch_result::Outcome as BatchOutcome;
use crate::service::{Document, ServiceError, Submitted, echo};
use crate::store::HistoryEntry;

/// An operation with the contents of its document.
pub fn operation(document: &Document) -> v1::Operation {
    let Document { operation, input, result, children: counts, waiting } = document;
    let submission = &operation.submission;
    let trace = |field: fn(&TraceContext) -> &str| {
        submission.trace.as_ref().map(|trace| field(trace).to_owned()).unwrap_or_default()
    };
    let life = &operation.life;
    let done = operation.is_done();
    let mut message = v1::Operation {
        name: submission.id.name(),
        tenant: submission.tenant.as_str().to_owned(),
        kind: submission.kind.as_str().to_owned(),
        labels: labels(submission),
        state: state(operation.state_name()).into(),
        done,
        revision: life.revision.0.cast_signed(),
        attempt: life.attempt.0.cast_signed(),
        attempts_used: life.attempts_used.cast_signed(),
        worker_id: worker_id(life),
        progress: life.progress.as_ref().map(progress),
        input: submission.input.as_ref().map(|info| payload(info, input.clone())),
        result: operation.result().map(|info| payload(info, result.clone())),
        create_time: Some(encode_timestamp(submission.created_at)),
        update_time: Some(encode_timestamp(life.updated_at)),
        start_time: life.started_at.map(encode_timestamp),
        cancel_time: life.cancel.as_ref().map(|cancel| encode_timestamp(cancel.at)),
        settings: Some(settings::encode(&submission.settings)),
        idempotency_key: submission
            .idempotency
            .as_ref()
            .map(|idempotency| idempotency.key.as_str().to_owned())
            .unwrap_or_default(),
        retry_of: submission.retry_of.map(|id| id.name()).unwrap_or_default(),
        parent: submission.parent.map(|id| id.name()).unwrap_or_default(),
        children: counts.as_ref().map(children::counts),
        trace_parent: trace(|trace| &trace.parent),
        trace_state: trace(|trace| &trace.state),
        callback_url: submission
            .callback
            .as_ref()
            .map(|url| url.as_str().to_owned())
            .unwrap_or_default(),
        error: life.last_error.as_ref().map(error),
        waiting: waiting.as_ref().map(standing::waiting),
        ..v1::Operation::default()
    };
    if !done {
        message.deadline_time = submission.deadline().map(encode_timestamp);
    }
    state_fields(operation, &mut message);
    message
}

/// An operation for the worker of its current attempt. If there are spans, it has the attempt's trace context.
pub fn attempted(operation: Arc<Operation>, trace: Option<TraceContext>) -> v1::Operation {
    let message = self::operation(&Document::basic(operation));
    match trace {
        Some(TraceContext { parent, state }) => v1::Operation {
            trace_parent: parent.to_string(),
            trace_state: state.to_string(),
            ..message
        },
        None => message,
    }
}

/// The client's labels, without the service's own.
fn labels(submission: &Submission) -> BTreeMap<String, String> {
    let own = |(key, _): &(&String, &String)| !mark::is_reserved(key);
    let labels = submission.labels.iter().filter(own);
    labels.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The fields that depend on the state.
fn state_fields(operation: &Operation, message: &mut v1::Operation) {
    match &operation.life.state {
        State::Queued { not_before } => {
            message.not_before_time = Some(encode_timestamp(*not_before));
            if let Some((at, Limit::Queue)) = operation.next_limit() {
                message.queue_deadline_time = Some(encode_timestamp(at));
            }
        }
        State::Running { lease } | State::Cancelling { lease, .. } => {
            message.attempt_deadline_time = lease.attempt_deadline.map(encode_timestamp);
        }
        State::Done { outcome, at, purge_at } => {
            message.end_time = Some(encode_timestamp(*at));
            message.purge_time = Some(encode_timestamp(*purge_at));
            match outcome {
                Outcome::Succeeded { warnings, .. } => message.warnings = errors(warnings),
                Outcome::PartiallySucceeded { errors: wrong, warnings, .. } => {
                    message.errors = errors(wrong);
                    message.warnings = errors(warnings);
                }
                Outcome::Failed { error: why } | Outcome::Cancelled { error: why } => {
                    message.error = Some(error(why));
                }
            }
        }
    }
}

/// A state's number on the wire.
pub fn state(name: StateName) -> v1::operation::State {
    use v1::operation::State as Wire;
    match name {
        StateName::Queued => Wire::Queued,
        StateName::Running => Wire::Running,
        StateName::Cancelling => Wire::Cancelling,
        StateName::Succeeded => Wire::Succeeded,
        StateName::PartiallySucceeded => Wire::PartiallySucceeded,
        StateName::Failed => Wire::Failed,
        StateName::Cancelled => Wire::Cancelled,
    }
}

fn worker_id(life: &Life) -> String {
    life.worker.as_ref().map(|worker| worker.as_str().to_owned()).unwrap_or_default()
}

/// A payload in its submitted form, or without contents.
pub fn payload(info: &PayloadInfo, data: Option<Bytes>) -> v1::Payload {
    use v1::payload::Content;
    let content = data.map(|data| match info.form {
        PayloadForm::Data => Content::Data(data),
        PayloadForm::Text => match String::from_utf8(data.into()) {
            Ok(text) => Content::Text(text),
            Err(error) => Content::Data(error.into_bytes().into()),
        },
        PayloadForm::Json => match json_value::from_json(&data) {
            Some(value) => Content::Json(value),
            None => Content::Data(data),
        },
        PayloadForm::Any => {
            Content::Any(Any { type_url: info.type_url.clone(), value: data.into() })
        }
    });
    v1::Payload {
        content_type: info.content_type.clone(),
        omitted: content.is_none() && info.size_bytes > 0,
        http: info.http.as_deref().map(|http| match content {
            Some(_) => shown_envelope(http),
            None => envelope(http, |_| false),
        }),
        content,
        size_bytes: info.size_bytes.cast_signed(),
    }
}

/// A payload's envelope for readers. Without credentials, which are stored only for the worker that uses them.
pub(super) fn shown_envelope(http: &HttpEnvelope) -> v1::HttpEnvelope {
    envelope(http, |header| !is_credential(&header.name))
}

/// A payload's envelope, with the header fields that are `shown`.
fn envelope(envelope: &HttpEnvelope, shown: impl Fn(&HttpHeader) -> bool) -> v1::HttpEnvelope {
    let header = |header: &HttpHeader| v1::HttpHeader {
        name: header.name.clone(),
        value: header.value.iter().copied().map(char::from).collect(),
    };
    let headers = envelope.headers.iter().filter(|header| shown(header)).map(header).collect();
    v1::HttpEnvelope {
        method: envelope.method.clone(),
        target: envelope.target.clone(),
        status: i32::from(envelope.status),
        headers,
    }
}

/// An input as exact bytes, for a worker: only an `Any` keeps its form. Contents in an object are omitted.
pub fn exact_payload(payload: Payload) -> v1::Payload {
    use v1::payload::Content;
    let Payload { info, data } = payload;
    let http = info.http.as_deref().map(|http| envelope(http, |_| true));
    let omitted = data.len() as u64 != info.size_bytes;
    let content = match info.form {
        // The type URL is included even without contents.
        PayloadForm::Any => Some(Content::Any(Any { type_url: info.type_url, value: data.into() })),
        _ if omitted => None,
        PayloadForm::Data | PayloadForm::Text | PayloadForm::Json => Some(Content::Data(data)),
    };
    v1::Payload {
        content_type: info.content_type,
        content,
        size_bytes: info.size_bytes.cast_signed(),
        omitted,
        http,
    }
}

/// An operation's error.
pub fn error(error: &OperationError) -> v1::Error {
    use v1::error::Source;
    v1::Error {
        code: error.code.clone(),
        message: error.message.clone(),
        status_code: i32::from(error.status_code),
        metadata: error.metadata.clone().into_iter().collect(),
        causes: errors(&error.causes),
        source: match error.source {
            ErrorSource::Application => Source::Application,
            ErrorSource::Service => Source::Service,
        }
        .into(),
    }
}

fn errors(list: &[OperationError]) -> Vec<v1::Error> {
    list.iter().map(error).collect()
}

fn progress(progress: &Progress) -> v1::Progress {
    v1::Progress {
        percent: progress.percent,
        done_units: progress.done_units,
        total_units: progress.total_units,
        message: progress.message.clone(),
        update_time: Some(encode_timestamp(progress.at)),
    }
}

/// A transition: its type, and the life after it.
pub fn transition(event_type: EventType, life: &Life) -> v1::Event {
    use v1::event::Type;
    let kind = match event_type {
        EventType::Submitted => Type::Submitted,
        EventType::Started => Type::Started,
        EventType::RetryScheduled => Type::RetryScheduled,
        EventType::Released => Type::Released,
        EventType::CancelRequested => Type::CancelRequested,
        EventType::Finished => Type::Finished,
        EventType::StartRequested => Type::StartRequested,
    };
    let why = match &life.state {
        State::Done {
            outcome: Outcome::Failed { error } | Outcome::Cancelled { error }, ..
        } => Some(error),
        State::Queued { .. } if event_type == EventType::RetryScheduled => life.last_error.as_ref(),
        _ => None,
    };
    let reason = match event_type {
        EventType::CancelRequested | EventType::Finished => {
            life.cancel.as_ref().map(|cancel| cancel.reason.clone())
        }
        _ => None,
    };
    v1::Event {
        r#type: kind.into(),
        revision: life.revision.0.cast_signed(),
        time: Some(encode_timestamp(life.updated_at)),
        state: state(life.state.name()).into(),
        attempt: life.attempt.0.cast_signed(),
        worker_id: worker_id(life),
        error: why.map(error),
        reason: reason.unwrap_or_default(),
        log: None,
    }
}

/// An entry of a history.
pub fn event(entry: &HistoryEntry) -> v1::Event {
    match entry {
        HistoryEntry::Transition(event) => transition(event.event_type, &event.life),
        HistoryEntry::Log(line) => v1::Event {
            r#type: v1::event::Type::Log.into(),
            revision: line.revision.0.cast_signed(),
            time: Some(encode_timestamp(line.at)),
            attempt: line.attempt.0.cast_signed(),
            worker_id: line.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
            log: Some(v1::LogLine {
                number: line.number.cast_signed(),
                text: line.text.clone(),
                dropped_before: line.dropped_before.cast_signed(),
            }),
            ..v1::Event::default()
        },
    }
}

/// The outcome of one submission of a batch.
pub fn batch_result(answer: &Result<Submitted, ServiceError>) -> v1::SubmitBatchResult {
    let outcome = match answer {
        Ok(submitted) => BatchOutcome::Operation(operation(&submitted.document)),
        Err(error) => BatchOutcome::Error(request_error(error)),
    };
    v1::SubmitBatchResult { outcome: Some(outcome), abridged: false }
}

/// A result shortened to what identifies the operation or explains the error, for a response without room for all.
pub fn abridged(whole: v1::SubmitBatchResult) -> v1::SubmitBatchResult {
    let outcome = whole.outcome.map(|outcome| match outcome {
        BatchOutcome::Operation(whole) => BatchOutcome::Operation(v1::Operation {
            name: whole.name,
            kind: whole.kind,
            state: whole.state,
            done: whole.done,
            revision: whole.revision,
            ..v1::Operation::default()
        }),
        BatchOutcome::Error(whole) => BatchOutcome::Error(v1::RequestError {
            message: echo(&whole.message).into_owned(),
            field_violations: Vec::new(),
            ..whole
        }),
    });
    v1::SubmitBatchResult { outcome, abridged: true }
}

/// The error of a refused call as part of a response.
pub fn request_error(error: &ServiceError) -> v1::RequestError {
    v1::RequestError {
        status_code: error.reason.grpc_code(),
        message: error.message.clone(),
        reason: error.reason.as_str().to_owned(),
        field_violations: error
            .violations
            .iter()
            .map(|violation| v1::FieldViolation {
                field: violation.field.clone(),
                description: violation.description.clone(),
            })
            .collect(),
    }
}
