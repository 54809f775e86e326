//! A dialect's route about one operation: reads or changes it, and responds in the dialect's words.

use std::time::Duration;

use http::StatusCode;
use http::header::ETAG;

use super::super::call::Call;
use super::super::conditional::{self, Conditions, Found, Validators, Verdict};
use super::super::documents::{self, Answer};
use super::super::problem::Problem;
use super::super::result;
use super::events;
use super::subject::{subject, view, with_request};
use super::visit::{self, Visit, idempotency_key};
use crate::dialect::{About, Action, Answered, Route};
use crate::service::{Document, OperationName, ServiceError, View};
use crate::time_text::parse_duration;

/// The result of an action, to respond about.
struct Acted {
    name: OperationName,
    found: Found,
    dismissed: Option<&'static str>,
}

/// Refuses wrong requests, whatever the operation is. Returns how long the request may be held.
fn check(
    call: &mut Call,
    visit: &Visit<'_>,
    action: Action,
) -> Result<Option<Duration>, ServiceError> {
    let mut found = visit.violations();
    found.take(Conditions::of(&call.parts.headers));
    let mut in_query = None;
    match action {
        Action::Read => in_query = found.take(self::in_query(visit)).flatten(),
        Action::Retry => drop(found.take(call.idempotency_key(""))),
        Action::Cancel | Action::Delete | Action::Dismiss => {}
    }
    found.check()?;
    if in_query.is_some() {
        // The preference is then not applied.
        call.preferences.wait = None;
    }
    Ok(in_query.or(call.preferences.wait))
}

pub(super) async fn answer(
    mut call: Call,
    visit: &Visit<'_>,
    route: &Route,
    action: Action,
) -> Answer {
    let wait = check(&mut call, visit, action)?;
    let id = visit.mount.dialect.id(&visit.id).ok_or_else(|| super::not_found(&visit.id))?;
    call.caller = super::caller(&call, visit.mount)?;
    let name = OperationName { tenant: None, id };
    let view = view(route.needs);
    let document = call.service().get(&call.caller, &name, view).await?;
    visit.require(&document.operation)?;
    let acted = match action {
        Action::Read => {
            let found = read(&call, &name, document, wait, view).await?;
            Acted { name, found, dismissed: None }
        }
        action => {
            Conditions::of(&call.parts.headers)?.require(&document.operation)?;
            act(&call, visit, action, name, document, view).await?
        }
    };
    respond(&call, visit, route, action, acted).await
}

/// The response about the operation as it is after the action.
async fn respond(
    call: &Call,
    visit: &Visit<'_>,
    route: &Route,
    action: Action,
    acted: Acted,
) -> Answer {
    let Acted { name, found: Found { document, verdict }, dismissed } = acted;
    let document = with_request(call.service(), document, route.needs).await?;
    let mut subject = subject(call, &name, &document, route.needs).await?;
    subject.dismissed = dismissed;
    let answered = visit.answer(call, route, About::Operation(&subject))?;
    let mut response = match answered {
        Answered::Replay => {
            if action == Action::Read {
                let verdict =
                    conditional::judge(call, &Validators::of_result(&document.operation))?;
                if let Some(response) = result::instead(call, verdict, &document.operation)? {
                    return Ok(response);
                }
            }
            replay(call, visit, &name, &document).await?
        }
        Answered::Events(head, told) => {
            return events::answer(call, visit, told, head, document).await;
        }
        Answered::Document(rendered) => {
            let mut response = visit::response(rendered, StatusCode::OK)?;
            // Conditions apply only to successes.
            if !route.needs.history
                && response.status().is_success()
                && let Some(response) = verdict.instead(call, &document.operation)?
            {
                return Ok(response);
            }
            if matches!(action, Action::Read | Action::Retry) {
                visit::keep(&mut response, |response| {
                    documents::about(response, call, &document.operation);
                    // An operation's entity tag does not cover its log lines.
                    if route.needs.history {
                        response.headers_mut().remove(ETAG);
                    }
                });
            }
            response
        }
    };
    if action == Action::Read {
        conditional::of_request(&mut response, call);
    }
    Ok(response)
}

/// The response of a synchronous call: for a relay's operation, exactly the API's.
pub(super) async fn replay(
    call: &Call,
    visit: &Visit<'_>,
    name: &OperationName,
    document: &Document,
) -> Answer {
    match visit.mount.relay {
        Some(_) => result::of_relay(call, name, document).await,
        None => result::of(call, name, document).await,
    }
}

async fn act(
    call: &Call,
    visit: &Visit<'_>,
    action: Action,
    name: OperationName,
    document: Document,
    view: View,
) -> Result<Acted, Problem> {
    let (mut acted, mut dismissed) = (document, None);
    let mut acted_on = name.clone();
    match action {
        Action::Read => {}
        Action::Cancel => {
            acted = cancel(call, &name).await?;
            acted = with_contents(call, &name, acted, view).await?;
        }
        Action::Delete => call.service().delete(&call.caller, &name).await?,
        Action::Dismiss if acted.operation.is_done() => {
            call.service().delete(&call.caller, &name).await?;
            dismissed = Some("deleted");
        }
        Action::Dismiss => {
            cancel(call, &name).await?;
            dismissed = Some("cancelled");
        }
        Action::Retry => {
            let key = idempotency_key(call, visit, &call.caller)?;
            let capacity = visit.mount.capacity;
            let retried = call.service().retry(&call.caller, &name, key, capacity).await?;
            acted_on.id = retried.document.operation.id();
            acted = with_contents(call, &acted_on, retried.document, view).await?;
        }
    }
    let found = Found { document: acted, verdict: Verdict::Proceed };
    Ok(Acted { name: acted_on, found, dismissed })
}

/// The operation with the contents that templates need and an action does not return.
async fn with_contents(
    call: &Call,
    name: &OperationName,
    document: Document,
    view: View,
) -> Result<Document, ServiceError> {
    match view {
        View::Basic => Ok(document),
        view => call.service().get(&call.caller, name, view).await,
    }
}

async fn cancel(call: &Call, name: &OperationName) -> Result<Document, ServiceError> {
    call.service().cancel(&call.caller, name, String::new()).await
}

/// The operation, after a wait for its end or for a change if the client wants that.
async fn read(
    call: &Call,
    name: &OperationName,
    document: Document,
    wait: Option<Duration>,
    view: View,
) -> Result<Found, Problem> {
    if wait.is_none() {
        let verdict = conditional::judge(call, &Validators::of(&document.operation))?;
        return Ok(Found { document, verdict });
    }
    conditional::find(call, name, wait, view).await
}

/// The wait in the dialect's own parameter.
fn in_query(visit: &Visit<'_>) -> Result<Option<Duration>, ServiceError> {
    let wait = &visit.mount.dialect.wait;
    let Some(name) = &wait.parameter else { return Ok(None) };
    match visit.parameter(name) {
        None | Some("false" | "no") => Ok(None),
        Some("true" | "yes") => Ok(Some(wait.default)),
        Some(text) => parse_duration(text).map(Some).map_err(|_| {
            let rule = "must be true, false, a number of seconds, or a number with a unit";
            ServiceError::invalid_field(name, rule)
        }),
    }
}
