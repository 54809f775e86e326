//! Lists: a page of a tenant's operations, or of all, found through an index.
//!
//! A list consists of *arms*, each a range of one index that is in the list's order already; a page is merged from the
//! first rows of each. The database does not choose the index, because it does not know how many operations a kind or a
//! state has:
//!
//! - the children of a batch through their own index, sorted by end time;
//! - else a label that few operations have, sorted; by end time also a kind or a span of create times with few
//!   operations;
//! - else by create time: the kind's arms, one per state; or the label's; or the states' arms;
//! - for all tenants: all operations by id, with the filter as a condition; by end time the batches that are done;
//! - else by end time: one arm by end for each state that is done, and unfinished operations by id.
//!
//! Unfinished and done operations have separate indexes, so that an operation's start and end write few of them.
//!
//! The whole filter is a condition of every arm, so that the choice only affects the time. `arms` has the statements.

use super::super::{ListQuery, OrderBy};
use super::arms::{Arms, count_ids, count_kind};
use super::bounds::Bounds;
use super::columns::{OPERATION, limit};
use super::condition::condition;
use super::params::{Dialect, Params};
use super::ranges::{Bound, IndexRange, Range, id_at};
use crate::operation::{OperationId, Scope, StateName, Timestamp};

/// The number of rows that may be sorted for every page.
const FEW: i64 = 1_000;

/// The statement of a list with its values; `None` if nothing can match. `are_few` must run [`Few::sql`] and return
/// whether there are fewer than [`FEW`] rows.
pub(in crate::store) fn plan<E>(
    dialect: Dialect,
    query: &ListQuery,
    are_few: impl FnMut(&Few) -> Result<bool, E>,
) -> Result<Option<(String, Params)>, E> {
    let mut params = Params::new(dialect);
    let tenant = tenant_of(&query.scope, &mut params);
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
        Source::Parent(parent) => list.children(parent, &bounds.states, &mut params),
        Source::Kind(kind) => list.kind(kind, &bounds.states, &mut params),
        Source::States => list.states(&bounds.states),
        Source::Ends => list.ends(&bounds.states),
        Source::All => vec![list.all()],
        Source::EndedBatches => vec![list.ended_batches()],
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
        list.order("ended_at", "id"),
        list.limit,
        list.order("page.ended_at", "page.id"),
    );
    Ok(Some((sql, params)))
}

/// Where a list looks up its operations.
#[derive(Debug, PartialEq)]
enum Source<'a> {
    Label(&'a str, Option<&'a str>),
    Parent(OperationId),
    Kind(&'a str),
    /// By id, which is sorted if the list is by end time.
    States,
    /// By end time.
    Ends,
    /// All tenants' operations.
    All,
    /// All tenants' batches that are done, by end time.
    EndedBatches,
}

/// The tenant as a value, if the list is of one tenant.
fn tenant_of(scope: &Scope, params: &mut Params) -> Option<String> {
    match scope {
        Scope::Tenant(tenant) => Some(params.add(tenant.as_str().to_owned())),
        Scope::All => None,
    }
}

fn source<'a, E>(
    query: &ListQuery,
    bounds: &Bounds<'a>,
    mut are_few: impl FnMut(&Few) -> Result<bool, E>,
) -> Result<Source<'a>, E> {
    match (&query.scope, query.order.by) {
        (Scope::All, OrderBy::CreateTime) => return Ok(Source::All),
        (Scope::All, OrderBy::EndTime) => return Ok(Source::EndedBatches),
        (Scope::Tenant(_), _) => {}
    }
    if let Some(parent) = bounds.parent {
        return Ok(Source::Parent(parent));
    }
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
        (OrderBy::CreateTime, None, _) => Source::States,
        (OrderBy::EndTime, Some(kind), _) if are_few(&Few::OfKind(kind.to_owned()))? => {
            Source::Kind(kind)
        }
        (OrderBy::EndTime, ..) => match Few::created(bounds) {
            Some(created) if are_few(&created)? => Source::States,
            _ => Source::Ends,
        },
    })
}

/// Sets of operations that are looked up directly if they are small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Few {
    /// Labels with this key, and with this value if there is one.
    Labels(String, Option<String>),
    /// Operations of this kind.
    OfKind(String),
    /// Operations with ids between these two.
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

    /// The statement that returns whether the set is small, as its only value.
    pub(in crate::store) fn sql(&self, dialect: Dialect, scope: &Scope) -> (String, Params) {
        let mut params = Params::new(dialect);
        let tenant = tenant_of(scope, &mut params);
        let some = match self {
            Self::Labels(key, value) => {
                let tenant = tenant.map(|tenant| ("tenant", tenant));
                let mut fixed: Vec<_> = tenant.into_iter().collect();
                fixed.push(("key", params.add(key.clone())));
                fixed.extend(value.as_ref().map(|value| ("value", params.add(value.clone()))));
                let range = IndexRange { alias: "l", fixed, keys: &["id"] };
                let (through, within) =
                    (dialect.through("labels_value"), range.within(dialect, &[]));
                let order = match dialect {
                    Dialect::Sqlite => String::new(),
                    Dialect::Postgres => format!("ORDER BY {}", range.leading("ASC")),
                };
                format!("SELECT 1 FROM labels AS l {through} WHERE {within} {order}")
            }
            Self::OfKind(kind) => {
                count_kind(dialect, tenant.as_deref(), params.add(kind.clone()), FEW)
            }
            Self::Created(from, to) => {
                let from = Bound::of_id(">=", params.add(*from));
                let to = Bound::of_id("<=", params.add(*to));
                count_ids(dialect, tenant.as_deref(), &[from, to], FEW)
            }
        };
        let sql = format!("SELECT count(*) < {FEW} FROM ({some} LIMIT {FEW}) AS counted");
        (sql, params)
    }
}
