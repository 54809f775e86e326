//! Routes of a dialect without an operation: documents of the mount, and lists.

use http::StatusCode;

use super::super::call::Call;
use super::super::documents::Answer;
use super::super::problem::Problem;
use super::operation;
use super::subject::{self, bare};
use super::visit::{self, Visit};
use crate::dialect::{About, Answered, List, Needs, Route, Target};
use crate::operation::mark;
use crate::service::{self, Document, ListParameters, Reason, ServiceError};
use crate::wire::size;

pub(super) async fn read(call: Call, visit: &Visit<'_>, route: &Route) -> Answer {
    match &route.target {
        Target::Operation(action) => operation::answer(call, visit, route, *action).await,
        Target::Mount => {
            visit.violations().check()?;
            answer(&call, visit, route, About::Mount)
        }
        Target::List(list) => {
            let page = page(&call, visit, list, route.needs).await?;
            let subjects: Vec<_> =
                page.entries.iter().map(|document| bare(call.service(), document)).collect();
            let next_page_token = &page.next_page_token;
            answer(&call, visit, route, About::List { subjects: &subjects, next_page_token })
        }
    }
}

fn answer(call: &Call, visit: &Visit<'_>, route: &Route, about: About<'_>) -> Answer {
    match visit.answer(call, route, about)? {
        Answered::Document(document) => visit::response(document, StatusCode::OK),
        // Refused at start.
        Answered::Events(..) | Answered::Replay => {
            Err(ServiceError::new(Reason::Internal, "there is no answer").into())
        }
    }
}

/// The mount's operations with these values in the placeholders; the caller's own if they have owners.
async fn page(
    call: &Call,
    visit: &Visit<'_>,
    list: &List,
    needs: Needs,
) -> Result<service::Page<Document>, Problem> {
    let caller = super::caller(call, visit.mount)?;
    let scene = visit.scene(call.service().now());
    let asked = visit.mount.dialect.page(list, &scene);
    let asked = asked.map_err(|error| visit.unwritable(&error))?;
    let mut found = visit.violations();
    let size = match asked.size.as_str() {
        "" => list.max_page_size,
        text => text.parse().ok().filter(|size| *size > 0).unwrap_or_else(|| {
            found.note("page_size", "must be a whole number of at least 1");
            list.max_page_size
        }),
    };
    let mount = (mark::MOUNT.to_owned(), visit.mount.name.clone());
    let owner = caller.owner.as_ref().map(|it| (mark::OWNER.to_owned(), it.as_str().to_owned()));
    let places = visit.asked.places.iter();
    let places = places.map(|(name, value)| (format!("{}{name}", mark::PLACE), value.clone()));
    let within: Vec<_> = [mount].into_iter().chain(owner).chain(places).collect();
    let parameters = ListParameters {
        page_size: size.min(list.max_page_size),
        page_token: &asked.token,
        filter: &asked.filter,
        within: &within,
        ..ListParameters::default()
    };
    let request = parameters.read(&caller, &mut found);
    // Named by the parameter that had the text, which only the dialect's file knows.
    let found = found.renamed(|field| {
        let text = match field.as_str() {
            "page_size" => &asked.size,
            "page_token" => &asked.token,
            "filter" => &asked.filter,
            _ => return,
        };
        if let Some(name) = visit.parameter_with(text) {
            name.clone_into(field);
        }
    });
    let (request, view) = (found.settle(request)?, subject::view(needs));
    Ok(call.service().list(&caller, request, view, weight).await?)
}

/// A document in a dialect's words may be several times as large as the operation's message.
fn weight(document: &Document) -> usize {
    4 * size::operation(document)
}
