//! A payload's contents for readers of JSON: JSON as JSON, text as text, whatever form they were submitted in, so that
//! `jq .result.json` works for every worker. Base64 is for what is neither. The exact bytes are what
//! `GET .../result` and `ReadResult` return.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Replaces `data` or `text` by `json` where the media type says JSON and the contents are, and `data` by `text` where the
/// type says text and the bytes are UTF-8. JSON with numbers that would not be the same is text.
pub(super) fn spell_out(payload: &mut Map<String, Value>) {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let content_type = text("contentType").unwrap_or_default();
    let (form, contents) = match (text("data"), text("text")) {
        (Some(data), _) => match STANDARD.decode(data).ok().map(String::from_utf8) {
            Some(Ok(contents)) => ("data", contents),
            _ => return,
        },
        (None, Some(contents)) => ("text", contents.to_owned()),
        (None, None) => return,
    };
    let (name, value) = match (sort_of(content_type), serde_json::from_str(&contents)) {
        (Sort::Json, Ok(value)) if is_exact(&value) => ("json", value),
        (Sort::Json | Sort::Text, _) => ("text", Value::String(contents)),
        (Sort::Other, _) => return,
    };
    // The field keeps its place.
    let spelt = std::mem::take(payload).into_iter().map(|(key, old)| match key == form {
        true => (name.to_owned(), value.clone()),
        false => (key, old),
    });
    *payload = spelt.collect();
}

/// Whether every whole number in the document is the one that was written: what is beyond 64 bits became a float. The
/// recursion is as deep as the parser goes.
fn is_exact(value: &Value) -> bool {
    const EXACT: f64 = (1_u64 << 53) as f64;
    match value {
        Value::Number(number) => {
            !number.is_f64() || number.as_f64().is_some_and(|number| number.abs() < EXACT)
        }
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

enum Sort {
    Json,
    Text,
    Other,
}

fn sort_of(content_type: &str) -> Sort {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/').unwrap_or_default();
    let suffix = subtype.rsplit('+').next().unwrap_or_default();
    match (kind, suffix) {
        (_, "json") => Sort::Json,
        ("text", _) | ("application", "xml" | "yaml" | "toml" | "x-ndjson" | "jsonl") => Sort::Text,
        _ => Sort::Other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contents_are_what_their_type_says_if_they_are_that() {
        let data = |text: &str| STANDARD.encode(text);
        for (content_type, given, expected) in [
            (
                "application/json",
                json!({"data": data("{\"n\": 1.50}")}),
                json!({"json": {"n": 1.5}}),
            ),
            ("application/problem+json; x=y", json!({"data": data("[1]")}), json!({"json": [1]})),
            ("Application/JSON", json!({"text": "null"}), json!({"json": null})),
            ("application/json", json!({"data": data("{")}), json!({"text": "{"})),
            (
                "application/json",
                json!({"data": data("[12345678901234567890123]")}),
                json!({"text": "[12345678901234567890123]"}),
            ),
            (
                "application/json",
                json!({"data": data("[18446744073709551615]")}),
                json!({"json": [18446744073709551615_u64]}),
            ),
            ("text/csv", json!({"data": data("a,b")}), json!({"text": "a,b"})),
            ("text/plain", json!({"text": "1"}), json!({"text": "1"})),
            ("text/plain", json!({"data": "/w=="}), json!({"data": "/w=="})),
            ("image/png", json!({"data": data("1")}), json!({"data": data("1")})),
            ("application/json", json!({"json": [1]}), json!({"json": [1]})),
            ("application/json", json!({"omitted": true}), json!({"omitted": true})),
        ] {
            let mut payload = given.as_object().unwrap().clone();
            payload.insert("contentType".to_owned(), content_type.into());
            spell_out(&mut payload);
            payload.remove("contentType");
            assert_eq!(Value::Object(payload), expected, "{content_type}: {given}");
        }
    }
}
