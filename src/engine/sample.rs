//! Operations for unit tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::operation::{
    Kind, Operation, OperationId, Settings, Submission, TenantId, Timestamp, transition,
};

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

pub(super) fn id(number: u128) -> OperationId {
    OperationId::from_uuid(Uuid::from_u128(number))
}

/// One that was submitted at that time.
pub(super) fn operation(number: u128, submitted_at: Timestamp) -> Operation {
    let submission = Submission {
        id: id(number),
        tenant: TenantId::default_tenant(),
        kind: Kind::parse("a").expect("a kind"),
        labels: BTreeMap::new(),
        settings: Settings::default(),
        created_at: submitted_at,
        start_at: submitted_at,
        idempotency: None,
        retry_of: None,
        input: None,
    };
    transition::submit(Arc::new(submission)).0
}
