//! Workers' sessions as rows: kept, used, ended, taken over, and found when nobody keeps them.

use std::time::Duration;

use uuid::Uuid;

use super::super::shared::{KeptSession, SessionChanges, TakeOver};
use super::super::sql::columns::limit;
use super::step::Step;
use crate::operation::{Scope, SessionId};

/// Microseconds since 1970 by the database's clock, which all replicas share: now, and when the transaction began,
/// which alone can be compared by an index.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
const BEGAN: &str = "(extract(epoch FROM now()) * 1000000)::bigint";

/// The tenant as it is stored: none is all.
fn tenant(scope: &Scope) -> &str {
    match scope {
        Scope::All => "",
        Scope::Tenant(tenant) => tenant.as_str(),
    }
}

pub(super) fn uuid(id: SessionId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// The statements that keep and use sessions: they come first, because they may refuse the batch.
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
           INSERT INTO sessions (id, tenant, worker, replica, expires_at)
           SELECT n.id, n.tenant, n.worker, $5, {NOW} + n.lease
           FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
             AS n (id, tenant, worker, lease)
           ON CONFLICT (id) DO UPDATE SET expires_at = EXCLUDED.expires_at
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
}

/// Locked, so that whoever takes one over waits for this commit, and sees its leases.
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

/// Ends those that are ours and those that this transaction has found expired, and so has locked. What holds
/// a lease stays: without its session nobody would find it lost.
pub(super) fn end<'a>(ended: &[SessionId], expired: Vec<Uuid>, ours: Uuid) -> Option<Step<'a>> {
    let delete = "DELETE FROM sessions AS s WHERE id = ANY($1) AND (replica = $2 OR id = ANY($3))
        AND NOT EXISTS (SELECT 1 FROM operations AS o WHERE o.session = s.id)";
    let ended: Vec<Uuid> = ended.iter().map(|id| uuid(*id)).collect();
    (!ended.is_empty()).then(|| Step::new(delete).with(ended).with(ours).with(expired))
}

/// Makes the session ours and tells whose it was. A row for a session that is there.
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

/// The leases of a session. This order is only that of the index by session; with the order by id alone
/// PostgreSQL may walk through all operations.
pub(super) fn leases<'a>(session: SessionId) -> Step<'a> {
    Step::new(
        "SELECT id, attempt FROM operations WHERE session >= $1 AND session <= $1
         ORDER BY session, id",
    )
    .with(uuid(session))
}

/// Sessions that no replica has kept, with some of their leases: a row for each lease, or one without.
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

/// Far less than the column holds, so that a time can be added.
fn micros(lease: Duration) -> i64 {
    i64::try_from(lease.as_micros()).unwrap_or(i64::MAX).min(i64::MAX / 2)
}
