//! Runs the statement of a list.

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ToSql, params_from_iter};

use super::super::sql::list::{Few, plan};
use super::super::sql::params::{Dialect, Params, Value};
use super::super::{ListQuery, StoreError};
use super::rows;
use super::store_error;
use crate::operation::Operation;

pub(super) fn list(
    connection: &Connection,
    query: &ListQuery,
) -> Result<Vec<Operation>, StoreError> {
    let plan = planned(connection, query).map_err(store_error)?;
    let Some((sql, params)) = plan else { return Ok(Vec::new()) };
    rows::all(connection, &sql, params_from_iter(params.values), rows::operation)
}

fn planned(
    connection: &Connection,
    query: &ListQuery,
) -> rusqlite::Result<Option<(String, Params)>> {
    plan(Dialect::Sqlite, query, |few: &Few| {
        let (sql, params) = few.sql(Dialect::Sqlite, &query.scope);
        let mut statement = connection.prepare_cached(&sql)?;
        statement.query_row(params_from_iter(params.values), |row| row.get(0))
    })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Number(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
            Self::Id(id) => id.to_sql(),
        }
    }
}

#[cfg(test)]
mod tests;
