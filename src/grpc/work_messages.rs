//! The messages of a worker's stream, both ways: what breaks rules is refused by all of them at once.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::WorkerHello;
use crate::operation::{
    Attempt, Kind, Operation, OperationId, Payload, SessionId, State, TenantId, WorkerId,
};
use crate::proto::v1::work_response::Message as Down;
use crate::proto::v1::{self, cancel_attempt::Cause};
use crate::service::{Document, Report, ServiceError, Violation};
use crate::wire::{decode, encode, time};

/// Most log lines, and their bytes, in one report.
const MAX_LOG_LINES: usize = 1_000;
const MAX_LOG_BYTES: usize = 256 << 10;

pub(super) fn hello(hello: v1::Hello, max_in_flight: usize) -> Result<WorkerHello, ServiceError> {
    let mut violations = Vec::new();
    let mut note = |field: String, rule: String| violations.push(Violation::new(field, rule));
    let worker = WorkerId::parse(&hello.worker_id)
        .map_err(|invalid| note("hello.worker_id".to_owned(), invalid.to_string()));
    if hello.kinds.is_empty() || hello.kinds.len() > 100 {
        note("hello.kinds".to_owned(), "must have from 1 to 100 entries".to_owned());
    }
    let mut kinds = Vec::with_capacity(hello.kinds.len().min(100));
    for (at, kind) in hello.kinds.iter().enumerate().take(100) {
        match Kind::parse(kind) {
            Ok(kind) if kinds.contains(&kind) => {}
            Ok(kind) => kinds.push(kind),
            Err(invalid) => note(format!("hello.kinds[{at}]"), invalid.to_string()),
        }
    }
    let in_flight = usize::try_from(hello.max_in_flight).unwrap_or(0);
    if !(1..=max_in_flight).contains(&in_flight) {
        note("hello.max_in_flight".to_owned(), format!("must be from 1 to {max_in_flight}"));
    }
    let mut running = Vec::with_capacity(hello.running.len());
    for (at, attempt) in hello.running.iter().enumerate() {
        let field = format!("hello.running[{at}]");
        running.extend(decode::attempt(&field, Some(attempt), &mut violations));
    }
    match worker {
        Ok(worker) if violations.is_empty() => Ok(WorkerHello {
            tenant: TenantId::default_tenant(),
            worker,
            kinds,
            max_in_flight: in_flight,
            resume: SessionId::parse(&hello.session_id),
            in_process: false,
            running,
        }),
        _ => Err(ServiceError::invalid(violations)),
    }
}

pub(super) fn log(lines: Vec<String>, violations: &mut Vec<Violation>) -> Report {
    let bytes: usize = lines.iter().map(String::len).sum();
    if lines.len() > MAX_LOG_LINES || bytes > MAX_LOG_BYTES {
        let rule = format!("must be at most {MAX_LOG_LINES} lines and {MAX_LOG_BYTES} bytes");
        violations.push(Violation::new("log.lines", rule));
    }
    Report::Log(lines)
}

pub(super) fn failure(
    error: Option<v1::Error>,
    is_final: bool,
    retry_delay: Option<prost_types::Duration>,
    violations: &mut Vec<Violation>,
) -> Report {
    if error.is_none() {
        violations.push(Violation::new("fail.error", "must be set"));
    }
    let error = error.unwrap_or_else(|| v1::Error { code: "-".to_owned(), ..v1::Error::default() });
    let error = decode::operation_error("fail.error", error, violations);
    let longest = crate::operation::Settings::MAX_BACKOFF;
    let retry_delay = retry_delay.map(|delay| {
        let delay = time::decode_duration(&delay).filter(|delay| *delay <= longest);
        delay.unwrap_or_else(|| {
            let rule = "must be a valid duration from 0 s to 24 h";
            violations.push(Violation::new("fail.retry_delay", rule));
            Duration::ZERO
        })
    });
    Report::Fail { error, is_final, retry_delay }
}

pub(super) fn assignment(operation: Arc<Operation>, input: Option<Payload>) -> Down {
    let deadlines = [
        operation.life.state.lease().and_then(|lease| lease.attempt_deadline),
        operation.submission.deadline(),
    ];
    Down::Assignment(v1::Assignment {
        attempt: operation.life.attempt.0.cast_signed(),
        input: input.map(encode::exact_payload),
        deadline_time: deadlines.into_iter().flatten().min().map(time::encode_timestamp),
        operation: Some(encode::operation(&Document::basic(operation))),
    })
}

pub(super) fn cancel_requested(operation: &Operation) -> Down {
    Down::Cancel(v1::CancelAttempt {
        attempt: Some(reference(operation.id(), operation.life.attempt)),
        cause: Cause::CancelRequested.into(),
        reason: operation.life.cancel.as_ref().map(|c| c.reason.clone()).unwrap_or_default(),
        grace_deadline_time: grace_deadline(operation),
    })
}

/// An attempt that is over already.
pub(super) fn stop(id: OperationId, attempt: Attempt, cause: Cause) -> Down {
    let attempt = Some(reference(id, attempt));
    Down::Cancel(v1::CancelAttempt { attempt, cause: cause.into(), ..Default::default() })
}

fn grace_deadline(operation: &Operation) -> Option<prost_types::Timestamp> {
    match operation.life.state {
        State::Cancelling { grace_until, .. } => Some(time::encode_timestamp(grace_until)),
        _ => None,
    }
}

fn reference(id: OperationId, attempt: Attempt) -> v1::AttemptRef {
    v1::AttemptRef { operation: id.name(), attempt: attempt.0.cast_signed() }
}
