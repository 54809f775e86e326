//! Reads other than lists. Each function is about one statement.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::shared::{Outstanding, Queues};
use super::super::sql::columns::{OPERATION, UNFINISHED, limit, number, role_number};
use super::super::{
    HistoryEntry, HistoryQuery, Lookup, PayloadRole, StoreError, Unfinished, codec,
};
use super::rows::{self, uuid};
use super::session::Session;
use crate::operation::log::LogBook;
use crate::operation::{
    Event, IdempotencyKey, Kind, ObjectId, Operation, OperationId, Revision, TenantId,
};

pub(super) async fn load(
    session: Arc<Session>,
    lookups: Vec<Lookup>,
) -> Result<Vec<Option<Operation>>, StoreError> {
    let (mut ids, mut tenants, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for lookup in &lookups {
        match lookup {
            Lookup::Id(id) => ids.push(uuid(*id)),
            Lookup::Key(tenant, key) => {
                tenants.push(tenant.as_str());
                keys.push(key.as_str());
            }
        }
    }
    let by_id = async {
        let sql = format!("SELECT {OPERATION} FROM operations AS o WHERE o.id = ANY($1)");
        if ids.is_empty() { Ok(Vec::new()) } else { session.query(&sql, &[&ids]).await }
    };
    let by_key = async {
        let sql = format!(
            "SELECT {OPERATION} FROM unnest($1::text[], $2::text[]) AS k (tenant, key)
             JOIN operations AS o ON o.tenant = k.tenant AND o.idempotency_key = k.key"
        );
        if keys.is_empty() { Ok(Vec::new()) } else { session.query(&sql, &[&tenants, &keys]).await }
    };
    let (by_id, by_key) = tokio::try_join!(by_id, by_key)?;
    let (mut of_id, mut of_key) = (HashMap::new(), HashMap::new());
    for row in &by_id {
        let operation = rows::operation(row)?;
        of_id.insert(operation.id(), operation);
    }
    for row in &by_key {
        let operation = rows::operation(row)?;
        let submission = &operation.submission;
        if let Some(key) = submission.idempotency.as_ref().map(|it| it.key.clone()) {
            let place: (TenantId, IdempotencyKey) = (submission.tenant.clone(), key);
            of_key.insert(place, operation);
        }
    }
    let found = lookups.into_iter().map(|lookup| match lookup {
        Lookup::Id(id) => of_id.get(&id).cloned(),
        Lookup::Key(tenant, key) => of_key.get(&(tenant, key)).cloned(),
    });
    Ok(found.collect())
}

pub(super) async fn payload(
    session: Arc<Session>,
    id: OperationId,
    role: PayloadRole,
) -> Result<Option<Bytes>, StoreError> {
    let inline = match role {
        PayloadRole::Input => "input",
        PayloadRole::Result => "result",
    };
    let sql = format!(
        "SELECT coalesce(o.{inline}, (SELECT p.data FROM payloads AS p WHERE p.id = $1 AND p.role = $2))
         FROM operations AS o WHERE o.id = $1"
    );
    let found = session.query(&sql, &[&uuid(id), &i16::from(role_number(role))]).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let data: Option<Vec<u8>> = row.try_get(0)?;
    Ok(data.map(Bytes::from))
}

/// The contents of the operations' inputs: of those that have any.
pub(super) async fn inputs(
    session: Arc<Session>,
    ids: Vec<OperationId>,
) -> Result<HashMap<OperationId, Bytes>, StoreError> {
    let sql = "SELECT o.id, coalesce(o.input,
                 (SELECT p.data FROM payloads AS p WHERE p.id = o.id AND p.role = $2))
               FROM operations AS o WHERE o.id = ANY ($1)";
    let ids: Vec<Uuid> = ids.into_iter().map(uuid).collect();
    let role = i16::from(role_number(PayloadRole::Input));
    let mut found = HashMap::new();
    for row in session.query(sql, &[&ids, &role]).await? {
        if let Some(data) = row.try_get::<_, Option<Vec<u8>>>(1)? {
            found.insert(rows::id(&row, 0)?, Bytes::from(data));
        }
    }
    Ok(found)
}

pub(super) async fn known_objects(
    session: Arc<Session>,
    ids: Vec<ObjectId>,
) -> Result<Vec<bool>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| Uuid::from_bytes(*id.as_bytes())).collect();
    let rows = session.query("SELECT id FROM objects WHERE id = ANY($1)", &[&ids]).await?;
    let known = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Uuid>, _>>()?;
    let known: std::collections::HashSet<Uuid> = known.into_iter().collect();
    Ok(ids.iter().map(|id| known.contains(id)).collect())
}

pub(super) async fn history(
    session: Arc<Session>,
    query: HistoryQuery,
) -> Result<Vec<HistoryEntry>, StoreError> {
    let (id, after, most) = (uuid(query.id), query.after, limit(query.limit));
    let revision = number(after.revision.0);
    let events = "SELECT type, life FROM events WHERE id = $1 AND revision > $2
                  ORDER BY revision LIMIT $3";
    let of_events: [&(dyn ToSql + Sync); 3] = [&id, &revision, &most];
    let events = session.query(events, &of_events);
    if !query.include_log {
        let events = events.await?;
        let events = events.iter().map(|row| rows::event(query.id, row));
        return events.map(|event| event.map(HistoryEntry::Transition)).collect();
    }
    // Revisions rise with the numbers of lines, so numbers alone give the order.
    let lines = "SELECT number, revision, attempt, worker, logged_at, line,
                   CASE WHEN number = (SELECT min(number) FROM log_lines WHERE id = $1)
                     THEN number - 1 ELSE 0 END
                 FROM log_lines WHERE id = $1 AND number > $3 AND (revision, number) > ($2, $3)
                 ORDER BY number LIMIT $4";
    let line = number(after.log_number);
    let of_lines: [&(dyn ToSql + Sync); 4] = [&id, &revision, &line, &most];
    let lines = session.query(lines, &of_lines);
    let (events, lines) = tokio::try_join!(events, lines)?;
    let mut entries = Vec::with_capacity(events.len() + lines.len());
    for row in &events {
        entries.push(HistoryEntry::Transition(rows::event(query.id, row)?));
    }
    for row in &lines {
        entries.push(HistoryEntry::Log(rows::log_line(query.id, row)?));
    }
    entries.sort_by_key(HistoryEntry::position);
    // A line added between the two reads may follow transitions that the first one did not see.
    let last = events.last().map(|row| rows::event(query.id, row)).transpose()?;
    let seen = last.map_or(after.revision, |event| event.life.revision);
    entries.retain(|entry| entry.position().revision <= seen);
    entries.truncate(query.limit);
    Ok(entries)
}

pub(super) async fn transitions(
    session: Arc<Session>,
    after: Vec<(OperationId, Revision)>,
    most: usize,
) -> Result<Vec<Vec<Event>>, StoreError> {
    let (ids, revisions): (Vec<Uuid>, Vec<i64>) =
        after.iter().map(|(id, revision)| (uuid(*id), number(revision.0))).unzip();
    let sql = "SELECT e.type, e.life, w.n
               FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS w (id, revision, n)
               CROSS JOIN LATERAL (
                 SELECT e.type, e.life, e.revision FROM events AS e
                 WHERE e.id = w.id AND e.revision > w.revision
                 ORDER BY e.revision LIMIT $3) AS e
               ORDER BY w.n, e.revision";
    let rows = session.query(sql, &[&ids, &revisions, &limit(most)]).await?;
    let mut transitions = vec![Vec::new(); after.len()];
    for row in &rows {
        // Counted from 1.
        let place = usize::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default().wrapping_sub(1);
        if let (Some((id, _)), Some(of)) = (after.get(place), transitions.get_mut(place)) {
            of.push(rows::event(*id, row)?);
        }
    }
    Ok(transitions)
}

pub(super) async fn log_book(
    session: Arc<Session>,
    id: OperationId,
) -> Result<LogBook, StoreError> {
    let sql = "SELECT number, octet_length(line) FROM log_lines WHERE id = $1 ORDER BY number";
    let lines = session.query(sql, &[&uuid(id)]).await?;
    let (mut last, mut sizes): (i64, Vec<u32>) = (0, Vec::with_capacity(lines.len()));
    for row in &lines {
        last = row.try_get(0)?;
        sizes.push(u32::try_from(row.try_get::<_, i32>(1)?).unwrap_or(u32::MAX));
    }
    let last = u64::try_from(last).map_err(|error| codec::corrupt(id, error))?;
    Ok(LogBook::new(last, sizes))
}

pub(super) async fn count(session: Arc<Session>) -> Result<u64, StoreError> {
    let found = session.query("SELECT count(*) FROM operations", &[]).await?;
    let count: i64 = found.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    Ok(u64::try_from(count).unwrap_or_default())
}

pub(super) async fn scan(
    session: Arc<Session>,
    after: Option<OperationId>,
    page: usize,
) -> Result<Vec<Operation>, StoreError> {
    let after = after.map_or(Uuid::nil(), uuid);
    let sql =
        format!("SELECT {OPERATION} FROM operations AS o WHERE o.id > $1 ORDER BY o.id LIMIT $2");
    let found = session.query(&sql, &[&after, &limit(page)]).await?;
    found.iter().map(rows::operation).collect()
}

pub(super) async fn unfinished(
    session: Arc<Session>,
    after: Option<(TenantId, OperationId)>,
    page: usize,
) -> Result<Vec<Unfinished>, StoreError> {
    let (tenant, id) = after.unzip();
    let (tenant, id) = (tenant.as_ref().map_or("", TenantId::as_str), id.map_or(Uuid::nil(), uuid));
    let sql = format!(
        "SELECT {UNFINISHED} FROM operations AS o
         WHERE o.state < 4 AND o.revision > 0 AND (o.tenant, o.id) > ($1, $2) ORDER BY o.tenant, o.id LIMIT $3"
    );
    let found = session.query(&sql, &[&tenant, &id, &limit(page)]).await?;
    found.iter().map(rows::unfinished).collect()
}

/// Jumps from one tenant to the next, however many operations each has queued. Queues with floors are read from there
/// on: no jump passes their dead rows, because it ends where the next tenant with a floor begins.
pub(super) async fn queues(
    session: Arc<Session>,
    kinds: Vec<Kind>,
    after: Option<TenantId>,
    most: usize,
    floors: Vec<((TenantId, Kind), Uuid)>,
) -> Result<Queues, StoreError> {
    // Above the names of all tenants, which begin with a letter.
    let sql = "WITH RECURSIVE t (tenant, number) AS (
           SELECT $2::text COLLATE \"C\", 0::bigint
         UNION ALL
           SELECT coalesce((
             SELECT o.tenant FROM operations AS o
             WHERE o.state = 1 AND o.tenant > t.tenant AND o.tenant < coalesce(f.tenant, '{')
             ORDER BY o.tenant LIMIT 1), f.tenant), t.number + 1
           FROM t CROSS JOIN LATERAL (
             SELECT min(w.tenant COLLATE \"C\") AS tenant FROM unnest($4::text[]) AS w (tenant)
             WHERE w.tenant > t.tenant) AS f
           WHERE t.tenant IS NOT NULL AND t.number < $3)
         SELECT t.tenant, t.number, ARRAY(
           SELECT k.kind FROM unnest($1::text[]) AS k (kind) WHERE EXISTS (
             SELECT 1 FROM operations AS o
             WHERE o.state = 1 AND o.revision > 0 AND o.tenant = t.tenant AND o.kind = k.kind
               AND o.id >= coalesce((
                 SELECT w.floor FROM unnest($4::text[], $5::text[], $6::uuid[])
                   AS w (tenant, kind, floor)
                 WHERE w.tenant = t.tenant AND w.kind = k.kind),
                 '00000000-0000-0000-0000-000000000000')))
         FROM t WHERE t.tenant IS NOT NULL AND t.number > 0 ORDER BY t.number";
    let kinds: Vec<&str> = kinds.iter().map(Kind::as_str).collect();
    let after = after.as_ref().map_or("", TenantId::as_str);
    let tenants: Vec<&str> = floors.iter().map(|((tenant, _), _)| tenant.as_str()).collect();
    let of_kinds: Vec<&str> = floors.iter().map(|((_, kind), _)| kind.as_str()).collect();
    let ids: Vec<Uuid> = floors.iter().map(|(_, id)| *id).collect();
    let values: [&(dyn ToSql + Sync); 6] =
        [&kinds, &after, &limit(most), &tenants, &of_kinds, &ids];
    let rows = session.query(sql, &values).await?;
    let unreadable = |rule| StoreError::Corrupt(format!("a name in a row {rule}"));
    let mut queues = Queues::default();
    for row in &rows {
        let tenant = TenantId::parse(row.try_get(0)?).map_err(unreadable)?;
        for kind in row.try_get::<_, Vec<&str>>(2)? {
            queues.found.push((tenant.clone(), Kind::parse(kind).map_err(unreadable)?));
        }
        queues.last = (row.try_get::<_, i64>(1)? >= limit(most)).then_some(tenant);
    }
    Ok(queues)
}

pub(super) async fn outstanding(session: Arc<Session>) -> Result<Vec<Outstanding>, StoreError> {
    let sql = "SELECT tenant, kind, sum(count)::bigint, sum(running)::bigint FROM (
          SELECT tenant, kind, count(*) AS count, 0 AS running
          FROM operations WHERE state = 1 AND revision > 0 GROUP BY tenant, kind
        UNION ALL
          SELECT tenant, kind, count(*), count(*)
          FROM operations WHERE state IN (2, 3) AND revision > 0 GROUP BY tenant, kind) AS o
        GROUP BY tenant, kind";
    let found = session.query(sql, &[]).await?;
    let unreadable = |rule| StoreError::Corrupt(format!("a name in a row {rule}"));
    let counted = found.iter().map(|row| {
        Ok(Outstanding {
            tenant: TenantId::parse(row.try_get(0)?).map_err(unreadable)?,
            kind: Kind::parse(row.try_get(1)?).map_err(unreadable)?,
            count: u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default(),
            running: u64::try_from(row.try_get::<_, i64>(3)?).unwrap_or_default(),
        })
    });
    counted.collect()
}
