//! Recognizes repeated reports: only the report that ended an attempt is acknowledged again when it is repeated.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::digest::{Fields, micros};
use super::{Attempt, OperationError, Payload, SessionId};

/// The reporting session and its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The fencing token.
    pub attempt: Attempt,
    /// The session that must hold the attempt's lease.
    pub session: SessionId,
    /// The worker's previous session, named when it connected, if that could not be resumed. Only the worker itself
    /// knows its session's id, so this session may repeat the reports of that one.
    pub former: Option<SessionId>,
}

/// A report's identity: a digest of everything that the worker chose.
///
/// Half of a SHA-256 is enough: a worker that found two reports with the same digest would deceive only itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportDigest([u8; 16]);

/// The report that ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedReport {
    /// The attempt that it ended.
    pub attempt: Attempt,
    /// The session that held the lease.
    pub session: SessionId,
    /// Its content.
    pub digest: ReportDigest,
}

impl ReportDigest {
    /// The digest of a completion. A result has the same digest in a row and in any object.
    pub fn of_complete(
        result: Option<&Payload>,
        warnings: &[OperationError],
        errors: &[OperationError],
    ) -> Self {
        let mut fields = Fields::new();
        fields.number(1);
        fields.number(u64::from(result.is_some()));
        if let Some(result) = result {
            hash_payload(result, &mut fields);
        }
        hash_errors(warnings, &mut fields);
        hash_errors(errors, &mut fields);
        Self::finish(fields)
    }

    /// The digest of a failure.
    pub fn of_fail(error: &OperationError, is_final: bool, retry_delay: Option<Duration>) -> Self {
        let mut fields = Fields::new();
        fields.number(2);
        hash_errors(std::slice::from_ref(error), &mut fields);
        fields.number(u64::from(is_final));
        fields.optional(retry_delay.map(micros));
        Self::finish(fields)
    }

    /// The digest of a release.
    pub fn of_release() -> Self {
        let mut fields = Fields::new();
        fields.number(3);
        Self::finish(fields)
    }

    /// Reads 16 bytes, as stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, as stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn finish(fields: Fields) -> Self {
        let whole = fields.finish();
        Self(std::array::from_fn(|at| whole[at]))
    }
}

impl RecordedReport {
    /// Whether `reporter` is the worker that made this report, on the same attempt.
    pub fn is_by(&self, reporter: &Reporter) -> bool {
        let sessions = [Some(reporter.session), reporter.former];
        self.attempt == reporter.attempt && sessions.contains(&Some(self.session))
    }
}

fn hash_payload(payload: &Payload, fields: &mut Fields) {
    let info = &payload.info;
    fields.number(u64::from(info.form.number()));
    fields.text(&info.content_type);
    fields.text(&info.type_url);
    match &info.object {
        Some(object) => fields.bytes(&object.sha256),
        None => fields.bytes(&Sha256::digest(&payload.data)),
    }
    fields.number(u64::from(info.http.is_some()));
    if let Some(http) = &info.http {
        fields.text(&http.method);
        fields.text(&http.target);
        fields.number(u64::from(http.status));
        fields.number(http.headers.len() as u64);
        for header in &http.headers {
            fields.text(&header.name);
            fields.bytes(&header.value);
        }
    }
}

/// The recursion is limited by the nesting of errors.
fn hash_errors(errors: &[OperationError], fields: &mut Fields) {
    fields.number(errors.len() as u64);
    for error in errors {
        fields.text(&error.code);
        fields.text(&error.message);
        fields.number(u64::from(error.status_code));
        fields.number(error.metadata.len() as u64);
        for (key, value) in &error.metadata {
            fields.text(key);
            fields.text(value);
        }
        hash_errors(&error.causes, fields);
    }
}
