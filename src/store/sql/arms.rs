//! The arms of a list: ranges of one index each, in the list's order or few enough to be sorted.
//!
//! SQLite is told the index by its name. PostgreSQL cannot be told, and its guess by statistics can be wrong
//! by any factor; so it is asked for an order that only that index has: the range is a comparison
//! of rows rather than of columns with constants, which it would take out of the order, and the filter is
//! hidden from it.

use super::super::{ListQuery, OrderBy};
use super::bounds::Bounds;
use super::params::{Dialect, Params};
use crate::operation::{StateName, Timestamp};

/// The common part of a list's arms.
pub(super) struct Arms<'a> {
    pub(super) dialect: Dialect,
    pub(super) query: &'a ListQuery,
    pub(super) tenant: String,
    pub(super) limit: String,
    pub(super) matches: String,
    pub(super) range: Range,
}

impl Arms<'_> {
    pub(super) fn tenant(&self) -> String {
        self.by_id("operations_tenant", self.index_range([]))
    }

    pub(super) fn kind(&self, kind: &str, state: StateName) -> String {
        let fixed = [("kind", kind.to_owned()), ("state", state.number().to_string())];
        self.by_id("operations_kind", self.index_range(fixed))
    }

    /// `None` if the operations of that state are all before the page.
    pub(super) fn state(&self, state: StateName) -> Option<String> {
        let mut range = self.index_range([("state", state.number().to_string())]);
        if self.query.order.by == OrderBy::CreateTime {
            return Some(self.by_id("operations_state", range));
        }
        let mut bounds = self.range.ids.clone();
        bounds.extend(self.range.behind.clone());
        if state.is_done() {
            range.keys = &["ended_at", "id"];
            let from = format!("operations AS o {}", self.dialect.through("operations_ended"));
            // Said as well, because a partial index is only taken for its very condition.
            let within = format!("{} AND o.state >= 4", range.within(self.dialect, &bounds));
            return Some(self.in_order(&from, "o.id", &within, &range));
        }
        // What is not done has one and the same end, so that the index by id is in order.
        match self.query.after {
            Some(after) if after.end_time == Timestamp::MAX => {
                bounds.extend(self.range.behind_id.clone());
            }
            Some(_) if self.query.order.descending => return None,
            _ => {}
        }
        let from = format!("operations AS o {}", self.dialect.through("operations_state"));
        Some(self.in_order(&from, "o.id", &range.within(self.dialect, &bounds), &range))
    }

    pub(super) fn label(&self, key: &str, value: Option<&str>, params: &mut Params) -> String {
        let (dialect, is_sure) = (self.dialect, value.is_some());
        let mut range = self.index_range([("key", params.add(key.to_owned()))]);
        range.fixed.extend(value.map(|value| ("value", params.add(value.to_owned()))));
        range.alias = "l";
        let from = format!(
            "labels AS l {} {} operations AS o {} ON o.id = l.id",
            dialect.through("labels_value"),
            dialect.join(),
            dialect.through("operations_id"),
        );
        if is_sure && self.query.order.by == OrderBy::CreateTime {
            let within = range.within(dialect, &self.range.ids);
            return self.in_order(&from, "l.id", &within, &range);
        }
        self.sorted(&from, "l.id", &range)
    }

    /// How the page is in order.
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

    fn index_range<const N: usize>(&self, of: [(&'static str, String); N]) -> IndexRange {
        let tenant = [("tenant", self.tenant.clone())];
        IndexRange { alias: "o", fixed: tenant.into_iter().chain(of).collect(), keys: &["id"] }
    }

    /// An arm of an index by id.
    fn by_id(&self, index: &str, range: IndexRange) -> String {
        let from = format!("operations AS o {}", self.dialect.through(index));
        if self.query.order.by == OrderBy::CreateTime {
            let within = range.within(self.dialect, &self.range.ids);
            return self.in_order(&from, "o.id", &within, &range);
        }
        self.sorted(&from, "o.id", &range)
    }

    fn in_order(&self, from: &str, id: &str, within: &str, range: &IndexRange) -> String {
        let Self { dialect, limit, .. } = self;
        let (row, matches, direction) = (self.row(), self.matches(), self.direction());
        let order = match dialect {
            Dialect::Sqlite => range.following(direction),
            Dialect::Postgres => {
                format!("{}, {}", range.leading(direction), range.following(direction))
            }
        };
        format!(
            "SELECT * FROM (SELECT {row}{id} AS id, o.ended_at AS ended_at FROM {from}
             WHERE {within} AND {matches} ORDER BY {order} LIMIT {limit}) AS arm"
        )
    }

    /// What is not in order is found first, and then sorted.
    fn sorted(&self, from: &str, id: &str, range: &IndexRange) -> String {
        let Self { dialect, limit, .. } = self;
        let (row, matches) = (self.row(), self.matches());
        let bounds: Vec<Bound> = self.range.ids.iter().chain(&self.range.behind).cloned().collect();
        let within = range.within(*dialect, &bounds);
        let found = format!(
            "SELECT {row}{id} AS id, o.ended_at AS ended_at FROM {from}
             WHERE {within} AND {matches}"
        );
        match dialect {
            Dialect::Sqlite => {
                let order = self.order("o.ended_at", id);
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

    /// The filter, so that nothing is concluded from it.
    fn matches(&self) -> String {
        match self.dialect {
            Dialect::Sqlite => self.matches.clone(),
            Dialect::Postgres => format!("({}) IS TRUE", self.matches),
        }
    }

    /// The column by which the row is found again, if that is not its id.
    fn row(&self) -> String {
        match self.dialect.row() {
            "id" => String::new(),
            row => format!("o.{row} AS {row}, "),
        }
    }
}

/// Where an index begins with certain values.
pub(super) struct IndexRange {
    /// The table's name.
    pub(super) alias: &'static str,
    /// The index's first columns, and the value that each has.
    pub(super) fixed: Vec<(&'static str, String)>,
    /// The columns behind them.
    pub(super) keys: &'static [&'static str],
}

impl IndexRange {
    /// The condition that a row is within the range and these bounds.
    pub(super) fn within(&self, dialect: Dialect, bounds: &[Bound]) -> String {
        let id = format!("{}.id", self.alias);
        let mut conditions = Vec::new();
        match dialect {
            Dialect::Sqlite => {
                conditions.push(self.equal());
                conditions.extend(bounds.iter().map(|bound| bound.condition(&id)));
            }
            Dialect::Postgres => {
                let ends = |bound: &&Bound, sign| {
                    bound.columns == self.keys && bound.compare.starts_with(sign)
                };
                for (sign, loose) in [('>', ">="), ('<', "<=")] {
                    let tight = bounds.iter().find(|bound| ends(bound, sign));
                    conditions.push(self.rows(loose, tight));
                }
                let others = bounds.iter().filter(|bound| !ends(bound, '>') && !ends(bound, '<'));
                conditions.extend(others.map(|bound| bound.condition(&id)));
            }
        }
        conditions.join(" AND ")
    }

    /// The first columns and those of the bound, if there is one, in one comparison.
    fn rows(&self, loose: &str, bound: Option<&Bound>) -> String {
        let keys = bound.map_or(&[][..], |bound| bound.columns);
        let values = bound.map_or(&[][..], |bound| &bound.values);
        let columns = self.fixed.iter().map(|(column, _)| *column).chain(keys.iter().copied());
        let columns: Vec<_> = columns.map(|column| self.column(column)).collect();
        let values = self.fixed.iter().map(|(_, value)| value).chain(values);
        let values: Vec<_> = values.map(String::as_str).collect();
        let compare = bound.map_or(loose, |bound| bound.compare);
        format!("({}) {compare} ({})", columns.join(", "), values.join(", "))
    }

    fn equal(&self) -> String {
        let equal =
            self.fixed.iter().map(|(column, value)| format!("{} = {value}", self.column(column)));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    /// The first columns as an order.
    pub(super) fn leading(&self, direction: &str) -> String {
        let columns = self.fixed.iter().map(|(column, _)| *column);
        columns.map(|it| format!("{} {direction}", self.column(it))).collect::<Vec<_>>().join(", ")
    }

    /// The columns behind them as an order.
    fn following(&self, direction: &str) -> String {
        let columns = self.keys.iter();
        columns.map(|it| format!("{} {direction}", self.column(it))).collect::<Vec<_>>().join(", ")
    }

    fn column(&self, column: &str) -> String {
        format!("{}.{column}", self.alias)
    }
}

/// An end of what a page can have, each value as a reference to a bound one.
#[derive(Clone)]
pub(super) struct Bound {
    columns: &'static [&'static str],
    compare: &'static str,
    values: Vec<String>,
}

impl Bound {
    pub(super) fn of_id(compare: &'static str, id: String) -> Self {
        Self { columns: &["id"], compare, values: vec![id] }
    }

    fn condition(&self, id: &str) -> String {
        let compare = self.compare;
        match (self.columns, self.values.as_slice()) {
            (["id"], [value]) => format!("{id} {compare} {value}"),
            (_, values) => format!("(o.ended_at, {id}) {compare} ({})", values.join(", ")),
        }
    }
}

/// The bounds of a page. One in each direction, because SQLite uses only one for an index.
pub(super) struct Range {
    ids: Vec<Bound>,
    /// By end time: what is behind the place where the page begins.
    behind: Option<Bound>,
    /// By end time: what is behind that place among operations with the same end.
    behind_id: Option<Bound>,
}

impl Range {
    /// Ids rise with the create time, of which they have the milliseconds in their first 6 bytes.
    pub(super) fn of(query: &ListQuery, bounds: &Bounds<'_>, params: &mut Params) -> Self {
        let mut from = bounds.created_from.map(|time| (">=", id_at(time, 0x00)));
        let mut to = bounds.created_to.map(|time| ("<=", id_at(time, 0xff)));
        let (mut behind, mut behind_id) = (None, None);
        if let Some(after) = query.after {
            let id = *after.id.as_bytes();
            match (query.order.by, query.order.descending) {
                (OrderBy::CreateTime, true) if to.is_none_or(|(_, to)| id <= to) => {
                    to = Some(("<", id));
                }
                (OrderBy::CreateTime, false) if from.is_none_or(|(_, from)| id >= from) => {
                    from = Some((">", id));
                }
                (OrderBy::CreateTime, _) => {}
                (OrderBy::EndTime, descending) => {
                    let compare = if descending { "<" } else { ">" };
                    let end = params.add(after.end_time.micros());
                    let id = params.add(id);
                    let values = vec![end, id.clone()];
                    behind = Some(Bound { columns: &["ended_at", "id"], compare, values });
                    behind_id = Some(Bound::of_id(compare, id));
                }
            }
        }
        let ids = [from, to].into_iter().flatten();
        let ids = ids.map(|(compare, id)| Bound::of_id(compare, params.add(id))).collect();
        Self { ids, behind, behind_id }
    }
}

/// The smallest (`fill` 0) or largest (`fill` 255) id of that time's millisecond.
pub(super) fn id_at(time: Timestamp, fill: u8) -> [u8; 16] {
    const LARGEST: i64 = (1 << 48) - 1;
    let millis = time.micros().div_euclid(1_000).clamp(0, LARGEST).to_be_bytes();
    let mut id = [fill; 16];
    for (to, byte) in id.iter_mut().zip(millis.into_iter().skip(2)) {
        *to = byte;
    }
    id
}
