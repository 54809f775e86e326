//! What is found for one replica only: queued operations and those whose time has come, locked until its next commit.

use super::super::shared::Wanted;
use super::super::sql::columns::{OPERATION, limit};
use super::rows::uuid;
use super::step::Step;
use crate::operation::{OperationId, Timestamp};

/// Queued operations that may start, of each queue in its order. What others have locked is passed over.
pub(super) fn claim<'a>(wanted: &'a [Wanted], except: &[OperationId], now: Timestamp) -> Step<'a> {
    let sql = format!(
        "SELECT {OPERATION}
         FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY
           AS w (tenant, kind, most, place)
         CROSS JOIN LATERAL (
           SELECT * FROM operations AS o
           WHERE o.state = 1 AND o.tenant = w.tenant AND o.kind = w.kind AND o.not_before <= $4
             AND NOT o.id = ANY ($5)
           ORDER BY o.priority DESC, o.id LIMIT w.most FOR UPDATE SKIP LOCKED) AS o
         ORDER BY w.place, o.priority DESC, o.id"
    );
    Step::new(sql)
        .with(wanted.iter().map(|it| it.tenant.as_str()).collect::<Vec<_>>())
        .with(wanted.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>())
        .with(wanted.iter().map(|it| limit(it.limit)).collect::<Vec<_>>())
        .with(now.micros())
        .with(except.iter().map(|id| uuid(*id)).collect::<Vec<_>>())
}

/// When the next operation of these queues may start that may not start yet.
pub(super) fn next_start<'a>(wanted: &'a [Wanted], now: Timestamp) -> Step<'a> {
    Step::new(
        "SELECT min(o.not_before) FROM unnest($1::text[], $2::text[]) AS w (tenant, kind)
         CROSS JOIN LATERAL (
           SELECT o.not_before FROM operations AS o
           WHERE o.state = 1 AND o.tenant = w.tenant AND o.kind = w.kind AND o.not_before > $3
           ORDER BY o.not_before LIMIT 1) AS o",
    )
    .with(wanted.iter().map(|it| it.tenant.as_str()).collect::<Vec<_>>())
    .with(wanted.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>())
    .with(now.micros())
}

/// Operations whose time has come, earliest first.
pub(super) fn due<'a>(now: Timestamp, most: usize) -> Step<'a> {
    Step::new(
        "SELECT id FROM operations WHERE wake_at <= $1
         ORDER BY wake_at LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .with(now.micros())
    .with(limit(most))
}
