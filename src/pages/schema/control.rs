//! The control of a field: which texts it takes, and which values they are.

use serde_json::{Number, Value};

/// A control of a form.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::pages) enum Control {
    /// A line of text.
    Text {
        /// The type of the element: `text`, `email`, `url` or `date`.
        type_: &'static str,
        /// The least and the largest number of characters.
        length: [Option<u64>; 2],
        /// A regular expression; browsers check it.
        pattern: Option<String>,
    },
    /// A number.
    Number {
        /// Whether it has no fraction.
        is_whole: bool,
        /// The least and the largest value.
        range: [Option<f64>; 2],
    },
    /// Yes or no.
    Check,
    /// One of these values.
    Choice(Vec<Value>),
    /// JSON.
    Json,
}

impl Control {
    /// The control that fits the schema.
    pub(super) fn of(schema: &Value) -> Self {
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return Self::Choice(values.clone());
        }
        if let Some(value) = schema.get("const") {
            return Self::Choice(vec![value.clone()]);
        }
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        let count = |key: &str| schema.get(key).and_then(Value::as_u64);
        let word = |key: &str| schema.get(key).and_then(Value::as_str);
        match type_of(schema) {
            Some("string") => Self::Text {
                type_: match word("format") {
                    Some("email") => "email",
                    Some("uri") => "url",
                    Some("date") => "date",
                    _ => "text",
                },
                length: [count("minLength"), count("maxLength")],
                pattern: word("pattern").map(str::to_owned),
            },
            Some(name @ ("integer" | "number")) => Self::Number {
                is_whole: name == "integer",
                range: [number("minimum"), number("maximum")],
            },
            Some("boolean") => Self::Check,
            _ => Self::Json,
        }
    }

    /// The value of a text that is not empty, or the rule that it breaks.
    pub(in crate::pages) fn value(&self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text { length: [least, most], .. } => {
                let count = text.chars().count() as u64;
                match (least, most) {
                    (Some(least), _) if count < *least => {
                        Err(format!("must have at least {least} characters"))
                    }
                    (_, Some(most)) if count > *most => {
                        Err(format!("must have at most {most} characters"))
                    }
                    _ => Ok(Value::String(text.to_owned())),
                }
            }
            Self::Number { is_whole, range } => number(text.trim(), *is_whole, range),
            Self::Check => Ok(Value::Bool(text != "false")),
            Self::Choice(values) => {
                let chosen = serde_json::from_str(text).ok();
                chosen.filter(|value| values.contains(value)).ok_or_else(|| {
                    let all: Vec<String> = values.iter().map(Value::to_string).collect();
                    format!("must be one of {}", all.join(", "))
                })
            }
            Self::Json => {
                serde_json::from_str(text).map_err(|error| format!("must be JSON: {error}"))
            }
        }
    }

    /// The text of a value, as [`Control::value`] reads it.
    pub(in crate::pages) fn text(&self, value: &Value) -> String {
        match (self, value) {
            (Self::Text { .. }, Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        }
    }
}

/// The type, if it is one, or one beside `null`.
fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => {
            let mut names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.next().filter(|_| names.next().is_none())
        }
        _ => None,
    }
}

fn number(text: &str, is_whole: bool, range: &[Option<f64>; 2]) -> Result<Value, String> {
    let kind = if is_whole { "a whole number" } else { "a number" };
    let rule = || match range {
        [None, None] => format!("must be {kind}"),
        [Some(least), None] => format!("must be {kind}, at least {least}"),
        [None, Some(most)] => format!("must be {kind}, at most {most}"),
        [Some(least), Some(most)] => format!("must be {kind} from {least} to {most}"),
    };
    let number: Number = serde_json::from_str(text).map_err(|_| rule())?;
    let real = number.as_f64().ok_or_else(rule)?;
    let is_within =
        range[0].is_none_or(|least| real >= least) && range[1].is_none_or(|most| real <= most);
    let is_right = !is_whole || !number.is_f64();
    if is_within && is_right { Ok(Value::Number(number)) } else { Err(rule()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_become_values_of_the_type_and_values_the_same_texts() {
        for (schema, text, value) in [
            (json!({"type": "string"}), "7", json!("7")),
            (json!({"type": ["null", "integer"]}), "7", json!(7)),
            (json!({"type": "integer"}), "18446744073709551615", json!(u64::MAX)),
            (json!({"type": "number"}), "0.5", json!(0.5)),
            (json!({"type": "boolean"}), "true", json!(true)),
            (json!({"type": "boolean"}), "false", json!(false)),
            (json!({"enum": ["a", 1]}), "\"a\"", json!("a")),
            (json!({"const": 1}), "1", json!(1)),
            (json!({"type": "array"}), "[1,{}]", json!([1, {}])),
            (json!({}), "null", json!(null)),
        ] {
            let control = Control::of(&schema);
            assert_eq!(control.value(text), Ok(value.clone()), "{schema}");
            assert_eq!(control.text(&value), text, "{schema}");
        }
    }

    #[test]
    fn a_text_that_breaks_a_rule_is_refused_with_the_rule() {
        for (schema, text, rule) in [
            (json!({"type": "integer"}), "1.5", "must be a whole number"),
            (json!({"type": "integer", "minimum": 1}), "0", "must be a whole number, at least 1"),
            (
                json!({"type": "number", "minimum": 1, "maximum": 2}),
                "x",
                "must be a number from 1 to 2",
            ),
            (json!({"type": "number", "maximum": 2}), "3", "must be a number, at most 2"),
            (json!({"type": "string", "maxLength": 1}), "ab", "must have at most 1 characters"),
            (json!({"type": "string", "minLength": 3}), "ab", "must have at least 3 characters"),
            (json!({"enum": ["a", 1]}), "a", "must be one of \"a\", 1"),
        ] {
            assert_eq!(Control::of(&schema).value(text), Err(rule.to_owned()), "{schema}");
        }
        let error = Control::Json.value("{").unwrap_err();
        assert!(error.starts_with("must be JSON: "), "{error}");
    }
}
