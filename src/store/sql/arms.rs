//! The arms of a list: each a range of one index, in the list's order or small enough to be sorted.
//!
//! SQLite is told the index by name. PostgreSQL cannot be told, and its guess by statistics can be wrong by any factor;
//! so the statement asks for an order that only that index has: the range compares rows rather than columns with
//! constants (which PostgreSQL would remove from the order), and the filter is hidden from the planner.

use super::super::{ListQuery, OrderBy};
use super::params::{Dialect, Params};
use super::ranges::{Bound, IndexRange, Range};
use crate::operation::{OperationId, StateName, Timestamp};

/// The common part of a list's arms.
pub(super) struct Arms<'a> {
    pub(super) dialect: Dialect,
    pub(super) query: &'a ListQuery,
    /// `None`: all tenants.
    pub(super) tenant: Option<String>,
    pub(super) limit: String,
    pub(super) matches: String,
    pub(super) range: Range,
}

/// An index of operations, and its condition. Every arm repeats the condition, because a partial index is used only for
/// exactly its own condition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index {
    name: &'static str,
    of: &'static str,
}

/// By id.
const ALL: Index = Index { name: "operations_id", of: "TRUE" };
/// By tenant and id.
const ACTIVE: Index = Index { name: "operations_active", of: "o.state < 4 AND o.revision > 0" };
/// By tenant, kind and id.
const QUEUED: Index = Index { name: "operations_queued", of: "o.state = 1 AND o.revision > 0" };
/// By tenant, state and id.
const RUNNING: Index =
    Index { name: "operations_running", of: "o.state IN (2, 3) AND o.revision > 0" };
/// By tenant, state and id.
const DONE: Index = Index { name: "operations_done", of: "o.state >= 4 AND o.revision > 0" };
/// By tenant, kind, state and id.
const DONE_KIND: Index =
    Index { name: "operations_done_kind", of: "o.state >= 4 AND o.revision > 0" };
/// By tenant, batch, state and id.
const CHILDREN: Index = Index { name: "operations_children", of: "o.parent IS NOT NULL" };
/// By tenant, state, end and id.
const ENDED: Index = Index { name: "operations_ended", of: "o.state >= 4 AND o.revision > 0" };
/// Batches, by end and id.
const BATCHES: Index =
    Index { name: "operations_batches", of: "o.kind = 'longrun.batch' AND o.state >= 4" };

impl Index {
    /// The table, looked up through this index.
    fn table(self, dialect: Dialect) -> String {
        format!("operations AS o {}", dialect.through(self.name))
    }
}

impl Arms<'_> {
    /// Arms by id, for all kinds.
    pub(super) fn states(&self, states: &[StateName]) -> Vec<String> {
        let arms = through_states(states).into_iter();
        arms.map(|(index, state)| self.by_id(index, self.of_state(state))).collect()
    }

    /// The arm by id for all tenants.
    pub(super) fn all(&self) -> String {
        self.by_id(ALL, self.index_range(Vec::new()))
    }

    /// The arm by end time for all tenants.
    pub(super) fn ended_batches(&self) -> String {
        let range = IndexRange { keys: &["ended_at", "id"], ..self.index_range(Vec::new()) };
        self.in_order(BATCHES, &range.within(self.dialect, &self.sorted_bounds()), &range)
    }

    /// Arms by id, for one kind. For running operations they read all kinds, because workers hold few of them.
    pub(super) fn kind(
        &self,
        kind: &str,
        states: &[StateName],
        params: &mut Params,
    ) -> Vec<String> {
        let mut arms = Vec::new();
        for state in states {
            let mut of_kind = || ("kind", params.add(kind.to_owned()));
            let of_state = ("state", number(*state));
            let (index, fixed) = match state {
                StateName::Queued => (QUEUED, vec![of_kind()]),
                _ if state.is_done() => (DONE_KIND, vec![of_kind(), of_state]),
                _ => (RUNNING, vec![of_state]),
            };
            arms.push(self.by_id(index, self.index_range(fixed)));
        }
        arms
    }

    /// Arms by id for the children of a batch.
    pub(super) fn children(
        &self,
        parent: OperationId,
        states: &[StateName],
        params: &mut Params,
    ) -> Vec<String> {
        let parent = params.add(*parent.as_bytes());
        let of_state =
            |state: &StateName| vec![("parent", parent.clone()), ("state", number(*state))];
        let arms = states.iter().map(|it| self.by_id(CHILDREN, self.index_range(of_state(it))));
        arms.collect()
    }

    /// Arms by end time. Unfinished operations are left out if they all come before the page.
    pub(super) fn ends(&self, states: &[StateName]) -> Vec<String> {
        let (done, active): (Vec<StateName>, Vec<_>) = states.iter().partition(|it| it.is_done());
        let mut bounds = self.range.ids.clone();
        bounds.extend(self.range.behind.clone());
        let done = done.into_iter().map(|state| {
            let range = IndexRange { keys: &["ended_at", "id"], ..self.of_state(Some(state)) };
            self.in_order(ENDED, &range.within(self.dialect, &bounds), &range)
        });
        let mut arms: Vec<String> = done.collect();
        // Unfinished operations all have the same end time, so the indexes by id are in order.
        match self.query.after {
            Some(after) if after.end_time == Timestamp::MAX => {
                bounds.extend(self.range.behind_id.clone());
            }
            Some(_) if self.query.order.descending => return arms,
            _ => {}
        }
        arms.extend(through_states(&active).into_iter().map(|(index, state)| {
            let range = self.of_state(state);
            self.in_order(index, &range.within(self.dialect, &bounds), &range)
        }));
        arms
    }

    pub(super) fn label(&self, key: &str, value: Option<&str>, params: &mut Params) -> String {
        let (dialect, is_sure) = (self.dialect, value.is_some());
        let mut fixed = vec![("key", params.add(key.to_owned()))];
        fixed.extend(value.map(|value| ("value", params.add(value.to_owned()))));
        let range = IndexRange { alias: "l", ..self.index_range(fixed) };
        let from = format!(
            "labels AS l {} {} operations AS o {} ON o.id = l.id",
            dialect.through("labels_value"),
            dialect.join(),
            dialect.through("operations_id"),
        );
        if is_sure && self.query.order.by == OrderBy::CreateTime {
            let within = range.within(dialect, &self.range.ids);
            return self.page(&from, &within, &range);
        }
        self.sorted(&from, &range.within(dialect, &self.sorted_bounds()), &range)
    }

    /// The order of the page.
    pub(super) fn order(&self, ended_at: &str, id: &str) -> String {
        let direction = self.direction();
        match self.query.order.by {
            OrderBy::CreateTime => format!("{id} {direction}"),
            OrderBy::EndTime => format!("{ended_at} {direction}, {id} {direction}"),
        }
    }

    fn direction(&self) -> &'static str {
        if self.query.order.descending { "DESC" } else { "ASC" }
    }

    fn of_state(&self, state: Option<StateName>) -> IndexRange {
        self.index_range(state.map(|state| ("state", number(state))).into_iter().collect())
    }

    fn index_range(&self, of: Vec<(&'static str, String)>) -> IndexRange {
        IndexRange::of_tenant(self.tenant.clone(), of)
    }

    /// An arm by id: in order, or sorted if the list is by end time.
    fn by_id(&self, index: Index, range: IndexRange) -> String {
        if self.query.order.by == OrderBy::CreateTime {
            return self.in_order(index, &range.within(self.dialect, &self.range.ids), &range);
        }
        let within = range.within(self.dialect, &self.sorted_bounds());
        self.sorted(&index.table(self.dialect), &format!("{within} AND {}", index.of), &range)
    }

    fn in_order(&self, index: Index, within: &str, range: &IndexRange) -> String {
        let within = format!("{within} AND {}", index.of);
        self.page(&index.table(self.dialect), &within, range)
    }

    /// An arm that is in order.
    fn page(&self, from: &str, within: &str, range: &IndexRange) -> String {
        let Self { dialect, limit, .. } = self;
        let (found, direction) = (self.found(from, within, range), self.direction());
        let order = range.order(*dialect, direction);
        format!("SELECT * FROM ({found} ORDER BY {order} LIMIT {limit}) AS arm")
    }

    /// An arm that is not in order: found first, then sorted.
    fn sorted(&self, from: &str, within: &str, range: &IndexRange) -> String {
        let limit = &self.limit;
        let found = self.found(from, within, range);
        match self.dialect {
            Dialect::Sqlite => {
                let order = self.order("o.ended_at", &range.column("id"));
                format!("SELECT * FROM ({found} ORDER BY {order} LIMIT {limit}) AS arm")
            }
            Dialect::Postgres => {
                let (order, leading) = (self.order("ended_at", "id"), range.leading("ASC"));
                format!(
                    "SELECT * FROM (SELECT * FROM ({found} ORDER BY {leading}) AS found
                     ORDER BY {order} LIMIT {limit}) AS arm"
                )
            }
        }
    }

    fn sorted_bounds(&self) -> Vec<Bound> {
        self.range.ids.iter().chain(&self.range.behind).cloned().collect()
    }

    fn found(&self, from: &str, within: &str, range: &IndexRange) -> String {
        let (row, id, matches) = (self.row(), range.column("id"), self.matches());
        format!(
            "SELECT {row}{id} AS id, o.ended_at AS ended_at FROM {from}
             WHERE {within} AND {matches}"
        )
    }

    /// The filter, hidden so that the planner concludes nothing from it.
    fn matches(&self) -> String {
        match self.dialect {
            Dialect::Sqlite => self.matches.clone(),
            Dialect::Postgres => format!("({}) IS TRUE", self.matches),
        }
    }

    /// The column by which the row is looked up again, if that is not its id.
    fn row(&self) -> String {
        match self.dialect.row() {
            "id" => String::new(),
            row => format!("o.{row} AS {row}, "),
        }
    }
}

/// The indexes for operations in these states by id. Queued operations are found among all unfinished ones, because the
/// running ones are never many.
fn through_states(states: &[StateName]) -> Vec<(Index, Option<StateName>)> {
    let is_queued = states.contains(&StateName::Queued);
    let queued = is_queued.then_some((ACTIVE, None));
    let others = states.iter().filter_map(|state| match state.is_done() {
        true => Some((DONE, Some(*state))),
        false => (!is_queued).then_some((RUNNING, Some(*state))),
    });
    queued.into_iter().chain(others).collect()
}

fn number(state: StateName) -> String {
    state.number().to_string()
}

/// Counts a tenant's operations of a kind, up to `most`; running ones of all kinds together.
pub(super) fn count_kind(
    dialect: Dialect,
    tenant: Option<&str>,
    kind: String,
    most: i64,
) -> String {
    let of_kind = vec![("kind", kind)];
    let ranges = [(QUEUED, &["id"][..]), (DONE_KIND, &["state", "id"])].map(|(index, keys)| {
        let range = IndexRange::of_tenant(tenant.map(str::to_owned), of_kind.clone());
        (index, IndexRange { keys, ..range })
    });
    count(dialect, &ranges, &[], most)
}

/// Counts a tenant's operations between these ids, up to `most`.
pub(super) fn count_ids(
    dialect: Dialect,
    tenant: Option<&str>,
    bounds: &[Bound],
    most: i64,
) -> String {
    let arms = through_states(&StateName::ALL).into_iter().map(|(index, state)| {
        let of_state = state.map(|state| ("state", number(state)));
        (index, IndexRange::of_tenant(tenant.map(str::to_owned), of_state.into_iter().collect()))
    });
    count(dialect, &arms.collect::<Vec<_>>(), bounds, most)
}

fn count(dialect: Dialect, of: &[(Index, IndexRange)], bounds: &[Bound], most: i64) -> String {
    let arms = of.iter().map(|(index, range)| {
        let (from, within) = (index.table(dialect), range.within(dialect, bounds));
        let (of, order) = (index.of, range.order(dialect, "ASC"));
        format!(
            "SELECT * FROM (SELECT 1 FROM {from} WHERE {within} AND {of}
             ORDER BY {order} LIMIT {most}) AS arm"
        )
    });
    arms.collect::<Vec<_>>().join(" UNION ALL ")
}
