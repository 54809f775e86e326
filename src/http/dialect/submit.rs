//! Submissions through a dialect: to paths for workers, or as requests of a relay.

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use super::super::call::Call;
use super::super::documents::{self, Answer, applied_wait, preferences_applied};
use super::super::headers::{self, PREFER, vary_by};
use super::super::problem::Problem;
use super::super::submission::{self, Sent};
use super::events;
use super::operation::replay;
use super::subject::{subject, view, with_request};
use super::visit::{self, Visit, idempotency_key};
use crate::config::dialect::Submit;
use crate::config::relay::Headers;
use crate::dialect::{Answered, Needs};
use crate::operation::http::is_of_gateways;
use crate::operation::{HttpEnvelope, HttpHeader, NewOperation, Settings, mark};
use crate::relay::fields;
use crate::relay::target::Trigger;
use crate::service::{Action, Caller, OperationName, ServiceError, Submitted, View};

/// What a mount adds to a submission: labels, the owner, and the size limit.
pub(in crate::http) struct Admission<'a> {
    visit: &'a Visit<'a>,
    pub(in crate::http) caller: Caller,
    is_shared: bool,
}

impl<'a> Admission<'a> {
    /// The caller, if the mount accepts it.
    pub(in crate::http) fn of(call: &Call, visit: &'a Visit<'a>) -> Result<Self, Problem> {
        let mount = visit.mount;
        let caller = super::caller(call, mount)?;
        let share = mount.dialect.trigger.share.as_deref();
        let share = share.and_then(|name| visit.parameter(name));
        let is_shared = mount.is_shared || matches!(share, Some("1" | "yes" | "true"));
        Ok(Self { visit, caller, is_shared })
    }

    /// The submission through this mount. `trigger` is the parameter that turned the request into one.
    pub(in crate::http) fn admit(
        &self,
        call: &Call,
        new: NewOperation,
        trigger: Option<&Trigger>,
    ) -> Result<NewOperation, ServiceError> {
        let (mut new, mount) = (new, self.visit.mount);
        let mut label = |key: &str, value: &str| {
            new.labels.insert(key.to_owned(), value.to_owned());
        };
        label(mark::MOUNT, &mount.name);
        for (name, value) in &self.visit.asked.places {
            label(&format!("{}{name}", mark::PLACE), value);
        }
        if let Some(trigger) = trigger {
            label(mark::TRIGGER, &trigger.text);
            label(mark::TRIGGER_POSITION, &trigger.position.to_string());
        }
        if let Some(owner) = &self.caller.owner {
            label(mark::OWNER, owner.as_str());
            if self.is_shared {
                label(mark::SHARED, "true");
            }
        }
        new.idempotency_key = idempotency_key(call, self.visit, &self.caller)?;
        new.capacity = mount.capacity;
        if let Some(configured) = &mut new.configured {
            configured.queue_timeout = mount.queue_timeout.or(configured.queue_timeout);
        }
        Ok(new)
    }
}

/// A submission for workers: the body is the input, inside the request as it came, so that the worker finds path and
/// query.
pub(super) async fn submit(
    mut call: Call,
    visit: &Visit<'_>,
    submit: &Submit,
    body: Body,
) -> Answer {
    let admission = Admission::of(&call, visit)?;
    let kind = submit.kind.at(&visit.asked.places);
    let kind = kind.ok_or_else(|| Problem::no_route(call.parts.uri.path()))?;
    let target = call.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let envelope = HttpEnvelope {
        method: call.parts.method.as_str().to_owned(),
        target: target.to_owned(),
        headers: shown(&call.parts.headers, visit),
        ..HttpEnvelope::default()
    };
    let new = NewOperation {
        configured: Some(Box::new(Settings {
            retention: call.service().limits().default_retention,
            ..Settings::default()
        })),
        ..NewOperation::of(kind)
    };
    let mut found = visit.violations();
    let new = found.take(admission.admit(&call, new, None));
    call.caller = admission.caller;
    let sent = Sent::of(&call, Some(envelope), body, &mut found);
    let sent = sent.map(|sent| sent.of_object(visit.mount.dialect.takes_object));
    let (new, sent) = found.settle(new.zip(sent))?;
    let submitted = submission::take(&call, new, sent).await?;
    accepted(&call, visit, submitted).await
}

/// The header fields that are stored with a submission: those that describe its body, and those that templates use.
fn shown(given: &HeaderMap, visit: &Visit<'_>) -> Vec<HttpHeader> {
    let mount = visit.mount;
    let mut kept = given.clone();
    fields::strip_hop_by_hop(&mut kept);
    fields::strip_credentials(&mut kept, &Headers::default(), Some(&mount.credentials));
    let of_a_body = headers::of_a_body(&kept);
    let fields = kept.iter().filter(|(name, _)| {
        let is_kept_elsewhere = [CONTENT_LENGTH, CONTENT_TYPE, PREFER.clone()].contains(*name)
            || headers::is_of_a_body(name.as_str());
        // Only a gateway may state a request's origin, and nothing here knows whether one did.
        !is_kept_elsewhere
            && !is_of_gateways(name.as_str())
            && mount.dialect.shows_header(name.as_str())
    });
    let fields = fields.map(|(name, value)| HttpHeader {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    });
    of_a_body.into_iter().chain(fields).collect()
}

/// The response to a stored submission in the dialect's words: at once, or at the operation's end.
pub(in crate::http) async fn accepted(
    call: &Call,
    visit: &Visit<'_>,
    submitted: Submitted,
) -> Answer {
    let dialect = &visit.mount.dialect;
    let needs = dialect.submission_needs();
    let mut document = submitted.document;
    let name = OperationName { tenant: None, id: document.operation.id() };
    let preferred = call.preferences.wait.filter(|_| dialect.wait.prefer);
    let wait = preferred.or(visit.mount.wait).filter(|_| !call.preferences.respond_async);
    let (service, caller) = (call.service(), &call.caller);
    // A caller that may not read results need not wait, and must not see one.
    let may_read = caller.can(Action::Read);
    match wait.filter(|_| may_read && !document.operation.is_done()) {
        Some(wait) => document = service.wait(caller, &name, wait, view(needs)).await?,
        None => {
            // Before the end there is no result to read.
            let result = needs.result && document.operation.is_done();
            let view = view(Needs { result, ..needs });
            if may_read && view != View::Basic {
                document = service.get(caller, &name, view).await?;
            }
        }
    }
    let document = with_request(service, document, needs).await?;
    let is_done = document.operation.is_done();
    let subject = subject(call, &name, &document, needs).await?;
    let submitted = dialect.submitted(&visit.scene(service.now()), &subject);
    let mut response = match submitted.map_err(|error| visit.unwritable(&error))? {
        Answered::Replay => replay(call, visit, &name, &document).await?,
        Answered::Events(head, told) => events::answer(call, visit, told, head, document).await?,
        Answered::Document(rendered) => {
            let mut response = visit::response(rendered, StatusCode::ACCEPTED)?;
            visit::keep(&mut response, |response| {
                documents::about(response, call, &document.operation);
            });
            response
        }
    };
    if dialect.wait.prefer || dialect.trigger.prefer || visit.mount.wait.is_some() {
        vary_by(response.headers_mut(), "prefer");
        let respond_async = call.preferences.respond_async && !is_done;
        let applied = respond_async.then(|| "respond-async".to_owned());
        let waited = preferred.filter(|_| wait.is_some()).map(applied_wait);
        preferences_applied(&mut response, applied.into_iter().chain(waited));
    }
    Ok(response)
}
