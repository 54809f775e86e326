//! Conditional requests (RFC 9110, section 13).
//!
//! With a wait, `If-None-Match` makes a long poll: the response comes when the document differs from the client's.
//! `If-Match` compares only the revision, so that progress between a client's read and its cancel does not refuse the
//! cancel.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderName, StatusCode};

use super::call::Call;
use super::documents::{about, applied_wait, preferences_applied};
use super::etag;
use super::headers::vary_by;
use super::problem::Problem;
use crate::operation::{Operation, Revision};
use crate::service::{Document, OperationName, Reason, ServiceError, View};

/// A requested operation.
pub(super) struct Found {
    pub(super) document: Document,
    /// Whether the client already has this version.
    pub(super) is_known: bool,
}

/// The operation: its present state; with a wait, once it is done; with a wait and a condition, once it has changed.
pub(super) async fn find(
    call: &Call,
    name: &OperationName,
    wait: Option<Duration>,
    view: View,
) -> Result<Found, Problem> {
    find_by(call, name, wait, view, etag::of).await
}

/// Like [`find`], for responses with another entity tag.
pub(super) async fn find_by(
    call: &Call,
    name: &OperationName,
    wait: Option<Duration>,
    view: View,
    etag: fn(&Operation) -> String,
) -> Result<Found, Problem> {
    let (service, caller) = (call.service(), &call.caller);
    let known = EntityTags::if_none_match(&call.parts.headers);
    let document = match (wait, &known) {
        (None, _) => service.get(caller, name, view).await?,
        (Some(wait), None) => service.wait(caller, name, wait, view).await?,
        (Some(wait), Some(known)) => {
            let seen = |operation: &Operation| known.contain(&etag(operation));
            service.wait_for_change(caller, name, seen, wait, view).await?
        }
    };
    let is_known = known.is_some_and(|known| known.contain(&etag(&document.operation)));
    Ok(Found { document, is_known })
}

/// The entity tags of `If-Match`, if the request has it.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<EntityTags>, ServiceError> {
    if !headers.contains_key(IF_MATCH) {
        return Ok(None);
    }
    let rule = "must be entity tags such as \"3\", or *";
    let tags = EntityTags::if_match(headers);
    tags.map(Some).ok_or_else(|| ServiceError::invalid_field("If-Match", rule))
}

/// Refuses a change of an operation that is not at the revision of `If-Match`. Deletes and retries need no check at the
/// commit, because a done operation has its last revision.
pub(super) async fn require_match(
    call: &Call,
    name: &OperationName,
    tags: Option<EntityTags>,
) -> Result<(), Problem> {
    let Some(tags) = tags else { return Ok(()) };
    let document = call.service().get(&call.caller, name, View::Basic).await?;
    let revision = document.operation.life.revision;
    if tags.name(revision) {
        return Ok(());
    }
    let message = format!("{} is at revision {}", document.operation.id().name(), revision.0);
    Err(ServiceError::new(Reason::PreconditionFailed, message).into())
}

/// 304: the client's version is current.
pub(super) fn not_modified(call: &Call, operation: &Operation) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    about(&mut response, call, operation);
    of_request(&mut response, call);
    response
}

/// Adds the fields of every response that a wait may have delayed.
pub(super) fn of_request(response: &mut Response, call: &Call) {
    vary_by(response.headers_mut(), "prefer");
    preferences_applied(response, call.preferences.wait.map(applied_wait));
}

/// Whether a range may be applied to contents with that entity tag: there is no condition, or it holds. A date never
/// does, because contents here have none.
pub(super) fn range_applies(headers: &HeaderMap, etag: &str) -> bool {
    // A weak tag equals no other.
    let is_strong = etag.starts_with('"');
    headers.get(IF_RANGE).is_none_or(|field| is_strong && field.as_bytes() == etag.as_bytes())
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
    fn if_match(headers: &HeaderMap) -> Option<Self> {
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
    fn contain(&self, etag: &str) -> bool {
        let opaque = etag.trim_start_matches("W/").trim_matches('"');
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| tag == opaque),
        }
    }

    /// Whether one of the tags has that revision.
    fn name(&self, revision: Revision) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|tag| etag::is_of(tag, revision)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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

    #[test]
    fn a_range_applies_to_the_very_tag() {
        let under = |field, etag| {
            let headers = [(IF_RANGE, HeaderValue::from_static(field))].into_iter().collect();
            range_applies(&headers, etag)
        };
        let applies = |field| under(field, "\"3\"");
        assert!(range_applies(&HeaderMap::new(), "\"3\"") && applies("\"3\""));
        assert!(range_applies(&HeaderMap::new(), "W/\"3\"") && !under("W/\"3\"", "W/\"3\""));
        assert!(
            !applies("\"2\"") && !applies("W/\"3\"") && !applies("Sun, 22 Nov 2026 00:00:00 GMT")
        );
    }
}
