//! Errors in a JSON text, as rules that people understand: the libraries below speak of maps and sequences.

use std::fmt;

use serde_json::error::Category;

/// The longest piece of the input that an error repeats, in characters.
const MAX_SHOWN: usize = 60;
/// The longest path of a field, in characters: a deep document has longer ones.
const MAX_FIELD: usize = 120;

const TIME: &str = r#"must be a time such as "2026-01-31T12:00:00Z""#;
pub(super) const DURATION: &str = r#"must be a duration such as "90s", "1.5s" or "1h30m""#;

/// Why JSON could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The rule that is broken, as a fragment without its place: "must be …".
    pub message: String,
    /// Path of the field at fault by the names of the proto, e.g. `settings.queue_timeout`, whatever the JSON calls it;
    /// empty where it is the document.
    pub field: String,
    /// Line and column, both from 1, where reading stopped, if that is known.
    pub position: Option<(usize, usize)>,
}

impl JsonError {
    pub(in crate::proto) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), field: String::new(), position: None }
    }

    /// An error of serde, at `path`.
    pub(super) fn read(error: &serde_json::Error, path: String) -> Self {
        let text = error.to_string();
        // A text that ends with a line break ends before the first column of the next line.
        let position = (error.line() > 0).then(|| (error.line(), error.column().max(1)));
        let suffix = format!(" at line {} column {}", error.line(), error.column());
        let text = text.strip_suffix(&suffix).unwrap_or(&text);
        let mut field = match error.classify() {
            Category::Data => path,
            _ => String::new(),
        };
        let message = match (error.classify(), text.strip_prefix("unrecognized field name '")) {
            (_, Some(name)) => {
                let dot = if field.is_empty() { "" } else { "." };
                field.push_str(dot);
                field.push_str(name.trim_end_matches('\''));
                "is no field of this document".to_owned()
            }
            (Category::Data, None) => rule(text),
            (Category::Eof, None) => format!("must be JSON, and ends within {}", unfinished(text)),
            (_, None) => format!("must be JSON: {}", syntax(text)),
        };
        Self { message, field: shorten(&field, MAX_FIELD), position }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { "the document" } else { &self.field };
        write!(f, "{field} {}", self.message)?;
        match self.position {
            Some((line, column)) => write!(f, " (line {line} column {column})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for JsonError {}

/// The rule that serde's or the mapping's words stand for.
fn rule(text: &str) -> String {
    if let Some((given, expected)) = text
        .strip_prefix("invalid type: ")
        .or_else(|| text.strip_prefix("invalid value: "))
        .and_then(|text| text.rsplit_once(", expected "))
    {
        return format!("must be {}, and is {}", wanted(expected), found(given));
    }
    let has = |part: &str| text.contains(part);
    if text.starts_with("must ") {
        text.to_owned()
    } else if let Some(name) = text.strip_prefix("unrecognized enum value '") {
        let name = shorten(name.trim_end_matches('\''), MAX_SHOWN);
        format!("must be the name of one of its values, and is {name:?}")
    } else if let Some(name) = text.strip_prefix("multiple fields provided for oneof '") {
        format!("must have one sort of {} at most", name.trim_end_matches('\''))
    } else if has("timestamp") || has("rfc3339") {
        TIME.to_owned()
    } else if has("duration") {
        DURATION.to_owned()
    } else if has("base64") {
        "must be base64".to_owned()
    } else if has("out of range") || has("too large") || has("too small") {
        "must be a number within the range of its type".to_owned()
    } else if has("integer") {
        "must be a whole number".to_owned()
    } else if has("digit") || has("float literal") {
        "must be a number".to_owned()
    } else if let Some(name) = text.strip_prefix("message '") {
        let name = name.strip_suffix("' not found").unwrap_or(name);
        let name = quoted(name);
        format!(
            "must have a type in @type that the server knows (--descriptor-set), and has {name}"
        )
    } else if has("@type") || has("type url") {
        "must name its type in @type, such as \"type.googleapis.com/longrun.v1.Progress\""
            .to_owned()
    } else {
        format!("cannot be read: {}", shorten(text, MAX_FIELD))
    }
}

/// The expected value, in JSON's words.
fn wanted(expected: &str) -> &str {
    match expected {
        "a map" => "an object",
        "an empty map" => "an object without fields",
        "a list" => "an array",
        "a value" => "JSON",
        "a boolean" => "true or false",
        "a string or integer" => "the name of one of its values",
        "a base64-encoded string" => "a string in base64",
        "a rfc3339 timestamp string" => TIME.trim_start_matches("must be "),
        "a duration string" => DURATION.trim_start_matches("must be "),
        text if text.contains("floating point") => "a number",
        text if text.contains("integer") => "a whole number",
        text => text,
    }
}

/// The given value, in JSON's words.
fn found(given: &str) -> String {
    let inner = |text: &str| text.trim_matches('`').to_owned();
    match given.split_once(' ') {
        None if given == "map" => "an object".to_owned(),
        None if given == "sequence" => "an array".to_owned(),
        Some(("boolean" | "integer", value)) => inner(value),
        Some(("floating", value)) => inner(value.trim_start_matches("point ")),
        Some(("string", value)) => quoted(value.trim_matches('"')),
        _ => given.to_owned(),
    }
}

/// The place where the text ends.
fn unfinished(text: &str) -> &str {
    match text.strip_prefix("EOF while parsing ") {
        Some("a list") => "an array",
        Some(part) => part,
        None => "a value",
    }
}

fn syntax(text: &str) -> String {
    match text {
        "expected value" => "a value is expected here".to_owned(),
        "expected ident" => "true, false or null is expected here".to_owned(),
        "trailing characters" => "something follows its end".to_owned(),
        text => text
            .strip_prefix("expected ")
            .map_or_else(|| text.to_owned(), |expected| format!("{expected} is expected here")),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shorten(text, MAX_SHOWN))
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
