//! Entity tags (RFC 9110, section 8.8.3).
//!
//! The tag of a document about an operation is the revision and, until the operation is done, a digest of its
//! progress, because the document shows both.

use http::HeaderValue;
use http::header::ETAG;
use sha2::{Digest, Sha256};

use crate::operation::{HttpEnvelope, Operation, Progress, Revision};

/// The separator between the revision and the digest of the progress.
const DIGEST_MARK: char = '-';

/// The entity tag of an operation's present state.
pub(super) fn of(operation: &Operation) -> String {
    let revision = operation.life.revision.0;
    match &operation.life.progress {
        Some(progress) if !operation.is_done() => {
            format!("\"{revision}{DIGEST_MARK}{}\"", digest(progress))
        }
        // There is no progress, or none can follow.
        _ => format!("\"{revision}\""),
    }
}

/// The entity tag of a result: that of the recorded response, if it has one, else the operation's.
pub(super) fn of_result(operation: &Operation) -> String {
    let envelope = operation.result().and_then(|result| result.http.as_deref());
    envelope.and_then(recorded).unwrap_or_else(|| of(operation))
}

/// The recorded validator, which is the resource's own, so that conditional requests to it work.
fn recorded(envelope: &HttpEnvelope) -> Option<String> {
    let field = envelope.headers.iter().find(|header| header.name == ETAG.as_str())?;
    let field = HeaderValue::from_bytes(&field.value).ok()?;
    field.to_str().map(str::to_owned).ok()
}

/// Whether a tag, without its quotes, has that revision, whatever the progress.
pub(super) fn is_of(tag: &str, revision: Revision) -> bool {
    tag.split(DIGEST_MARK).next() == Some(revision.0.to_string().as_str())
}

fn digest(progress: &Progress) -> String {
    let Progress { percent, done_units, total_units, message, at } = progress;
    let text = format!("{percent:?} {done_units:?} {total_units:?} {} {message}", at.micros());
    Sha256::digest(text)[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
