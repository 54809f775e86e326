//! The children of a batch on its page: their counts by state, and the first of them.

use serde::Serialize;

use super::fields::encode;
use super::view::{Badge, Bar, Row};
use super::visit::Visit;
use crate::operation::{ChildCounts, OperationId, StateName, Timestamp};
use crate::service::{Action, Document, ListParameters, ServiceError};

/// How many children are shown.
const SHOWN: i32 = 20;

/// The children of a batch.
#[derive(Debug, Serialize)]
pub(super) struct Children {
    total: u64,
    removed: u64,
    bar: Bar,
    states: Vec<State>,
    /// The first submitted ones.
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
            true => list(visit, id).await?,
            false => Vec::new(),
        };
        let rows = rows.iter().map(|child| Row::of(child, now)).collect();
        Ok(Some(Self::made(id, &counts, rows)))
    }

    pub(super) fn made(id: OperationId, counts: &ChildCounts, rows: Vec<Row>) -> Self {
        let filter = format!("parent=\"{id}\"");
        let query = |filter: &str| format!("filter={}", encode(filter));
        let (total, ended) = (counts.total(), counts.ended());
        let state = |state: StateName| State {
            badge: Badge::of(state),
            count: counts.of(state),
            query: query(&format!("{filter} AND state={state}")),
        };
        let percent = (total > 0).then(|| ended as f64 * 100.0 / total as f64);
        Self {
            total,
            removed: counts.removed(),
            bar: Bar { percent, text: format!("{ended} of {total} have ended") },
            states: StateName::ALL.map(state).into_iter().filter(|it| it.count > 0).collect(),
            more: (total - counts.removed()).saturating_sub(rows.len() as u64),
            rows,
            query: query(&filter),
        }
    }
}

async fn list(visit: &Visit, batch: OperationId) -> Result<Vec<Document>, ServiceError> {
    let filter = format!("parent=\"{batch}\"");
    let parameters = ListParameters {
        page_size: SHOWN,
        filter: &filter,
        order_by: "create_time",
        ..ListParameters::default()
    };
    Ok(visit.list(parameters).await?.entries)
}
