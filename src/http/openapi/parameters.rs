//! Parameters of paths, queries and header fields. Header fields that are ignored when malformed have no schema
//! here.

use serde_json::{Map, Value, json};

use super::schemas::{KIND, OPERATION_OR_NONE, TENANT, rule_of};
use crate::operation::callback::MAX_URL_BYTES;
use crate::operation::limits::LimitName;
use crate::operation::{Range, Setting, Settings};
use crate::service::MAX_WAIT;

/// A canonical UUID.
const ID: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
/// The signed token of an attempt.
const TOKEN: &str = "^[0-9A-Za-z_-]{66}$";
/// The id of a key.
const KEY_ID: &str = "^[a-z2-7]{16}$";
/// The ids of a webhook and of a delivery.
const WEBHOOK_ID: &str = "^([a-z2-7]{16}|callbacks)$";
const DELIVERY_ID: &str = "^msg_[0-9a-f]{32}$";
/// The token of a share.
const SHARE_TOKEN: &str = "^lrs_[a-z2-7]{16}_[a-z2-7]{60}$";
/// A tenant, or empty.
const TENANT_OR_NONE: &str = "^([a-z][a-z0-9-]{0,62})?$";
/// A label's key, or empty.
const LABEL_KEY_OR_NONE: &str = "^([A-Za-z][A-Za-z0-9_./-]{0,62})?$";
/// A tenant, or `-` for all.
const TENANT_OR_ALL: &str = "^([a-z][a-z0-9-]{0,62}|-)?$";
/// A kind, or empty for all.
const KIND_OR_ALL: &str = "^([A-Za-z][A-Za-z0-9_.-]{0,127})?$";
/// A number of seconds, or a number with a unit.
const DURATION: &str = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$";
/// A time; ascending by default.
const ORDER: &str = r"^\s*((create|end)_time(\s+(asc|desc))?)?\s*$";
/// A revision, or empty.
const REVISION: &str = "^[0-9]{0,18}$";
/// A key, bare or quoted.
const KEY: &str = "^[!#-~]([ -~]{0,253}[!-~])?$";
const LABEL: &str = r"^[A-Za-z][A-Za-z0-9_./-]{0,62}=[^\x00-\x1f\x7f-\x9f]{0,255}$";

/// Names of content codings.
const CODINGS: &str = "^[0-9A-Za-z!#$%&'*+.^_`|~, -]*$";
/// Names of the codings that are decoded here.
const CODING: &str = "^[ ,]*((x-)?gzip|identity)?[ ,]*$";

/// All parameters, by the names that [`refer`] takes.
pub(in crate::http) fn all() -> Map<String, Value> {
    [in_path(), in_query(), in_header()].into_iter().flatten().collect()
}

/// The header fields that are parameters of any route.
pub(in crate::http) fn fields() -> Vec<String> {
    let names = in_header().into_iter().filter(|(key, _)| !key.contains('.'));
    names.map(|(name, _)| name).collect()
}

/// References to the parameters with these names.
pub(in crate::http) fn refer<'a>(names: impl IntoIterator<Item = &'a str>) -> Value {
    let refer = |name| json!({"$ref": format!("#/components/parameters/{name}")});
    names.into_iter().map(refer).collect()
}

type Parameters = Vec<(String, Value)>;

fn in_path() -> Parameters {
    let anything = || json!({"type": "string", "minLength": 1});
    let table = [
        ("id", "The operation's id, a UUID.", pattern(ID)),
        ("tenant", "The operation's tenant.", pattern(TENANT)),
        ("kind", "The kind of the operation.", pattern(KIND)),
        ("token", "The attempt's token.", pattern(TOKEN)),
        ("key_id", "The key's id, the part after `lr_`.", pattern(KEY_ID)),
        ("token.share", "The share's token.", pattern(SHARE_TOKEN)),
        ("share_id", "The share's id: the part after `lrs_`.", pattern(KEY_ID)),
        ("webhook_id", "The webhook's id, or `callbacks`.", pattern(WEBHOOK_ID)),
        ("delivery_id", "The delivery's id.", pattern(DELIVERY_ID)),
        ("webhook_id.any", "A webhook's id.", anything()),
        ("delivery_id.any", "A delivery's id.", anything()),
        ("what", "The limit's name.", limit_name()),
        ("share_id.any", "A share's id.", anything()),
        ("what.any", "A limit's name.", anything()),
        ("id.any", "An operation's id.", anything()),
        ("key_id.any", "A key's id.", anything()),
        ("tenant.any", "A tenant.", anything()),
        ("kind.any", "A kind.", anything()),
        ("token.any", "A token.", anything()),
    ];
    let mut all = parameters("path", &table);
    all.iter_mut().for_each(|(_, parameter)| parameter["required"] = true.into());
    all
}

fn in_query() -> Parameters {
    let all = [of_attempts(), of_lists(), of_choices(), of_streams(), of_submissions()];
    all.into_iter().flatten().chain(of_settings()).collect()
}

/// Parameters of waits, and of attempts over HTTP.
fn of_attempts() -> Parameters {
    let until = |event: &str| {
        let most = MAX_WAIT.as_secs();
        format!(
            "How long to hold the request until {event}; more than {most} s is taken as {most} s."
        )
    };
    let (wait, wait_for_attempt) = (until("the operation is done"), until("an attempt can start"));
    let lease = "How long the attempt's lease lasts without a renewal, from 1 s to 7 days; by default as long as the \
                 leases of streams.";
    let request_id = "The request's name, e.g. a UUID. The same request returns the attempt that it acquired before, while that goes on.";
    let printable = || pattern("^[ -~]{1,255}$");
    let code = json!({"type": "string", "minLength": 1, "maxLength": 128, "default": "FAILED"});
    let table = [
        ("wait", wait.as_str(), pattern(DURATION)),
        ("wait.attempt", wait_for_attempt.as_str(), pattern(DURATION)),
        ("worker_id", "The worker's own name.", or(printable(), "http")),
        ("lease_duration", lease, pattern(DURATION)),
        ("request_id", request_id, printable()),
        ("code", "The code of the error, if the body is text.", code),
        ("final", "Whether the failure is final, if the body is text.", flag(false)),
        (
            "retry_delay",
            "The wait before the next attempt, if the body is text; at most 24 h.",
            pattern(DURATION),
        ),
    ];
    parameters("query", &table)
}

/// Parameters of operations and lists: what of each to show, which, in what order, how many.
fn of_lists() -> Parameters {
    let view = json!({"type": "string", "enum": ["BASIC", "RESULT", "FULL"]});
    let filter = json!({"type": "string", "maxLength": 4096});
    let table = [
        ("view", "How much of its payloads an operation includes.", view),
        ("filter", "A filter (AIP-160), as in `ListOperationsRequest.filter`.", filter),
        ("order_by", "The order of the list.", or(pattern(ORDER), "create_time desc")),
        ("page_size", "The most entries on a page; 0 for the default.", number(i32::MAX)),
        (
            "return_partial_success",
            "Must not be true: this server returns no partial lists.",
            json!({"const": false}),
        ),
    ];
    parameters("query", &table)
}

/// Parameters that choose among a tenant's things.
fn of_choices() -> Parameters {
    let table = [
        (
            "tenant.keys",
            "The tenant; the caller's own if unset, `-` for all tenants.",
            pattern(TENANT_OR_ALL),
        ),
        ("tenant.webhooks", "The tenant; the caller's own if unset.", pattern(TENANT_OR_NONE)),
        (
            "state.delivery",
            "Only deliveries in this state; all if unset.",
            json!({"type": "string", "enum": ["", "PENDING", "DELIVERED", "DEAD"]}),
        ),
        (
            "webhook_id.delivery",
            "Only deliveries of this webhook, or of `callbacks`; all if unset.",
            text(),
        ),
        (
            "operation.delivery",
            "Only deliveries of this operation, `operations/{id}`; all if unset.",
            pattern(OPERATION_OR_NONE),
        ),
        (
            "tenant.operations",
            "The tenant; the caller's own if unset. Operators may name another one, or `-` for all tenants.",
            pattern(TENANT_OR_ALL),
        ),
        (
            "tenant.limits",
            "Only limits of this tenant, and limits of each tenant that has none of its own; all if unset.",
            pattern(TENANT_OR_NONE),
        ),
        ("tenant.limit", "The limit's tenant, if it has one.", pattern(TENANT_OR_NONE)),
        (
            "tenant.kind",
            "The tenant; the caller's own if unset, `-` for all tenants.",
            pattern(TENANT_OR_ALL),
        ),
        ("kind.limit", "The limit's kind, if it has one.", pattern(KIND_OR_ALL)),
        ("label.limit", "The limit's label, if it has one.", pattern(LABEL_KEY_OR_NONE)),
        ("kind.workers", "Only workers that serve this kind; all if unset.", pattern(KIND_OR_ALL)),
        ("page_token", "The `nextPageToken` of the previous page.", text()),
    ];
    parameters("query", &table)
}

fn of_streams() -> Parameters {
    let table = [
        ("include_progress", "For a stream: whether to send progress as well.", flag(true)),
        ("skip_current", "Leaves out operations that match already.", flag(false)),
        (
            "last_event_id",
            "For a stream: as the header field Last-Event-ID, which wins over this.",
            pattern(REVISION),
        ),
        (
            "last_event_id.position",
            "The id of the last event that the client has seen: the stream continues after it, or begins with `reset`.",
            text(),
        ),
    ];
    parameters("query", &table)
}

fn of_submissions() -> Parameters {
    let labels = json!({"type": "array", "items": pattern(LABEL), "maxItems": 64});
    let time = json!({"type": "string", "format": "date-time"});
    let table = [
        ("label", "A label, `KEY=VALUE`.", labels),
        (
            "start_at",
            "No attempt starts before this time. At most 9000-01-01T00:00:00Z.",
            time.clone(),
        ),
        (
            "callback_url",
            "The URL that the server notifies of the end, as in `SubmitRequest.callback_url`.",
            json!({"type": "string", "maxLength": MAX_URL_BYTES}),
        ),
        (
            "parent",
            "The batch that the operation becomes a child of, as in `SubmitRequest.parent`.",
            pattern(OPERATION_OR_NONE),
        ),
        (
            "start_in",
            "No attempt starts earlier than this long after the submission. At most 3660d.",
            pattern(DURATION),
        ),
        ("start_time", "The former name of `start_at`.", time),
    ];
    parameters("query", &table)
}

fn of_settings() -> Parameters {
    let settings = Settings::ALL.iter().map(|setting| {
        let Setting { name, range, default, about, .. } = setting;
        (*name, format!("{about}: {range}; by default {default}."), of_range(*range))
    });
    let settings: Vec<_> = settings.collect();
    let settings: Vec<_> = settings.iter().map(|(n, a, s)| (*n, a.as_str(), s.clone())).collect();
    parameters("query", &settings)
}

/// The schema of a setting.
fn of_range(range: Range) -> Value {
    let mut schema = rule_of(range);
    schema["type"] = match range {
        Range::Whole(..) => "integer".into(),
        Range::Real(..) => "number".into(),
        // A number of seconds, or a number with a unit.
        Range::Time(..) => return pattern(DURATION),
    };
    schema
}

fn in_header() -> Parameters {
    let prefer = "`wait=N` holds the request for up to N seconds; `respond-async` is applied to submissions \
                  (RFC 7240).";
    let key = "The client's own name for this submission: a repeated submission returns the same operation.";
    let last =
        "For a stream: the revision after which to resume; 0 begins with the first transition.";
    let table = [
        ("Prefer", prefer, text()),
        ("Idempotency-Key", key, pattern(KEY)),
        (
            "If-None-Match",
            "Returns 304 if the client has this entity tag; with a wait, only if nothing changes meanwhile. Refuses a change with 412.",
            text(),
        ),
        (
            "If-Match",
            "Returns 412 unless this is the entity tag; for a change, its revision, whatever the progress.",
            text(),
        ),
        ("Content-Encoding", "The coding of the input; stored with it.", pattern(CODINGS)),
        ("Content-Encoding.document", "The coding of the document.", pattern(CODING)),
        ("Content-Language", "The language of the input; stored with it.", text()),
        ("Content-Disposition", "The disposition of the input; stored with it.", text()),
        ("Range", "One range of bytes.", text()),
        (
            "If-Range",
            "Returns the range only if this is the entity tag, otherwise the whole.",
            text(),
        ),
        ("Last-Event-ID", last, text()),
        (
            "Last-Event-ID.position",
            "The id of the last event that the client has seen: the stream continues after it, or begins with `reset`.",
            text(),
        ),
    ];
    parameters("header", &table)
}

/// A suffix after a dot distinguishes parameters with the same name.
fn parameters(place: &str, table: &[(&str, &str, Value)]) -> Parameters {
    let parameters = table.iter().map(|(key, description, schema)| {
        let name = key.split('.').next();
        let it = json!({"name": name, "in": place, "description": description, "schema": schema});
        ((*key).to_owned(), it)
    });
    parameters.collect()
}

fn limit_name() -> Value {
    json!({"type": "string", "enum": LimitName::ALL.map(LimitName::as_str)})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn pattern(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

fn number(most: i32) -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": most})
}

/// The schema with a default.
fn or(mut schema: Value, default: &str) -> Value {
    schema["default"] = default.into();
    schema
}

fn flag(default: bool) -> Value {
    json!({"type": "boolean", "default": default})
}
