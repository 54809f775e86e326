//! Operations as templates see them.

use serde::Serialize;

use super::fields::encode;
use crate::operation::filter::quoted;
use crate::operation::{
    Operation, OperationError, Outcome, Progress, State, StateName, Timestamp, Waiting, mark,
};
use crate::service::Document;
use crate::words::{bytes, duration, whole};

/// A time. Pages show how long ago it was; in streams the script computes that, and keeps it current.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct When {
    /// RFC 3339.
    pub(super) iso: String,
    /// For people: `2026-11-29 11:05:03 UTC`.
    pub(super) text: String,
    /// How long ago it was, or else the time of day.
    pub(super) shown: String,
    /// For how long it has been so, or else the time of day.
    pub(super) lasted: String,
}

impl When {
    /// `at`, relative to `now` if that is given.
    pub(super) fn new(at: Timestamp, now: Option<Timestamp>) -> Self {
        let (seconds, nanos) = at.to_unix();
        let iso = prost_types::Timestamp { seconds, nanos }.to_string();
        let second = iso.get(..19).unwrap_or_default();
        let text = format!("{} UTC", second.replace('T', " "));
        let (shown, lasted) = match now {
            None => {
                let time = second.get(11..).unwrap_or_default();
                (time.to_owned(), time.to_owned())
            }
            Some(now) => (age(at, now), whole(now.since(at))),
        };
        Self { iso, text, shown, lasted }
    }
}

/// `3 s ago`, `in 2 m`, `now`.
fn age(at: Timestamp, now: Timestamp) -> String {
    let (past, future) = (now.since(at), at.since(now));
    match (past.as_secs(), future.as_secs()) {
        (0, 0) => "now".to_owned(),
        (0, _) => format!("in {}", whole(future)),
        _ => format!("{} ago", whole(past)),
    }
}

/// An operation as a row of a list.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    /// The end of the id, because the beginnings of ids are often the same.
    pub(super) short: String,
    pub(super) kind: String,
    pub(super) state: Badge,
    pub(super) created: When,
    pub(super) attempt: u64,
    pub(super) worker: Option<String>,
    pub(super) labels: Vec<Label>,
    pub(super) progress: Option<Bar>,
    pub(super) waiting: Option<Why>,
    /// The error, in one line.
    pub(super) trouble: Option<String>,
    /// The result's media type and size.
    pub(super) result: Option<String>,
    pub(super) is_done: bool,
    /// The duration of its run, or from submission to the end.
    pub(super) took: Option<String>,
    /// When its attempt started.
    pub(super) since: Option<When>,
}

/// A label, with the query of the list of all operations that have it.
#[derive(Debug, Serialize)]
pub(super) struct Label {
    key: String,
    value: String,
    query: String,
}

/// A state with its style.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Badge {
    /// `RUNNING`.
    pub(super) name: &'static str,
    /// `Running`.
    pub(super) text: &'static str,
    /// `running`: its class in the stylesheet.
    pub(super) tone: &'static str,
}

/// The progress.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Bar {
    /// From 0 to 100, if known.
    pub(super) percent: Option<f64>,
    /// `4/10 copying`.
    pub(super) text: String,
}

/// Why it is not running.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Why {
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) until: Option<When>,
}

impl Label {
    fn of((key, value): (String, String)) -> Self {
        let filter = format!("labels.{}={}", quoted(&key), quoted(&value));
        Self { query: format!("filter={}", encode(&filter)), key, value }
    }
}

impl Badge {
    pub(super) const fn of(state: StateName) -> Self {
        let (text, tone) = match state {
            StateName::Queued => ("Queued", "queued"),
            StateName::Running => ("Running", "running"),
            StateName::Cancelling => ("Cancelling", "cancelling"),
            StateName::Succeeded => ("Succeeded", "succeeded"),
            StateName::PartiallySucceeded => ("Partly succeeded", "partly"),
            StateName::Failed => ("Failed", "failed"),
            StateName::Cancelled => ("Cancelled", "cancelled"),
        };
        Self { name: state.as_str(), text, tone }
    }
}

impl Bar {
    pub(super) fn of(progress: &Progress) -> Self {
        let percent = progress.percent_done().map(|it| (it * 10.0).floor() / 10.0);
        let units = match (progress.done_units, progress.total_units) {
            (Some(done), Some(total)) => Some(format!("{done}/{total}")),
            (Some(done), None) => Some(format!("{done} done")),
            (None, _) => None,
        };
        let message = Some(progress.message.clone()).filter(|message| !message.is_empty());
        let text: Vec<String> = units.into_iter().chain(message).collect();
        Self { percent, text: text.join(" ") }
    }
}

impl Why {
    pub(super) fn of(waiting: &Waiting, now: Option<Timestamp>) -> Self {
        Self {
            reason: waiting.reason.as_str(),
            message: waiting.message.clone(),
            until: waiting.until.map(|until| When::new(until, now)),
        }
    }
}

impl Row {
    pub(super) fn of(document: &Document, now: Option<Timestamp>) -> Self {
        let operation = &*document.operation;
        let (submission, life) = (&operation.submission, &operation.life);
        let id = operation.id().to_string();
        let ended = operation.ended_at();
        let begun = life.started_at.unwrap_or(submission.created_at);
        let is_running = life.state.lease().is_some();
        Self {
            short: id.get(id.len().saturating_sub(8)..).unwrap_or(&id).to_owned(),
            id,
            kind: submission.kind.to_string(),
            state: Badge::of(operation.state_name()),
            created: When::new(submission.created_at, now),
            attempt: life.attempt.0.into(),
            worker: life.worker.as_ref().filter(|_| is_running).map(ToString::to_string),
            labels: labels(operation).into_iter().map(Label::of).collect(),
            progress: life.progress.as_ref().filter(|_| is_running).map(Bar::of),
            waiting: document.waiting.as_ref().map(|waiting| Why::of(waiting, now)),
            trouble: trouble(operation).map(one_line),
            result: operation
                .result()
                .map(|info| format!("{}, {}", info.content_type, bytes(info.size_bytes))),
            is_done: operation.is_done(),
            took: ended.map(|at| duration(at.since(begun))),
            since: is_running.then(|| When::new(life.updated_at, now)),
        }
    }
}

/// The submitter's labels.
pub(super) fn labels(operation: &Operation) -> Vec<(String, String)> {
    let own = operation.submission.labels.iter().filter(|(key, _)| !mark::is_reserved(key));
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The latest error: the operation's own, or that of an attempt that will be followed by another.
pub(super) fn trouble(operation: &Operation) -> Option<&OperationError> {
    match &operation.life.state {
        State::Done { outcome, .. } => match outcome {
            Outcome::Failed { error } | Outcome::Cancelled { error } => Some(error),
            Outcome::PartiallySucceeded { errors, .. } => errors.first(),
            Outcome::Succeeded { .. } => None,
        },
        _ => operation.life.last_error.as_ref(),
    }
}

/// `DEVICE_LOST: no device 7`.
fn one_line(error: &OperationError) -> String {
    /// The maximum number of characters of an error in a list.
    const MOST: usize = 200;
    let text = match (error.code.as_str(), error.message.as_str()) {
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_both_ways_and_stand_still_in_streams() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(When::new(at(100), Some(at(103))).shown, "3 s ago");
        assert_eq!(When::new(at(220), Some(at(100))).shown, "in 2 m");
        assert_eq!(When::new(at(100), Some(at(103))).lasted, "3 s");
        let still = When::new(at(3_661), None);
        assert_eq!((&*still.shown, &*still.text), ("01:01:01", "1970-01-01 01:01:01 UTC"));
        assert_eq!(still.iso, "1970-01-01T01:01:01Z");
    }
}
