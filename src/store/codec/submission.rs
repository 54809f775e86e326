//! Submissions as bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;

use super::parts::{DurationMessage, PayloadMessage, offset, time_at};
use super::{Columns, Damage};
use crate::operation::state::Idempotency;
use crate::operation::{CallbackUrl, OperationId, RetryPolicy, Settings, Submission, TraceContext};

#[derive(Clone, PartialEq, prost::Message)]
struct SubmissionMessage {
    #[prost(btree_map = "string, string", tag = "1")]
    labels: BTreeMap<String, String>,
    /// Relative to `created_at`.
    #[prost(sint64, tag = "2")]
    start_at: i64,
    /// Of the content submitted under the idempotency key.
    #[prost(bytes = "vec", tag = "3")]
    fingerprint: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "4")]
    retry_of: Option<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    input: Option<PayloadMessage>,
    /// Absent if all settings are the defaults.
    #[prost(message, optional, tag = "6")]
    settings: Option<SettingsMessage>,
    /// W3C Trace Context.
    #[prost(string, tag = "7")]
    trace_parent: String,
    #[prost(string, tag = "8")]
    trace_state: String,
    /// Empty if there is no callback.
    #[prost(string, tag = "9")]
    callback: String,
    /// Absent if it is not a child of a batch.
    #[prost(bytes = "vec", optional, tag = "10")]
    parent: Option<Vec<u8>>,
}

/// All settings but the priority, which has a column.
#[derive(Clone, PartialEq, prost::Message)]
struct SettingsMessage {
    #[prost(message, optional, tag = "1")]
    queue_timeout: Option<DurationMessage>,
    #[prost(message, optional, tag = "2")]
    attempt_timeout: Option<DurationMessage>,
    #[prost(message, optional, tag = "3")]
    deadline: Option<DurationMessage>,
    /// Absent for 30 s.
    #[prost(message, optional, tag = "4")]
    cancel_grace: Option<DurationMessage>,
    /// Absent for 7 days.
    #[prost(message, optional, tag = "5")]
    retention: Option<DurationMessage>,
    /// Absent for the default.
    #[prost(message, optional, tag = "6")]
    retry_policy: Option<RetryPolicyMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RetryPolicyMessage {
    #[prost(uint32, tag = "1")]
    max_attempts: u32,
    #[prost(message, optional, tag = "2")]
    initial_backoff: Option<DurationMessage>,
    #[prost(double, tag = "3")]
    multiplier: f64,
    #[prost(message, optional, tag = "4")]
    max_backoff: Option<DurationMessage>,
    #[prost(double, tag = "5")]
    jitter: f64,
}

// Defaults that are not stored. Part of the format, so they must not change when the service's own defaults do: a
// submission never changes.
const USUAL_GRACE: Duration = Duration::from_secs(30);
const USUAL_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
const USUAL_RETRY_POLICY: RetryPolicy = RetryPolicy {
    max_attempts: 5,
    initial_backoff: Duration::from_secs(1),
    multiplier: 2.0,
    max_backoff: Duration::from_secs(60),
    jitter: 0.2,
};

pub(super) fn encode(submission: &Submission) -> Vec<u8> {
    let settings = encode_settings(&submission.settings);
    let trace = submission.trace.as_ref();
    SubmissionMessage {
        labels: submission.labels.clone(),
        start_at: offset(submission.start_at, submission.created_at),
        fingerprint: submission
            .idempotency
            .as_ref()
            .map_or_else(Vec::new, |idempotency| idempotency.fingerprint.to_vec()),
        retry_of: submission.retry_of.map(|id| id.as_bytes().to_vec()),
        parent: submission.parent.map(|id| id.as_bytes().to_vec()),
        input: submission.input.as_ref().map(PayloadMessage::encode),
        settings: (settings != SettingsMessage::default()).then_some(settings),
        trace_parent: trace.map(|trace| trace.parent.to_string()).unwrap_or_default(),
        trace_state: trace.map(|trace| trace.state.to_string()).unwrap_or_default(),
        callback: submission
            .callback
            .as_ref()
            .map(|url| url.as_str().to_owned())
            .unwrap_or_default(),
    }
    .encode_to_vec()
}

fn encode_settings(settings: &Settings) -> SettingsMessage {
    let unless = |usual: Duration, value: Duration| (value != usual).then(|| value.into());
    let policy = &settings.retry_policy;
    SettingsMessage {
        queue_timeout: settings.queue_timeout.map(Into::into),
        attempt_timeout: settings.attempt_timeout.map(Into::into),
        deadline: settings.deadline.map(Into::into),
        cancel_grace: unless(USUAL_GRACE, settings.cancel_grace),
        retention: unless(USUAL_RETENTION, settings.retention),
        retry_policy: (*policy != USUAL_RETRY_POLICY).then(|| RetryPolicyMessage {
            max_attempts: policy.max_attempts,
            initial_backoff: Some(policy.initial_backoff.into()),
            multiplier: policy.multiplier,
            max_backoff: Some(policy.max_backoff.into()),
            jitter: policy.jitter,
        }),
    }
}

pub(super) fn decode(columns: Columns, bytes: &[u8]) -> Result<Submission, Damage> {
    let message = SubmissionMessage::decode(bytes)?;
    let idempotency = match columns.idempotency_key {
        None => None,
        Some(key) => {
            let fingerprint = message.fingerprint.try_into();
            let fingerprint = fingerprint.map_err(|_| Damage::missing("the fingerprint"))?;
            Some(Idempotency { key, fingerprint })
        }
    };
    let id = |id: Option<Vec<u8>>, field: &str| {
        let id = id.map(|id| id.try_into().map(OperationId::from_bytes)).transpose();
        id.map_err(|_| Damage(format!("{field} is not an id")))
    };
    let retry_of = id(message.retry_of, "retry_of")?;
    let parent = id(message.parent, "parent")?;
    Ok(Submission {
        id: columns.id,
        tenant: columns.tenant,
        kind: columns.kind,
        labels: message.labels,
        settings: decode_settings(message.settings.unwrap_or_default(), columns.priority)?,
        created_at: columns.created_at,
        start_at: time_at(message.start_at, columns.created_at),
        idempotency,
        retry_of,
        parent,
        trace: TraceContext::parse(&message.trace_parent, &message.trace_state),
        callback: CallbackUrl::parse(&message.callback).ok(),
        input: message.input.map(PayloadMessage::decode).transpose()?,
    })
}

fn decode_settings(message: SettingsMessage, priority: u8) -> Result<Settings, Damage> {
    let duration = |value: Option<DurationMessage>| value.map(DurationMessage::decode).transpose();
    Ok(Settings {
        priority,
        queue_timeout: duration(message.queue_timeout)?,
        attempt_timeout: duration(message.attempt_timeout)?,
        deadline: duration(message.deadline)?,
        retry_policy: match message.retry_policy {
            None => USUAL_RETRY_POLICY,
            Some(policy) => RetryPolicy {
                max_attempts: policy.max_attempts,
                initial_backoff: duration(policy.initial_backoff)?.unwrap_or_default(),
                multiplier: policy.multiplier,
                max_backoff: duration(policy.max_backoff)?.unwrap_or_default(),
                jitter: policy.jitter,
            },
        },
        cancel_grace: duration(message.cancel_grace)?.unwrap_or(USUAL_GRACE),
        retention: duration(message.retention)?.unwrap_or(USUAL_RETENTION),
    })
}
