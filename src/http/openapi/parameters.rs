//! Parameters of paths, queries and header fields.

use serde_json::{Map, Value, json};

use super::schemas::{KIND, TENANT};
use crate::operation::Settings;
use crate::service::MAX_WAIT;

/// A number of seconds, or a number with a unit.
const DURATION: &str = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$";
/// A time, ascending unless it says otherwise.
const ORDER: &str = r"^\s*((create|end)_time(\s+(asc|desc))?)?\s*$";

fn path(name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema})
}

fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

fn header(name: &str, description: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "header", "description": description, "schema": schema})
}

/// All, by the names that [`refer`] takes.
pub(super) fn all() -> Map<String, Value> {
    let text = json!({"type": "string"});
    let segment = json!({"type": "string", "minLength": 1});
    let flag = |default: bool| json!({"type": "boolean", "default": default});
    let duration = json!({"type": "string", "pattern": DURATION, "examples": ["30s", "1.5h"]});
    let number =
        |least: i32, most: i32| json!({"type": "integer", "minimum": least, "maximum": most});
    let id = json!({"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"});
    let view = json!({"type": "string", "enum": ["BASIC", "RESULT", "FULL"]});
    let most_attempts = Settings::MAX_ATTEMPTS.cast_signed();
    let label = json!({"type": "array", "items": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_./-]{0,62}=[^\\x00-\\x1f\\x7f-\\x9f]{0,255}$"}, "maxItems": 64});
    let wait = format!(
        "How long to hold the request until it is done; more than {} s is taken as that.",
        MAX_WAIT.as_secs()
    );
    let parameters = [
        ("id", path("id", "The operation's id, a UUID.", &id)),
        (
            "tenant",
            path("tenant", "Whose operation it is.", &json!({"type": "string", "pattern": TENANT})),
        ),
        (
            "kind",
            path("kind", "What sort of work it is.", &json!({"type": "string", "pattern": KIND})),
        ),
        ("id.any", path("id", "An operation's id.", &segment)),
        ("tenant.any", path("tenant", "A tenant.", &segment)),
        ("kind.any", path("kind", "A kind.", &segment)),
        ("wait", query("wait", &wait, &duration)),
        ("view", query("view", "How much of its payloads an operation carries.", &view)),
        (
            "filter",
            query(
                "filter",
                "AIP-160, as in `ListOperationsRequest.filter`.",
                &json!({"type": "string", "maxLength": 4096}),
            ),
        ),
        (
            "order_by",
            query(
                "order_by",
                "The order of the list.",
                &json!({"type": "string", "pattern": ORDER, "default": "create_time desc"}),
            ),
        ),
        (
            "page_size",
            query(
                "page_size",
                "At most this many; 0 for the default, more than 1,000 is taken as 1,000.",
                &number(0, i32::MAX),
            ),
        ),
        ("page_token", query("page_token", "`nextPageToken` of the page before.", &text)),
        (
            "include_progress",
            query("include_progress", "Whether progress is streamed, too.", &flag(true)),
        ),
        ("skip_current", query("skip_current", "Leaves what matches already out.", &flag(false))),
        (
            "last_event_id",
            query(
                "last_event_id",
                "As the header field, which wins.",
                &json!({"type": "string", "pattern": "^[0-9]{0,18}$"}),
            ),
        ),
        ("seen", query("last_event_id", "Anything: the stream begins with `reset`.", &text)),
        ("label", query("label", "A label, `KEY=VALUE`.", &label)),
        (
            "priority",
            query(
                "priority",
                "Within a kind the higher goes first.",
                &number(0, Settings::MAX_PRIORITY.into()),
            ),
        ),
        (
            "queue_timeout",
            query("queue_timeout", "The longest time until the first attempt.", &duration),
        ),
        (
            "attempt_timeout",
            query("attempt_timeout", "The longest time for one attempt.", &duration),
        ),
        ("deadline", query("deadline", "The longest time from submission to the end.", &duration)),
        (
            "cancel_grace",
            query("cancel_grace", "How long a worker has to stop after a cancel.", &duration),
        ),
        (
            "retention",
            query("retention", "How long the record is kept once it is done.", &duration),
        ),
        (
            "max_attempts",
            query("max_attempts", "Attempts in all; 0 for the default.", &number(0, most_attempts)),
        ),
        (
            "start_time",
            query(
                "start_time",
                "Not to be started before.",
                &json!({"type": "string", "format": "date-time"}),
            ),
        ),
        (
            "Prefer",
            header(
                "Prefer",
                "`wait=N` holds the request for up to N seconds; `respond-async` is granted to submissions (RFC 7240). What cannot be read is ignored.",
                &text,
            ),
        ),
        (
            "Idempotency-Key",
            header(
                "Idempotency-Key",
                "The client's own name for this submission, bare or quoted: sent again, it gives the same operation.",
                &json!({"type": "string", "pattern": "^[!#-~]([ -~]{0,253}[!-~])?$"}),
            ),
        ),
        (
            "If-None-Match",
            header(
                "If-None-Match",
                "304 for who has this revision; with a wait, a long poll for the next one.",
                &text,
            ),
        ),
        ("Range", header("Range", "One range of bytes. What cannot be read is ignored.", &text)),
        (
            "If-Range",
            header("If-Range", "The range only if this is the ETag, else the whole.", &text),
        ),
        (
            "Last-Event-ID",
            header(
                "Last-Event-ID",
                "The revision to resume behind; 0 begins with the first transition.",
                &json!({"type": "string", "pattern": "^[0-9]{0,18}$"}),
            ),
        ),
        (
            "Last-Event-ID-seen",
            header("Last-Event-ID", "Anything: the stream begins with `reset`.", &text),
        ),
    ];
    parameters.into_iter().map(|(name, it)| (name.to_owned(), it)).collect()
}

/// The parameters of these names.
pub(super) fn refer<'a>(names: impl IntoIterator<Item = &'a str>) -> Value {
    let refer = |name| json!({"$ref": format!("#/components/parameters/{name}")});
    names.into_iter().map(refer).collect()
}
