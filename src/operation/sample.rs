//! Submissions for unit tests.

use std::collections::BTreeMap;

use super::{Kind, OperationId, Settings, Submission, TenantId, Timestamp};

/// A submission at that time, without any optional field.
pub(crate) fn submission(id: OperationId, at: Timestamp) -> Submission {
    Submission {
        id,
        tenant: TenantId::default_tenant(),
        kind: Kind::parse("a").expect("a kind"),
        labels: BTreeMap::new(),
        settings: Settings::default(),
        created_at: at,
        start_at: at,
        idempotency: None,
        retry_of: None,
        parent: None,
        trace: None,
        callback: None,
        input: None,
    }
}
