//! Workers' sessions as rows: renewed, used, ended, taken over, and found when expired.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::super::StoreError;
use super::super::shared::{KeptSession, OtherWorker, SessionChanges, TakeOver};
use super::super::sql::columns::limit;
use super::session::Session;
use super::step::Step;
use crate::operation::{Kind, Scope, SessionId, TenantId, WorkerId};

/// Microseconds since 1970 by the database's clock, which all replicas share: the present time, and the transaction's
/// begin, which alone can be compared by an index.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
const BEGAN: &str = "(extract(epoch FROM now()) * 1000000)::bigint";

/// The tenant as stored; empty means all tenants.
fn tenant(scope: &Scope) -> &str {
    match scope {
        Scope::All => "",
        Scope::Tenant(tenant) => tenant.as_str(),
    }
}

pub(super) fn uuid(id: SessionId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// The statements that renew and use sessions. They come first, because they may refuse the batch.
pub(super) fn claimed(changes: &SessionChanges, ours: Uuid) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    if !changes.kept.is_empty() {
        steps.push(keep(&changes.kept, ours));
    }
    if !changes.used.is_empty() {
        steps.push(use_them(&changes.used, ours));
    }
    steps
}

fn keep(kept: &[KeptSession], ours: Uuid) -> Step<'_> {
    let mut kept: Vec<&KeptSession> = kept.iter().collect();
    kept.sort_by_key(|kept| kept.session);
    let sql = format!(
        "WITH kept AS (
           INSERT INTO sessions (id, tenant, worker, replica, expires_at, kinds, places)
           SELECT n.id, n.tenant, n.worker, $5, {NOW} + n.lease, n.kinds, n.places
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $6::text[], $7::int[])
             AS n (id, tenant, worker, lease, kinds, places)
           ON CONFLICT (id) DO UPDATE SET expires_at = EXCLUDED.expires_at,
             kinds = EXCLUDED.kinds, places = EXCLUDED.places
             WHERE sessions.replica = EXCLUDED.replica
           RETURNING id)
         SELECT CASE WHEN (SELECT count(*) FROM kept) <> cardinality($1)
           THEN longrun_sessions_taken(ARRAY(SELECT unnest($1) EXCEPT SELECT id FROM kept)) END"
    );
    Step::new(sql)
        .with(kept.iter().map(|kept| uuid(kept.session)).collect::<Vec<_>>())
        .with(kept.iter().map(|kept| tenant(&kept.scope)).collect::<Vec<_>>())
        .with(kept.iter().map(|kept| kept.worker.as_str()).collect::<Vec<_>>())
        .with(kept.iter().map(|kept| micros(kept.lease)).collect::<Vec<_>>())
        .with(ours)
        .with(kept.iter().map(|kept| joined(&kept.kinds)).collect::<Vec<_>>())
        .with(
            kept.iter()
                .map(|kept| i32::try_from(kept.places).unwrap_or(i32::MAX))
                .collect::<Vec<_>>(),
        )
}

/// Kinds as stored: no kind has a space.
fn joined(kinds: &[Kind]) -> String {
    kinds.iter().map(Kind::as_str).collect::<Vec<_>>().join(" ")
}

/// Sessions that other replicas own, with the number of attempts that each runs.
pub(super) async fn others(
    session: Arc<Session>,
    ours: Uuid,
    most: usize,
) -> Result<Vec<OtherWorker>, StoreError> {
    let sql = format!(
        "SELECT s.tenant, s.worker, s.kinds, s.places,
           (SELECT count(*) FROM operations AS o WHERE o.session = s.id)
         FROM sessions AS s WHERE s.replica <> $1 AND s.expires_at > {BEGAN} ORDER BY s.id LIMIT $2"
    );
    let unreadable = |rule| StoreError::Corrupt(format!("a name in a row {rule}"));
    let rows = session.query(&sql, &[&ours, &limit(most)]).await?;
    let others = rows.iter().map(|row| {
        let scope = match row.try_get(0)? {
            "" => Scope::All,
            tenant => TenantId::parse(tenant).map_err(unreadable)?.into(),
        };
        let kinds: &str = row.try_get(2)?;
        let kinds = kinds.split_whitespace().map(Kind::parse).collect::<Result<Vec<_>, _>>();
        Ok(OtherWorker {
            scope,
            worker: WorkerId::parse(row.try_get(1)?).map_err(unreadable)?,
            kinds: kinds.map_err(unreadable)?.into(),
            places: usize::try_from(row.try_get::<_, i32>(3)?).unwrap_or_default(),
            running: usize::try_from(row.try_get::<_, i64>(4)?).unwrap_or_default(),
        })
    });
    others.collect()
}

/// Locks the sessions, so that a replica that takes one over waits for this commit and sees its leases.
fn use_them<'a>(used: &[SessionId], ours: Uuid) -> Step<'a> {
    let mut used: Vec<Uuid> = used.iter().map(|id| uuid(*id)).collect();
    used.sort_unstable();
    used.dedup();
    Step::new(
        "WITH used AS (
           SELECT id FROM sessions WHERE id = ANY($1) AND replica = $2 ORDER BY id FOR SHARE)
         SELECT CASE WHEN (SELECT count(*) FROM used) <> cardinality($1)
           THEN longrun_sessions_taken(ARRAY(SELECT unnest($1) EXCEPT SELECT id FROM used)) END",
    )
    .with(used)
    .with(ours)
}

/// Ends this replica's sessions, and expired ones that this transaction has locked. Sessions with leases stay, because
/// without its session a lease could not be found lost.
pub(super) fn end<'a>(ended: &[SessionId], expired: Vec<Uuid>, ours: Uuid) -> Option<Step<'a>> {
    let delete = "DELETE FROM sessions AS s WHERE id = ANY($1) AND (replica = $2 OR id = ANY($3))
        AND NOT EXISTS (SELECT 1 FROM operations AS o WHERE o.session = s.id)";
    let ended: Vec<Uuid> = ended.iter().map(|id| uuid(*id)).collect();
    (!ended.is_empty()).then(|| Step::new(delete).with(ended).with(ours).with(expired))
}

/// Takes the session over; returns a row with its previous owner if it exists.
pub(super) fn take_over<'a>(take: &'a TakeOver, ours: Uuid) -> Step<'a> {
    let sql = format!(
        "WITH old AS (
           SELECT id, replica FROM sessions WHERE id = $1 AND ($2::text = '' OR tenant = $2) FOR UPDATE),
         taken AS (
           UPDATE sessions AS s SET replica = $3, expires_at = {NOW} + $4 FROM old WHERE s.id = old.id
           RETURNING old.replica AS replica)
         SELECT CASE WHEN replica <> $3 THEN
           pg_notify('longrun_replica_' || replace(replica::text, '-', ''),
             'T' || replace($1::uuid::text, '-', '')) END
         FROM taken"
    );
    Step::new(sql)
        .with(uuid(take.session))
        .with(tenant(&take.scope))
        .with(ours)
        .with(micros(take.lease))
}

/// The leases of a session. Only the index by session has this order; ordered by id alone, PostgreSQL may read all
/// operations.
pub(super) fn leases<'a>(session: SessionId) -> Step<'a> {
    Step::new(
        "SELECT id, attempt FROM operations WHERE session >= $1 AND session <= $1
         ORDER BY session, id",
    )
    .with(uuid(session))
}

/// Sessions that no replica has renewed, with some of their leases: a row for each lease, or one without.
pub(super) fn expired<'a>(most: usize, leases: usize) -> Step<'a> {
    let sql = format!(
        "WITH gone AS (
           SELECT id, expires_at FROM sessions WHERE expires_at <= {BEGAN}
           ORDER BY expires_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
         SELECT gone.id, o.id, o.attempt FROM gone
         LEFT JOIN LATERAL (
           SELECT o.id, o.attempt FROM operations AS o
           WHERE o.session >= gone.id AND o.session <= gone.id
           ORDER BY o.session, o.id LIMIT $2) AS o ON TRUE
         ORDER BY gone.expires_at, gone.id, o.id"
    );
    Step::new(sql).with(limit(most)).with(limit(leases))
}

/// Clamped far below the column's maximum, so that a time can be added.
fn micros(lease: Duration) -> i64 {
    i64::try_from(lease.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 2)
}
