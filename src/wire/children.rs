//! A batch's counts of children as a message.

use crate::operation::{ChildCounts, StateName};
use crate::proto::v1;

/// The counts of children as a message.
pub(super) fn counts(counts: &ChildCounts) -> v1::ChildCounts {
    let of = |state| counts.of(state).cast_signed();
    v1::ChildCounts {
        total: counts.total().cast_signed(),
        queued: of(StateName::Queued),
        running: of(StateName::Running),
        cancelling: of(StateName::Cancelling),
        succeeded: of(StateName::Succeeded),
        partially_succeeded: of(StateName::PartiallySucceeded),
        failed: of(StateName::Failed),
        cancelled: of(StateName::Cancelled),
        removed: counts.removed().cast_signed(),
    }
}
