//! JSON Schemas (2020-12) of messages in their proto3 JSON form, made from the descriptors that [`json`](super::json)
//! goes by. Comments of the protos become descriptions.
//!
//! What is written and what is read differ: reading takes null for a field that is not set, and numbers of enums.

use std::collections::BTreeSet;

use prost_reflect::{
    EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, OneofDescriptor,
};
use serde_json::{Map, Value, json};

use super::json::{JsonError, pool};

/// The direction of the described JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// JSON that this program writes. Readers must expect more fields than there are today.
    Written,
    /// JSON that this program reads: no other fields.
    Read,
}

/// The package whose names stand alone.
const PACKAGE: &str = "longrun.v1";

/// The schemas of the messages `roots` and of all that stands in them, by name. Those of `longrun.v1` are named without
/// their package, others as `GoogleRpcStatus`. Of what is read, the names of all but the roots end in `Input`.
pub fn schemas(roots: &[&str], side: Side) -> Result<Map<String, Value>, JsonError> {
    let mut writer =
        Writer { roots, side, missing: Vec::new(), known: BTreeSet::new(), done: Map::new() };
    for root in roots {
        let name = full_name(root);
        let message = pool()?.get_message_by_name(&name);
        let message =
            message.ok_or_else(|| JsonError::new(format!("there is no descriptor of {name}")))?;
        writer.refer(Named::Message(message));
    }
    while let Some(named) = writer.missing.pop() {
        let schema = match &named {
            Named::Message(message) => writer.message(message),
            Named::Enum(values) => writer.values(values),
        };
        writer.done.insert(writer.name(&named), schema);
    }
    writer.done.sort_keys();
    Ok(writer.done)
}

fn full_name(root: &str) -> String {
    if root.contains('.') { root.to_owned() } else { format!("{PACKAGE}.{root}") }
}

/// `google.rpc` as `GoogleRpc`.
fn pascal_case(package: &str) -> String {
    let words = package.split('.').map(|word| {
        let (initial, rest) = word.split_at(1.min(word.len()));
        initial.to_ascii_uppercase() + rest
    });
    words.collect()
}

/// Messages and enums with a schema of their own.
enum Named {
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

struct Writer<'a> {
    roots: &'a [&'a str],
    side: Side,
    missing: Vec<Named>,
    known: BTreeSet<String>,
    done: Map<String, Value>,
}

impl Writer<'_> {
    /// `Operation.State` as `OperationState`.
    fn name(&self, named: &Named) -> String {
        let (full, package) = match named {
            Named::Message(it) => (it.full_name(), it.package_name()),
            Named::Enum(it) => (it.full_name(), it.package_name()),
        };
        let name = full[package.len()..].replace('.', "");
        let name = if package == PACKAGE { name } else { pascal_case(package) + &name };
        let is_root = self.roots.iter().any(|root| full_name(root) == full);
        if self.side == Side::Read && !is_root { name + "Input" } else { name }
    }

    fn refer(&mut self, named: Named) -> Value {
        let name = self.name(&named);
        let reference = json!({"$ref": format!("#/components/schemas/{name}")});
        if self.known.insert(name) {
            self.missing.push(named);
        }
        reference
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let fields =
            message.fields().map(|field| (field.json_name().to_owned(), self.field(&field)));
        let properties: Map<String, Value> = fields.collect();
        let mut schema = json!({"type": "object"});
        describe(&mut schema, &comment(&message.parent_file(), message.path()));
        schema["properties"] = properties.into();
        if self.side == Side::Read {
            schema["additionalProperties"] = false.into();
            let choices = message.oneofs().filter(|oneof| !oneof.is_synthetic());
            let choices: Vec<Value> = choices.map(|oneof| at_most_one(&oneof)).collect();
            if !choices.is_empty() {
                schema["allOf"] = choices.into();
            }
        }
        schema
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = if field.is_map() {
            let entry = field.kind().as_message().map(MessageDescriptor::map_entry_value_field);
            let value = entry.map_or_else(|| json!({}), |value| self.kind(&value.kind()));
            json!({"type": "object", "additionalProperties": value})
        } else if field.is_list() {
            json!({"type": "array", "items": self.kind(&field.kind())})
        } else {
            self.kind(&field.kind())
        };
        if self.side == Side::Read {
            or_null(&mut schema);
        }
        describe(&mut schema, &comment(&field.parent_message().parent_file(), field.path()));
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double | Kind::Float => json!({"type": "number", "format": "double"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0}),
            // Read as either.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64
                if self.side == Side::Read =>
            {
                json!({"type": ["string", "integer"], "pattern": "^-?[0-9]+$"})
            }
            // As text, because the numbers of most readers of JSON are too small.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string", "pattern": "^-?[0-9]+$"})
            }
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Enum(values) => self.refer(Named::Enum(values.clone())),
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
                // Read in more forms than it is written.
                "google.protobuf.Duration" if self.side == Side::Read => json!({"type": "string"}),
                "google.protobuf.Duration" => {
                    json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"})
                }
                // Any JSON at all.
                "google.protobuf.Value" => json!({}),
                "google.protobuf.Any" => json!({
                    "type": "object",
                    "properties": {"@type": {"type": "string"}},
                    "required": ["@type"],
                }),
                _ => self.refer(Named::Message(message.clone())),
            },
        }
    }

    fn values(&self, values: &EnumDescriptor) -> Value {
        let mut description = comment(&values.parent_file(), values.path());
        let mut names = Vec::new();
        // What is not set is not written.
        for value in values.values().filter(|it| self.side == Side::Read || it.number() != 0) {
            let about = comment(&values.parent_file(), value.path()).replace('\n', " ");
            description.push_str(&format!("\n- `{}`: {about}", value.name()));
            names.push(Value::from(value.name()));
        }
        let mut schema = json!({"type": "string", "enum": names});
        describe(&mut schema, &description);
        schema
    }
}

/// Two of a oneof's fields are not set at once.
fn at_most_one(oneof: &OneofDescriptor) -> Value {
    let set = |field: FieldDescriptor| json!({"required": [field.json_name()]});
    let mut choices: Vec<Value> = oneof.fields().map(set).collect();
    choices.push(json!({"not": {"anyOf": choices}}));
    json!({"oneOf": choices})
}

fn or_null(schema: &mut Value) {
    if let Some(reference) = schema.get("$ref").cloned() {
        *schema = json!({"anyOf": [{"$ref": reference}, {"type": "null"}]});
        return;
    }
    match schema.get_mut("type") {
        Some(Value::Array(types)) => types.push("null".into()),
        Some(one) => *one = json!([one.take(), "null"]),
        None => {}
    }
}

fn describe(schema: &mut Value, description: &str) {
    if !description.is_empty() {
        schema["description"] = description.trim().into();
    }
}

/// The comment that stands before the element at `path`.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let source = file.file_descriptor_proto().source_code_info.as_ref();
    let mut places = source.into_iter().flat_map(|source| &source.location);
    let comment = places.find(|place| place.path == path).map_or("", |it| it.leading_comments());
    let lines = comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
