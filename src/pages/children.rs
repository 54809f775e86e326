//! The children of a batch on its page: their counts by state, and the first of them. What failed comes first.

use serde::Serialize;

use super::fields::encode;
use super::view::{Badge, Bar, Row};
use super::visit::Visit;
use crate::operation::{ChildCounts, OperationId, StateName, Timestamp};
use crate::service::{Action, Document, ListParameters, ServiceError};

/// How many children are shown.
const SHOWN: usize = 20;
/// The children of a batch.
#[derive(Debug, Serialize)]
pub(super) struct Children {
    total: u64,
    removed: u64,
    bar: Bar,
    states: Vec<State>,
    /// By state, and within a state in the order of submission.
    rows: Vec<Row>,
    /// How many are not shown.
    more: u64,
    /// The query of the list of all children.
    query: String,
}

/// The children in one state.
#[derive(Debug, Serialize)]
struct State {
    badge: Badge,
    count: u64,
    /// The query of their list.
    query: String,
}

impl Children {
    /// The children of the batch in a document; `None` if it is no batch.
    pub(super) async fn of(
        visit: &Visit,
        document: &Document,
        now: Option<Timestamp>,
    ) -> Result<Option<Self>, ServiceError> {
        let Some(counts) = document.children else { return Ok(None) };
        let id = document.operation.id();
        let rows = match visit.caller.can(Action::List) {
            true => list(visit, id, &counts).await?,
            false => Vec::new(),
        };
        let rows = rows.iter().map(|child| Row::of(child, now)).collect();
        Ok(Some(Self::made(id, &counts, rows)))
    }

    pub(super) fn made(id: OperationId, counts: &ChildCounts, rows: Vec<Row>) -> Self {
        let query = |filter: &str| format!("filter={}", encode(filter));
        let (total, ended) = (counts.total(), counts.ended());
        let state = |state: StateName| State {
            badge: Badge::of(state),
            count: counts.of(state),
            query: query(&in_state(id, state)),
        };
        let percent = (total > 0).then(|| ended as f64 * 100.0 / total as f64);
        Self {
            total,
            removed: counts.removed(),
            bar: Bar { percent, text: format!("{ended} of {total} have ended") },
            states: by_concern().map(state).into_iter().filter(|it| it.count > 0).collect(),
            more: (total - counts.removed()).saturating_sub(rows.len() as u64),
            rows,
            query: query(&format!("parent=\"{id}\"")),
        }
    }
}

/// The states in the order in which a page shows children: first what an operator looks for.
fn by_concern() -> [StateName; 7] {
    let mut states = StateName::ALL;
    states.sort_by_key(|state| match state {
        StateName::Failed => 0,
        StateName::PartiallySucceeded => 1,
        StateName::Running => 2,
        StateName::Cancelling => 3,
        StateName::Queued => 4,
        StateName::Cancelled => 5,
        StateName::Succeeded => 6,
    });
    states
}

/// The filter of a batch's children in a state.
fn in_state(batch: OperationId, state: StateName) -> String {
    format!("parent=\"{batch}\" AND state={state}")
}

async fn list(
    visit: &Visit,
    batch: OperationId,
    counts: &ChildCounts,
) -> Result<Vec<Document>, ServiceError> {
    let mut shown: Vec<Document> = Vec::new();
    for state in by_concern().into_iter().filter(|state| counts.of(*state) > 0) {
        let room = SHOWN - shown.len();
        if room == 0 {
            break;
        }
        let parameters = ListParameters {
            page_size: i32::try_from(room).unwrap_or(i32::MAX),
            filter: &in_state(batch, state),
            order_by: "create_time",
            ..ListParameters::default()
        };
        let listed = visit.list(parameters).await?.entries;
        // A child that has changed its state meanwhile is shown once.
        let is_new = |child: &Document| {
            shown.iter().all(|other| other.operation.id() != child.operation.id())
        };
        let listed: Vec<Document> = listed.into_iter().filter(is_new).collect();
        shown.extend(listed);
    }
    Ok(shown)
}
