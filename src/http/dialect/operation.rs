//! A route of a dialect about one operation: read, or acted on, and answered in the dialect's words.

use std::time::Duration;

use http::StatusCode;

use super::super::call::Call;
use super::super::conditional::{self, Found};
use super::super::documents::{self, Answer};
use super::super::problem::Problem;
use super::super::query::duration;
use super::super::result;
use super::events;
use super::submit::idempotency_key;
use super::visit::{self, Visit};
use crate::dialect::{About, Action, Answered, Needs, Record, Route, Subject};
use crate::operation::State;
use crate::service::{Document, OperationName, Service, ServiceError, View};
use crate::store::HistoryEntry;
use crate::wire::size;

/// Most entries of a history that a template sees, in pages.
const HISTORY_PAGES: usize = 4;
const PAGE: i32 = 1_000;

/// What an action has left to be answered about.
struct Acted {
    name: OperationName,
    found: Found,
    dismissed: Option<&'static str>,
}

pub(super) async fn answer(
    mut call: Call,
    visit: &Visit<'_>,
    route: &Route,
    action: Action,
) -> Answer {
    let id = visit.mount.dialect.id(&visit.id).ok_or_else(|| super::not_found(&visit.id))?;
    call.caller = super::caller(&call, visit.mount)?;
    let name = OperationName { tenant: None, id };
    let view = view(route.needs);
    let document = call.service().get(&call.caller, &name, view).await?;
    visit.require(&document.operation)?;
    let acted = act(&mut call, visit, action, name, document, view).await?;
    let Acted { name, found: Found { document, is_known }, dismissed } = acted;
    let mut subject = subject(&call, &name, &document, route.needs).await?;
    subject.dismissed = dismissed;
    let answered = visit.answer(&call, route, About::Operation(&subject))?;
    let mut response = match answered {
        Answered::Replay => replay(&call, visit, &name, &document).await?,
        Answered::Events(head, told) => {
            return events::answer(&call, visit, told, head, document).await;
        }
        Answered::Document(rendered) => {
            let mut response = visit::response(rendered, StatusCode::OK)?;
            // Conditions are for answers that would be successes.
            if is_known && response.status().is_success() {
                return Ok(conditional::not_modified(&call, &document.operation));
            }
            if matches!(action, Action::Read | Action::Retry) {
                visit::keep(&mut response, |response| {
                    documents::about(response, &call, &document.operation);
                });
            }
            response
        }
    };
    if action == Action::Read {
        conditional::of_request(&mut response, &call);
    }
    Ok(response)
}

/// What a synchronous call would have answered: where the work is a relay's, exactly what its API would have.
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
    call: &mut Call,
    visit: &Visit<'_>,
    action: Action,
    name: OperationName,
    document: Document,
    view: View,
) -> Result<Acted, Problem> {
    let (mut acted, mut dismissed) = (document, None);
    let mut acted_on = name.clone();
    match action {
        Action::Read => {
            let found = wait(call, visit, &name, acted, view).await?;
            return Ok(Acted { name, found, dismissed });
        }
        Action::Cancel => acted = cancel(call, &name).await?,
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
            acted = retried.document;
            if view != View::Basic {
                acted = call.service().get(&call.caller, &acted_on, view).await?;
            }
        }
    }
    let found = Found { document: acted, is_known: false };
    Ok(Acted { name: acted_on, found, dismissed })
}

async fn cancel(call: &Call, name: &OperationName) -> Result<Document, ServiceError> {
    call.service().cancel(&call.caller, name, String::new()).await
}

/// How much is to be read.
pub(super) fn view(needs: Needs) -> View {
    match needs {
        Needs { input: true, .. } => View::Full,
        Needs { result: true, .. } => View::Result,
        Needs { .. } => View::Basic,
    }
}

/// The operation as templates see it.
pub(super) async fn subject<'a>(
    call: &Call,
    name: &OperationName,
    document: &'a Document,
    needs: Needs,
) -> Result<Subject<'a>, Problem> {
    let history =
        if needs.history { history(call.service(), call, name).await? } else { Vec::new() };
    Ok(Subject { history, ..bare(call.service(), document) })
}

/// The same without its history.
pub(super) fn bare<'a>(service: &Service, document: &'a Document) -> Subject<'a> {
    Subject {
        operation: &document.operation,
        input: document.input.as_deref(),
        result: document.result.as_deref(),
        inline_limit: service.limits().inline_payload_bytes as u64,
        history: Vec::new(),
        dismissed: None,
    }
}

/// The operation as soon as the client would have it: it may wait for the end, or for news.
async fn wait(
    call: &mut Call,
    visit: &Visit<'_>,
    name: &OperationName,
    document: Document,
    view: View,
) -> Result<Found, Problem> {
    let in_query = in_query(visit)?;
    if in_query.is_some() {
        // Then the preference is not what is applied.
        call.preferences.wait = None;
    }
    let wait = in_query.or(call.preferences.wait);
    let is_conditional = call.parts.headers.contains_key(http::header::IF_NONE_MATCH);
    if wait.is_none() && !is_conditional {
        return Ok(Found { document, is_known: false });
    }
    conditional::find(call, name, wait, view).await
}

/// How long the dialect's own parameter asks to be held.
fn in_query(visit: &Visit<'_>) -> Result<Option<Duration>, ServiceError> {
    let wait = &visit.mount.dialect.wait;
    let Some(name) = &wait.parameter else { return Ok(None) };
    match visit.parameter(name) {
        None | Some("false" | "no") => Ok(None),
        Some("true" | "yes") => Ok(Some(wait.default)),
        Some(text) => duration(text).map(Some).ok_or_else(|| {
            let rule = "must be true, false, a number of seconds, or a number with a unit";
            ServiceError::invalid_field(name, rule)
        }),
    }
}

/// What has happened, oldest first.
async fn history(
    service: &Service,
    call: &Call,
    name: &OperationName,
) -> Result<Vec<Record>, Problem> {
    let mut records = Vec::new();
    let (mut state, mut token) = (crate::operation::StateName::Queued, String::new());
    for _ in 0..HISTORY_PAGES {
        let page = service.events(&call.caller, name, PAGE, &token, size::event).await?;
        for entry in page.entries {
            records.push(match entry {
                HistoryEntry::Transition(event) => {
                    state = event.state();
                    let at = match event.life.state {
                        State::Done { at, .. } => at,
                        _ => event.life.updated_at,
                    };
                    Record { number: event.life.revision.0, at, state, text: None }
                }
                HistoryEntry::Log(line) => {
                    Record { number: line.number, at: line.at, state, text: Some(line.text) }
                }
            });
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    Ok(records)
}
