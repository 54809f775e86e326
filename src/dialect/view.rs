//! The view of an operation in templates, under the names that `docs/dialects.md` lists.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::Dialect;
use super::json::View;
use super::naming::Form;
use super::scene::{Scene, first};
use super::times::rfc3339;
use crate::operation::error::ErrorSource;
use crate::operation::http::is_credential;
use crate::operation::{
    Operation, OperationError, OperationId, Outcome, PayloadInfo, State, StateName, Timestamp,
    mark, query,
};

/// An operation, with the data that was read.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The operation.
    pub operation: &'a Operation,
    /// The input's bytes, if they were read.
    pub input: Option<&'a [u8]>,
    /// The result's bytes, if they were read.
    pub result: Option<&'a [u8]>,
    /// The largest payload that an operation carries itself, in bytes.
    pub inline_limit: u64,
    /// Its history, if a template uses it.
    pub history: Vec<Record>,
    /// The effect of a dismissal: `cancelled` or `deleted`.
    pub dismissed: Option<&'static str>,
}

/// An entry of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The number of a log line; the revision of a transition.
    pub number: u64,
    /// The time.
    pub at: Timestamp,
    /// The state after it.
    pub state: StateName,
    /// The text of a log line; `None` for a transition.
    pub text: Option<String>,
}

/// A refusal, for templates of `[[problem]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The reason, for programs.
    pub reason: &'a str,
    /// The reason in general.
    pub title: &'a str,
    /// The reason, for people.
    pub message: &'a str,
    /// Seconds until a retry makes sense.
    pub retry_after: Option<u64>,
    /// The allowed methods, if another one was refused.
    pub allow: Option<&'a str>,
}

impl Subject<'_> {
    /// The view, without the dialect's own name of the state.
    pub(super) fn view(&self, dialect: &Dialect, scene: &Scene<'_>) -> View {
        let operation = self.operation;
        let (submission, life, id) = (&operation.submission, &operation.life, operation.id());
        let of = |at: Option<Timestamp>| at.map(rfc3339);
        let (ended_with, warnings) = outcome(operation);
        let errors = Errors { id, codes: &dialect.codes };
        let own = json!({
            "id": dialect.naming.write(id),
            "uuid": id.to_string(),
            "hex": Form::Hex.write(id),
            "decimal": Form::Decimal.write(id),
            "number": number(id),
            "kind": submission.kind.as_str(),
            "state": operation.state_name().as_str(),
            "done": operation.is_done(),
            "created": rfc3339(submission.created_at),
            "updated": rfc3339(life.updated_at),
            "started": of(life.started_at),
            "ended": of(operation.ended_at()),
            "expires": of(operation.expires_at()),
            "attempt": life.attempt.0,
            "dismissed": self.dismissed,
            "progress": self.progress(),
            "error": ended_with.first().map(|error| errors.view(error, "errors.0")),
            "errors": errors.views(ended_with, "errors"),
            "warnings": errors.views(warnings, "warnings"),
            "result": operation.result().map(|info| self.result(info)),
            "labels": self.labels(),
            "request": self.request(scene.relay_prefix),
            "history": self.history.iter().map(record).collect::<Vec<_>>(),
        });
        let mut view = scene.view(dialect, Some(operation));
        if let Json::Object(own) = own {
            view.extend(own);
        }
        let mut view = View::of(view);
        view.insert_json("result", "json", self.result.unwrap_or_default());
        view.insert_json("request", "json", self.input.unwrap_or_default());
        view
    }

    fn progress(&self) -> Json {
        let progress = self.operation.life.progress.as_ref();
        json!({
            "percent": progress.and_then(|progress| progress.percent),
            "done": progress.and_then(|progress| progress.done_units),
            "total": progress.and_then(|progress| progress.total_units),
            "message": progress.map_or("", |progress| progress.message.as_str()),
        })
    }

    fn result(&self, info: &PayloadInfo) -> Json {
        json!({
            "status": info.http.as_ref().map(|http| http.status),
            "content_type": info.content_type,
            "size": info.size_bytes,
            "inline": info.object.is_none() && info.size_bytes <= self.inline_limit,
            // See `view`.
            "json": Json::Null,
            "text": self.result.and_then(text_of),
        })
    }

    fn labels(&self) -> Json {
        let labels = &self.operation.submission.labels;
        let own = labels.iter().filter(|(key, _)| !mark::is_reserved(key));
        own.map(|(key, value)| (key.clone(), Json::from(value.as_str())))
            .collect::<Map<_, _>>()
            .into()
    }

    /// The request that became the operation. Without one, its parts are none.
    fn request(&self, relay_prefix: &str) -> Json {
        let submission = &self.operation.submission;
        let http = submission.input.as_ref().and_then(|input| input.http.as_deref());
        let Some(http) = http else { return json!({"json": null, "text": null}) };
        let trigger = submission.labels.get(mark::TRIGGER);
        let target = format!("{relay_prefix}{}", http.target);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let uri = match trigger {
            Some(trigger) => {
                let position = submission.labels.get(mark::TRIGGER_POSITION);
                let position = position.and_then(|position| position.parse().ok());
                let mut pieces: Vec<&str> =
                    query.split('&').filter(|_| !query.is_empty()).collect();
                let position = position.unwrap_or(usize::MAX).min(pieces.len());
                pieces.insert(position, trigger);
                format!("{path}?{}", pieces.join("&"))
            }
            None => target.clone(),
        };
        let parameters = query::pairs(query).filter_map(|pair| pair.name.zip(pair.value));
        let parameters = parameters.collect::<Vec<_>>();
        let headers = http.headers.iter().filter(|header| !is_credential(&header.name));
        let headers = headers.filter_map(|header| {
            let value = String::from_utf8(header.value.clone()).ok()?;
            Some((header.name.replace('-', "_"), value))
        });
        let headers = headers.collect::<Vec<_>>();
        json!({
            "method": http.method,
            "target": target,
            "path": path,
            "query": query,
            "uri": uri,
            "trigger": trigger,
            "parameters": first(&parameters),
            "headers": first(&headers),
            "json": Json::Null,
            "text": self.input.and_then(text_of),
        })
    }
}

fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

impl Refusal<'_> {
    /// The variables in `[[problem]]`.
    pub(super) fn view(&self) -> Json {
        let Self { status, reason, title, message, retry_after, allow } = self;
        json!({
            "status": status,
            "reason": reason,
            "title": title,
            "message": message,
            "retry_after": retry_after,
            "allow": allow,
        })
    }
}

/// A whole number that JavaScript represents exactly, always the same for one operation. Among very many operations,
/// two may share one: it is for display, not for lookups.
fn number(id: OperationId) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *id.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) & ((1 << 53) - 1)
}

fn record(record: &Record) -> Json {
    let Record { number, at, state, text } = record;
    json!({
        "number": number,
        "at": rfc3339(*at),
        "state": state.as_str(),
        "done": state.is_done(),
        "text": text,
    })
}

/// The errors with which it ended, and the warnings.
fn outcome(operation: &Operation) -> (&[OperationError], &[OperationError]) {
    let State::Done { outcome, .. } = &operation.life.state else { return (&[], &[]) };
    match outcome {
        Outcome::Succeeded { warnings, .. } => (&[], warnings),
        Outcome::PartiallySucceeded { errors, warnings, .. } => (errors, warnings),
        Outcome::Failed { error } | Outcome::Cancelled { error } => {
            (std::slice::from_ref(error), &[])
        }
    }
}

/// An operation's errors, as templates see them.
struct Errors<'a> {
    id: OperationId,
    codes: &'a BTreeMap<String, String>,
}

impl Errors<'_> {
    fn views(&self, errors: &[OperationError], place: &str) -> Vec<Json> {
        let place = |at: usize| format!("{place}.{at}");
        errors.iter().enumerate().map(|(at, error)| self.view(error, &place(at))).collect()
    }

    /// The recursion is limited by the nesting of causes.
    fn view(&self, error: &OperationError, place: &str) -> Json {
        let given = error.metadata.get("id").cloned();
        json!({
            "id": given.unwrap_or_else(|| self.id_of(place)),
            "code": self.codes.get(&error.code).unwrap_or(&error.code),
            "reason": error.code,
            "message": error.message,
            "grpc_code": error.status_code,
            "source": match error.source {
                ErrorSource::Application => "operation",
                ErrorSource::Service => "gateway",
            },
            "details": error.metadata,
            "causes": self.views(&error.causes, place),
        })
    }

    /// A UUID that is always the same: version 8, made of the operation and the error's place in it.
    fn id_of(&self, place: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.id.as_bytes());
        hash.update(place.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Uuid::new_v8(bytes).to_string()
    }
}
