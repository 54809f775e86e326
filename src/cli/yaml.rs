//! JSON values as YAML, the form that `kubectl` users expect. Pure.

use serde_json::Value;

/// A document, without the last line's end. Strings are in double quotes, as in JSON, unless they are plain words.
pub(super) fn of(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0);
    text.trim_start_matches('\n').trim_end().to_owned()
}

/// A list's entry, at the outermost level.
pub(super) fn entry(value: &Value) -> String {
    of(&Value::Array(vec![value.clone()]))
}

/// Writes the value after a key or a dash. The recursion is as deep as the value.
fn write(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            for (key, value) in fields {
                text.push_str(&format!("{:indent$}{}:", "", scalar(key)));
                write(text, value, indent + 2);
            }
        }
        Value::Array(entries) if !entries.is_empty() => {
            text.push('\n');
            for entry in entries {
                let mut inner = String::new();
                write(&mut inner, entry, indent + 2);
                // The first line of a nested value follows the dash.
                let inner = inner.trim_start();
                text.push_str(&format!("{:indent$}- {inner}", ""));
            }
        }
        Value::String(word) => text.push_str(&format!(" {}\n", scalar(word))),
        other => text.push_str(&format!(" {other}\n")),
    }
}

/// A string, in quotes if YAML could take it for anything else.
fn scalar(word: &str) -> String {
    let is_plain = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&word.to_ascii_lowercase().as_str());
    if is_plain { word.to_owned() } else { Value::from(word).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_nested_by_indents() {
        let value = json!({
            "name": "operations/1", "done": false, "n": "12", "labels": {}, "no": "yes",
            "errors": [{"code": "A b", "causes": [1, [2]]}, "x\n"],
        });
        let expected = "name: operations/1\ndone: false\n\"n\": \"12\"\nlabels: {}\n\"no\": \"yes\"\n\
                        errors:\n  - code: \"A b\"\n    causes:\n      - 1\n      - - 2\n  - \"x\\n\"";
        assert_eq!(of(&value), expected);
        assert_eq!(entry(&json!({"a": 1, "b": 2})), "- a: 1\n  b: 2");
    }
}
