//! The form of a schema: its fields with their texts, and the input that the texts make.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Control, Field, InputSchema};
use crate::pages::fields::Fields;
use crate::service::Violations;

/// The form, as templates see it.
#[derive(Debug, Serialize)]
pub(in crate::pages) struct SchemaForm {
    title: String,
    about: String,
    fields: Vec<FormField>,
}

#[derive(Debug, Serialize)]
struct FormField {
    name: String,
    label: String,
    about: String,
    is_required: bool,
    /// The element: `text`, `number`, `check`, `choice` or `json`.
    element: &'static str,
    type_: &'static str,
    text: String,
    /// Values with their names for people.
    choices: Vec<(String, String)>,
    least: Option<String>,
    most: Option<String>,
    step: &'static str,
    pattern: Option<String>,
}

impl InputSchema {
    /// The form with the schema's defaults.
    pub(in crate::pages) fn untouched(&self) -> SchemaForm {
        self.form(|field| field.default.as_ref().map(|value| field.control.text(value)))
    }

    /// The form as it was sent.
    pub(in crate::pages) fn sent(&self, sent: &Fields) -> SchemaForm {
        self.form(|field| Some(sent.get(&key(field)).to_owned()))
    }

    /// The form that makes this input; `None` if none does.
    pub(in crate::pages) fn of_input(&self, input: &Value) -> Option<SchemaForm> {
        let text = |field: &Field| {
            let value = input.pointer(&field.name())?;
            Some(field.control.text(value))
        };
        let mut found = Violations::default();
        let same = self.made_of(text, &mut found);
        (found.is_empty() && same == *input).then(|| self.form(text))
    }

    /// The input that the sent form makes. Notes every field that breaks a rule.
    pub(in crate::pages) fn input(&self, sent: &Fields, found: &mut Violations) -> Value {
        self.made_of(|field| Some(sent.get(&key(field)).to_owned()), found)
    }

    fn made_of(&self, text: impl Fn(&Field) -> Option<String>, found: &mut Violations) -> Value {
        let mut input = Value::Object(Map::new());
        for field in &self.fields {
            let text = text(field).unwrap_or_default();
            let named = || format!("input.{}", field.path.join("."));
            match (&field.control, text.as_str()) {
                // A box without a mark is not sent. It says "no" only where that is not what its absence says.
                (Control::Check, "") => {
                    if field.is_required || field.default == Some(Value::Bool(true)) {
                        put(&mut input, &field.path, Value::Bool(false));
                    }
                }
                (_, "") if field.is_required => found.note(named(), "must be given"),
                (_, "") => {}
                (control, text) => match control.value(text) {
                    Ok(value) => put(&mut input, &field.path, value),
                    Err(rule) => found.note(named(), rule),
                },
            }
        }
        input
    }

    fn form(&self, text: impl Fn(&Field) -> Option<String>) -> SchemaForm {
        let fields =
            self.fields.iter().map(|field| FormField::of(field, text(field).unwrap_or_default()));
        SchemaForm {
            title: self.title.clone(),
            about: self.about.clone(),
            fields: fields.collect(),
        }
    }
}

impl FormField {
    fn of(field: &Field, text: String) -> Self {
        let mut shown = Self {
            name: key(field),
            label: field.label.clone(),
            about: field.about.clone(),
            is_required: field.is_required,
            element: "text",
            type_: "text",
            text,
            choices: Vec::new(),
            least: None,
            most: None,
            step: "any",
            pattern: None,
        };
        match &field.control {
            Control::Text { type_, length: [least, most], pattern } => {
                shown.type_ = type_;
                (shown.least, shown.most) =
                    (least.map(|it| it.to_string()), most.map(|it| it.to_string()));
                // A schema's pattern may match anywhere, that of HTML must match everything.
                shown.pattern = pattern.as_ref().map(|pattern| format!(".*(?:{pattern}).*"));
            }
            Control::Number { is_whole, range: [least, most] } => {
                (shown.element, shown.type_) = ("number", "number");
                (shown.least, shown.most) =
                    (least.map(|it| it.to_string()), most.map(|it| it.to_string()));
                shown.step = if *is_whole { "1" } else { "any" };
            }
            Control::Check => {
                shown.element = "check";
                // A default that is "no" is a box without a mark.
                if shown.text == "false" {
                    shown.text.clear();
                }
            }
            Control::Choice(values) => {
                shown.element = "choice";
                let choice = |value: &Value| {
                    let name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    (value.to_string(), name)
                };
                shown.choices = values.iter().map(choice).collect();
            }
            Control::Json => shown.element = "json",
        }
        shown
    }
}

/// The name of a field in a form: `input/size/width`.
fn key(field: &Field) -> String {
    format!("input{}", field.name())
}

/// Puts the value at its path, in objects that are made on the way.
fn put(object: &mut Value, path: &[String], value: Value) {
    let Value::Object(members) = object else { return };
    match path {
        [] => {}
        [name] => drop(members.insert(name.clone(), value)),
        [name, rest @ ..] => {
            let inner = members.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            put(inner, rest, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> InputSchema {
        let schema = json!({
            "type": "object", "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "size": {"type": "object", "properties": {"width": {"type": "integer", "default": 7}}},
                "loud": {"type": "boolean"},
                "kept": {"type": "boolean", "default": true},
                "tags": {"type": "array"},
            },
        });
        InputSchema::parse(&schema.to_string()).unwrap()
    }

    #[test]
    fn a_sent_form_makes_the_input() {
        let sent =
            Fields::parse("input/name=a+b&input/size/width=9&input/loud=true&input/tags=[1]");
        let mut found = Violations::default();
        let input = schema().input(&sent, &mut found);
        assert!(found.is_empty());
        let expected =
            json!({"name": "a b", "size": {"width": 9}, "loud": true, "kept": false, "tags": [1]});
        assert_eq!(input, expected);
        // What is empty is left out, unless it is required.
        let input = schema().input(&Fields::parse("input/kept=true"), &mut found);
        assert_eq!((input, found.count()), (json!({"kept": true}), 1));
        let error = found.check().unwrap_err();
        assert_eq!(
            (&*error.violations[0].field, &*error.violations[0].description),
            ("input.name", "must be given")
        );
    }

    #[test]
    fn an_input_has_its_form_only_if_the_form_makes_it_again() {
        let texts =
            |form: SchemaForm| form.fields.into_iter().map(|it| it.text).collect::<Vec<_>>();
        let of = |input: Value| schema().of_input(&input).map(texts);
        assert_eq!(
            of(json!({"name": "a", "kept": true})),
            Some(["a", "", "", "true", ""].map(str::to_owned).into())
        );
        assert_eq!(of(json!({"name": "a", "kept": true, "more": 1})), None);
        assert_eq!(of(json!({"kept": true})), None);
        assert_eq!(of(json!([1])), None);
        assert_eq!(texts(schema().untouched()), ["", "7", "", "true", ""]);
    }
}
