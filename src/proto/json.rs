//! The proto3 JSON mapping of the messages in `proto/`, both ways: what grpcurl prints and takes.
//!
//! Writing never depends on what a client put into an `Any`: one whose type is unknown here, or whose bytes
//! are not of that type, is written as grpcurl does, `{"@type": …, "@error": …, "@value": base64}`, so that
//! nothing is lost, and does not go deeper than its input was allowed to. What reading refuses, and in what words,
//! stands in `read`.
//!
//! Fields stand in the order of the proto, map entries in the order of their keys. Nothing here knows what
//! the messages mean, except that contents of a payload are written for readers of JSON (`contents`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::{Message, Name};
use prost_reflect::{
    DescriptorError, DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor,
    ReflectMessage, Value as Reflected,
};
use serde_json::{Map, Number, Value};

use super::v1;

mod canonical;
mod contents;
mod error;
mod read;
#[cfg(test)]
mod tests;

pub use error::JsonError;
pub(super) use read::from_slice_of;
pub use read::{MAX_DEPTH, check_object, from_fields, from_slice};

/// How many `Any` may stand within each other and still be written out; deeper ones keep their bytes. Each is
/// decoded by itself, so that prost's own limit on nesting does not hold across them.
const MAX_ANY_DEPTH: usize = 8;

static POOL: LazyLock<Result<DescriptorPool, DescriptorError>> = LazyLock::new(|| {
    let mut pool = DescriptorPool::decode(super::DESCRIPTORS)?;
    // The well-known types that the protos do not import, for an `Any` of them.
    let missing: Vec<_> = DescriptorPool::global()
        .files()
        .filter(|file| pool.get_file_by_name(file.name()).is_none())
        .map(|file| file.file_descriptor_proto().clone())
        .collect();
    pool.add_file_descriptor_protos(missing)?;
    Ok(pool)
});

/// A field's name, or a path of such, as JSON has it: `retry_policy.max_attempts` as `retryPolicy.maxAttempts`.
pub fn camel_case(path: &str) -> String {
    let mut words = path.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| {
        let (initial, rest) = word.split_at(1.min(word.len()));
        text + &initial.to_ascii_uppercase() + rest
    })
}

/// The message as a JSON value.
pub fn to_value<M: Message + Name>(message: &M) -> Result<Value, JsonError> {
    to_value_of(pool()?, message)
}

/// The same, where the contents of an `Any` are of types in `types`.
pub(super) fn to_value_of<M: Message + Name>(
    types: &DescriptorPool,
    message: &M,
) -> Result<Value, JsonError> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>(types)?);
    dynamic.transcode_from(message).map_err(|error| JsonError::new(error.to_string()))?;
    message_value(&dynamic, 0)
}

/// The message as a line of JSON.
pub fn to_string<M: Message + Name>(message: &M) -> Result<String, JsonError> {
    to_value(message).map(|value| value.to_string())
}

pub(super) fn pool() -> Result<&'static DescriptorPool, JsonError> {
    POOL.as_ref().map_err(|error| JsonError::new(format!("the descriptors are broken: {error}")))
}

fn descriptor<M: Name>(types: &DescriptorPool) -> Result<MessageDescriptor, JsonError> {
    let name = M::full_name();
    types
        .get_message_by_name(&name)
        .ok_or_else(|| JsonError::new(format!("there is no descriptor of {name}")))
}

/// `any_depth` counts the `Any` around it.
fn message_value(message: &DynamicMessage, any_depth: usize) -> Result<Value, JsonError> {
    let name = message.descriptor();
    match name.full_name() {
        "google.protobuf.Any" => any_value(message, any_depth),
        "google.protobuf.Value" => transcoded(message).map(|value| json_value(&value)),
        "google.protobuf.Struct" => transcoded(message).map(|value| struct_value(&value)),
        "google.protobuf.ListValue" => transcoded(message).map(|value| list_value(&value)),
        // Times, durations, wrappers: leaves that have a form of their own.
        name if name.starts_with("google.protobuf.") => {
            serde_json::to_value(message).map_err(|error| JsonError::new(error.to_string()))
        }
        _ => {
            let mut object = fields(message, any_depth)?;
            if name.full_name() == v1::Payload::full_name() {
                contents::spell_out(&mut object);
            }
            Ok(Value::Object(object))
        }
    }
}

fn transcoded<M: Message + Default>(message: &DynamicMessage) -> Result<M, JsonError> {
    message.transcode_to().map_err(|error| JsonError::new(error.to_string()))
}

fn fields(message: &DynamicMessage, any_depth: usize) -> Result<Map<String, Value>, JsonError> {
    let mut object = Map::new();
    for field in message.descriptor().fields().filter(|field| message.has_field(field)) {
        let value = field_value(&message.get_field(&field), &field.kind(), any_depth)?;
        object.insert(field.json_name().to_owned(), value);
    }
    for (extension, value) in message.extensions() {
        let value = field_value(value, &extension.kind(), any_depth)?;
        object.insert(extension.json_name().to_owned(), value);
    }
    Ok(object)
}

fn field_value(value: &Reflected, kind: &Kind, any_depth: usize) -> Result<Value, JsonError> {
    match value {
        Reflected::List(values) => {
            let values = values.iter().map(|value| single_value(value, kind, any_depth));
            values.collect::<Result<_, _>>().map(Value::Array)
        }
        Reflected::Map(entries) => {
            let Kind::Message(entry) = kind else {
                return Err(JsonError::new("a map field is not of a map type"));
            };
            let kind = entry.map_entry_value_field().kind();
            let sorted: BTreeMap<String, &Reflected> =
                entries.iter().map(|(key, value)| (key_text(key), value)).collect();
            let entries = sorted
                .into_iter()
                .map(|(key, value)| Ok((key, single_value(value, &kind, any_depth)?)));
            entries.collect::<Result<Map<_, _>, _>>().map(Value::Object)
        }
        single => single_value(single, kind, any_depth),
    }
}

fn single_value(value: &Reflected, kind: &Kind, any_depth: usize) -> Result<Value, JsonError> {
    Ok(match value {
        Reflected::Bool(value) => Value::Bool(*value),
        Reflected::I32(value) => Value::from(*value),
        Reflected::U32(value) => Value::from(*value),
        // JSON numbers are doubles to most readers, which these do not fit into.
        Reflected::I64(value) => Value::String(value.to_string()),
        Reflected::U64(value) => Value::String(value.to_string()),
        // By way of text: the double nearest to 0.1 is not the float nearest to it.
        Reflected::F32(value) => {
            number(value.to_string().parse().unwrap_or_else(|_| f64::from(*value)))
        }
        Reflected::F64(value) => number(*value),
        Reflected::String(value) => Value::String(value.clone()),
        Reflected::Bytes(value) => Value::String(STANDARD.encode(value)),
        Reflected::EnumNumber(value) => match kind {
            Kind::Enum(kind) if kind.full_name() == "google.protobuf.NullValue" => Value::Null,
            Kind::Enum(kind) => kind
                .get_value(*value)
                .map_or_else(|| Value::from(*value), |value| Value::from(value.name())),
            _ => Value::from(*value),
        },
        Reflected::Message(message) => message_value(message, any_depth)?,
        Reflected::List(_) | Reflected::Map(_) => {
            return Err(JsonError::new("a list or a map stands within another"));
        }
    })
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// A double as it would be typed: whole numbers without a fraction.
fn number(value: f64) -> Value {
    // Whole numbers are exact up to here.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= WHOLE && !(value == 0.0 && value.is_sign_negative()) {
        return Value::from(value as i64);
    }
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::from("NaN"),
        None if value > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

fn any_value(message: &DynamicMessage, any_depth: usize) -> Result<Value, JsonError> {
    let any: prost_types::Any = transcoded(message)?;
    let mut object = Map::new();
    object.insert("@type".to_owned(), Value::from(any.type_url.as_str()));
    match any_content(&any, message.descriptor().parent_pool(), any_depth) {
        Ok(content) => object.extend(content),
        Err(error) => {
            object.insert("@error".to_owned(), Value::from(error.message));
            object.insert("@value".to_owned(), Value::from(STANDARD.encode(&any.value)));
        }
    }
    Ok(Value::Object(object))
}

/// The members beside `@type`.
fn any_content(
    any: &prost_types::Any,
    types: &DescriptorPool,
    any_depth: usize,
) -> Result<Map<String, Value>, JsonError> {
    let name = any.type_url.rsplit_once('/').map_or("", |(_, name)| name);
    let unreadable =
        |what: &str| JsonError::new(format!("{what}; see @value for raw binary message data"));
    if any_depth >= MAX_ANY_DEPTH {
        return Err(unreadable("nested too deep to be written out"));
    }
    let descriptor = types
        .get_message_by_name(name)
        .ok_or_else(|| unreadable(&format!("{name} is not recognized")))?;
    let content = DynamicMessage::decode(descriptor, any.value.as_slice())
        .map_err(|_| unreadable(&format!("this is no {name}")))?;
    match message_value(&content, any_depth + 1)? {
        Value::Object(object) if !name.starts_with("google.protobuf.") => Ok(object),
        special => Ok(Map::from_iter([("value".to_owned(), special)])),
    }
}

/// The recursion is as deep as prost let the message be.
fn json_value(value: &prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StringValue(value)) => Value::String(value.clone()),
        Some(Kind::ListValue(value)) => list_value(value),
        Some(Kind::StructValue(value)) => struct_value(value),
    }
}

fn list_value(list: &prost_types::ListValue) -> Value {
    list.values.iter().map(json_value).collect()
}

fn struct_value(object: &prost_types::Struct) -> Value {
    object.fields.iter().map(|(key, value)| (key.clone(), json_value(value))).collect()
}
