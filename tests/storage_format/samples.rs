//! One operation of each sort, with every field that is stored set somewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use longrun::operation::state::{CancelRequest, Idempotency};
use longrun::operation::{
    Attempt, BatchRule, ErrorSource, HttpEnvelope, HttpHeader, IdempotencyKey, Kind, Lease, Life,
    NewOperation, ObjectId, OperationError, OperationId, Outcome, Payload, PayloadForm,
    PayloadInfo, Progress, RecordedReport, ReportDigest, RetryPolicy, Revision, SessionId,
    Settings, State, StoredObject, Submission, Timestamp, WorkerId,
};

use crate::generate::{self, EPOCH};

const ID: [u8; 16] = [0xa1; 16];

pub fn id() -> OperationId {
    generate::id(at(0), 1)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(EPOCH + millis * 1_000)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn error(code: &str) -> OperationError {
    OperationError {
        metadata: BTreeMap::from([("device".to_owned(), "7".to_owned())]),
        source: ErrorSource::Application,
        ..OperationError::service(code, 5, "grüße")
    }
}

fn nested() -> OperationError {
    OperationError::service("WORKER_LOST", 14, "gone").caused_by(Some(error("Inner")))
}

fn object() -> StoredObject {
    StoredObject { id: ObjectId::from_bytes([0x0b; 16]), sha256: [0x5a; 32] }
}

fn response() -> HttpEnvelope {
    let header = HttpHeader { name: "etag".to_owned(), value: b"\"1\xff\"".to_vec() };
    HttpEnvelope { status: 201, headers: vec![header], ..HttpEnvelope::default() }
}

fn request() -> HttpEnvelope {
    let header = |name: &str, value: &[u8]| HttpHeader { name: name.into(), value: value.into() };
    HttpEnvelope {
        method: "POST".to_owned(),
        target: "/render?size=2".to_owned(),
        headers: vec![header("accept", b"image/png"), header("date", b"today")],
        ..HttpEnvelope::default()
    }
}

fn payload(form: PayloadForm, content_type: &str) -> Payload {
    match form {
        PayloadForm::Any => Payload::any(content_type, "type/a.B".to_owned(), "abc".into()),
        form => Payload::new(form, content_type, "abc".into()),
    }
}

fn report(attempt: u32) -> RecordedReport {
    RecordedReport {
        attempt: Attempt(attempt),
        session: SessionId::from_bytes([0x5e; 16]),
        digest: ReportDigest::from_bytes([0xd1; 16]),
    }
}

fn life(state: State) -> Life {
    Life {
        state,
        revision: Revision(3),
        attempt: Attempt(1),
        attempts_used: 1,
        worker: Some(WorkerId::parse("worker-1").unwrap()),
        last_report: None,
        updated_at: at(0),
        started_at: Some(at(-250)),
        progress: None,
        last_error: None,
        cancel: None,
    }
}

fn done(outcome: Outcome) -> Life {
    let ended = at(0);
    let purge_at = ended.after(seconds(7 * 24 * 3600));
    let state = State::Done { outcome, at: ended, purge_at };
    Life { last_report: Some(report(1)), ..life(state) }
}

pub fn succeeded() -> Life {
    let result = PayloadInfo { size_bytes: 300, ..payload(PayloadForm::Json, "").info };
    done(Outcome::Succeeded { result: Some(result), warnings: Vec::new() })
}

/// A life of every state.
pub fn lives() -> Vec<(&'static str, Life)> {
    let session = SessionId::from_bytes([0x5e; 16]);
    let lease = Lease { session, attempt_deadline: Some(at(60_000)) };
    let cancel = Some(CancelRequest { at: at(-5), reason: "enough".to_owned() });
    let progress = Progress {
        percent: Some(12.5),
        done_units: Some(1),
        total_units: Some(8),
        message: "on it".to_owned(),
        at: at(-7),
    };
    let in_object = Payload::in_object("image/png", object(), 9_000_000).within(response()).info;
    vec![
        (
            "queued",
            Life {
                revision: Revision(1),
                attempt: Attempt(0),
                attempts_used: 0,
                worker: None,
                started_at: None,
                ..life(State::Queued { not_before: at(0) })
            },
        ),
        (
            "backing-off",
            Life {
                attempt: Attempt(3),
                attempts_used: 2,
                last_error: Some(nested()),
                last_report: Some(report(2)),
                ..life(State::Queued { not_before: at(1_500) })
            },
        ),
        (
            "running",
            Life { progress: Some(progress), ..life(State::Running { lease: lease.clone() }) },
        ),
        (
            "cancelling",
            Life {
                cancel: cancel.clone(),
                ..life(State::Cancelling {
                    lease: Lease { attempt_deadline: None, ..lease },
                    grace_until: at(30_000),
                })
            },
        ),
        ("succeeded", succeeded()),
        (
            "succeeded-large",
            done(Outcome::Succeeded { result: Some(in_object), warnings: vec![error("Slow")] }),
        ),
        (
            "partially-succeeded",
            done(Outcome::PartiallySucceeded {
                result: Some(payload(PayloadForm::Any, "").info),
                errors: vec![error("One"), nested()],
                warnings: vec![error("Slow")],
            }),
        ),
        ("failed", done(Outcome::Failed { error: nested() })),
        ("cancelled", Life { cancel, ..done(Outcome::Cancelled { error: error("CANCELLED") }) }),
    ]
}

fn settings() -> Settings {
    Settings {
        priority: 9,
        queue_timeout: Some(seconds(10)),
        attempt_timeout: Some(Duration::new(20, 5_000)),
        deadline: Some(seconds(100)),
        retry_policy: RetryPolicy {
            max_attempts: 7,
            initial_backoff: Duration::from_millis(1_500),
            multiplier: 1.5,
            max_backoff: seconds(90),
            jitter: 0.1,
        },
        cancel_grace: seconds(5),
        retention: seconds(3_600),
    }
}

/// What a client submits: nothing but what it must, and everything that it can.
pub fn new_operations() -> Vec<(&'static str, NewOperation)> {
    let least = NewOperation::of(Kind::parse("report.render").unwrap());
    let with = |input| NewOperation { input: Some(input), ..least.clone() };
    let labels = [("team", "a"), ("size", "")].map(|(key, value)| (key.into(), value.into()));
    let most = NewOperation {
        labels: labels.into(),
        settings: settings(),
        start_at: Some(at(90_000)),
        idempotency_key: IdempotencyKey::parse("order-1").ok(),
        retry_of: Some(OperationId::from_bytes(ID)),
        input: Some(payload(PayloadForm::Json, "").within(request())),
        // A limit of the mount, not a choice of the client's.
        capacity: Some(5),
        ..least.clone()
    };
    let child = NewOperation { parent: Some(OperationId::from_bytes(ID)), ..least.clone() };
    let children = Some(NewOperation::digest_of(std::slice::from_ref(&child)));
    let kind = Kind::of_batches().unwrap();
    let batch = NewOperation { children, ..NewOperation::of_batch(kind, BatchRule::ALL) };
    vec![
        ("least", least.clone()),
        ("data", with(payload(PayloadForm::Data, ""))),
        ("text", with(payload(PayloadForm::Text, "text/csv"))),
        ("any", with(payload(PayloadForm::Any, ""))),
        ("object", with(Payload::in_object("", object(), 9_000_000))),
        ("most", most),
        ("child", child),
        ("batch", batch),
    ]
}

/// The same as they are stored.
pub fn submissions() -> Vec<(&'static str, Submission)> {
    let stored = |(name, new): (&'static str, NewOperation)| {
        let fingerprint = new.fingerprint();
        let submission = Submission {
            id: id(),
            tenant: new.tenant,
            kind: new.kind,
            labels: new.labels,
            settings: new.settings,
            created_at: at(0),
            start_at: new.start_at.unwrap_or_else(|| at(0)),
            idempotency: new.idempotency_key.map(|key| Idempotency { key, fingerprint }),
            retry_of: new.retry_of,
            parent: new.parent,
            trace: new.trace,
            callback: new.callback,
            input: new.input.map(|input| input.info),
        };
        (name, submission)
    };
    new_operations().into_iter().map(stored).collect()
}

/// Digests of reports.
pub fn reports() -> Vec<(&'static str, ReportDigest)> {
    let result = payload(PayloadForm::Text, "").within(response());
    let large = Payload::in_object("image/png", object(), 9_000_000);
    vec![
        ("complete", ReportDigest::of_complete(None, &[], &[])),
        ("complete-all", ReportDigest::of_complete(Some(&result), &[error("Slow")], &[nested()])),
        ("complete-large", ReportDigest::of_complete(Some(&large), &[], &[])),
        ("fail", ReportDigest::of_fail(&nested(), false, None)),
        ("fail-finally", ReportDigest::of_fail(&error("Wrong"), true, Some(seconds(50)))),
        ("release", ReportDigest::of_release()),
    ]
}
