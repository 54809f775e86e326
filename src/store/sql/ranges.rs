//! Ranges of an index, and the bounds of a page within them, as conditions and orders.

use super::super::{ListQuery, OrderBy};
use super::bounds::Bounds;
use super::params::{Dialect, Params};
use crate::operation::Timestamp;

/// The part of an index with certain values in its first columns.
pub(super) struct IndexRange {
    /// The table's name.
    pub(super) alias: &'static str,
    /// The first columns of the index, with their values.
    pub(super) fixed: Vec<(&'static str, String)>,
    /// The following columns.
    pub(super) keys: &'static [&'static str],
}

impl IndexRange {
    /// A range of operations by id.
    pub(super) fn of_tenant(tenant: Option<String>, of: Vec<(&'static str, String)>) -> Self {
        let fixed = tenant.map(|tenant| ("tenant", tenant)).into_iter().chain(of).collect();
        Self { alias: "o", fixed, keys: &["id"] }
    }

    /// The order of the index.
    pub(super) fn order(&self, dialect: Dialect, direction: &str) -> String {
        let following = self.following(direction);
        match dialect {
            Dialect::Sqlite => following,
            Dialect::Postgres if self.fixed.is_empty() => following,
            Dialect::Postgres => format!("{}, {following}", self.leading(direction)),
        }
    }

    /// The condition for rows within the range and these bounds.
    pub(super) fn within(&self, dialect: Dialect, bounds: &[Bound]) -> String {
        let id = format!("{}.id", self.alias);
        let mut conditions = Vec::new();
        match dialect {
            Dialect::Sqlite => {
                conditions.extend(self.equal(&self.fixed));
                conditions.extend(bounds.iter().map(|bound| bound.condition(&id)));
            }
            // Equality removes a column from the order, so that another index might serve it: therefore the last fixed
            // column gets two ends instead. The others need equality, because PostgreSQL ends a scan only at the first
            // column of an end: with two ends of (tenant, state) it would read all states before the wanted one.
            Dialect::Postgres => {
                let (_, equal) = self.fixed.split_last().unzip();
                conditions.extend(self.equal(equal.unwrap_or_default()));
                let ends = |bound: &&Bound, sign| {
                    bound.columns == self.keys && bound.compare.starts_with(sign)
                };
                for (sign, loose) in [('>', ">="), ('<', "<=")] {
                    let tight = bounds.iter().find(|bound| ends(bound, sign));
                    conditions.extend(self.rows(loose, tight));
                }
                let others = bounds.iter().filter(|bound| !ends(bound, '>') && !ends(bound, '<'));
                conditions.extend(others.map(|bound| bound.condition(&id)));
            }
        }
        if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") }
    }

    /// The last fixed column and those of the bound, if any, in one comparison.
    fn rows(&self, loose: &str, bound: Option<&Bound>) -> Option<String> {
        let keys = bound.map_or(&[][..], |bound| bound.columns);
        let values = bound.map_or(&[][..], |bound| &bound.values);
        let columns = self.fixed.last().map(|(column, _)| *column).into_iter();
        let columns = columns.chain(keys.iter().copied());
        let columns: Vec<_> = columns.map(|column| self.column(column)).collect();
        let values = self.fixed.last().map(|(_, value)| value).into_iter().chain(values);
        let values: Vec<_> = values.map(String::as_str).collect();
        let compare = bound.map_or(loose, |bound| bound.compare);
        let rows = || format!("({}) {compare} ({})", columns.join(", "), values.join(", "));
        (!columns.is_empty()).then(rows)
    }

    fn equal(&self, fixed: &[(&'static str, String)]) -> impl Iterator<Item = String> {
        fixed.iter().map(|(column, value)| format!("{} = {value}", self.column(column)))
    }

    /// The order by the fixed columns; by the following ones if there are none.
    pub(super) fn leading(&self, direction: &str) -> String {
        if self.fixed.is_empty() {
            return self.following(direction);
        }
        let columns = self.fixed.iter().map(|(column, _)| *column);
        columns.map(|it| format!("{} {direction}", self.column(it))).collect::<Vec<_>>().join(", ")
    }

    /// The order by the following columns.
    fn following(&self, direction: &str) -> String {
        let columns = self.keys.iter();
        columns.map(|it| format!("{} {direction}", self.column(it))).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn column(&self, column: &str) -> String {
        format!("{}.{column}", self.alias)
    }
}

/// An end of a page's range, each value as a reference to a bound one.
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

/// The bounds of a page. At most one in each direction, because SQLite uses only one for an index.
pub(super) struct Range {
    pub(super) ids: Vec<Bound>,
    /// By end time: after the place where the page begins.
    pub(super) behind: Option<Bound>,
    /// By end time: after that place among operations with the same end.
    pub(super) behind_id: Option<Bound>,
}

impl Range {
    /// Ids rise with the create time: their first 6 bytes are its milliseconds.
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

/// The smallest (`fill` 0) or largest (`fill` 255) id of the time's millisecond.
pub(super) fn id_at(time: Timestamp, fill: u8) -> [u8; 16] {
    const LARGEST: i64 = (1 << 48) - 1;
    let millis = time.micros().div_euclid(1_000).clamp(0, LARGEST).to_be_bytes();
    let mut id = [fill; 16];
    for (to, byte) in id.iter_mut().zip(millis.into_iter().skip(2)) {
        *to = byte;
    }
    id
}
