//! Rows of webhooks.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::StoreError;
use super::super::deliveries::{
    Delivery, DeliveryChange, DeliveryId, DeliveryQuery, DeliveryState, DeliveryStore,
    ForgetDeliveries, Waiting, WaitingEndpoint,
};
use super::super::sql::columns::{limit, number};
use super::PostgresStore;
use super::log::unsigned;
use super::session::Session;
use crate::operation::{OperationId, TenantId, Timestamp};

const COLUMNS: &str = "n, id, tenant, webhook, operation, endpoint, state, due_at, record";

#[async_trait]
impl DeliveryStore for PostgresStore {
    async fn put_deliveries(&self, new: Vec<Delivery>) -> Result<(), StoreError> {
        self.scans.run(|session| put(session, new)).await
    }

    async fn change_deliveries(&self, changes: Vec<DeliveryChange>) -> Result<(), StoreError> {
        self.scans.run(|session| change(session, changes)).await
    }

    async fn waiting_endpoints(
        &self,
        except: Vec<String>,
        limit: usize,
    ) -> Result<Waiting, StoreError> {
        self.scans.run(|session| waiting(session, except, limit)).await
    }

    async fn due_deliveries(
        &self,
        endpoint: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let endpoint = endpoint.to_owned();
        self.scans.run(|session| due(session, endpoint, now, limit)).await
    }

    async fn postpone_endpoint(&self, endpoint: &str, until: Timestamp) -> Result<(), StoreError> {
        let endpoint = endpoint.to_owned();
        self.scans.run(|session| postpone(session, endpoint, until)).await
    }

    async fn list_deliveries(&self, query: DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
        self.scans.run(|session| list(session, query)).await
    }

    async fn scan_deliveries(&self, after: u64, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.scans.run(|session| scan(session, after, limit)).await
    }

    async fn delivery(
        &self,
        tenant: &TenantId,
        id: DeliveryId,
    ) -> Result<Option<Delivery>, StoreError> {
        let tenant = tenant.clone();
        self.scans.run(|session| one(session, tenant, id)).await
    }

    async fn forget_deliveries(&self, which: ForgetDeliveries) -> Result<u64, StoreError> {
        self.scans.run(|session| forget(session, which)).await
    }

    async fn drop_endpoint(&self, endpoint: &str) -> Result<u64, StoreError> {
        let endpoint = endpoint.to_owned();
        self.scans.run(|session| drop_endpoint(session, endpoint)).await
    }
}

async fn put(session: Arc<Session>, new: Vec<Delivery>) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = new.iter().map(|it| Uuid::from_bytes(it.id)).collect();
    let tenants: Vec<&str> = new.iter().map(|it| it.tenant.as_str()).collect();
    let webhooks: Vec<&str> = new.iter().map(|it| it.webhook.as_str()).collect();
    let operations: Vec<Uuid> =
        new.iter().map(|it| Uuid::from_bytes(*it.operation.as_bytes())).collect();
    let endpoints: Vec<&str> = new.iter().map(|it| it.endpoint.as_str()).collect();
    let states: Vec<i16> = new.iter().map(|it| i16::from(it.state.number())).collect();
    let due: Vec<i64> = new.iter().map(|it| it.due_at.micros()).collect();
    let records: Vec<&[u8]> = new.iter().map(|it| &it.record[..]).collect();
    let bodies: Vec<&[u8]> = new.iter().map(|it| &it.body[..]).collect();
    let sql = "INSERT INTO deliveries
           (id, tenant, webhook, operation, endpoint, state, due_at, record, body)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[],
           $6::smallint[], $7::bigint[], $8::bytea[], $9::bytea[])
         ON CONFLICT (id) DO NOTHING";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
        [&ids, &tenants, &webhooks, &operations, &endpoints, &states, &due, &records, &bodies];
    session.query(sql, &values).await?;
    Ok(())
}

async fn change(session: Arc<Session>, mut changes: Vec<DeliveryChange>) -> Result<(), StoreError> {
    changes.sort_unstable_by_key(|it| it.id);
    let ids: Vec<Uuid> = changes.iter().map(|it| Uuid::from_bytes(it.id)).collect();
    let states: Vec<i16> = changes.iter().map(|it| i16::from(it.state.number())).collect();
    let due: Vec<i64> = changes.iter().map(|it| it.due_at.micros()).collect();
    let records: Vec<&[u8]> = changes.iter().map(|it| &it.record[..]).collect();
    let sql = "UPDATE deliveries AS d SET state = n.state, due_at = n.due_at, record = n.record
         FROM unnest($1::uuid[], $2::smallint[], $3::bigint[], $4::bytea[])
           AS n (id, state, due_at, record)
         WHERE d.id = n.id";
    session.query(sql, &[&ids, &states, &due, &records]).await?;
    Ok(())
}

async fn waiting(
    session: Arc<Session>,
    except: Vec<String>,
    most: usize,
) -> Result<Waiting, StoreError> {
    let sql = "SELECT endpoint, due_at, tenant FROM (
           SELECT endpoint, min(due_at) AS due_at, tenant,
             row_number() OVER (PARTITION BY tenant ORDER BY min(due_at)) AS place
           FROM deliveries WHERE state = 1 AND webhook <> ALL($2::text[])
           GROUP BY endpoint, tenant) AS found
         WHERE place <= $1 ORDER BY due_at";
    let found = session.query(sql, &[&limit(most), &except]).await?;
    let read = found.iter().map(|row| {
        Ok(WaitingEndpoint {
            endpoint: row.try_get(0)?,
            due_at: Timestamp::from_micros(row.try_get(1)?),
            tenant: tenant(row, 2)?,
        })
    });
    let endpoints = read.collect::<Result<_, StoreError>>()?;
    let pending = "SELECT count(*) FROM deliveries WHERE state = 1";
    let found = session.query(pending, &[]).await?;
    let pending = unsigned(found.first().map_or(Ok(0), |row| row.try_get(0))?);
    Ok(Waiting { endpoints, pending })
}

async fn due(
    session: Arc<Session>,
    endpoint: String,
    now: Timestamp,
    most: usize,
) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, body FROM deliveries
         WHERE state = 1 AND endpoint = $1 AND due_at <= $2 ORDER BY due_at, n LIMIT $3"
    );
    let found = session.query(&sql, &[&endpoint, &now.micros(), &limit(most)]).await?;
    found.iter().map(whole).collect()
}

async fn list(session: Arc<Session>, query: DeliveryQuery) -> Result<Vec<Delivery>, StoreError> {
    if let Some(operation) = query.operation {
        return of_operation(session, operation, query).await;
    }
    let before = query.before.map_or(i64::MAX, number);
    let (column, name) = match &query.webhook {
        Some(webhook) => ("webhook", webhook.as_str()),
        None => ("tenant", query.tenant.as_str()),
    };
    let mut found = Vec::new();
    for state in query.state.map_or_else(|| DeliveryState::ALL.to_vec(), |state| vec![state]) {
        let sql = format!(
            "SELECT {COLUMNS} FROM deliveries WHERE {column} = $1 AND state = $2 AND n < $3
             ORDER BY n DESC LIMIT $4"
        );
        let (state, most) = (i16::from(state.number()), limit(query.limit));
        let rows = session.query(&sql, &[&name, &state, &before, &most]).await?;
        for row in &rows {
            found.push(bodiless(row)?);
        }
    }
    // A webhook belongs to one tenant.
    found.retain(|it| it.tenant == query.tenant);
    found.sort_unstable_by_key(|it| std::cmp::Reverse(it.number));
    found.truncate(query.limit);
    Ok(found)
}

/// Reads all deliveries of the operation first: at most one for each of its revisions and webhooks.
async fn of_operation(
    session: Arc<Session>,
    operation: OperationId,
    query: DeliveryQuery,
) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!(
        "WITH found AS MATERIALIZED (SELECT {COLUMNS} FROM deliveries WHERE operation = $1)
         SELECT * FROM found
         WHERE tenant = $2 AND n < $3 AND ($4::smallint IS NULL OR state = $4)
           AND ($5::text IS NULL OR webhook = $5)
         ORDER BY n DESC LIMIT $6"
    );
    let operation = Uuid::from_bytes(*operation.as_bytes());
    let before = query.before.map_or(i64::MAX, number);
    let state = query.state.map(|state| i16::from(state.number()));
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&operation, &query.tenant.as_str(), &before, &state, &query.webhook, &limit(query.limit)];
    session.query(&sql, &values).await?.iter().map(bodiless).collect()
}

async fn scan(session: Arc<Session>, after: u64, most: usize) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, body FROM deliveries WHERE n > $1 ORDER BY n LIMIT $2");
    session.query(&sql, &[&number(after), &limit(most)]).await?.iter().map(whole).collect()
}

async fn one(
    session: Arc<Session>,
    tenant: TenantId,
    id: DeliveryId,
) -> Result<Option<Delivery>, StoreError> {
    let sql = format!("SELECT {COLUMNS}, body FROM deliveries WHERE id = $1 AND tenant = $2");
    let found = session.query(&sql, &[&Uuid::from_bytes(id), &tenant.as_str()]).await?;
    found.first().map(whole).transpose()
}

async fn forget(session: Arc<Session>, forget: ForgetDeliveries) -> Result<u64, StoreError> {
    let (state, most) = (i16::from(forget.state.number()), limit(forget.limit));
    let sql = "WITH old AS (
           SELECT n FROM deliveries WHERE state = $1 AND due_at < $2 LIMIT $4),
         tenants AS (SELECT DISTINCT tenant FROM deliveries WHERE state = $1),
         many AS (
           SELECT d.n FROM tenants AS t
           CROSS JOIN LATERAL (
             SELECT k.n FROM deliveries AS k WHERE k.tenant = t.tenant AND k.state = $1
             ORDER BY k.n DESC OFFSET $3 LIMIT $4) AS d),
         gone AS (
           DELETE FROM deliveries WHERE n IN (SELECT n FROM old UNION SELECT n FROM many)
           RETURNING n)
         SELECT count(*) FROM gone";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&state, &forget.before.micros(), &number(forget.keep), &most];
    let found = session.query(sql, &values).await?;
    Ok(unsigned(found.first().map_or(Ok(0), |row| row.try_get(0))?))
}

async fn postpone(
    session: Arc<Session>,
    endpoint: String,
    until: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE deliveries SET due_at = $2
               WHERE state = 1 AND endpoint = $1 AND due_at < $2";
    session.query(sql, &[&endpoint, &until.micros()]).await?;
    Ok(())
}

async fn drop_endpoint(session: Arc<Session>, endpoint: String) -> Result<u64, StoreError> {
    let sql = "WITH gone AS (
           DELETE FROM deliveries WHERE state = 1 AND endpoint = $1 RETURNING n)
         SELECT count(*) FROM gone";
    let found = session.query(sql, &[&endpoint]).await?;
    Ok(unsigned(found.first().map_or(Ok(0), |row| row.try_get(0))?))
}

fn whole(row: &Row) -> Result<Delivery, StoreError> {
    Ok(Delivery { body: row.try_get::<_, Vec<u8>>(9)?.into(), ..bodiless(row)? })
}

fn bodiless(row: &Row) -> Result<Delivery, StoreError> {
    let state: i16 = row.try_get(6)?;
    let state = u8::try_from(state).ok().and_then(DeliveryState::from_number);
    Ok(Delivery {
        number: unsigned(row.try_get(0)?),
        id: *row.try_get::<_, Uuid>(1)?.as_bytes(),
        tenant: tenant(row, 2)?,
        webhook: row.try_get(3)?,
        operation: OperationId::from_bytes(*row.try_get::<_, Uuid>(4)?.as_bytes()),
        endpoint: row.try_get(5)?,
        state: state.unwrap_or(DeliveryState::Dead),
        due_at: Timestamp::from_micros(row.try_get(7)?),
        record: row.try_get::<_, Vec<u8>>(8)?.into(),
        body: Vec::new().into(),
    })
}

fn tenant(row: &Row, at: usize) -> Result<TenantId, StoreError> {
    let corrupt = |rule| StoreError::Corrupt(format!("the tenant of a delivery {rule}"));
    TenantId::parse(row.try_get(at)?).map_err(corrupt)
}
