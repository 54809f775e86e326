//! What templates see: an operation as plain data, under the names that `docs/dialects.md` lists.

use std::collections::BTreeMap;

use minijinja::Value;
use minijinja::value::Serde;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::json::View;
use super::times::rfc3339;
use super::{Dialect, Naming};
use crate::operation::error::ErrorSource;
use crate::operation::{
    Operation, OperationError, OperationId, Outcome, PayloadInfo, State, StateName, Timestamp, mark,
};

/// An operation, and what is known around it.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The operation.
    pub operation: &'a Operation,
    /// The result's bytes, where they are at hand.
    pub result: Option<&'a [u8]>,
    /// Its history, where a template asks for it.
    pub history: &'a [Record],
    /// The time now.
    pub now: Timestamp,
    /// Where clients reach this server: scheme and host.
    pub base: &'a str,
    /// The name of the mount.
    pub mount: &'a str,
    /// The path under which the mount stands.
    pub prefix: &'a str,
    /// The path of the relay that the request came in by; empty without one.
    pub relay_prefix: &'a str,
}

/// An entry of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The number of a log line; the revision of a transition.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The state as of then.
    pub state: StateName,
    /// The text of a log line; a transition has none.
    pub text: Option<String>,
}

/// A refusal, for templates of `[[problem]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The HTTP status.
    pub status: u16,
    /// Why, for programs.
    pub reason: &'a str,
    /// Why in general.
    pub title: &'a str,
    /// Why, for people.
    pub message: &'a str,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
}

/// The variables, a level deep: what is named here with a `*` has members of its own.
const VARIABLES: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("uuid", &[]),
    ("hex", &[]),
    ("number", &[]),
    ("kind", &[]),
    ("state", &[]),
    ("status", &[]),
    ("done", &[]),
    ("created", &[]),
    ("updated", &[]),
    ("started", &[]),
    ("ended", &[]),
    ("now", &[]),
    ("attempt", &[]),
    ("progress", &["percent", "done", "total", "message"]),
    ("error", &["id", "code", "reason", "message", "grpc_code", "source", "details", "causes"]),
    ("errors", &["*"]),
    ("warnings", &["*"]),
    ("result", &["status", "content_type", "size", "json", "text"]),
    ("labels", &["*"]),
    ("request", &["method", "target", "path", "query", "uri", "trigger"]),
    ("mount", &["name", "prefix"]),
    ("links", &["*"]),
    ("history", &["*"]),
];

/// The variables of `[[problem]]`.
const OF_PROBLEMS: &[(&str, &[&str])] = &[
    ("problem", &["status", "reason", "title", "message", "retry_after"]),
    ("mount", &["name", "prefix"]),
    ("now", &[]),
];

/// Whether templates about operations may use the variable. `links` are the names of the dialect's routes.
pub(super) fn is_known(variable: &str, links: &[&str]) -> bool {
    match variable.strip_prefix("links.") {
        Some(link) => link == "self" || link == "base" || links.contains(&link),
        None => is_listed(VARIABLES, variable),
    }
}

/// Whether templates about refusals may use the variable.
pub(super) fn is_known_of_problems(variable: &str) -> bool {
    is_listed(OF_PROBLEMS, variable)
}

fn is_listed(variables: &[(&str, &[&str])], variable: &str) -> bool {
    let mut parts = variable.split('.');
    let root = parts.next().unwrap_or_default();
    let Some((_, members)) = variables.iter().find(|(name, _)| *name == root) else { return false };
    match parts.next() {
        None => true,
        Some(member) => members.contains(&"*") || members.contains(&member),
    }
}

impl Subject<'_> {
    /// The view, with `path` as the place where it is asked for and without the dialect's own name of the state.
    pub(super) fn view(&self, dialect: &Dialect, path: &str) -> View {
        let operation = self.operation;
        let (submission, life, id) = (&operation.submission, &operation.life, operation.id());
        let of = |at: Option<Timestamp>| at.map(rfc3339);
        let (ended_with, warnings) = outcome(operation);
        let errors = Errors { id, codes: &dialect.codes };
        let view = json!({
            "id": dialect.naming.write(id),
            "uuid": id.to_string(),
            "hex": Naming::Hex.write(id),
            "number": number(id),
            "kind": submission.kind.as_str(),
            "state": operation.state_name().as_str(),
            "done": operation.is_done(),
            "created": rfc3339(submission.created_at),
            "updated": rfc3339(life.updated_at),
            "started": of(life.started_at),
            "ended": of(operation.ended_at()),
            "now": rfc3339(self.now),
            "attempt": life.attempt.0,
            "progress": self.progress(),
            "error": ended_with.first().map(|error| errors.view(error, "errors.0")),
            "errors": errors.views(ended_with, "errors"),
            "warnings": errors.views(warnings, "warnings"),
            "result": operation.result().map(|info| self.result(info)),
            "labels": self.labels(),
            "request": self.request(),
            "mount": {"name": self.mount, "prefix": self.prefix},
            "links": self.links(dialect, path),
            "history": self.history.iter().map(record).collect::<Vec<_>>(),
        });
        let mut view = match view {
            Json::Object(view) => View::of(view),
            _ => View::default(),
        };
        view.insert_json("result", "json", self.result.unwrap_or_default());
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
        let text = self.result.and_then(|bytes| std::str::from_utf8(bytes).ok());
        json!({
            "status": info.http.as_ref().map(|http| http.status),
            "content_type": info.content_type,
            "size": info.size_bytes,
            // See `view`.
            "json": Json::Null,
            "text": text,
        })
    }

    fn labels(&self) -> Json {
        let labels = &self.operation.submission.labels;
        let own = labels.iter().filter(|(key, _)| !mark::is_reserved(key));
        own.map(|(key, value)| (key.clone(), Json::from(value.as_str())))
            .collect::<Map<_, _>>()
            .into()
    }

    /// The request that became the operation. Without one, as for what was submitted otherwise, its parts are none.
    fn request(&self) -> Json {
        let submission = &self.operation.submission;
        let http = submission.input.as_ref().and_then(|input| input.http.as_deref());
        let Some(http) = http else {
            let none = Json::Null;
            return json!({"method": none, "target": none, "path": none, "query": none, "uri": none, "trigger": none});
        };
        let trigger = submission.labels.get(mark::TRIGGER);
        let target = format!("{}{}", self.relay_prefix, http.target);
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
        json!({
            "method": http.method,
            "target": target,
            "path": path,
            "query": query,
            "uri": uri,
            "trigger": trigger,
        })
    }

    fn links(&self, dialect: &Dialect, path: &str) -> Json {
        let id = dialect.naming.write(self.operation.id());
        let link = |path: &str| Json::from(format!("{}{}{path}", self.base, self.prefix));
        let routes = dialect.routes.iter();
        let mut links: Map<String, Json> =
            routes.map(|route| (route.name.clone(), link(&route.path.with_id(&id)))).collect();
        links.insert("self".to_owned(), format!("{}{path}", self.base).into());
        links.insert("base".to_owned(), self.base.into());
        links.into()
    }
}

impl Refusal<'_> {
    /// The view of `[[problem]]`.
    pub(super) fn view(&self, mount: &str, prefix: &str, now: Timestamp) -> Value {
        let Self { status, reason, title, message, retry_after } = self;
        Value::from(Serde(json!({
            "problem": {
                "status": status,
                "reason": reason,
                "title": title,
                "message": message,
                "retry_after": retry_after,
            },
            "mount": {"name": mount, "prefix": prefix},
            "now": rfc3339(now),
        })))
    }
}

/// A whole number that JavaScript holds exactly, always the same for one operation. Many operations could share one,
/// if there were very many: it is to be shown, not to be looked up.
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

/// The errors that it ended with, and the warnings.
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

/// Errors of one operation as templates see them.
struct Errors<'a> {
    id: OperationId,
    codes: &'a BTreeMap<String, String>,
}

impl Errors<'_> {
    fn views(&self, errors: &[OperationError], place: &str) -> Vec<Json> {
        let place = |at: usize| format!("{place}.{at}");
        errors.iter().enumerate().map(|(at, error)| self.view(error, &place(at))).collect()
    }

    /// The recursion is as deep as causes may be nested.
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

    /// A UUID that is the same whenever it is asked for: version 8, of the operation and the error's place in it.
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
