//! Operations for unit tests.

use std::sync::Arc;

use uuid::Uuid;

use super::dispatch::queue::QueueKey;
use crate::operation::{
    Command, Decision, Kind, NewOperation, Operation, OperationId, TenantId, Timestamp, decide,
    sample, transition,
};

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a tenant")
}

pub(crate) fn kind(name: &str) -> Kind {
    Kind::parse(name).expect("a kind")
}

/// The queue of a tenant and a kind.
pub(crate) fn key(tenant_name: &str, kind_name: &str) -> QueueKey {
    QueueKey { tenant: tenant(tenant_name), kind: kind(kind_name) }
}

pub(crate) fn id(number: u128) -> OperationId {
    OperationId::from_uuid(Uuid::from_u128(number))
}

/// An operation that was submitted at that time.
pub(crate) fn operation(number: u128, submitted_at: Timestamp) -> Operation {
    let submission = sample::submission(id(number), submitted_at);
    transition::submit(Arc::new(submission)).0
}

/// The operation, cancelled while it was queued.
pub(crate) fn cancelled(operation: &Operation) -> Operation {
    let cancel = Command::Cancel { reason: String::new() };
    let Ok(Decision::Change(event)) = decide(operation, &cancel, None, at(1)) else {
        panic!("{operation:?} cannot be cancelled");
    };
    Operation { life: event.life, ..operation.clone() }
}

/// A submission without any optional field.
pub(crate) fn new_operation(kind: &str) -> NewOperation {
    NewOperation::of(Kind::parse(kind).expect("a kind"))
}
