//! The responses of a route.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::fields;
use crate::http::problem::http_status;
use crate::service::Reason;

pub(in crate::http) const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// The responses by status.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Answers(Map<String, Value>);

impl Answers {
    /// Adds a response without a body.
    pub(in crate::http) fn empty(self, status: &str, description: &str, names: &[&str]) -> Self {
        self.cacheable(status, description, &[names, &["Cache-Control"]].concat())
    }

    /// Adds a response that may omit the header fields about caches.
    pub(in crate::http) fn cacheable(
        mut self,
        status: &str,
        description: &str,
        names: &[&str],
    ) -> Self {
        let answer = json!({"description": description, "headers": fields::of(names)});
        self.0.insert(status.to_owned(), answer);
        self
    }

    /// Adds a response with a JSON body.
    pub(in crate::http) fn json(
        self,
        status: &str,
        description: &str,
        names: &[&str],
        schema: &str,
    ) -> Self {
        self.empty(status, description, names).also(status, JSON, &refer(schema))
    }

    /// Adds another media type to the response with that status.
    pub(in crate::http) fn also(mut self, status: &str, media_type: &str, schema: &Value) -> Self {
        let answer = self.0.entry(status).or_insert_with(|| json!({}));
        answer["content"][media_type] = json!({"schema": schema});
        self
    }

    /// Adds a stream of events with these names to the response with that status. The schema is that of one event.
    pub(in crate::http) fn events(self, status: &str, names: &[&str], message: &str) -> Self {
        let event = json!({
            "type": "object",
            "description": "One event.",
            "properties": {
                "event": {"enum": names},
                "id": {"type": "string"},
                "retry": {"type": "integer"},
                "data": {
                    "type": "string",
                    "contentMediaType": JSON,
                    "contentSchema": {"anyOf": [refer(message), refer("Problem")]},
                },
            },
        });
        self.also(status, EVENT_STREAM, &event)
    }

    /// Adds refusals, under the statuses of the table of reasons.
    pub(in crate::http) fn refused(mut self, reasons: &[Reason]) -> Self {
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for reason in reasons {
            by_status.entry(reason.http_status()).or_default().push(reason.as_str());
        }
        for (status, reasons) in by_status {
            let refused = json!({
                "$ref": "#/components/responses/Problem",
                "description": format!("Refused: {}.", reasons.join(", ")),
            });
            self.0.insert(status.to_string(), refused);
        }
        self
    }

    /// Adds refusals in Google's form, under the statuses of the reasons' codes.
    pub(in crate::http) fn refused_as_google(mut self, reasons: &[Reason]) -> Self {
        let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for reason in reasons {
            by_status.entry(http_status(reason.grpc_code())).or_default().push(reason.as_str());
        }
        for (status, reasons) in by_status {
            let description = format!("Refused: {}.", reasons.join(", "));
            let refused = match self.0.get(&status.to_string()) {
                // Refused before or after the form of the response is known.
                Some(earlier) => {
                    let also = earlier["description"].as_str().unwrap_or_default();
                    let mut both = problem();
                    both["description"] = format!("{also} {description}").into();
                    both["content"][JSON] = json!({"schema": refer("GoogleError")});
                    both
                }
                None => json!({
                    "$ref": "#/components/responses/GoogleError",
                    "description": description,
                }),
            };
            self.0.insert(status.to_string(), refused);
        }
        self
    }

    /// All responses.
    pub(in crate::http) fn all(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// All responses as for `HEAD`.
    pub(in crate::http) fn without_contents(&self) -> Value {
        let mut answers = self.0.clone();
        for answer in answers.values_mut().filter_map(Value::as_object_mut) {
            answer.remove("content");
        }
        Value::Object(answers)
    }
}

pub(in crate::http) fn refer(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// A refusal in Google's form.
pub(in crate::http) fn google_error() -> Value {
    let names = ["Longrun-Error-Source", "Retry-After?", "Cache-Control"];
    json!({
        "description": "Refused.",
        "headers": fields::of(&names),
        "content": {JSON: {"schema": refer("GoogleError")}},
    })
}

/// A refusal.
pub(in crate::http) fn problem() -> Value {
    let names = [
        "Longrun-Error-Source",
        "RateLimit?",
        "RateLimit-Policy?",
        "Retry-After?",
        "Cache-Control",
    ];
    json!({
        "description": "Refused.",
        "headers": fields::of(&names),
        "content": {"application/problem+json": {"schema": refer("Problem")}},
    })
}
