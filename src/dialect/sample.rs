//! Operations of every state, bare and with all that they can have, for templates to be tried on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::view::{Record, Subject};
use crate::operation::error::ErrorSource;
use crate::operation::{
    HttpEnvelope, Kind, Lease, Life, Operation, OperationError, OperationId, Outcome, Payload,
    PayloadForm, Progress, Revision, SessionId, Settings, State, StateName, Submission, TenantId,
    Timestamp, mark,
};

const AT: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);
/// What breaks documents that do not escape.
const HOSTILE: &str = "\"quoted\" \\ <b>\u{e9}";

/// Operations of every state, each without and with everything.
pub(super) fn operations(kind: &Kind) -> Vec<Operation> {
    let states = || {
        let result = |form, media_type: &str, status| {
            let payload = Payload::new(form, media_type, bytes::Bytes::from_static(b"{\"a\": 1}"));
            let envelope = HttpEnvelope { status, ..HttpEnvelope::default() };
            let payload = if status == 0 { payload } else { payload.within(envelope) };
            Some(payload.info)
        };
        let json = || result(PayloadForm::Json, "application/json", 0);
        let csv = || result(PayloadForm::Data, "text/csv", 200);
        let failed = |code| Outcome::Failed { error: error(code) };
        let ended = [
            Outcome::Succeeded { result: None, warnings: Vec::new() },
            Outcome::Succeeded { result: json(), warnings: vec![error("W")] },
            Outcome::Succeeded { result: csv(), warnings: Vec::new() },
            Outcome::PartiallySucceeded {
                result: json(),
                errors: vec![error("A"), error("B")],
                warnings: vec![error("W")],
            },
            Outcome::PartiallySucceeded {
                result: None,
                errors: vec![OperationError::service("A", 13, "")],
                warnings: Vec::new(),
            },
            failed("A"),
            failed(OperationError::QUEUE_TIMEOUT),
            Outcome::Failed { error: OperationError::service("A", 2, "") },
            Outcome::Cancelled { error: error(OperationError::CANCELLED) },
        ];
        let lease = || Lease { session: SessionId::from_bytes([1; 16]), attempt_deadline: None };
        let ended = ended.into_iter().map(|outcome| State::Done {
            outcome,
            at: AT,
            purge_at: Timestamp::MAX,
        });
        let pending = [
            State::Queued { not_before: AT },
            State::Running { lease: lease() },
            State::Cancelling { lease: lease(), grace_until: AT },
        ];
        pending.into_iter().chain(ended)
    };
    let bare = states().map(|state| operation(kind, state, false));
    bare.chain(states().map(|state| operation(kind, state, true))).collect()
}

/// The history of an operation that has everything.
pub(super) fn history(operation: &Operation) -> Vec<Record> {
    if !is_rich(operation) {
        return Vec::new();
    }
    let record = |number, state, text| Record { number, at: AT, state, text };
    vec![
        record(1, StateName::Queued, None),
        record(1, StateName::Running, Some(HOSTILE.to_owned())),
        record(3, operation.state_name(), None),
    ]
}

/// An operation as it is asked for.
pub(super) fn subject<'a>(operation: &'a Operation, history: &'a [Record]) -> Subject<'a> {
    let is_rich = is_rich(operation);
    Subject {
        operation,
        result: is_rich.then_some(b"{\"a\": 1, \"failed\": [\"\\\"\"]}"),
        history,
        now: AT,
        base: "http://localhost",
        mount: "mount",
        prefix: "/prefix",
        relay_prefix: if is_rich { "/relay" } else { "" },
    }
}

fn is_rich(operation: &Operation) -> bool {
    !operation.submission.labels.is_empty()
}

fn error(code: &str) -> OperationError {
    OperationError {
        code: code.to_owned(),
        message: HOSTILE.to_owned(),
        status_code: 9,
        metadata: [("field".to_owned(), HOSTILE.to_owned())].into(),
        causes: vec![OperationError::service("CAUSE", 5, HOSTILE)],
        source: ErrorSource::Application,
    }
}

fn operation(kind: &Kind, state: State, is_rich: bool) -> Operation {
    let envelope = HttpEnvelope {
        method: "POST".to_owned(),
        target: "/path?query=1".to_owned(),
        ..HttpEnvelope::default()
    };
    let input = Payload::new(PayloadForm::Data, "text/plain", bytes::Bytes::new());
    let labels = [
        ("label".to_owned(), HOSTILE.to_owned()),
        (mark::TRIGGER.to_owned(), "async=true".to_owned()),
    ];
    let submission = Submission {
        id: OperationId::from_bytes([7; 16]),
        tenant: TenantId::default_tenant(),
        kind: kind.clone(),
        labels: if is_rich { labels.into() } else { BTreeMap::new() },
        settings: Settings::default(),
        created_at: AT,
        start_at: AT,
        idempotency: None,
        retry_of: None,
        input: is_rich.then(|| input.within(envelope).info),
    };
    let progress = Progress {
        percent: Some(12.5),
        done_units: Some(1),
        total_units: Some(8),
        message: HOSTILE.to_owned(),
        at: AT,
    };
    let life = Life {
        state,
        revision: Revision(1),
        attempt: crate::operation::Attempt(1),
        attempts_used: 1,
        worker: None,
        last_report: None,
        updated_at: AT,
        started_at: is_rich.then_some(AT),
        progress: is_rich.then_some(progress),
        last_error: None,
        cancel: None,
    };
    Operation { submission: Arc::new(submission), life }
}
