//! Header fields of responses.

use serde_json::{Map, Value, json};

/// The mark of an optional field, in a table of answers and in the document.
const OPTIONAL: [&str; 2] = ["?", ".optional"];

const ETAG: &str = "The operation's revision, with a digest of its progress if it has any; for a recorded response, its own entity tag.";

/// Each field with its description and schema. A field that only some responses have is listed twice.
fn table() -> Vec<(&'static str, &'static str, Value)> {
    let text = || json!({"type": "string"});
    let url = || json!({"type": "string", "format": "uri-reference"});
    let count = || json!({"type": "integer", "minimum": 1});
    let source = || json!({"enum": ["gateway", "operation"]});
    let no = || json!({"const": "no"});
    let quoted = json!({"type": "string", "pattern": "^(W/)?\".*\"$"});
    vec![
        ("Accept-Ranges", "The client may request ranges of bytes.", json!({"const": "bytes"})),
        ("Allow?", "The methods of this resource.", text()),
        (
            "Cache-Control",
            "Responses must not be cached, unless a recorded response says otherwise.",
            text(),
        ),
        ("Cache-Control?", "Responses must not be cached.", text()),
        ("Content-Disposition?", "The field of the submission.", text()),
        ("Content-Encoding?", "The field of the submission.", text()),
        ("Content-Language?", "The field of the submission.", text()),
        (
            "Content-Range",
            "The range of bytes in this response, and the size of the whole.",
            text(),
        ),
        ("Content-Security-Policy", "Forbids browsers to run anything in a result.", text()),
        ("ETag", ETAG, quoted.clone()),
        ("ETag?", ETAG, quoted),
        ("Location", "The URL to request next, or that of the result.", url()),
        (
            "Longrun-Error-Source",
            "The source of the error: the server, or the operation.",
            source(),
        ),
        (
            "Longrun-Error-Source?",
            "The source of the error: the server, or the operation.",
            source(),
        ),
        ("Longrun-Errors?", "The number of errors of a partial success.", count()),
        (
            "Longrun-Recorded-Status?",
            "The recorded status 202, which the server returns as 200.",
            count(),
        ),
        ("Longrun-Type-Url?", "The type URL of a result that is a protobuf message.", text()),
        ("Longrun-Warnings?", "The number of warnings.", count()),
        ("Operation-Location", "The URL of the status document.", url()),
        ("Preference-Applied?", "The preferences that the server has applied.", text()),
        ("RateLimit?", "How many submissions the tenant's limit leaves.", text()),
        ("RateLimit-Policy?", "The tenant's limit on submissions.", text()),
        ("Retry-After", "Seconds until the client should send the request again.", count()),
        ("Retry-After?", "Seconds until the client should send the request again.", count()),
        ("Vary", "The header fields of the request that the response depends on.", text()),
        ("Vary?", "The header fields of the request that the response depends on.", text()),
        ("X-Accel-Buffering", "Asks proxies to forward events at once.", no()),
        ("X-Accel-Buffering?", "Asks proxies to forward events at once.", no()),
        (
            "X-Content-Type-Options",
            "Forbids browsers to guess the media type.",
            json!({"const": "nosniff"}),
        ),
    ]
}

/// All fields, by the names that [`of`] uses.
pub(super) fn all() -> Map<String, Value> {
    let components = table().into_iter().map(|(name, description, schema)| {
        let mut field = json!({"description": description, "schema": schema});
        if !name.ends_with(OPTIONAL[0]) {
            field["required"] = true.into();
        }
        (component(name), field)
    });
    components.collect()
}

fn component(name: &str) -> String {
    name.replace(OPTIONAL[0], OPTIONAL[1])
}

/// The fields of a response; a question mark after a name makes a field optional.
pub(super) fn of(names: &[&str]) -> Value {
    let fields = names.iter().map(|name| {
        let reference = format!("#/components/headers/{}", component(name));
        (name.replace(OPTIONAL[0], ""), json!({"$ref": reference}))
    });
    Value::Object(fields.collect())
}
