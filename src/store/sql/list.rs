//! Lists: a page of a tenant's operations, found through an index.
//!
//! A list is made of *arms*, each a range of one index that is in the list's order already; a page
//! is merged from the first rows of each. Which index is not left to the database, which
//! does not know how many operations there are of a kind or in a state:
//!
//! - a label that few operations have is followed and sorted; by end time also a kind that few have,
//!   and a span of create times with few in it;
//! - else by create time: the kind's arms, one per state; or the states' arms; or the label's; or
//!   all of the tenant's;
//! - else by end time: one arm per state, done ones by their end, the others by id.
//!
//! The whole filter is a condition of every arm, so that a choice is only ever a matter of time.

use super::super::{ListQuery, OrderBy};
use super::bounds::Bounds;
use super::columns::{OPERATION, limit};
use super::condition::condition;
use super::params::{Dialect, Params};
use crate::operation::{StateName, TenantId, Timestamp};

/// So few rows can be sorted for every page.
const FEW: i64 = 1_000;

/// The statement of a list with its values; `None` if nothing can match. `are_few` answers by [`Few::sql`]
/// whether there are less than [`FEW`].
pub(in crate::store) fn plan<E>(
    dialect: Dialect,
    query: &ListQuery,
    are_few: impl FnMut(&Few) -> Result<bool, E>,
) -> Result<Option<(String, Params)>, E> {
    let mut params = Params::new(dialect);
    let tenant = params.add(query.tenant.as_str().to_owned());
    let limit = params.add(limit(query.limit));
    let bounds = Bounds::of(&query.filter);
    if bounds.states.is_empty() {
        return Ok(None);
    }
    let matches = condition(&query.filter, &mut params);
    let range = Range::of(query, &bounds, &mut params);
    let list = Arms { dialect, query, tenant, limit, matches, range };
    let arms: Vec<String> = match source(query, &bounds, are_few)? {
        Source::Label(key, value) => vec![list.label(key, value, &mut params)],
        Source::Kind(kind) => {
            let kind = params.add(kind.to_owned());
            bounds.states.iter().map(|state| list.kind(&kind, *state)).collect()
        }
        Source::Tenant => vec![list.operations("operations_tenant", "TRUE")],
        Source::States => bounds.states.iter().filter_map(|state| list.state(*state)).collect(),
    };
    if arms.is_empty() {
        return Ok(None); // All of them are before the page.
    }
    let (join, row) = (dialect.join(), dialect.row());
    let sql = format!(
        "WITH page AS ({} ORDER BY {} LIMIT {})
         SELECT {OPERATION} FROM page {join} operations AS o ON o.{row} = page.{row}
         ORDER BY {}",
        arms.join(" UNION ALL "),
        order(query, "ended_at", "id"),
        list.limit,
        order(query, "page.ended_at", "page.id"),
    );
    Ok(Some((sql, params)))
}

fn order(query: &ListQuery, ended_at: &str, id: &str) -> String {
    let direction = direction(query);
    match query.order.by {
        OrderBy::CreateTime => format!("{id} {direction}"),
        OrderBy::EndTime => format!("{ended_at} {direction}, {id} {direction}"),
    }
}

fn direction(query: &ListQuery) -> &'static str {
    if query.order.descending { "DESC" } else { "ASC" }
}

/// Where a list's operations are looked up.
#[derive(Debug, PartialEq)]
enum Source<'a> {
    Label(&'a str, Option<&'a str>),
    Kind(&'a str),
    States,
    Tenant,
}

fn source<'a, E>(
    query: &ListQuery,
    bounds: &Bounds<'a>,
    mut are_few: impl FnMut(&Few) -> Result<bool, E>,
) -> Result<Source<'a>, E> {
    for (key, value) in &bounds.labels {
        let labels = Few::Labels((*key).to_owned(), value.map(str::to_owned));
        if are_few(&labels)? {
            return Ok(Source::Label(key, *value));
        }
    }
    let all_states = bounds.states.len() == StateName::ALL.len();
    let sure_label = bounds.labels.iter().find(|(_, value)| value.is_some());
    Ok(match (query.order.by, bounds.kind, sure_label) {
        (OrderBy::CreateTime, Some(kind), _) => Source::Kind(kind),
        (OrderBy::CreateTime, None, Some((key, value))) if all_states => Source::Label(key, *value),
        (OrderBy::CreateTime, None, _) if all_states => Source::Tenant,
        (OrderBy::EndTime, Some(kind), _) if are_few(&Few::OfKind(kind.to_owned()))? => {
            Source::Kind(kind)
        }
        (OrderBy::EndTime, ..) => match Few::created(bounds) {
            Some(created) if are_few(&created)? => Source::Tenant,
            _ => Source::States,
        },
        _ => Source::States,
    })
}

/// What is looked up another way if there is little of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Few {
    /// Labels of this key, and of this value if it is said.
    Labels(String, Option<String>),
    /// Operations of this kind.
    OfKind(String),
    /// Operations with ids from here to there.
    Created([u8; 16], [u8; 16]),
}

impl Few {
    fn created(bounds: &Bounds<'_>) -> Option<Self> {
        if bounds.created_from.is_none() && bounds.created_to.is_none() {
            return None;
        }
        let from = id_at(bounds.created_from.unwrap_or_default(), 0x00);
        let to = id_at(bounds.created_to.unwrap_or(Timestamp::MAX), 0xff);
        Some(Self::Created(from, to))
    }

    /// The statement that answers whether there are few, as its only value.
    pub(in crate::store) fn sql(&self, dialect: Dialect, tenant: &TenantId) -> (String, Params) {
        let mut params = Params::new(dialect);
        let tenant = params.add(tenant.as_str().to_owned());
        let (table, index, of) = match self {
            Self::Labels(key, value) => {
                let mut of = format!("key = {}", params.add(key.clone()));
                if let Some(value) = value {
                    of += &format!(" AND value = {}", params.add(value.clone()));
                }
                ("labels", "labels_value", of)
            }
            Self::OfKind(kind) => {
                ("operations", "operations_kind", format!("kind = {}", params.add(kind.clone())))
            }
            Self::Created(from, to) => {
                let of = format!("id >= {} AND id <= {}", params.add(*from), params.add(*to));
                ("operations", "operations_tenant", of)
            }
        };
        let through = dialect.through(index);
        let sql = format!(
            "SELECT count(*) < {FEW} FROM (SELECT 1 FROM {table} {through}
             WHERE tenant = {tenant} AND {of} LIMIT {FEW}) AS counted"
        );
        (sql, params)
    }
}

/// The parts that a list's arms have in common.
struct Arms<'a> {
    dialect: Dialect,
    query: &'a ListQuery,
    tenant: String,
    limit: String,
    matches: String,
    range: Range,
}

impl Arms<'_> {
    fn operations(&self, index: &str, of: &str) -> String {
        self.ordered_operations(index, of, &order(self.query, "o.ended_at", "o.id"))
    }

    fn ordered_operations(&self, index: &str, of: &str, order: &str) -> String {
        let Self { tenant, limit, matches, .. } = self;
        let range = self.range.condition("o.id");
        let (row, through) = (self.row(), self.dialect.through(index));
        format!(
            "SELECT * FROM (SELECT {row}o.id AS id, o.ended_at AS ended_at
             FROM operations AS o {through}
             WHERE o.tenant = {tenant} AND {of}{range} AND {matches}
             ORDER BY {order} LIMIT {limit}) AS arm"
        )
    }

    fn kind(&self, kind: &str, state: StateName) -> String {
        let of = format!("o.kind = {kind} AND o.state = {}", state as u8);
        self.operations("operations_kind", &of)
    }

    /// `None` if the operations of that state are all before the page.
    fn state(&self, state: StateName) -> Option<String> {
        let is = format!("o.state = {}", state as u8);
        if self.query.order.by == OrderBy::CreateTime {
            return Some(self.operations("operations_state", &is));
        }
        if state.is_done() {
            // Said twice, because SQLite takes a partial index only for its very condition.
            let is = format!("{is} AND o.state >= 4");
            return Some(self.operations("operations_ended", &is));
        }
        // What is not done has one and the same end, so that the index by id is in order.
        let order = format!("o.id {}", direction(self.query));
        let same_end = match self.query.after {
            Some(after) if after.end_time == Timestamp::MAX => self.range.behind_id.as_deref(),
            Some(_) if self.query.order.descending => return None,
            _ => None,
        };
        let of = format!("{is} AND {}", same_end.unwrap_or("TRUE"));
        Some(self.ordered_operations("operations_state", &of, &order))
    }

    fn label(&self, key: &str, value: Option<&str>, params: &mut Params) -> String {
        let Self { tenant, limit, matches, .. } = self;
        let mut label = format!("l.tenant = {tenant} AND l.key = {}", params.add(key.to_owned()));
        if let Some(value) = value {
            label += &format!(" AND l.value = {}", params.add(value.to_owned()));
        }
        let range = self.range.condition("l.id");
        let order = order(self.query, "o.ended_at", "l.id");
        let (row, join) = (self.row(), self.dialect.join());
        let labels = self.dialect.through("labels_value");
        let operations = self.dialect.through("operations_id");
        format!(
            "SELECT * FROM (SELECT {row}l.id AS id, o.ended_at AS ended_at
             FROM labels AS l {labels}
             {join} operations AS o {operations} ON o.id = l.id
             WHERE {label}{range} AND {matches}
             ORDER BY {order} LIMIT {limit}) AS arm"
        )
    }

    /// The column by which the row is found again, if that is not its id.
    fn row(&self) -> String {
        match self.dialect.row() {
            "id" => String::new(),
            row => format!("o.{row} AS {row}, "),
        }
    }
}

/// The ids that a page can have, each as a reference to a bound value. One bound in each direction,
/// because SQLite uses only one for an index.
struct Range {
    from: Option<String>,
    to: Option<String>,
    /// By end time: what is behind the place where the page begins.
    behind: Option<String>,
    /// By end time: what is behind that place among operations with the same end.
    behind_id: Option<String>,
}

impl Range {
    /// Ids rise with the create time, of which they have the milliseconds in their first 6 bytes.
    fn of(query: &ListQuery, bounds: &Bounds<'_>, params: &mut Params) -> Self {
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
                    behind = Some(format!("(o.ended_at, o.id) {compare} ({end}, {id})"));
                    behind_id = Some(format!("o.id {compare} {id}"));
                }
            }
        }
        let mut bind = |bound: Option<(&str, [u8; 16])>| {
            bound.map(|(compare, id)| format!("{compare} {}", params.add(id)))
        };
        Self { from: bind(from), to: bind(to), behind, behind_id }
    }

    fn condition(&self, id: &str) -> String {
        let bounds = [&self.from, &self.to].into_iter().flatten();
        let mut condition: String = bounds.map(|bound| format!(" AND {id} {bound}")).collect();
        if let Some(behind) = &self.behind {
            condition += &format!(" AND {behind}");
        }
        condition
    }
}

/// The smallest (`fill` 0) or largest (`fill` 255) id of that time's millisecond.
fn id_at(time: Timestamp, fill: u8) -> [u8; 16] {
    const LARGEST: i64 = (1 << 48) - 1;
    let millis = time.micros().div_euclid(1_000).clamp(0, LARGEST).to_be_bytes();
    let mut id = [fill; 16];
    for (to, byte) in id.iter_mut().zip(millis.into_iter().skip(2)) {
        *to = byte;
    }
    id
}
