//! Runs the statement of a list.

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::super::log::Head;
use super::super::sql::columns::OPERATION_COLUMNS;
use super::super::sql::list::{Few, plan};
use super::super::sql::params::{Dialect, Params, Value};
use super::super::{ListQuery, StoreError};
use super::log::{self, HEAD};
use super::session::Session;
use super::{error, rows};
use crate::operation::Operation;

pub(super) async fn list(
    session: Arc<Session>,
    query: ListQuery,
) -> Result<Vec<Operation>, StoreError> {
    let Some((sql, params)) = planned(&session, &query).await? else { return Ok(Vec::new()) };
    let found = run(&session, &sql, &params).await?;
    found.iter().map(rows::operation).collect()
}

/// A page and all writers, in one statement, so that both are of one moment. The page must be ordered by rising id.
pub(super) async fn list_with_head(
    session: Arc<Session>,
    query: ListQuery,
) -> Result<(Vec<Operation>, Head), StoreError> {
    let Some((sql, params)) = planned(&session, &query).await? else {
        return Ok((Vec::new(), log::head(session).await?));
    };
    let sql = format!(
        "SELECT l.*, h.head FROM (SELECT {HEAD} AS head) AS h LEFT JOIN ({sql}) AS l ON TRUE"
    );
    let found = run(&session, &sql, &params).await?;
    let head = found.first().map(|row| row.try_get(OPERATION_COLUMNS)).transpose()?.flatten();
    let mut page = Vec::with_capacity(found.len());
    for row in &found {
        if row.try_get::<_, Option<Uuid>>(0)?.is_some() {
            page.push(rows::operation(row)?);
        }
    }
    page.sort_by_key(Operation::id);
    Ok((page, log::parse_head(head)?))
}

/// Makes the plan; looks up what it asks for, and makes it again with the result.
async fn planned(
    session: &Session,
    query: &ListQuery,
) -> Result<Option<(String, Params)>, StoreError> {
    let mut known: Vec<(Few, bool)> = Vec::new();
    loop {
        let planned = plan(Dialect::Postgres, query, |few| {
            let answer = known.iter().find(|(other, _)| other == few);
            answer.map(|(_, are_few)| *are_few).ok_or_else(|| few.clone())
        });
        let few = match planned {
            Ok(planned) => return Ok(planned),
            Err(few) => few,
        };
        let (sql, params) = few.sql(Dialect::Postgres, &query.scope);
        let rows = run(session, &sql, &params).await?;
        let are_few = rows.first().map(|row| row.try_get(0)).transpose()?;
        known.push((few, are_few.unwrap_or(false)));
    }
}

async fn run(
    session: &Session,
    sql: &str,
    params: &Params,
) -> Result<Vec<tokio_postgres::Row>, StoreError> {
    let values: Vec<&(dyn ToSql + Sync)> =
        params.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    session.query(sql, &values).await.map_err(error::of_list)
}

impl ToSql for Value {
    fn to_sql(
        &self,
        of: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Number(number) => number.to_sql(of, out),
            Self::Text(text) => text.to_sql(of, out),
            Self::Id(id) => Uuid::from_bytes(*id).to_sql(of, out),
        }
    }

    fn accepts(of: &Type) -> bool {
        matches!(*of, Type::INT8 | Type::TEXT | Type::UUID)
    }

    to_sql_checked!();
}
