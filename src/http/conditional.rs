//! Conditional requests (RFC 9110, section 13): the only place that evaluates preconditions, in the RFC's order.
//!
//! With a wait, `If-None-Match` makes a long poll: the response comes when the document differs from the client's.
//! In a change, `If-Match` compares only the revision, so that progress between a client's read and its cancel does not
//! refuse the cancel.

use std::time::{Duration, SystemTime};

use axum::response::{IntoResponse, Response};
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::call::Call;
use super::documents::{about, applied_wait, preferences_applied};
use super::etag::{self, EntityTags};
use super::headers::vary_by;
use super::problem::Problem;
use crate::operation::Operation;
use crate::service::{Document, OperationName, Reason, ServiceError, View};

/// A requested operation.
pub(super) struct Found {
    pub(super) document: Document,
    pub(super) verdict: Verdict,
}

/// The outcome of a read's preconditions. It applies to successful responses only (RFC 9110, section 13.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They hold, or there are none.
    Proceed,
    /// The client already has this representation.
    NotModified,
    /// The client wants another representation.
    Failed,
}

impl Verdict {
    /// The response in place of a successful one, if the client does not want that.
    pub(super) fn instead(
        self,
        call: &Call,
        operation: &Operation,
    ) -> Result<Option<Response>, Problem> {
        match self {
            Self::Proceed => Ok(None),
            Self::NotModified => Ok(Some(not_modified(call, operation))),
            Self::Failed => Err(failed(operation)),
        }
    }
}

/// What a representation is compared by.
#[derive(Debug)]
pub(super) struct Validators {
    pub(super) etag: String,
    /// When it was last modified; only recorded responses may say so.
    pub(super) modified: Option<SystemTime>,
}

impl Validators {
    /// Those of a document about an operation.
    pub(super) fn of(operation: &Operation) -> Self {
        Self { etag: etag::of(operation), modified: None }
    }

    /// Those of an operation's result.
    pub(super) fn of_result(operation: &Operation) -> Self {
        let envelope = operation.result().and_then(|result| result.http.as_deref());
        let recorded = envelope.and_then(|it| it.values(LAST_MODIFIED.as_str()).next());
        let modified = recorded.and_then(|field| date(std::str::from_utf8(field).ok()?));
        Self { etag: etag::of_result(operation), modified }
    }
}

/// The operation: its present state; with a wait, once it is done; with a wait and a condition, once it has changed.
pub(super) async fn find(
    call: &Call,
    name: &OperationName,
    wait: Option<Duration>,
    view: View,
) -> Result<Found, Problem> {
    find_by(call, name, wait, view, Validators::of).await
}

/// Like [`find`], for responses with other validators.
pub(super) async fn find_by(
    call: &Call,
    name: &OperationName,
    wait: Option<Duration>,
    view: View,
    validators: fn(&Operation) -> Validators,
) -> Result<Found, Problem> {
    let (service, caller) = (call.service(), &call.caller);
    let conditions = Conditions::of(&call.parts.headers)?;
    let document = match (wait, &conditions.if_none_match) {
        (None, _) => service.get(caller, name, view).await?,
        (Some(wait), None) => service.wait(caller, name, wait, view).await?,
        (Some(wait), Some(known)) => {
            let seen = |operation: &Operation| known.contain(&validators(operation).etag);
            service.wait_for_change(caller, name, seen, wait, view).await?
        }
    };
    let verdict = conditions.of_read(&validators(&document.operation));
    Ok(Found { document, verdict })
}

/// The outcome of a read's preconditions for a representation with these validators.
pub(super) fn judge(call: &Call, validators: &Validators) -> Result<Verdict, ServiceError> {
    Ok(Conditions::of(&call.parts.headers)?.of_read(validators))
}

/// Refuses a change of an operation for which the preconditions do not hold. Deletes and retries need no check at the
/// commit, because a done operation has its last revision.
pub(super) async fn require(
    call: &Call,
    name: &OperationName,
    conditions: Conditions,
) -> Result<(), Problem> {
    if conditions == Conditions::default() {
        return Ok(());
    }
    let document = call.service().get(&call.caller, name, View::Basic).await?;
    conditions.require(&document.operation)
}

/// 412.
fn failed(operation: &Operation) -> Problem {
    let message = format!("{} is at revision {}", operation.id().name(), operation.life.revision.0);
    ServiceError::new(Reason::PreconditionFailed, message).into()
}

/// The preconditions of a request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Conditions {
    if_match: Option<EntityTags>,
    if_unmodified_since: Option<SystemTime>,
    if_none_match: Option<EntityTags>,
    if_modified_since: Option<SystemTime>,
}

impl Conditions {
    /// From a request. An unreadable `If-Match` is refused, because to ignore it could lose an update; other unreadable
    /// fields are ignored.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ServiceError> {
        let if_match = EntityTags::if_match(headers);
        if if_match.is_none() && headers.contains_key(IF_MATCH) {
            let rule = "must be entity tags such as \"3\", or *";
            return Err(ServiceError::invalid_field("If-Match", rule));
        }
        let time = |name| headers.get(name).and_then(|field| date(field.to_str().ok()?));
        Ok(Self {
            if_match,
            if_unmodified_since: time(IF_UNMODIFIED_SINCE),
            if_none_match: EntityTags::if_none_match(headers),
            if_modified_since: time(IF_MODIFIED_SINCE),
        })
    }

    /// The outcome for a GET or HEAD (RFC 9110, section 13.2.2). `Range` and `If-Range` come after it.
    fn of_read(&self, representation: &Validators) -> Verdict {
        let Validators { etag, modified } = representation;
        let is_wanted = match (&self.if_match, self.if_unmodified_since, modified) {
            (Some(tags), ..) => tags.contain_strongly(etag),
            (None, Some(time), Some(modified)) => *modified <= time,
            _ => true,
        };
        let is_known = match (&self.if_none_match, self.if_modified_since, modified) {
            (Some(tags), ..) => tags.contain(etag),
            (None, Some(time), Some(modified)) => *modified <= time,
            _ => false,
        };
        match (is_wanted, is_known) {
            (false, _) => Verdict::Failed,
            (true, true) => Verdict::NotModified,
            (true, false) => Verdict::Proceed,
        }
    }

    /// Refuses a change of the operation. It has no time of modification, so conditions about that do not apply.
    pub(super) fn require(&self, operation: &Operation) -> Result<(), Problem> {
        let is_named = |tags: &EntityTags| tags.name(operation.life.revision);
        let is_excluded = |tags: &EntityTags| tags.contain(&etag::of(operation));
        let holds = self.if_match.as_ref().is_none_or(is_named)
            && !self.if_none_match.as_ref().is_some_and(is_excluded);
        if holds { Ok(()) } else { Err(failed(operation)) }
    }
}

/// The time of a field; `None` if it is unreadable.
fn date(field: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(field).ok()
}

/// 304: the client's version is current.
fn not_modified(call: &Call, operation: &Operation) -> Response {
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
/// does, because a recorded one need not change with the contents.
pub(super) fn range_applies(headers: &HeaderMap, etag: &str) -> bool {
    // A weak tag equals no other.
    let is_strong = etag.starts_with('"');
    headers.get(IF_RANGE).is_none_or(|field| is_strong && field.as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::header::IF_NONE_MATCH;
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn conditions_are_evaluated_in_the_order_of_the_rfc() {
        use Verdict::{Failed, NotModified, Proceed};
        let (old, now, new) = (
            "Sun, 22 Nov 2026 00:00:00 GMT",
            "Mon, 23 Nov 2026 00:00:00 GMT",
            "Tue, 24 Nov 2026 00:00:00 GMT",
        );
        let cases: [(&[(HeaderName, &'static str)], Verdict); 16] = [
            (&[], Proceed),
            (&[(IF_MATCH, "\"3\"")], Proceed),
            (&[(IF_MATCH, "*")], Proceed),
            (&[(IF_MATCH, "\"9\"")], Failed),
            (&[(IF_MATCH, "W/\"3\"")], Failed),
            (&[(IF_MATCH, "\"9\""), (IF_NONE_MATCH, "\"3\"")], Failed),
            (&[(IF_MATCH, "\"3\""), (IF_NONE_MATCH, "\"3\"")], NotModified),
            (&[(IF_MATCH, "\"3\""), (IF_UNMODIFIED_SINCE, old)], Proceed),
            (&[(IF_UNMODIFIED_SINCE, old)], Failed),
            (&[(IF_UNMODIFIED_SINCE, now)], Proceed),
            (&[(IF_UNMODIFIED_SINCE, old), (IF_NONE_MATCH, "\"3\"")], Failed),
            (&[(IF_NONE_MATCH, "\"9\""), (IF_MODIFIED_SINCE, new)], Proceed),
            (&[(IF_MODIFIED_SINCE, new)], NotModified),
            (&[(IF_MODIFIED_SINCE, now)], NotModified),
            (&[(IF_MODIFIED_SINCE, old)], Proceed),
            (&[(IF_MODIFIED_SINCE, "yesterday"), (IF_UNMODIFIED_SINCE, "1")], Proceed),
        ];
        for (fields, verdict) in cases {
            let headers =
                fields.iter().map(|(name, field)| (name.clone(), HeaderValue::from_static(field)));
            let conditions = Conditions::of(&headers.collect()).unwrap();
            let validators = Validators { etag: "\"3\"".to_owned(), modified: date(now) };
            assert_eq!(conditions.of_read(&validators), verdict, "{fields:?}");
            // Without a time of modification, conditions about it do not apply.
            if !fields.iter().any(|(_, field)| field.contains('"') || *field == "*") {
                let timeless = Validators { modified: None, ..validators };
                assert_eq!(conditions.of_read(&timeless), Proceed, "{fields:?}");
            }
        }
        let weak = Validators { etag: "W/\"3\"".to_owned(), modified: None };
        let headers = [(IF_MATCH, HeaderValue::from_static("\"3\""))];
        let conditions = Conditions::of(&headers.into_iter().collect()).unwrap();
        assert_eq!(conditions.of_read(&weak), Failed);
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
