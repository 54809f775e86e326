//! A transition to commit.

use std::sync::Arc;

use crate::operation::{EventType, Operation};

/// A transition of the draft.
#[derive(Debug)]
pub(crate) struct Transition {
    /// The operation before; `None` for a submission.
    pub(crate) before: Option<Arc<Operation>>,
    /// The operation after the transition.
    pub(crate) after: Arc<Operation>,
    /// The event's type.
    pub(crate) event_type: EventType,
    /// Whether the current attempt's report caused it.
    pub(crate) by_report: bool,
}
