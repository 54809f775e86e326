//! The spans of an operation: one for each time in the queue and one for each attempt, made at its end. Each is a child
//! of the submission's span, and has a link to it, because that span ended long before.

use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, Tracer as _,
};

use super::{Spans, Tracing, ids, kept, remote, within};
use crate::operation::{Attempt, Operation, Outcome, State, Timestamp, TraceContext};

/// A time that has ended.
struct Past {
    name: String,
    kind: SpanKind,
    began: Timestamp,
    ended: Timestamp,
    links: Vec<Link>,
    attributes: Vec<KeyValue>,
    failed: Option<String>,
}

impl Spans {
    /// Makes a span of the time that ended with a committed transition.
    pub fn transition(&self, before: Option<&Operation>, after: &Operation) {
        let Some(tracing) = &self.0 else { return };
        let (Some(before), Some(context)) = (before, &after.submission.trace) else { return };
        let submission = remote(context);
        match (&before.life.state, after.life.state.lease().is_some()) {
            (State::Queued { not_before }, _) if !after.is_queued() => {
                let began = before.life.updated_at.max(*not_before).min(after.life.updated_at);
                tracing.record(&submission, None, queued(after, &submission, began));
            }
            (State::Running { .. } | State::Cancelling { .. }, false) => {
                let id = ids::of_attempt(before.id(), before.life.attempt);
                tracing.record(&submission, Some(id), attempted(before, after, &submission));
            }
            _ => {}
        }
    }

    /// The trace context for work on the current attempt: the attempt's span. `None` if there is none.
    pub fn context_of_attempt(&self, operation: &Operation) -> Option<TraceContext> {
        self.0.as_ref()?;
        let submission = remote(operation.submission.trace.as_ref()?);
        kept(&attempts_context(&submission, operation, operation.life.attempt))
    }
}

impl Tracing {
    fn record(&self, parent: &SpanContext, id: Option<opentelemetry::trace::SpanId>, past: Past) {
        let Past { name, kind, began, ended, links, attributes, failed } = past;
        let builder = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_start_time(system_time(began))
            .with_attributes(attributes)
            .with_links(links);
        let make = || self.tracer.build_with_context(builder, &within(parent.clone()));
        let mut span = match id {
            Some(id) => ids::with_id(id, make),
            None => make(),
        };
        if let Some(code) = failed {
            span.set_attribute(KeyValue::new("error.type", code.clone()));
            span.set_status(Status::error(code));
        }
        span.end_with_timestamp(system_time(ended));
    }
}

fn queued(after: &Operation, submission: &SpanContext, began: Timestamp) -> Past {
    let failed = match &after.life.state {
        State::Done { outcome: Outcome::Failed { error }, .. } => Some(error.code.clone()),
        _ => None,
    };
    Past {
        name: format!("queue {}", after.submission.kind),
        kind: SpanKind::Internal,
        began,
        ended: after.life.updated_at,
        links: vec![link(submission)],
        attributes: describe(after),
        failed,
    }
}

fn attempted(before: &Operation, after: &Operation, submission: &SpanContext) -> Past {
    let (life, attempt) = (&after.life, before.life.attempt);
    let first = life.started_at.filter(|_| attempt == Attempt(1));
    let mut attributes = describe(after);
    attributes.extend(first.map(|started| {
        let waited = started.since(after.submission.start_at).as_secs_f64();
        KeyValue::new("longrun.queue.duration", waited)
    }));
    let worker = before.life.worker.as_ref().map(|worker| worker.as_str().to_owned());
    attributes.extend(worker.map(|worker| KeyValue::new("longrun.worker.id", worker)));
    let mut links = vec![link(submission)];
    if let Some(previous) = attempt.0.checked_sub(1).filter(|previous| *previous > 0) {
        links.push(link(&attempts_context(submission, before, Attempt(previous))));
    }
    let failed = match &life.state {
        State::Done { outcome: Outcome::Failed { error }, .. } => Some(error.code.clone()),
        State::Queued { .. } => life.last_error.as_ref().map(|error| error.code.clone()),
        _ => None,
    };
    Past {
        name: format!("attempt {}", after.submission.kind),
        kind: SpanKind::Client,
        // The life lacks the start of a cancelled attempt after the first: its span begins at the cancel.
        began: first.unwrap_or(before.life.updated_at),
        ended: life.updated_at,
        links,
        attributes,
        failed,
    }
}

fn describe(after: &Operation) -> Vec<KeyValue> {
    let submission = &after.submission;
    vec![
        KeyValue::new("longrun.operation.name", submission.id.name()),
        KeyValue::new("longrun.operation.kind", submission.kind.as_str().to_owned()),
        KeyValue::new("longrun.operation.state", after.state_name().to_string()),
        KeyValue::new("longrun.operation.attempt", i64::from(after.life.attempt.0)),
        KeyValue::new("longrun.tenant", submission.tenant.as_str().to_owned()),
    ]
}

fn attempts_context(
    submission: &SpanContext,
    operation: &Operation,
    attempt: Attempt,
) -> SpanContext {
    SpanContext::new(
        submission.trace_id(),
        ids::of_attempt(operation.id(), attempt),
        submission.trace_flags(),
        true,
        submission.trace_state().clone(),
    )
}

fn link(context: &SpanContext) -> Link {
    Link::with_context(context.clone())
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.micros()).unwrap_or_default())
}
