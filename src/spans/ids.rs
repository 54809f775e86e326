//! Ids of spans: random, except for attempts, whose id follows from the operation. So a worker knows the id of its
//! attempt's span long before the span is made, and any replica can make it.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use sha2::{Digest as _, Sha256};

use crate::operation::{Attempt, OperationId};

thread_local! {
    /// The id for the span that this thread is about to make, if the id is fixed: the library asks for ids in the
    /// thread that makes the span, and has no parameter for one.
    static NEXT: Cell<Option<SpanId>> = const { Cell::new(None) };
}

#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        self.0.new_trace_id()
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.take().unwrap_or_else(|| self.0.new_span_id())
    }
}

/// Makes a span with this id.
pub(super) fn with_id<S>(id: SpanId, make: impl FnOnce() -> S) -> S {
    NEXT.set(Some(id));
    let span = make();
    NEXT.set(None);
    span
}

/// The span of an attempt.
pub(super) fn of_attempt(operation: OperationId, attempt: Attempt) -> SpanId {
    let digest = Sha256::new()
        .chain_update("longrun attempt")
        .chain_update(operation.as_bytes())
        .chain_update(attempt.0.to_be_bytes())
        .finalize();
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    SpanId::from_bytes(id)
}
