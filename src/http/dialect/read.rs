//! A route of a dialect: the operation that its path names, in the dialect's words.

use std::time::Duration;

use http::StatusCode;

use super::super::call::Call;
use super::super::conditional::{self, Found};
use super::super::documents::{self, Answer};
use super::super::problem::Problem;
use super::super::query::duration;
use super::super::result;
use super::document::{self, Asked};
use crate::config::dialect::Mount;
use crate::dialect::{Action, Answered, Record, Route};
use crate::operation::State;
use crate::service::{Document, OperationName, Service, ServiceError, View};
use crate::store::HistoryEntry;
use crate::wire::size;

/// Most entries of a history that a template sees, in pages.
const HISTORY_PAGES: usize = 4;
const PAGE: i32 = 1_000;

pub(super) async fn read(mut call: Call, mount: &Mount, route: &Route, id: &str) -> Answer {
    let id = mount.dialect.id(id).ok_or_else(|| super::not_found(id))?;
    call.caller = super::caller(&call, mount)?;
    let name = OperationName { tenant: None, id };
    let view = if route.needs_result { View::Result } else { View::Basic };
    let document = call.service().get(&call.caller, &name, view).await?;
    super::of_mount(mount, &document.operation)?;
    let found = match route.action {
        Action::Read => wait(&mut call, mount, &name, document, view).await?,
        Action::Cancel => {
            let reason = String::new();
            let document = call.service().cancel(&call.caller, &name, reason).await?;
            Found { document, is_known: false }
        }
        Action::Delete => {
            call.service().delete(&call.caller, &name).await?;
            Found { document, is_known: false }
        }
    };
    answer(&call, mount, route, &name, found).await
}

/// The operation as soon as the client would have it: it may wait for the end, or for news.
async fn wait(
    call: &mut Call,
    mount: &Mount,
    name: &OperationName,
    document: Document,
    view: View,
) -> Result<Found, Problem> {
    let in_query = in_query(call, mount)?;
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
fn in_query(call: &Call, mount: &Mount) -> Result<Option<Duration>, ServiceError> {
    let Some(wait) = &mount.dialect.wait else { return Ok(None) };
    match super::parameter(&call.parts, &wait.parameter).as_deref() {
        None | Some("false" | "no") => Ok(None),
        Some("true" | "yes") => Ok(Some(wait.default)),
        Some(text) => duration(text).map(Some).ok_or_else(|| {
            let rule = "must be true, false, a number of seconds, or a number with a unit";
            ServiceError::invalid_field(&wait.parameter, rule)
        }),
    }
}

async fn answer(
    call: &Call,
    mount: &Mount,
    route: &Route,
    name: &OperationName,
    found: Found,
) -> Answer {
    let Found { document, is_known } = found;
    let history =
        if route.needs_history { history(call.service(), call, name).await? } else { Vec::new() };
    let asked = Asked { call, mount, document: &document, history: &history };
    let answered = asked.answer(route)?;
    let mut response = match answered {
        Answered::Replay if mount.relay.is_some() => {
            result::of_relay(call, name, &document).await?
        }
        Answered::Replay => result::of(call, name, &document).await?,
        Answered::Document(rendered) => {
            let mut response = document::response(rendered, StatusCode::OK)?;
            // Conditions are for answers that would be successes.
            if is_known && response.status().is_success() {
                return Ok(conditional::not_modified(call, &document.operation));
            }
            if route.action == Action::Read {
                document::keep(&mut response, |response| {
                    documents::about(response, call, &document.operation);
                });
            }
            response
        }
    };
    if route.action == Action::Read {
        conditional::of_request(&mut response, call);
    }
    Ok(response)
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
