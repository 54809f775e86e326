//! The messages of a worker's stream, both ways. A refusal names all violations of a message.

use std::sync::Arc;

use crate::engine::WorkerHello;
use crate::operation::{Attempt, Operation, OperationId, Payload, Scope, TenantId};
use crate::proto::v1::work_response::Message as Down;
use crate::proto::v1::{self, cancel_attempt::Cause};
use crate::service::{Caller, Service, ServiceError, Violations};
use crate::wire::{decode, encode, reports};

pub(super) fn hello(
    service: &Service,
    caller: &Caller,
    hello: v1::Hello,
) -> Result<WorkerHello, ServiceError> {
    let max_in_flight = service.limits().max_in_flight;
    let mut violations = Violations::default();
    let worker = reports::worker_id("hello.", &hello.worker_id, &mut violations);
    let kinds = reports::kinds("hello.", &hello.kinds, &mut violations);
    let in_flight = usize::try_from(hello.max_in_flight).unwrap_or(0);
    if !(1..=max_in_flight).contains(&in_flight) {
        let rule = format!("must be from 1 to {max_in_flight}");
        violations.note("hello.max_in_flight", rule);
    }
    let mut running = Vec::with_capacity(hello.running.len());
    for (at, attempt) in hello.running.iter().enumerate() {
        let field = format!("hello.running[{at}]");
        running.extend(decode::attempt(&field, Some(attempt), &mut violations));
    }
    let worker = violations.settle(worker)?;
    // A worker cannot resume the session of a single attempt.
    let resume = service.session_of(caller, &hello.session_id);
    Ok(WorkerHello {
        // The service replaces it by the caller's.
        scope: Scope::from(TenantId::default_tenant()),
        worker,
        kinds,
        max_in_flight: in_flight,
        resume: resume.filter(|id| id.attempt_lease().is_none()),
        in_process: false,
        running,
    })
}

pub(super) fn assignment(
    service: &Service,
    operation: Arc<Operation>,
    input: Option<Payload>,
) -> Down {
    let trace = service.spans().context_of_attempt(&operation);
    Down::Assignment(v1::Assignment {
        attempt: operation.life.attempt.0.cast_signed(),
        input: input.map(encode::exact_payload),
        deadline_time: reports::attempt_deadline(&operation),
        operation: Some(encode::attempted(operation, trace)),
    })
}

pub(super) fn cancel_requested(operation: &Operation) -> Down {
    Down::Cancel(reports::cancel(operation))
}

/// The message for an attempt that is over already.
pub(super) fn stop(id: OperationId, attempt: Attempt, cause: Cause) -> Down {
    let attempt = Some(reference(id, attempt));
    Down::Cancel(v1::CancelAttempt { attempt, cause: cause.into(), ..Default::default() })
}

fn reference(id: OperationId, attempt: Attempt) -> v1::AttemptRef {
    v1::AttemptRef { operation: id.name(), attempt: attempt.0.cast_signed() }
}
