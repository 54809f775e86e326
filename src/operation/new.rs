//! A submission before it becomes an operation: everything that its client chose.

use std::collections::BTreeMap;
use std::time::Duration;

use super::digest::{Fields, micros};
use super::{
    CallbackUrl, IdempotencyKey, Kind, OperationId, Payload, Settings, TenantId, Timestamp,
    TraceContext,
};

/// A client's checked submission.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOperation {
    /// The tenant.
    pub tenant: TenantId,
    /// The kind.
    pub kind: Kind,
    /// The client's labels.
    pub labels: BTreeMap<String, String>,
    /// The client's settings, with defaults.
    pub settings: Settings,
    /// The settings that replace them where the server's configuration decides: its default retention, a mount's
    /// limits. Not part of the fingerprint, because another configuration does not change the client's submission.
    pub configured: Option<Box<Settings>>,
    /// The earliest start time.
    pub start_at: Option<Timestamp>,
    /// The minimum delay from storing it to its start.
    pub start_in: Option<Duration>,
    /// The client's own name for the submission.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The operation that this one retries.
    pub retry_of: Option<OperationId>,
    /// The batch that it will be a child of.
    pub parent: Option<OperationId>,
    /// For a batch: the digest of the children in the same submission.
    pub children: Option<[u8; 32]>,
    /// The submitter's trace context. Not part of the fingerprint: a submission that is sent again is the same.
    pub trace: Option<TraceContext>,
    /// The receiver of a notification of its end.
    pub callback: Option<CallbackUrl>,
    /// The input.
    pub input: Option<Payload>,
    /// Refuse if this many operations of the kind are outstanding.
    pub capacity: Option<u64>,
}

impl NewOperation {
    /// The latest start time: 9000-01-01T00:00:00Z. The thousand years after it leave room for time limits and
    /// retention, so that every time of the operation can be written.
    pub const LATEST_START: Timestamp = Timestamp::from_micros(221_845_392_000_000_000);

    /// A submission of `kind` with the default tenant and default settings.
    pub fn of(kind: Kind) -> Self {
        Self {
            tenant: TenantId::default_tenant(),
            kind,
            labels: BTreeMap::new(),
            settings: Settings::default(),
            configured: None,
            start_at: None,
            start_in: None,
            idempotency_key: None,
            retry_of: None,
            parent: None,
            children: None,
            trace: None,
            callback: None,
            input: None,
            capacity: None,
        }
    }

    /// The settings in force.
    pub fn in_force(&self) -> &Settings {
        self.configured.as_deref().unwrap_or(&self.settings)
    }

    /// Whether this submission has that fingerprint. Earlier versions computed fingerprints with the settings in force.
    pub fn is_known_by(&self, fingerprint: &[u8; 32]) -> bool {
        self.fingerprint() == *fingerprint
            || self.configured.as_deref().is_some_and(|it| self.digest(it) == *fingerprint)
    }

    /// SHA-256 over everything that the client chose except the key: two submissions under one key are the same if and
    /// only if their fingerprints are equal.
    ///
    /// Fingerprints are stored, so a submission's fingerprint must never change. A field of a later version is hashed
    /// last, and only if it does not have its default: then older keys are still recognized.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.digest(&self.settings)
    }

    fn digest(&self, settings: &Settings) -> [u8; 32] {
        let mut hash = Fields::new();
        hash.bytes(self.kind.as_str().as_bytes());
        hash.number(self.labels.len() as u64);
        for (key, value) in &self.labels {
            hash.bytes(key.as_bytes());
            hash.bytes(value.as_bytes());
        }
        hash_settings(&mut hash, settings);
        hash.optional(self.start_at.map(|at| at.micros().unsigned_abs()));
        hash.bytes(self.retry_of.as_ref().map_or(&[][..], |id| id.as_bytes()));
        hash.number(u64::from(self.input.is_some()));
        if let Some(input) = &self.input {
            hash.number(u64::from(input.info.form.number()));
            hash.bytes(input.info.content_type.as_bytes());
            hash.bytes(input.info.type_url.as_bytes());
            match &input.info.object {
                // The same contents are in an object every time, unless the threshold has changed.
                Some(object) => hash.bytes(&object.sha256),
                None => hash.bytes(&input.data),
            }
            // Added later.
            if let Some(http) = &input.info.http {
                hash.bytes(http.method.as_bytes());
                hash.bytes(http.target.as_bytes());
                hash.number(u64::from(http.status));
                for header in http.telling_headers() {
                    hash.bytes(header.name.as_bytes());
                    hash.bytes(&header.value);
                }
            }
        }
        // Added still later.
        if let Some(wait) = self.start_in {
            hash.text("start_in");
            hash.number(micros(wait));
        }
        if let Some(url) = &self.callback {
            hash.text("callback");
            hash.text(url.as_str());
        }
        if let Some(parent) = &self.parent {
            hash.text("parent");
            hash.bytes(parent.as_bytes());
        }
        if let Some(children) = &self.children {
            hash.text("children");
            hash.bytes(children);
        }
        hash.finish()
    }

    /// The digest of a batch's children in the same submission.
    pub fn digest_of(children: &[Self]) -> [u8; 32] {
        let mut hash = Fields::new();
        hash.number(children.len() as u64);
        for child in children {
            hash.bytes(&child.fingerprint());
            hash.text(child.idempotency_key.as_ref().map_or("", IdempotencyKey::as_str));
        }
        hash.finish()
    }

    /// The earliest start if the operation is stored at `now`.
    pub fn earliest_start(&self, now: Timestamp) -> Timestamp {
        let wait = self.start_in.unwrap_or_default();
        self.start_at.map_or(now, |at| at.max(now)).max(now.after(wait))
    }
}

fn hash_settings(hash: &mut Fields, settings: &Settings) {
    let Settings {
        priority,
        queue_timeout,
        attempt_timeout,
        deadline,
        retry_policy,
        cancel_grace,
        retention,
    } = settings;
    hash.number(u64::from(*priority));
    for limit in [queue_timeout, attempt_timeout, deadline] {
        hash.optional(limit.map(micros));
    }
    hash.number(u64::from(retry_policy.max_attempts));
    hash.number(micros(retry_policy.initial_backoff));
    hash.number(retry_policy.multiplier.to_bits());
    hash.number(micros(retry_policy.max_backoff));
    hash.number(retry_policy.jitter.to_bits());
    hash.number(micros(*cancel_grace));
    hash.number(micros(*retention));
}
