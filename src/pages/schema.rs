//! Forms for inputs, from the JSON Schema of a kind.
//!
//! The schema must describe an object. Each property becomes a field with a fitting control, those of objects within it
//! too; what no control fits is a field for JSON. The form is a help for people: workers judge inputs, so a schema may say
//! more than is read here.
//!
//! Read next: `control` for how a field's text becomes a value, `form` for how fields become an input.

use serde_json::{Map, Value};

mod control;
mod form;

pub(super) use control::Control;
pub(super) use form::SchemaForm;

/// The maximum number of fields.
const MOST_FIELDS: usize = 100;
/// The maximum number of objects within each other, and of references that lead from one to the next.
const DEEPEST: usize = 8;

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The text is no JSON.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// It describes something else than an object.
    #[error("must describe an object: \"type\": \"object\" with \"properties\"")]
    NoObject,
    /// It has too many properties.
    #[error("must have at most {MOST_FIELDS} properties, those of objects within it included")]
    TooMany,
}

/// The form for the inputs of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSchema {
    /// Its title; may be empty.
    pub(super) title: String,
    /// Its description; may be empty.
    pub(super) about: String,
    pub(super) fields: Vec<Field>,
}

/// A property, or one within another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    /// The names that lead to it.
    pub(super) path: Vec<String>,
    /// Its title, or else its name; with those of the objects around it.
    pub(super) label: String,
    pub(super) about: String,
    pub(super) control: Control,
    /// Whether it must be given, if the object around it is.
    pub(super) is_required: bool,
    /// The value of an untouched form.
    pub(super) default: Option<Value>,
}

impl InputSchema {
    /// Parses a schema.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let root: Value =
            serde_json::from_str(text).map_err(|error| SchemaError::NotJson(error.to_string()))?;
        let mut reading = Reading { root: &root, fields: Vec::new() };
        let top = reading.resolved(&root).ok_or(SchemaError::NoObject)?;
        let properties = object_of(top).ok_or(SchemaError::NoObject)?;
        reading.object(top, properties, &mut Vec::new(), "", true)?;
        Ok(Self {
            title: text_of(top, "title"),
            about: text_of(top, "description"),
            fields: reading.fields,
        })
    }
}

impl Field {
    /// Its name in a form: a JSON Pointer (RFC 6901) into the input.
    pub(super) fn name(&self) -> String {
        let escaped = |name: &String| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        self.path.iter().map(escaped).collect()
    }
}

/// A schema while its fields are gathered.
struct Reading<'a> {
    root: &'a Value,
    fields: Vec<Field>,
}

impl<'a> Reading<'a> {
    /// The schema that a reference leads to, or else the schema itself.
    fn resolved(&self, mut schema: &'a Value) -> Option<&'a Value> {
        for _ in 0..DEEPEST {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
                return Some(schema);
            };
            schema = self.root.pointer(reference.strip_prefix('#')?)?;
        }
        None
    }

    fn object(
        &mut self,
        schema: &'a Value,
        properties: &'a Map<String, Value>,
        path: &mut Vec<String>,
        label: &str,
        is_required: bool,
    ) -> Result<(), SchemaError> {
        let required = schema.get("required").and_then(Value::as_array);
        for (name, own) in properties {
            let is_named = |it: &Value| it.as_str() == Some(name);
            let is_required =
                is_required && required.is_some_and(|names| names.iter().any(is_named));
            let schema = self.resolved(own).unwrap_or(&Value::Null);
            // What stands beside a reference goes before what it leads to.
            let said = |key| Some(text_of(own, key)).filter(|it| !it.is_empty());
            let said = |key| said(key).unwrap_or_else(|| text_of(schema, key));
            let title = Some(said("title")).filter(|it| !it.is_empty());
            let title = title.unwrap_or_else(|| name.clone());
            let label = if label.is_empty() { title } else { format!("{label} · {title}") };
            path.push(name.clone());
            match object_of(schema).filter(|_| path.len() < DEEPEST) {
                Some(properties) => self.object(schema, properties, path, &label, is_required)?,
                None => self.fields.push(Field {
                    path: path.clone(),
                    label,
                    about: said("description"),
                    control: Control::of(schema),
                    is_required,
                    default: own.get("default").or_else(|| schema.get("default")).cloned(),
                }),
            }
            path.pop();
            if self.fields.len() > MOST_FIELDS {
                return Err(SchemaError::TooMany);
            }
        }
        Ok(())
    }
}

/// The properties of a schema that describes an object with some.
fn object_of(schema: &Value) -> Option<&Map<String, Value>> {
    let is_object = schema.get("type").is_none_or(|it| it == "object");
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.filter(|properties| is_object && !properties.is_empty())
}

fn text_of(schema: &Value, key: &str) -> String {
    schema.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(schema: &Value) -> Result<InputSchema, SchemaError> {
        InputSchema::parse(&schema.to_string())
    }

    #[test]
    fn properties_are_fields_in_their_order_with_those_of_objects_within() {
        let schema = parse(&json!({
            "title": "Render", "type": "object", "required": ["size", "name"],
            "properties": {
                "name": {"type": "string", "title": "Name", "description": "of the file"},
                "size": {"$ref": "#/$defs/size"},
                "a/b": {"type": "array", "default": [1]},
            },
            "$defs": {"size": {"type": "object", "required": ["width"], "properties": {
                "width": {"type": "integer"}, "depth": {"type": "integer"}}}},
        }))
        .unwrap();
        let fields: Vec<(String, &str, bool)> =
            schema.fields.iter().map(|it| (it.name(), &*it.label, it.is_required)).collect();
        let field = |name: &str, label, is_required| (name.to_owned(), label, is_required);
        assert_eq!(
            fields,
            [
                field("/name", "Name", true),
                field("/size/width", "size · width", true),
                field("/size/depth", "size · depth", false),
                field("/a~1b", "a/b", false),
            ]
        );
        assert_eq!((&*schema.title, &*schema.fields[0].about), ("Render", "of the file"));
        assert_eq!(schema.fields[3].default, Some(json!([1])));
    }

    #[test]
    fn a_schema_that_makes_no_form_is_refused() {
        for wrong in [json!({}), json!(true), json!({"type": "string"}), json!({"$ref": "#/x"})] {
            assert_eq!(parse(&wrong), Err(SchemaError::NoObject), "{wrong}");
        }
        assert_eq!(parse(&json!({"$ref": "#"})), Err(SchemaError::NoObject));
        assert!(matches!(InputSchema::parse("{"), Err(SchemaError::NotJson(_))));
        let many: Map<String, Value> =
            (0..=MOST_FIELDS).map(|it| (it.to_string(), json!({}))).collect();
        assert_eq!(parse(&json!({"properties": many})), Err(SchemaError::TooMany));
        // A schema within itself ends.
        let endless = json!({"properties": {"a": {"$ref": "#"}, "b": {}}});
        assert!(parse(&endless).is_ok_and(|it| it.fields.len() == DEEPEST + 1));
    }
}
