//! Rows of webhooks.

use async_trait::async_trait;
use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::super::StoreError;
use super::super::deliveries::{
    Delivery, DeliveryChange, DeliveryId, DeliveryQuery, DeliveryState, DeliveryStore,
    ForgetDeliveries, Waiting, WaitingEndpoint,
};
use super::super::sql::columns::{limit, number};
use super::rows::{self, get, unsigned};
use super::{SqliteStore, store_error};
use crate::operation::{OperationId, TenantId, Timestamp};

const COLUMNS: &str = "n, id, tenant, webhook, operation, endpoint, state, due_at, record";

#[async_trait]
impl DeliveryStore for SqliteStore {
    async fn put_deliveries(&self, new: Vec<Delivery>) -> Result<(), StoreError> {
        self.threads.write(move |connection, _| put(connection, &new)).await
    }

    async fn change_deliveries(&self, changes: Vec<DeliveryChange>) -> Result<(), StoreError> {
        self.threads.write(move |connection, _| change(connection, &changes)).await
    }

    async fn waiting_endpoints(
        &self,
        except: Vec<String>,
        limit: usize,
    ) -> Result<Waiting, StoreError> {
        self.threads.log(move |connection| waiting(connection, &except, limit)).await
    }

    async fn due_deliveries(
        &self,
        endpoint: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let endpoint = endpoint.to_owned();
        self.threads.log(move |connection| due(connection, &endpoint, now, limit)).await
    }

    async fn postpone_endpoint(&self, endpoint: &str, until: Timestamp) -> Result<(), StoreError> {
        let endpoint = endpoint.to_owned();
        let postpone = move |connection: &mut Connection, _: &mut _| {
            let sql = "UPDATE deliveries SET due_at = ?2
                       WHERE state = 1 AND endpoint = ?1 AND due_at < ?2";
            connection.execute(sql, params![endpoint, until.micros()]).map_err(store_error)
        };
        self.threads.write(postpone).await.map(drop)
    }

    async fn list_deliveries(&self, query: DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
        self.threads.list(move |connection| list(connection, &query)).await
    }

    async fn scan_deliveries(&self, after: u64, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.threads.log(move |connection| scan(connection, after, limit)).await
    }

    async fn delivery(
        &self,
        tenant: &TenantId,
        id: DeliveryId,
    ) -> Result<Option<Delivery>, StoreError> {
        let tenant = tenant.clone();
        self.threads.look_up(move |connection| one(connection, &tenant, id)).await
    }

    async fn forget_deliveries(&self, which: ForgetDeliveries) -> Result<u64, StoreError> {
        self.threads.write(move |connection, _| forget(connection, which)).await
    }

    async fn drop_endpoint(&self, endpoint: &str) -> Result<u64, StoreError> {
        let endpoint = endpoint.to_owned();
        self.threads.write(move |connection, _| drop_endpoint(connection, &endpoint)).await
    }
}

fn put(connection: &mut Connection, new: &[Delivery]) -> Result<(), StoreError> {
    let run = |connection: &mut Connection| -> rusqlite::Result<()> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for it in new {
            let sql = "INSERT INTO deliveries
                         (id, tenant, webhook, operation, endpoint, state, due_at, record, body)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING";
            change.prepare_cached(sql)?.execute(params![
                it.id,
                it.tenant.as_str(),
                it.webhook,
                it.operation.as_bytes(),
                it.endpoint,
                it.state.number(),
                it.due_at.micros(),
                &it.record[..],
                &it.body[..]
            ])?;
        }
        change.commit()
    };
    run(connection).map_err(store_error)
}

fn change(connection: &mut Connection, changes: &[DeliveryChange]) -> Result<(), StoreError> {
    let run = |connection: &mut Connection| -> rusqlite::Result<()> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for it in changes {
            let sql = "UPDATE deliveries SET state = ?2, due_at = ?3, record = ?4 WHERE id = ?1";
            let values = params![it.id, it.state.number(), it.due_at.micros(), &it.record[..]];
            change.prepare_cached(sql)?.execute(values)?;
        }
        change.commit()
    };
    run(connection).map_err(store_error)
}

fn waiting(connection: &Connection, except: &[String], most: usize) -> Result<Waiting, StoreError> {
    let sql = "SELECT * FROM (
           SELECT endpoint, min(due_at) AS due_at, tenant,
             row_number() OVER (PARTITION BY tenant ORDER BY min(due_at)) AS place
           FROM deliveries
           WHERE state = 1 AND webhook NOT IN (SELECT value FROM json_each(?2))
           GROUP BY endpoint, tenant)
         WHERE place <= ?1 ORDER BY due_at";
    let except = serde_json::Value::from(except).to_string();
    let endpoints = rows::all(connection, sql, params![limit(most), except], |row| {
        Ok(WaitingEndpoint {
            endpoint: get(row, 0)?,
            due_at: Timestamp::from_micros(get(row, 1)?),
            tenant: tenant(row, 2)?,
        })
    })?;
    let pending = "SELECT count(*) FROM deliveries WHERE state = 1";
    let pending = rows::all(connection, pending, [], |row| Ok(unsigned(get(row, 0)?)))?;
    Ok(Waiting { endpoints, pending: pending.into_iter().sum() })
}

fn due(
    connection: &Connection,
    endpoint: &str,
    now: Timestamp,
    most: usize,
) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, body FROM deliveries
         WHERE state = 1 AND endpoint = ?1 AND due_at <= ?2 ORDER BY due_at, n LIMIT ?3"
    );
    rows::all(connection, &sql, params![endpoint, now.micros(), limit(most)], whole)
}

fn list(connection: &Connection, query: &DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
    if let Some(operation) = query.operation {
        return of_operation(connection, operation, query);
    }
    let before = query.before.map_or(i64::MAX, number);
    let (column, name) = match &query.webhook {
        Some(webhook) => ("webhook", webhook.as_str()),
        None => ("tenant", query.tenant.as_str()),
    };
    let mut found = Vec::new();
    for state in query.state.map_or_else(|| DeliveryState::ALL.to_vec(), |state| vec![state]) {
        let sql = format!(
            "SELECT {COLUMNS} FROM deliveries WHERE {column} = ?1 AND state = ?2 AND n < ?3
             ORDER BY n DESC LIMIT ?4"
        );
        let values = params![name, state.number(), before, limit(query.limit)];
        found.extend(rows::all(connection, &sql, values, bodiless)?);
    }
    // A webhook belongs to one tenant.
    found.retain(|it| it.tenant == query.tenant);
    found.sort_unstable_by_key(|it| std::cmp::Reverse(it.number));
    found.truncate(query.limit);
    Ok(found)
}

/// Reads all deliveries of the operation first: at most one for each of its revisions and webhooks.
fn of_operation(
    connection: &Connection,
    operation: OperationId,
    query: &DeliveryQuery,
) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!(
        "WITH found AS MATERIALIZED (SELECT {COLUMNS} FROM deliveries WHERE operation = ?1)
         SELECT * FROM found
         WHERE tenant = ?2 AND n < ?3 AND (?4 IS NULL OR state = ?4) AND (?5 IS NULL OR webhook = ?5)
         ORDER BY n DESC LIMIT ?6"
    );
    let values = params![
        operation.as_bytes(),
        query.tenant.as_str(),
        query.before.map_or(i64::MAX, number),
        query.state.map(DeliveryState::number),
        query.webhook,
        limit(query.limit)
    ];
    rows::all(connection, &sql, values, bodiless)
}

fn scan(connection: &Connection, after: u64, most: usize) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, body FROM deliveries WHERE n > ?1 ORDER BY n LIMIT ?2");
    rows::all(connection, &sql, params![number(after), limit(most)], whole)
}

fn one(
    connection: &Connection,
    tenant: &TenantId,
    id: DeliveryId,
) -> Result<Option<Delivery>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, body FROM deliveries WHERE id = ?1 AND tenant = ?2");
    Ok(rows::all(connection, &sql, params![id, tenant.as_str()], whole)?.pop())
}

fn forget(connection: &mut Connection, forget: ForgetDeliveries) -> Result<u64, StoreError> {
    let run = |connection: &mut Connection| -> rusqlite::Result<usize> {
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let state = forget.state.number();
        let old = "DELETE FROM deliveries WHERE n IN (
                     SELECT n FROM deliveries WHERE state = ?1 AND due_at < ?2 LIMIT ?3)";
        let mut gone =
            change.execute(old, params![state, forget.before.micros(), limit(forget.limit)])?;
        let tenants: Vec<String> = change
            .prepare_cached("SELECT DISTINCT tenant FROM deliveries WHERE state = ?1")?
            .query_map([state], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for tenant in tenants {
            let most = "DELETE FROM deliveries WHERE n IN (
                          SELECT n FROM deliveries WHERE tenant = ?1 AND state = ?2 AND n <= (
                            SELECT n FROM deliveries WHERE tenant = ?1 AND state = ?2
                            ORDER BY n DESC LIMIT 1 OFFSET ?3)
                          ORDER BY n LIMIT ?4)";
            let values = params![tenant, state, number(forget.keep), limit(forget.limit)];
            gone += change.execute(most, values)?;
        }
        change.commit()?;
        Ok(gone)
    };
    Ok(run(connection).map_err(store_error)? as u64)
}

fn drop_endpoint(connection: &mut Connection, endpoint: &str) -> Result<u64, StoreError> {
    let gone = connection
        .execute("DELETE FROM deliveries WHERE state = 1 AND endpoint = ?1", [endpoint])
        .map_err(store_error)?;
    Ok(gone as u64)
}

fn whole(row: &Row<'_>) -> Result<Delivery, StoreError> {
    Ok(Delivery { body: get::<Vec<u8>>(row, 9)?.into(), ..bodiless(row)? })
}

fn bodiless(row: &Row<'_>) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        number: unsigned(get(row, 0)?),
        id: get(row, 1)?,
        tenant: tenant(row, 2)?,
        webhook: get(row, 3)?,
        operation: OperationId::from_bytes(get(row, 4)?),
        endpoint: get(row, 5)?,
        state: DeliveryState::from_number(get(row, 6)?).unwrap_or(DeliveryState::Dead),
        due_at: Timestamp::from_micros(get(row, 7)?),
        record: get::<Vec<u8>>(row, 8)?.into(),
        body: Vec::new().into(),
    })
}

fn tenant(row: &Row<'_>, at: usize) -> Result<TenantId, StoreError> {
    let corrupt = |rule| StoreError::Corrupt(format!("the tenant of a delivery {rule}"));
    TenantId::parse(&get::<String>(row, at)?).map_err(corrupt)
}
