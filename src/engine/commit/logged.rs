//! Log lines about operations: a debug line for each transition, a line for each failed attempt that another follows, and
//! a line for each operation that has ended. They have no contents, and of errors only the codes. Durations are numbers of seconds, in every log line of the program.

use crate::engine::round::transition::Transition;
use crate::operation::{EventType, Operation, Outcome, State, Timestamp, TraceContext};

pub(super) fn log(transition: &Transition) {
    let after = &transition.after;
    tracing::debug!(
        tenant.id = %after.submission.tenant,
        operation.id = %after.id(),
        operation.kind = %after.submission.kind,
        revision = after.life.revision.0,
        attempt = after.life.attempt.0,
        state = %after.state_name(),
        "transition"
    );
    if transition.event_type == EventType::RetryScheduled {
        retried(after);
    }
    if let State::Done { outcome, at, .. } = &after.life.state {
        finished(after, outcome, *at);
    }
}

fn retried(operation: &Operation) {
    let life = &operation.life;
    tracing::info!(
        tenant.id = %operation.submission.tenant,
        operation.id = %operation.id(),
        operation.kind = %operation.submission.kind,
        attempt = life.attempt.0,
        error.code = life.last_error.as_ref().map(|error| error.code.as_str()),
        trace.id = trace_id(operation),
        "an attempt failed, and another follows"
    );
}

/// The operation's trace id, without the span.
fn trace_id(operation: &Operation) -> Option<&str> {
    operation.submission.trace.as_ref().map(TraceContext::trace_id)
}

fn finished(operation: &Operation, outcome: &Outcome, at: Timestamp) {
    let trace = trace_id(operation);
    let (submission, life) = (&operation.submission, &operation.life);
    let started = life.started_at.unwrap_or(at);
    let seconds = |from: Timestamp, to: Timestamp| to.since(from).as_secs_f64();
    macro_rules! line {
        ($level:ident, $code:expr) => {
            tracing::$level!(
                tenant.id = %submission.tenant,
                operation.id = %submission.id,
                operation.kind = %submission.kind,
                state = %operation.state_name(),
                attempts = life.attempt.0,
                queue_seconds = seconds(submission.created_at, started),
                run_seconds = seconds(started, at),
                total_seconds = seconds(submission.created_at, at),
                error.code = $code,
                trace.id = trace,
                "finished"
            )
        };
    }
    match outcome {
        Outcome::Failed { error } => line!(warn, Some(error.code.as_str())),
        _ => line!(info, None::<&str>),
    }
}
