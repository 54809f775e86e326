//! Messages as the holder of a share sees them.

use crate::operation::OperationError;
use crate::proto::v1;

/// The operation as the holder of a share sees it: without its input, other operations, its worker, its submitter, and
/// the texts about other kinds, workers and limits of the tenant.
pub fn operation(operation: v1::Operation) -> v1::Operation {
    v1::Operation {
        waiting: operation.waiting.map(waiting),
        error: operation.error.map(error),
        input: None,
        idempotency_key: String::new(),
        retry_of: String::new(),
        parent: String::new(),
        worker_id: String::new(),
        trace_parent: String::new(),
        trace_state: String::new(),
        callback_url: String::new(),
        ..operation
    }
}

/// A transition as the holder of a share sees it.
pub fn event(event: v1::Event) -> v1::Event {
    v1::Event { worker_id: String::new(), error: event.error.map(error), ..event }
}

/// The error without the name of a worker.
fn error(error: v1::Error) -> v1::Error {
    match error.code == OperationError::WORKER_LOST {
        true => v1::Error { message: "its worker was lost during an attempt".to_owned(), ..error },
        false => error,
    }
}

/// Why an operation is not running, as the holder of a share sees it: the message for other callers may name kinds,
/// limits and labels of the tenant, and the message of an attempt's error.
fn waiting(waiting: v1::Waiting) -> v1::Waiting {
    use v1::waiting::Reason as Wire;
    let message = match waiting.reason() {
        Wire::StoreNotWritable => "the store takes no writes",
        Wire::Scheduled => "its start time has not come",
        Wire::BackingOff => "the last attempt failed; it is retried",
        Wire::Paused => "its kind is paused",
        Wire::NoWorker => "no worker serves its kind",
        Wire::LimitReached => "a limit on running operations is reached",
        Wire::WorkersBusy => "the workers that serve its kind are busy",
        Wire::WaitingTurn => "it starts when its turn comes",
        Wire::Unspecified => "",
    };
    v1::Waiting { message: message.to_owned(), ..waiting }
}
