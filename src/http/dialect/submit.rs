//! Submissions that come in by a dialect: for workers by paths of its own, or as requests of a relay.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use sha2::{Digest, Sha256};

use super::super::Http;
use super::super::call::Call;
use super::super::documents::{self, Answer};
use super::super::problem::Problem;
use super::super::submission::{self, Face, Sent};
use super::document::{self, Asked};
use crate::config::dialect::{Mount, Submit};
use crate::operation::{HttpEnvelope, IdempotencyKey, NewOperation, Settings, mark};
use crate::relay::target::Trigger;
use crate::service::{Caller, Submitted};
use crate::wire::decode;

/// What a mount adds to a submission: its mark, whose it is, how much is taken.
pub(in crate::http) struct Admission<'a> {
    mount: &'a Mount,
    pub(in crate::http) caller: Caller,
    is_shared: bool,
}

impl<'a> Admission<'a> {
    /// Who submits, if the mount lets them.
    pub(in crate::http) fn of(call: &Call, mount: &'a Mount) -> Result<Self, Problem> {
        let caller = super::caller(call, mount)?;
        let share = mount.dialect.trigger.share.as_deref();
        let share = share.and_then(|name| super::parameter(&call.parts, name));
        let is_shared = matches!(share.as_deref(), Some("1" | "yes" | "true"));
        Ok(Self { mount, caller, is_shared })
    }

    /// The submission as one of the mount. `trigger` is the parameter that made it one.
    pub(in crate::http) fn admit(
        &self,
        new: NewOperation,
        trigger: Option<&Trigger>,
    ) -> NewOperation {
        let mut new = new;
        let mut label =
            |key: &str, value: &str| new.labels.insert(key.to_owned(), value.to_owned());
        label(mark::MOUNT, &self.mount.name);
        if let Some(trigger) = trigger {
            label(mark::TRIGGER, &trigger.text);
            label(mark::TRIGGER_POSITION, &trigger.position.to_string());
        }
        if let Some(owner) = &self.caller.owner {
            label(mark::OWNER, owner.as_str());
            if self.is_shared {
                label(mark::SHARED, "true");
            }
            // Keys are the tenant's: an owner's are told apart from everybody else's.
            let own = new.idempotency_key.take().map(|key| {
                let digest = Sha256::new().chain_update(owner.as_str()).chain_update(key.as_str());
                let hex =
                    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                IdempotencyKey::parse(&hex)
            });
            new.idempotency_key = own.and_then(Result::ok);
        }
        new.capacity = self.mount.capacity;
        new.settings.queue_timeout = self.mount.queue_timeout.or(new.settings.queue_timeout);
        new
    }
}

/// A submission for workers: the body is the input, and stands within the request as it came, so that the worker
/// finds path and query.
pub(super) async fn submit(call: Call, mount: &Mount, submit: &Submit, body: Body) -> Answer {
    let admission = Admission::of(&call, mount)?;
    let key = decode::idempotency_key("Idempotency-Key", &call.idempotency_key("")?)?;
    let target = call.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let envelope = HttpEnvelope {
        method: call.parts.method.as_str().to_owned(),
        target: target.to_owned(),
        headers: submission::of_a_body(&call.parts.headers),
        ..HttpEnvelope::default()
    };
    let new = NewOperation {
        settings: Settings {
            retention: call.service().limits().default_retention,
            ..Settings::default()
        },
        idempotency_key: key,
        ..NewOperation::of(submit.kind.clone())
    };
    let (new, caller) = (admission.admit(new, None), &admission.caller);
    let sent = Sent::of(&call, Some(envelope), body)?;
    let submitted = submission::take(&call, caller, new, sent).await?;
    submission::answer(&call, caller, submitted, Face::Dialect(mount)).await
}

/// The answer to a submission that is stored, in the dialect's words.
pub(in crate::http) fn accepted(call: &Call, mount: &Mount, submitted: Submitted) -> Answer {
    let document = &submitted.document;
    let asked = Asked { call, mount, document, history: &[] };
    let mut response = document::response(asked.submitted()?, StatusCode::ACCEPTED)?;
    document::keep(&mut response, |response| {
        documents::about(response, call, &document.operation);
    });
    Ok(response)
}

/// A refusal, in the dialect's words if it has any for it.
pub(in crate::http) fn refused(http: &Http, mount: &Mount, problem: Problem) -> Response {
    let now = http.service.now();
    let refused = mount.dialect.refused(&problem.refusal(), &mount.name, &mount.prefix, now);
    let rendered = match refused {
        Ok(Some(rendered)) => document::response(rendered, problem.status()),
        Ok(None) => return problem.into_response(),
        Err(error) => Err(document::unwritable(mount, &error)),
    };
    match rendered {
        Ok(mut response) => {
            document::keep(&mut response, |response| {
                response.headers_mut().extend(problem.headers().clone());
            });
            response
        }
        Err(problem) => problem.into_response(),
    }
}
