//! An operation as a dialect's templates see it, with the contents and the history that they use.

use super::super::call::Call;
use super::super::problem::Problem;
use crate::dialect::{Needs, Record, Subject};
use crate::operation::{State, StateName};
use crate::service::{Document, HistoryRequest, OperationName, Service, View, Violations};
use crate::store::HistoryEntry;
use crate::wire::size;

/// The maximum number of pages of a history that a template sees.
const HISTORY_PAGES: usize = 4;
const PAGE: i32 = 1_000;

/// The contents to read.
pub(super) fn view(needs: Needs) -> View {
    match needs {
        Needs { input: true, .. } => View::Full,
        Needs { result: true, .. } => View::Result,
        Needs { .. } => View::Basic,
    }
}

/// The largest request that templates read, in bytes. It is parsed for each response.
const MAX_REQUEST_BYTES: usize = 1 << 20;

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

/// The document with the request that templates read, even if it is too large to be part of operations.
pub(super) async fn with_request(
    service: &Service,
    document: Document,
    needs: Needs,
) -> Result<Document, Problem> {
    match needs.input {
        true => Ok(service.with_input(document, MAX_REQUEST_BYTES).await?),
        false => Ok(document),
    }
}

/// The operation without its history.
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

/// The history, oldest first.
async fn history(
    service: &Service,
    call: &Call,
    name: &OperationName,
) -> Result<Vec<Record>, Problem> {
    let mut records = Vec::new();
    let (mut state, mut token) = (StateName::Queued, String::new());
    for _ in 0..HISTORY_PAGES {
        let mut found = Violations::default();
        let asked = HistoryRequest::read(Some(name.clone()), PAGE, &token, &mut found);
        let page = service.events(&call.caller, found.settle(asked)?, size::event).await?;
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
