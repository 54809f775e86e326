//! Entity tags (RFC 9110, section 8.8.3).
//!
//! The tag of a document about an operation is the revision and, until the operation is done, a digest of its
//! progress, because the document shows both.

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
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

/// The entity tags in a condition.
#[derive(Debug, PartialEq)]
pub(super) enum EntityTags {
    Any,
    /// The text between the quotes.
    Listed(Vec<String>),
}

impl EntityTags {
    /// From `If-None-Match`; an unreadable one is ignored. Weak tags are compared like strong ones.
    pub(super) fn if_none_match(headers: &HeaderMap) -> Option<Self> {
        Self::read(headers, IF_NONE_MATCH, |_weak| true)
    }

    /// From `If-Match`, where a weak tag matches nothing.
    pub(super) fn if_match(headers: &HeaderMap) -> Option<Self> {
        Self::read(headers, IF_MATCH, |weak| !weak)
    }

    fn read(headers: &HeaderMap, name: HeaderName, counts: fn(bool) -> bool) -> Option<Self> {
        let mut tags = Vec::new();
        let mut fields = headers.get_all(name).iter().peekable();
        fields.peek()?;
        for field in fields {
            let mut rest = field.to_str().ok()?.trim();
            if rest == "*" {
                return Some(Self::Any);
            }
            while !rest.is_empty() {
                let opaque = rest.strip_prefix("W/");
                let quoted = opaque.unwrap_or(rest).strip_prefix('"')?;
                let (tag, behind) = quoted.split_once('"')?;
                tags.extend(counts(opaque.is_some()).then(|| tag.to_owned()));
                let behind = behind.trim_start();
                if !behind.is_empty() && !behind.starts_with(',') {
                    return None;
                }
                rest = behind.trim_start_matches([',', ' ', '\t']);
            }
        }
        Some(Self::Listed(tags))
    }

    /// Whether the entity tag is listed, weak or not.
    pub(super) fn contain(&self, etag: &str) -> bool {
        let opaque = etag.trim_start_matches("W/").trim_matches('"');
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| tag == opaque),
        }
    }

    /// Whether the entity tag is listed and strong. Weak tags of `If-Match` are not listed.
    pub(super) fn contain_strongly(&self, etag: &str) -> bool {
        *self == Self::Any || (etag.starts_with('"') && self.contain(etag))
    }

    /// Whether one of the tags has that revision.
    pub(super) fn name(&self, revision: Revision) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| is_of(tag, revision)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(fields: &[&'static str]) -> Option<EntityTags> {
        let fields = fields.iter().map(|field| HeaderValue::from_static(field));
        EntityTags::if_none_match(&fields.map(|field| (IF_NONE_MATCH, field)).collect())
    }

    #[test]
    fn tags_are_read_as_the_rfc_has_them() {
        let listed = |tags: &[&str]| {
            Some(EntityTags::Listed(tags.iter().map(|tag| (*tag).to_owned()).collect()))
        };
        assert_eq!(tags(&[]), None);
        assert_eq!(tags(&[" * "]), Some(EntityTags::Any));
        assert_eq!(tags(&["\"3\""]), listed(&["3"]));
        assert_eq!(tags(&["W/\"3\", \"a,b\" ,, \"\""]), listed(&["3", "a,b", ""]));
        assert_eq!(tags(&["\"1\"", "\"2\""]), listed(&["1", "2"]));
        for malformed in ["3", "\"3", "w/\"3\"", "\"3\" \"4\"", "\"3\", *"] {
            assert_eq!(tags(&[malformed]), None, "{malformed}");
        }
    }

    #[test]
    fn tags_contain_others_weakly() {
        let contain = |field| tags(&[field]).is_some_and(|tags| tags.contain("\"3\""));
        assert!(contain("*") && contain("\"3\"") && contain("\"1\", W/\"3\""));
        assert!(!contain("\"33\"") && !contain("\"03\"") && !contain("\"\""));
        assert!(!contain("\"3-a1\""));
        assert!(tags(&["\"v7\""]).is_some_and(|tags| tags.contain("W/\"v7\"")));
    }

    #[test]
    fn a_revision_is_named_whatever_the_progress() {
        let name = |field| tags(&[field]).is_some_and(|tags| tags.name(Revision(3)));
        assert!(name("*") && name("\"3\"") && name("\"3-0a1b\""));
        assert!(!name("\"2-3\"") && !name("\"33\"") && !name("\"-3\"") && !name("\"\""));
    }

    #[test]
    fn changes_are_for_strong_tags() {
        let tags = |field| {
            let headers = [(IF_MATCH, HeaderValue::from_static(field))].into_iter().collect();
            EntityTags::if_match(&headers)
        };
        assert_eq!(tags("W/\"3\", \"4\""), Some(EntityTags::Listed(vec!["4".to_owned()])));
        assert_eq!(tags("*"), Some(EntityTags::Any));
        assert_eq!(tags("3"), None);
    }
}
