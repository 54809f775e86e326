//! Further facts about an operation: its times, its settings, its errors.

use std::time::Duration;

use serde::Serialize;

use super::view::When;
use crate::operation::trace::TRACE_ID;
use crate::operation::{
    ErrorSource, Operation, OperationError, Outcome, Settings, State, Timestamp, TraceContext,
};
use crate::service::code_name;
use crate::words;

/// Facts in the order of display.
#[derive(Debug, Serialize)]
pub(super) struct Facts(Vec<Fact>);

/// A fact: a text, a time, or another operation.
#[derive(Debug, Default, Serialize)]
struct Fact {
    name: &'static str,
    text: Option<String>,
    when: Option<When>,
    operation: Option<String>,
    /// A URL elsewhere that the text leads to.
    link: Option<String>,
}

/// Errors or warnings, with a heading.
#[derive(Debug, Serialize)]
pub(super) struct Trouble {
    title: &'static str,
    errors: Vec<Error>,
}

/// An error with its causes.
#[derive(Debug, Serialize)]
struct Error {
    code: String,
    message: String,
    /// The status, such as `UNAVAILABLE`.
    status: &'static str,
    /// Whether the server reports it, not the work.
    is_services: bool,
    metadata: Vec<(String, String)>,
    causes: Vec<Self>,
}

impl Facts {
    /// The facts of an operation. `trace_url` is the URL of a trace in a viewer, with a placeholder for its id.
    pub(super) fn of(
        operation: &Operation,
        trace_url: Option<&str>,
        now: Option<Timestamp>,
    ) -> Self {
        let (submission, life) = (&operation.submission, &operation.life);
        let mut facts = Self(Vec::new());
        let when = |at| When::new(at, now);
        facts.time("Submitted", Some(when(submission.created_at)));
        if submission.start_at > submission.created_at {
            facts.time("Not before", Some(when(submission.start_at)));
        }
        facts.time("Started", life.started_at.map(when));
        facts.time("Ended", operation.ended_at().map(when));
        if let (Some(ended), begun) = (operation.ended_at(), submission.created_at) {
            facts.text("Took in all", Some(words::duration(ended.since(begun))));
        }
        let most = submission.settings.retry_policy.max_attempts;
        if life.attempt.0 > 0 {
            let used = format!("{} ({} of {most} counted)", life.attempt.0, life.attempts_used);
            facts.text("Attempt", Some(used));
        }
        facts.text("Worker", life.worker.as_ref().map(ToString::to_string));
        facts.text("Cancelled because", life.cancel.as_ref().map(|it| it.reason.clone()));
        facts.of_settings(&submission.settings);
        let limit = operation.next_limit();
        facts.time("Fails at", limit.map(|(at, _)| when(at)));
        facts.time("Deleted at", operation.expires_at().map(when));
        let trace = submission.trace.as_ref().map(TraceContext::trace_id);
        facts.0.extend(trace.map(|trace| Fact {
            name: "Trace",
            text: Some(trace.to_owned()),
            link: trace_url.map(|url| url.replace(TRACE_ID, trace)),
            ..Fact::default()
        }));
        let retried = submission.retry_of.map(|id| id.to_string());
        let parent = submission.parent.map(|id| id.to_string());
        for (name, id) in [("Child of", parent), ("Retry of", retried)] {
            facts.0.extend(id.map(|id| Fact { name, operation: Some(id), ..Fact::default() }));
        }
        let key = submission.idempotency.as_ref().map(|it| it.key.to_string());
        facts.text("Idempotency key", key);
        facts.text("Revision", Some(life.revision.0.to_string()));
        facts
    }

    fn of_settings(&mut self, settings: &Settings) {
        let default = Settings::default();
        let limit = |limit: Option<Duration>| limit.map(words::duration);
        self.text("Priority", (settings.priority > 0).then(|| settings.priority.to_string()));
        self.text("Queue timeout", limit(settings.queue_timeout));
        self.text("Attempt timeout", limit(settings.attempt_timeout));
        self.text("Deadline", limit(settings.deadline));
        if settings.cancel_grace != default.cancel_grace {
            self.text("Cancel grace", Some(words::duration(settings.cancel_grace)));
        }
        self.text("Kept for", Some(words::duration(settings.retention)));
    }

    fn text(&mut self, name: &'static str, text: Option<String>) {
        let text = text.filter(|text| !text.is_empty());
        self.0.extend(text.map(|text| Fact { name, text: Some(text), ..Fact::default() }));
    }

    fn time(&mut self, name: &'static str, when: Option<When>) {
        self.0.extend(when.map(|when| Fact { name, when: Some(when), ..Fact::default() }));
    }
}

/// Errors and warnings.
pub(super) fn troubles(operation: &Operation) -> Vec<Trouble> {
    let one = |title, error: &OperationError| vec![Trouble::of(title, std::slice::from_ref(error))];
    let found = match &operation.life.state {
        State::Done { outcome, .. } => match outcome {
            Outcome::Failed { error } => one("It failed", error),
            Outcome::Cancelled { error } => one("It was cancelled", error),
            Outcome::Succeeded { warnings, .. } => vec![Trouble::of("Warnings", warnings)],
            Outcome::PartiallySucceeded { errors, warnings, .. } => {
                vec![Trouble::of("What did not succeed", errors), Trouble::of("Warnings", warnings)]
            }
        },
        _ => operation
            .life
            .last_error
            .as_ref()
            .map_or_else(Vec::new, |error| one("The last attempt failed", error)),
    };
    found.into_iter().filter(|trouble| !trouble.errors.is_empty()).collect()
}

impl Trouble {
    fn of(title: &'static str, errors: &[OperationError]) -> Self {
        Self { title, errors: errors.iter().map(Error::of).collect() }
    }
}

impl Error {
    fn of(error: &OperationError) -> Self {
        Self {
            code: error.code.clone(),
            message: error.message.clone(),
            status: code_name(error.status_code.into()),
            is_services: error.source == ErrorSource::Service,
            metadata: error.metadata.clone().into_iter().collect(),
            causes: error.causes.iter().map(Self::of).collect(),
        }
    }
}
