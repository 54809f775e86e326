//! Header fields of responses.

use serde_json::{Map, Value, json};

/// The mark of an optional field, in a table of answers and in the document.
const OPTIONAL: [&str; 2] = ["?", ".optional"];

const ETAG: &str = "The operation's revision, with a digest of its progress where it has any; of a recorded response, its own.";

/// Each field with its description and schema. A field that only some responses have is listed twice.
fn table() -> Vec<(&'static str, &'static str, Value)> {
    let text = || json!({"type": "string"});
    let url = || json!({"type": "string", "format": "uri-reference"});
    let count = || json!({"type": "integer", "minimum": 1});
    let source = || json!({"enum": ["gateway", "operation"]});
    let no = || json!({"const": "no"});
    let quoted = json!({"type": "string", "pattern": "^(W/)?\".*\"$"});
    vec![
        ("Accept-Ranges", "Ranges of bytes may be asked for.", json!({"const": "bytes"})),
        ("Allow?", "The methods that there are.", text()),
        ("Cache-Control", "No answer may be cached, unless a recorded one says otherwise.", text()),
        ("Cache-Control?", "Not to be cached.", text()),
        ("Content-Disposition?", "As the input was sent.", text()),
        ("Content-Encoding?", "As the input was sent.", text()),
        ("Content-Language?", "As the input was sent.", text()),
        ("Content-Range", "Which part of the result this is, of how much.", text()),
        ("Content-Security-Policy", "Nothing in a result runs in a browser.", text()),
        ("ETag", ETAG, quoted.clone()),
        ("ETag?", ETAG, quoted),
        ("Location", "Where to ask next, or where the result is.", url()),
        ("Longrun-Error-Source", "Who failed: the service, or the work itself.", source()),
        ("Longrun-Error-Source?", "Who failed: the service, or the work itself.", source()),
        ("Longrun-Errors?", "How many errors a partial success came with.", count()),
        (
            "Longrun-Recorded-Status?",
            "202, of a recorded response that is answered as 200.",
            count(),
        ),
        ("Longrun-Type-Url?", "The type of a result that is a protobuf message.", text()),
        ("Longrun-Warnings?", "How many warnings the result came with.", count()),
        ("Operation-Location", "Where the status document is.", url()),
        ("Preference-Applied?", "The preferences that were granted.", text()),
        ("RateLimit?", "How the tenant's submissions stand to their limit.", text()),
        ("RateLimit-Policy?", "What that limit is.", text()),
        ("Retry-After", "In how many seconds to ask again.", count()),
        ("Retry-After?", "In how many seconds to ask again.", count()),
        ("Vary", "The fields of the request that the answer depends on.", text()),
        ("Vary?", "The fields of the request that the answer depends on.", text()),
        ("X-Accel-Buffering", "Proxies are to pass events on at once.", no()),
        ("X-Accel-Buffering?", "Proxies are to pass events on at once.", no()),
        ("X-Content-Type-Options", "Browsers are not to guess.", json!({"const": "nosniff"})),
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
