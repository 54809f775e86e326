//! The columns of a row other than its bytes.

use super::super::{PayloadRole, StoreError, codec};
use crate::operation::{Operation, Timestamp};

/// The columns of the table `operations AS o` that make an operation.
pub(in crate::store) const OPERATION: &str = "o.id, o.tenant, o.kind, o.priority, o.created_at, \
                                              o.idempotency_key, o.submission, o.life, o.revision";
/// The number of these columns.
pub(in crate::store) const OPERATION_COLUMNS: usize = 9;
/// The columns of an unfinished operation, from the same table. Rows older than `may_start_at` have the time of their
/// submission if they could start at once.
pub(in crate::store) const UNFINISHED: &str = "o.id, o.tenant, o.kind, o.priority, \
     CASE WHEN o.not_before <= o.created_at THEN 0 ELSE o.not_before END, \
     o.session, o.worker, o.attempt";

/// The largest payload that is stored in the operation's own row, in bytes; every transition would copy larger ones.
const INLINE_BYTES: usize = 2 * 1024;

/// The columns that transitions change.
pub(in crate::store) struct Changing<'a> {
    pub(in crate::store) state: u8,
    pub(in crate::store) attempt: u32,
    pub(in crate::store) revision: i64,
    pub(in crate::store) updated_at: i64,
    pub(in crate::store) started_at: Option<i64>,
    pub(in crate::store) ended_at: i64,
    pub(in crate::store) not_before: Option<i64>,
    pub(in crate::store) wake_at: Option<i64>,
    pub(in crate::store) session: Option<&'a [u8; 16]>,
    pub(in crate::store) worker: Option<&'a str>,
    pub(in crate::store) life: Vec<u8>,
}

impl<'a> Changing<'a> {
    pub(in crate::store) fn of(operation: &'a Operation) -> Self {
        let life = &operation.life;
        let lease = life.state.lease();
        Self {
            state: life.state.name().number(),
            attempt: life.attempt.0,
            revision: number(life.revision.0),
            updated_at: life.updated_at.micros(),
            started_at: life.started_at.map(Timestamp::micros),
            ended_at: operation.ended_at().unwrap_or(Timestamp::MAX).micros(),
            not_before: operation.may_start_at().map(Timestamp::micros),
            wake_at: operation.wake_at().map(Timestamp::micros),
            session: lease.map(|lease| lease.session.as_bytes()),
            worker: lease.and(life.worker.as_ref()).map(|worker| worker.as_str()),
            life: codec::encode_life(life),
        }
    }
}

/// The operation, unless the revision's column contradicts it: a write that expects the one revision would never
/// replace the other.
pub(in crate::store) fn at_revision(
    operation: Operation,
    revision: i64,
) -> Result<Operation, StoreError> {
    let life = number(operation.life.revision.0);
    if life == revision {
        return Ok(operation);
    }
    let what = format!("its row says revision {revision}, and it is at {life}");
    Err(codec::corrupt(operation.id(), what))
}

pub(in crate::store) fn role_number(role: PayloadRole) -> u8 {
    match role {
        PayloadRole::Input => 1,
        PayloadRole::Result => 2,
    }
}

/// SQL's integers are signed; no count here comes near their limit.
pub(in crate::store) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(in crate::store) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The payload if it belongs in the operation's own row.
pub(in crate::store) fn inline(payload: Option<&[u8]>) -> Option<&[u8]> {
    payload.filter(|data| data.len() <= INLINE_BYTES)
}

/// The payload if it belongs in a row of its own.
pub(in crate::store) fn apart(payload: Option<&[u8]>) -> Option<&[u8]> {
    payload.filter(|data| data.len() > INLINE_BYTES)
}
