//! Random operations and filters for tests. Values are few, so that they meet.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use longrun::operation::state::{CancelRequest, Idempotency};
use longrun::operation::{
    Attempt, ErrorSource, HttpEnvelope, HttpHeader, IdempotencyKey, Kind, Lease, Life, ObjectId,
    Operation, OperationError, OperationId, Outcome, PayloadForm, PayloadInfo, Progress,
    RecordedReport, ReportDigest, RetryPolicy, Revision, SessionId, Settings, State, StoredObject,
    Submission, TenantId, Timestamp, TraceContext, WorkerId,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::string::string_regex;

/// A Monday in the past, in microseconds.
pub const EPOCH: i64 = 1_767_225_600_000_000;

pub fn time() -> impl Strategy<Value = Timestamp> {
    // A few times a second apart, with microseconds, so that filters hit and miss.
    (0..6_i64, 0..3_i64).prop_map(|(s, us)| Timestamp::from_micros(EPOCH + s * 1_000_000 + us))
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![time(), any::<i64>().prop_map(Timestamp::from_micros)]
}

fn duration() -> impl Strategy<Value = Duration> {
    (0..1_u64 << 40, 0..1_000_000_000_u32).prop_map(|(s, ns)| Duration::new(s, ns))
}

/// An id whose milliseconds are those of `created_at`.
pub fn id(created_at: Timestamp, random: u64) -> OperationId {
    let mut bytes = [0; 16];
    let millis = (created_at.micros() / 1_000).to_be_bytes();
    bytes[..6].copy_from_slice(&millis[2..]);
    bytes[8..].copy_from_slice(&random.to_be_bytes());
    bytes[6] = 0x70;
    OperationId::from_bytes(bytes)
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 16]>().prop_map(SessionId::from_bytes)
}

fn payload() -> impl Strategy<Value = PayloadInfo> {
    let form = proptest::sample::select(&PayloadForm::ALL[..]);
    let content_type = prop_oneof![
        Just("application/json"),
        Just("application/octet-stream"),
        Just("text/plain; charset=utf-8"),
        Just("application/protobuf"),
        Just("image/png")
    ];
    let object = any::<([u8; 16], [u8; 32])>()
        .prop_map(|(id, sha256)| StoredObject { id: ObjectId::from_bytes(id), sha256 });
    let size = any::<u64>();
    (form, content_type, "[a-z/]{0,8}", size, option::of(envelope()), option::of(object)).prop_map(
        |(form, content_type, type_url, size_bytes, http, object)| PayloadInfo {
            content_type: content_type.to_owned(),
            form,
            type_url,
            size_bytes,
            http: http.map(Arc::new),
            object,
        },
    )
}

fn envelope() -> impl Strategy<Value = HttpEnvelope> {
    let header = ("[a-z-]{1,8}", vec(any::<u8>(), 0..8))
        .prop_map(|(name, value)| HttpHeader { name, value });
    ("[A-Z]{0,4}", "[/a-z]{0,8}", any::<u16>(), vec(header, 0..3)).prop_map(
        |(method, target, status, headers)| HttpEnvelope { method, target, status, headers },
    )
}

fn error() -> impl Strategy<Value = OperationError> {
    let leaf = (".{0,8}", ".{0,8}", 1..=16_u8, btree_map(".{0,4}", ".{0,4}", 0..3), any::<bool>())
        .prop_map(|(code, message, status_code, metadata, service)| OperationError {
            code,
            message,
            status_code,
            metadata,
            causes: Vec::new(),
            source: if service { ErrorSource::Service } else { ErrorSource::Application },
        });
    leaf.prop_recursive(7, 16, 3, |inner| {
        (inner.clone(), vec(inner, 0..3))
            .prop_map(|(error, causes)| OperationError { causes, ..error })
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (option::of(payload()), vec(error(), 0..2))
            .prop_map(|(result, warnings)| Outcome::Succeeded { result, warnings }),
        (option::of(payload()), vec(error(), 1..3), vec(error(), 0..2)).prop_map(
            |(result, errors, warnings)| Outcome::PartiallySucceeded { result, errors, warnings }
        ),
        error().prop_map(|error| Outcome::Failed { error }),
        error().prop_map(|error| Outcome::Cancelled { error }),
    ]
}

fn lease(time: impl Strategy<Value = Timestamp>) -> impl Strategy<Value = Lease> {
    (session(), option::of(time))
        .prop_map(|(session, attempt_deadline)| Lease { session, attempt_deadline })
}

fn state(t: impl Strategy<Value = Timestamp> + Clone + 'static) -> impl Strategy<Value = State> {
    prop_oneof![
        t.clone().prop_map(|not_before| State::Queued { not_before }),
        lease(t.clone()).prop_map(|lease| State::Running { lease }),
        (lease(t.clone()), t.clone())
            .prop_map(|(lease, grace_until)| State::Cancelling { lease, grace_until }),
        (outcome(), t.clone(), t).prop_map(|(outcome, at, purge_at)| State::Done {
            outcome,
            at,
            purge_at
        }),
    ]
}

fn progress() -> impl Strategy<Value = Progress> {
    (
        option::of(0.0..=100.0_f64),
        option::of(any::<i64>()),
        option::of(any::<i64>()),
        ".{0,8}",
        any_time(),
    )
        .prop_map(|(percent, done_units, total_units, message, at)| Progress {
            percent,
            done_units,
            total_units,
            message,
            at,
        })
}

pub fn life() -> impl Strategy<Value = Life> {
    life_of(state(prop_oneof![time(), any::<i64>().prop_map(Timestamp::from_micros)].boxed()))
}

fn life_of(state: impl Strategy<Value = State>) -> impl Strategy<Value = Life> {
    let report = (0..4_u32, session(), any::<[u8; 16]>()).prop_map(|(attempt, session, digest)| {
        let (attempt, digest) = (Attempt(attempt), ReportDigest::from_bytes(digest));
        RecordedReport { attempt, session, digest }
    });
    let cancel = (any_time(), ".{0,8}").prop_map(|(at, reason)| CancelRequest { at, reason });
    (
        (state, 1..1_u64 << 62, 0..4_u32, any::<u32>(), "[ -~]{1,9}", option::of(report)),
        (time(), option::of(time()), option::of(progress())),
        (option::of(error()), option::of(cancel)),
    )
        .prop_map(|(first, (updated_at, started_at, progress), (last_error, cancel))| {
            let (state, revision, attempt, attempts_used, worker, last_report) = first;
            Life {
                state,
                revision: Revision(revision),
                attempt: Attempt(attempt),
                attempts_used,
                worker: Some(WorkerId::parse(&worker).unwrap()),
                last_report,
                updated_at,
                started_at,
                progress,
                last_error,
                cancel,
            }
        })
}

fn settings() -> impl Strategy<Value = Settings> {
    let policy = (any::<u32>(), duration(), 1.0..100.0_f64, duration(), 0.0..=1.0_f64).prop_map(
        |(max_attempts, initial_backoff, multiplier, max_backoff, jitter)| RetryPolicy {
            max_attempts,
            initial_backoff,
            multiplier,
            max_backoff,
            jitter,
        },
    );
    let policy = prop_oneof![Just(RetryPolicy::default()), policy];
    let limit = || option::of(duration());
    let usual = Settings::default();
    let or = |usual: Duration| prop_oneof![Just(usual), duration()];
    ((0..4_u8, limit(), limit(), limit()), (policy, or(usual.cancel_grace), or(usual.retention)))
        .prop_map(|((priority, queue_timeout, attempt_timeout, deadline), rest)| Settings {
            priority,
            queue_timeout,
            attempt_timeout,
            deadline,
            retry_policy: rest.0,
            cancel_grace: rest.1,
            retention: rest.2,
        })
}

pub fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("(a|b|a/b)", "(|x|xy|yx|é|\\*|x%)", 0..3)
}

/// Batches of which operations are children.
const PARENTS: [&str; 3] = [
    "00000000-0000-7000-8000-00000000000a",
    "0191e2ab-7c1d-7000-8000-0123456789ab",
    "ffffffff-ffff-7fff-bfff-ffffffffffff",
];

const TRACE_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub fn submission() -> impl Strategy<Value = Submission> {
    (
        (time(), any::<u64>(), "(a|b|ab|report\\.a|A)", labels(), settings()),
        (any_time(), option::of(("[!-~]{1,12}", any::<[u8; 32]>()))),
        (option::of(any::<[u8; 16]>()), option::of(payload()), option::of("(|a=b)")),
        option::of(0..3_usize),
    )
        .prop_map(|(first, (start_at, key), (retry_of, input, trace), parent)| {
            let (created_at, random, kind, labels, settings) = first;
            Submission {
                id: id(created_at, random),
                tenant: TenantId::default_tenant(),
                kind: Kind::parse(&kind).unwrap(),
                labels,
                settings,
                created_at,
                start_at,
                idempotency: key.map(|(key, fingerprint)| Idempotency {
                    key: IdempotencyKey::parse(&key).unwrap(),
                    fingerprint,
                }),
                retry_of: retry_of.map(OperationId::from_bytes),
                parent: parent.and_then(|n| OperationId::parse(PARENTS[n]).ok()),
                trace: trace.and_then(|state| TraceContext::parse(TRACE_PARENT, &state)),
                callback: None,
                input,
            }
        })
}

/// Operations as a store may hold them together: no two with one key.
pub fn operations(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    vec((submission(), life_of(state(time().boxed()))), 0..most).prop_map(|parts| {
        let parts = parts.into_iter().enumerate();
        parts
            .map(|(n, (mut submission, life))| {
                submission.id = id(submission.created_at, n as u64);
                submission.idempotency = None;
                Operation { submission: Arc::new(submission), life }
            })
            .collect()
    })
}

/// The text of a filter.
pub fn filter() -> impl Strategy<Value = String> {
    let compare = "(=|!=|<|<=|>|>=)";
    let time =
        || (0..6_u8, 0..3_u8).prop_map(|(s, us)| format!("2026-01-01T00:00:0{s}.00000{us}Z"));
    let state = "(QUEUED|RUNNING|CANCELLING|SUCCEEDED|PARTIALLY_SUCCEEDED|FAILED|CANCELLED)";
    let pattern = "(\"\"|x|\\*x|x\\*|\\*y\\*|\\*|a|a\\*|é|\"\\\\\\*\"|x%|report\\.\\*)";
    let text = |pattern: String| string_regex(&pattern).unwrap();
    let test = prop_oneof![
        text(format!("state(=|!=){state}")),
        text(format!("kind(=|!=|:){pattern}")),
        text(format!("labels\\.(a|b|a/b|c)(=|!=|:){pattern}")),
        text("labels:(a|b|c)".to_owned()),
        ("(create|update|start|end)_time", compare, time())
            .prop_map(|(field, compare, time)| format!("{field}{compare}{time}")),
        text("(create|update|start|end)_time:\\*".to_owned()),
        text(format!("(priority|attempt){compare}[0-3]")),
        text("done(=|!=)(true|false)".to_owned()),
        ("(=|!=|:)", 0..4_usize, "(|operations/)").prop_map(|(compare, n, before)| {
            let parent = PARENTS.get(n).copied().unwrap_or("0191e2ab-7c1d-7000-8000-000000000000");
            format!("parent{compare}\"{before}{parent}\"")
        }),
        text("parent:\\*".to_owned()),
    ];
    test.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|it| format!("NOT {it}")),
            inner.clone().prop_map(|it| format!("-({it})")),
            (inner.clone(), "( AND | OR | )", inner.clone())
                .prop_map(|(left, word, right)| format!("({left}{word}{right})")),
            (inner.clone(), "( AND | OR | )", inner)
                .prop_map(|(left, word, right)| format!("{left}{word}{right}")),
        ]
    })
}
