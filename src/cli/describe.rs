//! Operations, events and errors in words for people. Pure.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::paint::Paint;
use super::settings::changed;
use super::text::{age, bytes, clean, clean_lines, date, duration, shorten, time};
use crate::proto::v1::event::Type;
use crate::proto::v1::operation::State;
use crate::proto::v1::payload::Content;
use crate::proto::v1::{ChildCounts, Error, Event, Operation, Payload, Progress};

/// The longest contents that are shown within a description, in characters.
const MOST_CONTENTS: usize = 2_000;

/// `QUEUED`, `RUNNING`, …; empty without a state, as for a log line.
pub(super) fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "",
        state => state.as_str_name().trim_start_matches("STATE_"),
    }
}

/// `40 % (4/10) copying`; empty if nothing was reported.
pub(super) fn progress(progress: &Progress) -> String {
    let mut parts = Vec::new();
    if let Some(percent) = percent(progress) {
        // Cut, not rounded: 100 % is the end.
        parts.push(format!("{:.0} %", percent.floor()));
    }
    match (progress.done_units, progress.total_units) {
        (Some(done), Some(total)) => parts.push(format!("({done}/{total})")),
        (Some(done), None) => parts.push(format!("({done} done)")),
        (None, _) => {}
    }
    if !progress.message.is_empty() {
        parts.push(clean(&progress.message));
    }
    parts.join(" ")
}

/// The progress, from 0 to 100.
pub(super) fn percent(progress: &Progress) -> Option<f64> {
    let of_units = || match (progress.done_units, progress.total_units) {
        (Some(done), Some(total)) if total > 0 => Some(100.0 * done as f64 / total as f64),
        _ => None,
    };
    progress.percent.or_else(of_units).map(|percent| percent.clamp(0.0, 100.0))
}

/// An event in words, without its time and state.
pub(super) fn event(event: &Event) -> String {
    let by = match event.worker_id.as_str() {
        "" => String::new(),
        worker => format!(" on {}", clean(worker)),
    };
    let attempt = event.attempt;
    let error = event.error.as_ref().map(one_line).unwrap_or_default();
    match event.r#type() {
        Type::Unspecified => String::new(),
        Type::Submitted => "submitted".to_owned(),
        Type::Started => format!("attempt {attempt} started{by}"),
        Type::RetryScheduled => format!("attempt {attempt} failed: {error}"),
        Type::Released => format!("attempt {attempt} given back{by}"),
        Type::CancelRequested if event.reason.is_empty() => "cancel requested".to_owned(),
        Type::CancelRequested => format!("cancel requested: {}", clean(&event.reason)),
        Type::StartRequested => "asked to run now".to_owned(),
        Type::Finished if !error.is_empty() => error,
        Type::Finished => "done".to_owned(),
        Type::Log => log_line(event),
    }
}

fn log_line(event: &Event) -> String {
    let Some(line) = &event.log else { return String::new() };
    match line.dropped_before {
        0 => clean(&line.text),
        dropped => format!("[{dropped} older lines dropped] {}", clean(&line.text)),
    }
}

/// `QUEUE_TIMEOUT: it was not started in time`.
pub(super) fn one_line(error: &Error) -> String {
    match (error.code.as_str(), error.message.as_str()) {
        ("", message) => clean(message),
        (code, "") => clean(code),
        (code, message) => format!("{}: {}", clean(code), clean(message)),
    }
}

/// An error and its causes, each cause indented below its effect.
pub(super) fn error(error: &Error, indent: usize) -> String {
    let mut text = String::new();
    write_error(&mut text, error, indent);
    text.truncate(text.trim_end().len());
    text
}

fn write_error(text: &mut String, error: &Error, indent: usize) {
    let message = clean_lines(&error.message).replace('\n', &format!("\n{:1$}", "", indent + 2));
    let code = clean(&error.code);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:indent$}{code}: {message}", "");
    let mut facts: Vec<_> = error.metadata.iter().collect();
    facts.sort();
    for (name, value) in facts {
        let _ = writeln!(text, "{:1$}{2} = {3}", "", indent + 2, clean(name), clean(value));
    }
    for cause in &error.causes {
        write_error(text, cause, indent + 2);
    }
}

/// An operation as a page: a fact per line, then payloads and errors.
pub(super) fn page(operation: &Operation, now: SystemTime, paint: Paint) -> String {
    let mut page = paint.bold(&clean(&operation.name));
    for (name, value) in facts(operation, now, paint) {
        if !value.is_empty() {
            let _ = write!(page, "\n  {}  {value}", paint.dim(&format!("{name:<9}")));
        }
    }
    for (name, payload) in [("input", &operation.input), ("result", &operation.result)] {
        if let Some(payload) = payload {
            let _ = write!(page, "\n  {}  {}", paint.dim(&format!("{name:<9}")), summary(payload));
            if let Some(contents) = contents(payload) {
                let _ = write!(page, "\n    {}", contents.replace('\n', "\n    "));
            }
        }
    }
    let alone = operation.error.iter().map(|error| ("error", error));
    let partial = operation.errors.iter().map(|error| ("error", error));
    let warnings = operation.warnings.iter().map(|error| ("warning", error));
    for (name, found) in alone.chain(partial).chain(warnings) {
        let text = error(found, 4);
        let _ = write!(page, "\n  {}\n{text}", paint.dim(name));
    }
    page
}

fn facts(operation: &Operation, now: SystemTime, paint: Paint) -> Vec<(&'static str, String)> {
    let state = operation.state();
    let name = paint.state(state, state_name(state));
    let most = operation.settings.as_ref().and_then(|settings| settings.retry_policy.as_ref());
    let attempt = match (operation.attempt, most) {
        (0, _) => String::new(),
        (attempt, Some(policy)) => format!("{attempt}, at most {}", policy.max_attempts),
        (attempt, None) => attempt.to_string(),
    };
    let at = |moment| match time(moment) {
        Some(moment) => format!("{} ({})", date(moment), age(moment, now)),
        None => String::new(),
    };
    let pending = |moment| if operation.done { String::new() } else { at(moment) };
    let running = operation.progress.as_ref().filter(|_| !operation.done);
    vec![
        ("kind", clean(&operation.kind)),
        ("state", format!("{name}, revision {}", operation.revision)),
        ("progress", running.map(progress).unwrap_or_default()),
        ("attempt", attempt),
        ("worker", clean(&operation.worker_id)),
        ("labels", labels(operation)),
        ("settings", operation.settings.as_ref().map(changed).unwrap_or_default()),
        ("created", at(operation.create_time.as_ref())),
        ("due", due(operation, now)),
        ("waiting", waiting(operation)),
        ("started", at(operation.start_time.as_ref())),
        ("ended", at(operation.end_time.as_ref())),
        ("took", took(operation, now)),
        ("deadline", pending(operation.deadline_time.as_ref())),
        ("purge", at(operation.purge_time.as_ref())),
        ("key", clean(&operation.idempotency_key)),
        ("children", operation.children.as_ref().map(children).unwrap_or_default()),
        ("parent", clean(&operation.parent)),
        ("retry of", clean(&operation.retry_of)),
        ("callback", clean(&operation.callback_url)),
    ]
}

/// `NO_WORKER: no worker serves report.build (…)`: why a queued operation is not running, if the server says so.
pub(super) fn waiting(operation: &Operation) -> String {
    let Some(waiting) = &operation.waiting else { return String::new() };
    let reason = waiting.reason().as_str_name().trim_start_matches("REASON_");
    format!("{reason}: {}", clean(&waiting.message))
}

/// `10: 6 succeeded, 1 failed, 3 queued`.
pub(super) fn children(counts: &ChildCounts) -> String {
    let parts = [
        (counts.succeeded, "succeeded"),
        (counts.partially_succeeded, "partially succeeded"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.cancelling, "cancelling"),
        (counts.running, "running"),
        (counts.queued, "queued"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, state)| format!("{count} {state}")).collect();
    let states = match parts.is_empty() {
        true => counts.total.to_string(),
        false => format!("{}: {}", counts.total, parts.join(", ")),
    };
    match counts.removed {
        0 => states,
        removed => format!("{states} ({removed} deleted since)"),
    }
}

/// `team=maps, user=ada`, in the order of their keys.
pub(super) fn labels(operation: &Operation) -> String {
    let labels = operation.labels.iter();
    let mut labels: Vec<_> =
        labels.map(|(key, value)| format!("{}={}", clean(key), clean(value))).collect();
    labels.sort();
    labels.join(", ")
}

/// When a queued operation may start, if that time has not come.
fn due(operation: &Operation, now: SystemTime) -> String {
    match wait_until_due(operation, now) {
        Some(wait) => format!("{} ({})", date(now + wait), age(now + wait, now)),
        None => String::new(),
    }
}

fn wait_until_due(operation: &Operation, now: SystemTime) -> Option<Duration> {
    let due =
        time(operation.not_before_time.as_ref()).filter(|_| operation.state() == State::Queued);
    due?.duration_since(now).ok().filter(|wait| !wait.is_zero())
}

/// How long it took, or has taken so far, from the start of the first attempt.
pub(super) fn took(operation: &Operation, now: SystemTime) -> String {
    let end = time(operation.end_time.as_ref());
    match (time(operation.start_time.as_ref()), end) {
        (Some(start), end) => {
            duration(end.unwrap_or(now).duration_since(start).unwrap_or_default())
        }
        (None, _) => String::new(),
    }
}

/// `application/json, 120 B`.
pub(super) fn summary(payload: &Payload) -> String {
    let content_type = match payload.content_type.as_str() {
        "" => "no content type",
        content_type => content_type,
    };
    let left_out = if payload.omitted { ", not shown" } else { "" };
    format!("{}, {}{left_out}", clean(content_type), bytes(payload.size_bytes))
}

/// The contents, if people can read them and they are not too long.
pub(super) fn contents(payload: &Payload) -> Option<String> {
    let text = match payload.content.as_ref()? {
        Content::Text(text) => text.clone(),
        Content::Data(data) => std::str::from_utf8(data).ok()?.to_owned(),
        Content::Json(_) => {
            let document = crate::proto::json::to_value(payload).ok()?;
            serde_json::to_string_pretty(document.get("json")?).ok()?
        }
        Content::Any(any) => any.type_url.clone(),
    };
    let text = clean_lines(&text);
    (!text.is_empty()).then(|| shorten(&text, MOST_CONTENTS))
}

/// `, next try in 4.2 s`, if the next attempt has to wait.
pub(super) fn next_try(operation: &Operation, now: SystemTime) -> String {
    match wait_until_due(operation, now) {
        Some(wait) => format!(", next try in {}", duration(wait)),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_as_short_as_what_is_known() {
        let units = Progress { done_units: Some(4), total_units: Some(10), ..Default::default() };
        assert_eq!(progress(&units), "40 % (4/10)");
        let nearly = Progress { done_units: Some(199), total_units: Some(200), ..units };
        assert_eq!(progress(&nearly), "99 % (199/200)", "100 % is the end");
        let said = Progress { message: "copying\x1b[2J".into(), ..Default::default() };
        assert_eq!(progress(&said), "copying [2J");
        assert_eq!(progress(&Progress::default()), "");
    }

    #[test]
    fn causes_are_indented_under_what_they_caused() {
        let inner = Error { code: "EIO".into(), message: "disk".into(), ..Default::default() };
        let outer = Error {
            code: "CopyFailed".into(),
            message: "two\nlines".into(),
            causes: vec![inner],
            ..Default::default()
        };
        assert_eq!(error(&outer, 2), "  CopyFailed: two\n    lines\n    EIO: disk");
        assert_eq!(one_line(&outer), "CopyFailed: two lines");
    }

    #[test]
    fn a_page_leaves_out_what_there_is_not() {
        let operation = Operation {
            name: "operations/1".into(),
            kind: "k".into(),
            state: State::Queued.into(),
            revision: 1,
            input: Some(Payload {
                content_type: "text/plain".into(),
                size_bytes: 2,
                content: Some(Content::Text("hi".into())),
                ..Default::default()
            }),
            ..Default::default()
        };
        let page = page(&operation, SystemTime::UNIX_EPOCH, Paint::plain());
        let expected = "operations/1\n  kind       k\n  state      QUEUED, revision 1\n  \
                        input      text/plain, 2 B\n    hi";
        assert_eq!(page, expected);
    }
}
