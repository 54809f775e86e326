//! Schemas of bodies: those of the messages, with HTTP's additions and the rules; the problem and the status
//! document.

use serde_json::{Map, Value, json};

use super::answers::refer;
use crate::operation::batch::MAX_KEY;
use crate::operation::callback::MAX_URL_BYTES;
use crate::operation::{HttpEnvelope, Range, Settings, StateName};
use crate::proto::json::{JsonError, camel_case};
use crate::proto::schema::{Side, schemas};
use crate::service::{MAX_BATCH, Reason};

/// The rules for names, as in [`crate::operation`].
pub(super) const KIND: &str = "^[A-Za-z][A-Za-z0-9_.-]{0,127}$";
pub(super) const TENANT: &str = "^[a-z][a-z0-9-]{0,62}$";
const TENANT_OR_NONE: &str = "^([a-z][a-z0-9-]{0,62})?$";
const LABEL_KEY: &str = "^[A-Za-z][A-Za-z0-9_./-]{0,62}$";
/// The URL of a receiver.
const URL: &str = "^https?://[^ #@/?]+([/?][!-\"$-~]*)?$";
const URL_OR_NONE: &str = "^(https?://[^ #@/?]+([/?][!-\"$-~]*)?)?$";
/// An operation's name, or empty.
pub(super) const OPERATION_OR_NONE: &str = "^(((tenants/[a-z][a-z0-9-]{0,62}/)?operations/)?\
     [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$";
const ASCII: &str = "^[ -~]{0,255}$";

const WRITTEN: [&str; 27] = [
    "google.longrunning.Operation",
    "google.longrunning.ListOperationsResponse",
    "AcquiredAttempt",
    "Operation",
    "ListOperationsResponse",
    "SubmitBatchResponse",
    "ListEventsResponse",
    "RenewResponse",
    "WatchOperationResponse",
    "WatchOperationsResponse",
    "CreateKeyResponse",
    "ListKeysResponse",
    "Key",
    "ListLimitsResponse",
    "Limit",
    "DeleteLimitResponse",
    "CreateShareResponse",
    "ListSharesResponse",
    "ListKindsResponse",
    "ListWorkersResponse",
    "CreateWebhookResponse",
    "ListWebhooksResponse",
    "Webhook",
    "GetWebhookSecretResponse",
    "RotateWebhookSecretResponse",
    "ListDeliveriesResponse",
    "Delivery",
];
const READ: [&str; 13] = [
    "SubmitRequest",
    "SubmitBatchRequest",
    "CreateKeyRequest",
    "SetLimitRequest",
    "CreateShareRequest",
    "CreateWebhookRequest",
    "CancelOperationRequest",
    "RunOperationRequest",
    "RetryOperationRequest",
    "RenewRequest",
    "FailRequest",
    "AddLogRequest",
    "google.longrunning.CancelOperationRequest",
];

pub(super) fn all() -> Result<Map<String, Value>, JsonError> {
    let mut all = schemas(&WRITTEN, Side::Written)?;
    all.extend(schemas(&READ, Side::Read)?);
    for (name, about) in [
        ("Operation", "The operation's own URL."),
        ("AcquiredAttempt", "The attempt's own URL, to which its worker reports."),
    ] {
        if let Some(resource) = all.get_mut(name) {
            resource["properties"]["location"] = json!({
                "type": "string",
                "format": "uri-reference",
                "description": about,
            });
        }
    }
    for (name, required) in REQUIRED {
        if let Some(schema) = all.get_mut(*name) {
            schema["required"] = (*required).into();
        }
    }
    for (name, property, rules) in rules() {
        let schema = all.get_mut(name).and_then(|it| it["properties"].get_mut(&property));
        if let Some(schema) = schema.and_then(Value::as_object_mut) {
            schema.extend(rules);
        }
    }
    all.insert("Problem".to_owned(), problem());
    all.insert("GoogleError".to_owned(), google_error());
    all.insert("Reason".to_owned(), reasons());
    all.insert("Status".to_owned(), status());
    all.insert("StatusError".to_owned(), status_error());
    all.sort_keys();
    Ok(all)
}

/// The required members.
const REQUIRED: &[(&str, &[&str])] = &[
    (
        "Operation",
        &[
            "name",
            "tenant",
            "kind",
            "state",
            "revision",
            "createTime",
            "updateTime",
            "settings",
            "location",
        ],
    ),
    ("GoogleLongrunningOperation", &["name", "metadata"]),
    ("GoogleLongrunningListOperationsResponse", &["operations"]),
    ("AcquiredAttempt", &["operation", "attempt", "token", "leaseDuration", "location"]),
    ("SubmitRequest", &["kind"]),
    ("CreateKeyRequest", &["roles"]),
    ("CreateKeyResponse", &["key", "secret"]),
    ("ListKeysResponse", &["keys"]),
    ("ListLimitsResponse", &["limits"]),
    ("Limit", &["what"]),
    ("SetLimitRequest", &["what"]),
    ("CreateShareResponse", &["share", "token", "url"]),
    ("ListSharesResponse", &["shares"]),
    ("Share", &["shareId", "operation", "createTime", "expireTime"]),
    ("CreateWebhookRequest", &["url"]),
    ("CreateWebhookResponse", &["webhook", "secret"]),
    ("GetWebhookSecretResponse", &["webhook", "secret"]),
    ("RotateWebhookSecretResponse", &["webhook", "secret"]),
    ("ListWebhooksResponse", &["webhooks"]),
    ("ListDeliveriesResponse", &["deliveries"]),
    ("Webhook", &["webhookId", "tenant", "states", "format"]),
    ("Delivery", &["deliveryId", "tenant", "webhookId", "operation", "event", "state"]),
    ("Key", &["keyId", "tenant", "roles", "createTime"]),
    ("FailRequest", &["error"]),
    ("ListOperationsResponse", &["operations"]),
    ("ListEventsResponse", &["events"]),
    ("WatchOperationResponse", &["type", "operation", "revision"]),
    ("WatchOperationsResponse", &["type"]),
    ("Event", &["type", "revision", "time"]),
];

/// Rules that the descriptors lack: a schema, a property, and its constraints.
fn rules() -> Vec<(&'static str, String, Map<String, Value>)> {
    let value = json!({"type": "string", "pattern": r"^[^\x00-\x1f\x7f-\x9f]{0,255}$"});
    let labels = json!({
        "maxProperties": 64,
        "propertyNames": {"pattern": LABEL_KEY},
        "additionalProperties": value,
    });
    let states = json!({
        "maxItems": 100,
        "items": {"type": "string", "enum": StateName::ALL.map(StateName::as_str)},
    });
    let rules = [
        ("SubmitRequest", "kind", json!({"type": "string", "pattern": KIND})),
        ("CreateKeyRequest", "tenant", json!({"pattern": TENANT_OR_NONE})),
        ("CreateKeyRequest", "name", json!({"maxLength": 128})),
        ("SubmitRequest", "idempotencyKey", json!({"pattern": ASCII})),
        ("SubmitRequest", "labels", labels.clone()),
        ("SubmitRequest", "parent", json!({"pattern": OPERATION_OR_NONE})),
        ("SubmitBatchRequest", "requests", json!({"maxItems": MAX_BATCH})),
        ("BatchInput", "labels", labels),
        ("BatchInput", "idempotencyKey", json!({"pattern": ASCII, "maxLength": MAX_KEY})),
        ("BatchInput", "callbackUrl", json!({"pattern": URL_OR_NONE, "maxLength": MAX_URL_BYTES})),
        (
            "SubmitRequest",
            "callbackUrl",
            json!({"pattern": URL_OR_NONE, "maxLength": MAX_URL_BYTES}),
        ),
        ("CreateWebhookRequest", "url", json!({"pattern": URL, "maxLength": MAX_URL_BYTES})),
        ("CreateWebhookRequest", "tenant", json!({"pattern": TENANT_OR_NONE})),
        ("CreateWebhookRequest", "filter", json!({"maxLength": 4_096})),
        ("CreateWebhookRequest", "format", json!({"enum": ["", "plain", "cloudevents"]})),
        ("CreateWebhookRequest", "states", states),
        ("PayloadInput", "contentType", json!({"pattern": ASCII})),
        ("HttpEnvelopeInput", "method", json!({"maxLength": 32})),
        ("HttpEnvelopeInput", "headers", json!({"maxItems": HttpEnvelope::MAX_HEADERS})),
        ("CancelOperationRequest", "reason", json!({"maxLength": 1_000})),
        ("RetryOperationRequest", "idempotencyKey", json!({"pattern": ASCII})),
    ];
    let rules = rules.map(|(name, property, rules)| (name, property.to_owned(), rules));
    let settings = Settings::ALL.iter().map(|setting| {
        let (name, property) = match setting.path.strip_prefix("retry_policy.") {
            Some(field) => ("RetryPolicyInput", field),
            None => ("SettingsInput", setting.path),
        };
        (name, camel_case(property), rule_of(setting.range))
    });
    let rules = rules.into_iter().chain(settings);
    let rules = rules.filter_map(|(name, property, rules)| match rules {
        Value::Object(rules) => Some((name, property, rules)),
        _ => None,
    });
    rules.collect()
}

/// The rule for a setting in a message. Schemas describe the form of times, not their limits.
pub(super) fn rule_of(range: Range) -> Value {
    match range {
        // Zero means the default.
        Range::Whole(least, most) if least > 0 => json!({"minimum": 0, "maximum": most}),
        Range::Whole(least, most) => json!({"minimum": least, "maximum": most}),
        Range::Real(least, most) if least > 0.0 => {
            let not = json!({"exclusiveMinimum": 0, "exclusiveMaximum": least});
            json!({"minimum": 0, "maximum": most, "not": not})
        }
        Range::Real(least, most) => json!({"minimum": least, "maximum": most}),
        Range::Time(..) => json!({"pattern": r"^[0-9]+(\.[0-9]{1,9})?s$"}),
    }
}

/// The reasons of refusals.
fn reasons() -> Value {
    let about = Reason::ALL.iter().map(|it| format!("\n- `{}`:{}", it.as_str(), it.about()));
    json!({
        "type": "string",
        "description": format!("The reason of a refusal.{}", about.collect::<String>()),
        "enum": Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>(),
    })
}

/// The document that `problem` makes.
fn problem() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457). Members that are not listed are more facts by name.",
        "properties": {
            "type": text("The type of the problem: `urn:longrun:problem:…`."),
            "title": text("The title of the problem type, for people."),
            "status": {"type": "integer", "minimum": 100, "maximum": 599, "description": "The status of this answer."},
            "detail": text("The problem in this case, for people."),
            "reason": {
                "description": "For programs: the reason of a refusal, or the code of the operation's error.",
                "anyOf": [refer("Reason"), {"type": "string"}],
            },
            "instance": text("The path of the request."),
            "violations": {
                "type": "array",
                "description": "The fields that break rules.",
                "items": {
                    "type": "object",
                    "properties": {
                        "field": text("The field, parameter or header field."),
                        "description": text("The rule that the field breaks."),
                    },
                    "required": ["field", "description"],
                },
            },
            "operation": text("The operation that the problem is about, `operations/{id}`."),
        },
        "required": ["type", "title", "status", "detail", "reason", "instance"],
    })
}

/// The document that `google::refused` makes.
fn google_error() -> Value {
    json!({
        "type": "object",
        "description": "A refusal in the form of Google's APIs.",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The status of this answer."},
                    "message": {"type": "string", "description": "The error, for people."},
                    "status": {"type": "string", "description": "The canonical gRPC code by its name."},
                    "details": {
                        "type": "array",
                        "description": "A google.rpc.ErrorInfo with the reason, and more where it applies.",
                        "items": {
                            "type": "object",
                            "properties": {"@type": {"type": "string"}},
                            "required": ["@type"],
                        },
                    },
                },
                "required": ["code", "message", "status", "details"],
            },
        },
        "required": ["error"],
    })
}

/// The document that `documents::status` makes.
fn status() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let url = |description: &str| json!({"type": "string", "format": "uri-reference", "description": description});
    let time = |description: &str| json!({"type": "string", "format": "date-time", "description": description});
    let errors = |description: &str| json!({"type": "array", "items": refer("Error"), "description": description});
    json!({
        "type": "object",
        "description": "A status document in the shape of Microsoft's REST guidelines.",
        "properties": {
            "id": text("The operation's id."),
            "name": text("Its resource name, `operations/{id}`."),
            "kind": text("The kind of the operation."),
            "status": {
                "type": "string",
                "description": "The state in Microsoft's words.",
                "enum": ["NotStarted", "Running", "Succeeded", "Failed", "Canceled"],
            },
            "state": {
                "type": "string",
                "description": "The state.",
                "enum": StateName::ALL.map(|state| state.as_str()),
            },
            "done": {"type": "boolean", "description": "Whether the state is final."},
            "revision": {"type": "integer", "minimum": 1, "description": "The operation's revision."},
            "createdDateTime": time("The time of the submission."),
            "lastActionDateTime": time("The time of the latest transition's commit."),
            "percentComplete": {"type": "number", "minimum": 0, "maximum": 100, "description": "The progress in percent."},
            "progress": refer("Progress"),
            "error": refer("StatusError"),
            "errors": errors("The errors of a partial success."),
            "warnings": errors("The warnings that came with the result."),
            "resourceLocation": url("The URL of the result, once the operation has succeeded."),
            "links": {
                "type": "object",
                "description": "The operation's resources.",
                "properties": {
                    "self": url("This document."),
                    "operation": url("The operation."),
                    "result": url("Its result."),
                    "events": url("Its history."),
                },
                "required": ["self", "operation", "result", "events"],
            },
        },
        "required": [
            "id", "name", "kind", "status", "state", "done", "revision", "createdDateTime", "lastActionDateTime", "links",
        ],
    })
}

fn status_error() -> Value {
    json!({
        "type": "object",
        "description": "Why an operation failed or was cancelled, in the form of Microsoft's guidelines.",
        "properties": {
            "code": {"type": "string", "description": "The code of the error."},
            "message": {"type": "string", "description": "The error, for people."},
            "details": {"type": "array", "items": refer("StatusError"), "description": "The errors that caused it."},
        },
        "required": ["code", "message"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_about_what_there_is() {
        let all = all().unwrap();
        for (name, required) in REQUIRED {
            for property in *required {
                assert!(all[*name]["properties"].get(property).is_some(), "{name}.{property}");
            }
        }
        for (name, property, rules) in rules() {
            for (rule, value) in rules {
                assert_eq!(all[name]["properties"][&property][&rule], value, "{name}.{property}");
            }
        }
    }
}
