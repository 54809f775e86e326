//! Messages of workers with and without a stream, and the responses to workers without one.

use std::time::Duration;

use super::{decode, encode, errors, time};
use crate::operation::id::InvalidName;
use crate::operation::{
    Kind, Operation, OperationError, Payload, RequestId, Settings, State, TraceContext, WorkerId,
};
use crate::proto::v1::{self, cancel_attempt::Cause};
use crate::service::{
    Acquire, Acquired, AttemptToken, MAX_ACQUIRED, MAX_ATTEMPT_LEASE, Renewal, Report, Violations,
};

/// The maximum number of kinds that a worker serves.
const MAX_KINDS: usize = 100;
/// The maximum number of log lines in one report.
const MAX_LOG_LINES: usize = 1_000;
/// The maximum size of the log lines in one report, in bytes.
pub const MAX_LOG_BYTES: usize = 256 << 10;

/// A worker's name for itself. Here and below, `at` is the prefix of the field's path: a path with its dot, or empty.
pub fn worker_id(at: &str, text: &str, violations: &mut Violations) -> Option<WorkerId> {
    let worker = WorkerId::parse(text);
    let note = |invalid: InvalidName| {
        violations.note(format!("{at}worker_id"), invalid.to_string());
    };
    worker.map_err(note).ok()
}

/// The kinds that a worker serves, each once.
pub fn kinds(at: &str, texts: &[String], violations: &mut Violations) -> Vec<Kind> {
    let mut note = |field: String, rule: String| violations.note(field, rule);
    if texts.is_empty() || texts.len() > MAX_KINDS {
        note(format!("{at}kinds"), format!("must have from 1 to {MAX_KINDS} entries"));
    }
    let mut kinds = Vec::with_capacity(texts.len().min(MAX_KINDS));
    for (number, kind) in texts.iter().enumerate().take(MAX_KINDS) {
        match Kind::parse(kind) {
            Ok(kind) if kinds.contains(&kind) => {}
            Ok(kind) => kinds.push(kind),
            Err(invalid) => note(format!("{at}kinds[{number}]"), invalid.to_string()),
        }
    }
    kinds
}

/// Log lines.
pub fn log(at: &str, lines: Vec<String>, violations: &mut Violations) -> Report {
    let bytes: usize = lines.iter().map(String::len).sum();
    if lines.len() > MAX_LOG_LINES || bytes > MAX_LOG_BYTES {
        let rule = format!("must be at most {MAX_LOG_LINES} lines and {MAX_LOG_BYTES} bytes");
        violations.note(format!("{at}lines"), rule);
    }
    Report::Log(lines)
}

/// A failure.
pub fn failure(
    at: &str,
    error: Option<v1::Error>,
    is_final: bool,
    retry_delay: Option<prost_types::Duration>,
    violations: &mut Violations,
) -> Report {
    let field = format!("{at}error");
    if error.is_none() {
        violations.note(&field, "must be set");
    }
    let error = error.unwrap_or_else(|| v1::Error { code: "-".to_owned(), ..v1::Error::default() });
    let error = errors::one(&field, error, violations);
    let retry_delay = retry_delay.map(|delay| {
        let delay = time::decode_duration(&delay).filter(|delay| *delay <= Settings::MAX_BACKOFF);
        delay.unwrap_or_else(|| {
            let rule = "must be a valid duration from 0 s to 24 h";
            violations.note(format!("{at}retry_delay"), rule);
            Duration::ZERO
        })
    });
    Report::Fail { error, is_final, retry_delay }
}

/// A success with the contents in the message, if any; at most `most` bytes.
pub fn success(
    at: &str,
    result: Option<v1::Payload>,
    (warnings, errors): (Vec<v1::Error>, Vec<v1::Error>),
    most: usize,
    violations: &mut Violations,
) -> (Option<Payload>, Vec<OperationError>, Vec<OperationError>) {
    let result = decode::payload(result, &format!("{at}result"), most, violations);
    let warnings = errors::many(&format!("{at}warnings"), warnings, violations);
    let errors = errors::many(&format!("{at}errors"), errors, violations);
    (result, warnings, errors)
}

/// A poll.
pub fn acquire(request: &v1::AcquireRequest, violations: &mut Violations) -> Option<Acquire> {
    let worker = worker_id("", &request.worker_id, violations);
    let kinds = kinds("", &request.kinds, violations);
    let most = match request.max_attempts {
        0 => Some(1),
        most => usize::try_from(most).ok().filter(|most| (1..=MAX_ACQUIRED).contains(most)),
    };
    if most.is_none() {
        let rule = format!("must be from 1 to {MAX_ACQUIRED}");
        violations.note("max_attempts", rule);
    }
    let wait = violations.take(decode::wait("timeout", request.timeout.as_ref()));
    let is_lease = |lease: &Duration| (Duration::from_secs(1)..=MAX_ATTEMPT_LEASE).contains(lease);
    let lease =
        request.lease_duration.as_ref().map(|it| time::decode_duration(it).filter(is_lease));
    if lease == Some(None) {
        let rule = "must be a valid duration from 1 s to 7 days";
        violations.note("lease_duration", rule);
    }
    let request = match request.request_id.as_str() {
        "" => None,
        text => {
            let note = |invalid: InvalidName| violations.note("request_id", invalid.to_string());
            RequestId::parse(text).map_err(note).ok()
        }
    };
    let lease = lease.flatten();
    Some(Acquire { worker: worker?, kinds, most: most?, lease, wait: wait?, request })
}

/// An acquired attempt with its token as text, but without its input.
pub fn acquired(
    acquired: &Acquired,
    token: String,
    trace: Option<TraceContext>,
) -> v1::AcquiredAttempt {
    let operation = &acquired.operation;
    v1::AcquiredAttempt {
        operation: Some(encode::attempted(operation.clone(), trace)),
        attempt: operation.life.attempt.0.cast_signed(),
        input: None,
        deadline_time: attempt_deadline(operation),
        token,
        lease_duration: Some(time::encode_duration(acquired.token.lease())),
    }
}

/// When a running attempt will end, whatever its worker does.
pub fn attempt_deadline(operation: &Operation) -> Option<prost_types::Timestamp> {
    let deadlines = [
        operation.life.state.lease().and_then(|lease| lease.attempt_deadline),
        operation.submission.deadline(),
    ];
    deadlines.into_iter().flatten().min().map(time::encode_timestamp)
}

/// The response to a renewal.
pub fn renewed(renewal: &Renewal, token: &AttemptToken) -> v1::RenewResponse {
    let is_recorded = match renewal {
        Renewal::Renewed(operation) => {
            let is_cancelling = matches!(operation.life.state, State::Cancelling { .. });
            return v1::RenewResponse {
                lease_duration: Some(time::encode_duration(token.lease())),
                cancel: is_cancelling.then(|| cancel(operation)),
            };
        }
        Renewal::Over { is_recorded } => *is_recorded,
    };
    let cause = if is_recorded { Cause::Recorded } else { Cause::NotCurrent };
    let over = v1::CancelAttempt {
        attempt: Some(v1::AttemptRef {
            operation: token.id().name(),
            attempt: token.attempt().0.cast_signed(),
        }),
        cause: cause.into(),
        ..Default::default()
    };
    v1::RenewResponse { lease_duration: None, cancel: Some(over) }
}

/// The cancel of a running attempt.
pub fn cancel(operation: &Operation) -> v1::CancelAttempt {
    let grace_until = match operation.life.state {
        State::Cancelling { grace_until, .. } => Some(grace_until),
        _ => None,
    };
    v1::CancelAttempt {
        attempt: Some(v1::AttemptRef {
            operation: operation.id().name(),
            attempt: operation.life.attempt.0.cast_signed(),
        }),
        cause: Cause::CancelRequested.into(),
        reason: operation.life.cancel.as_ref().map(|c| c.reason.clone()).unwrap_or_default(),
        grace_deadline_time: grace_until.map(time::encode_timestamp),
    }
}
