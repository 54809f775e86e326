//! Equal JSON becomes equal bytes. JSON in an `Any` is encoded while it is read, with map entries in any order; a
//! repeated idempotency key would see another input.

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value};

use super::key_text;

/// Encodes every `Any` in the message anew, entries in the order of their keys.
pub(super) fn settle(message: &mut DynamicMessage) {
    if message.descriptor().full_name() == "google.protobuf.Any" {
        settle_any(message);
        return;
    }
    for (_, value) in message.fields_mut() {
        settle_value(value);
    }
    for (_, value) in message.extensions_mut() {
        settle_value(value);
    }
}

fn settle_value(value: &mut Value) {
    match value {
        Value::Message(message) => settle(message),
        Value::List(values) => values.iter_mut().for_each(settle_value),
        Value::Map(entries) => entries.values_mut().for_each(settle_value),
        _ => {}
    }
}

/// Values of unknown types stay unchanged.
fn settle_any(message: &mut DynamicMessage) {
    let Ok(any) = message.transcode_to::<prost_types::Any>() else { return };
    let name = any.type_url.rsplit_once('/').map_or("", |(_, name)| name);
    let Some(descriptor) = message.descriptor().parent_pool().get_message_by_name(name) else {
        return;
    };
    let Ok(mut content) = DynamicMessage::decode(descriptor, any.value.as_slice()) else { return };
    settle(&mut content);
    let any = prost_types::Any { value: encoded(&content), ..any };
    // It was made of the same type.
    let _ = message.transcode_from(&any);
}

fn encoded(message: &DynamicMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (field, value) in message.fields() {
        let alone = || {
            let mut alone = DynamicMessage::new(message.descriptor());
            alone.set_field(&field, value.clone());
            alone.encode_to_vec()
        };
        put(&mut bytes, (field.number(), field.is_group(), &field.kind()), value, alone);
    }
    for (extension, value) in message.extensions() {
        let alone = || {
            let mut alone = DynamicMessage::new(message.descriptor());
            alone.set_extension(&extension, value.clone());
            alone.encode_to_vec()
        };
        put(
            &mut bytes,
            (extension.number(), extension.is_group(), &extension.kind()),
            value,
            alone,
        );
    }
    bytes
}

/// Adds a field. `alone` encodes what holds no message.
fn put(
    bytes: &mut Vec<u8>,
    (number, is_group, kind): (u32, bool, &Kind),
    value: &Value,
    alone: impl Fn() -> Vec<u8>,
) {
    match value {
        Value::Message(message) => put_message(bytes, number, is_group, &encoded(message)),
        Value::List(values) if matches!(kind, Kind::Message(_)) => {
            for message in values.iter().filter_map(Value::as_message) {
                put_message(bytes, number, is_group, &encoded(message));
            }
        }
        Value::Map(entries) => {
            let Kind::Message(entry) = kind else { return };
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| key_text(key));
            for (key, value) in sorted {
                let mut pair = DynamicMessage::new(entry.clone());
                pair.set_field(&entry.map_entry_key_field(), key.clone().into());
                pair.set_field(&entry.map_entry_value_field(), value.clone());
                // Its fields stand in order, whatever is in them.
                put_message(bytes, number, false, &encoded(&pair));
            }
        }
        _ => bytes.extend(alone()),
    }
}

fn put_message(bytes: &mut Vec<u8>, number: u32, is_group: bool, content: &[u8]) {
    if is_group {
        encode_key(number, WireType::StartGroup, bytes);
        bytes.extend_from_slice(content);
        encode_key(number, WireType::EndGroup, bytes);
    } else {
        encode_key(number, WireType::LengthDelimited, bytes);
        encode_varint(content.len() as u64, bytes);
        bytes.extend_from_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::{DescriptorPool, MapKey};
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
        MessageOptions, descriptor_proto,
    };

    use super::*;

    fn field(name: &str, number: i32, label: Label, kind: Type, of: &str) -> FieldDescriptorProto {
        FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            label: Some(label.into()),
            r#type: Some(kind.into()),
            type_name: (!of.is_empty()).then(|| of.to_owned()),
            ..FieldDescriptorProto::default()
        }
    }

    /// A message of proto2 with fields of every shape, itself among them.
    fn pool() -> DescriptorPool {
        use Label::{Optional, Repeated};
        let entry = DescriptorProto {
            name: Some("NamedEntry".to_owned()),
            field: vec![
                field("key", 1, Optional, Type::Int32, ""),
                field("value", 2, Optional, Type::Message, ".a.M"),
            ],
            options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
            ..DescriptorProto::default()
        };
        let group = DescriptorProto {
            name: Some("Pair".to_owned()),
            field: vec![field("left", 1, Optional, Type::String, "")],
            ..DescriptorProto::default()
        };
        let extended = FieldDescriptorProto {
            extendee: Some(".a.M".to_owned()),
            ..field("more", 100, Repeated, Type::Message, ".a.M")
        };
        let range = descriptor_proto::ExtensionRange {
            start: Some(100),
            end: Some(200),
            ..descriptor_proto::ExtensionRange::default()
        };
        let message = DescriptorProto {
            name: Some("M".to_owned()),
            field: vec![
                field("text", 1, Optional, Type::String, ""),
                field("numbers", 2, Repeated, Type::Sint64, ""),
                field("named", 3, Repeated, Type::Message, ".a.M.NamedEntry"),
                field("pair", 4, Repeated, Type::Group, ".a.M.Pair"),
                field("inner", 5, Optional, Type::Message, ".a.M"),
            ],
            nested_type: vec![entry, group],
            extension_range: vec![range],
            ..DescriptorProto::default()
        };
        let file = FileDescriptorProto {
            name: Some("a.proto".to_owned()),
            package: Some("a".to_owned()),
            message_type: vec![message],
            extension: vec![extended],
            ..FileDescriptorProto::default()
        };
        DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: vec![file] }).unwrap()
    }

    #[test]
    fn every_shape_is_encoded_as_it_is_read_and_always_alike() {
        let pool = pool();
        let descriptor = pool.get_message_by_name("a.M").unwrap();
        let text = |text: &str| {
            let mut message = DynamicMessage::new(descriptor.clone());
            message.set_field_by_name("text", Value::String(text.to_owned()));
            message
        };
        let whole = || {
            let mut pair = DynamicMessage::new(pool.get_message_by_name("a.M.Pair").unwrap());
            pair.set_field_by_name("left", Value::String("l".to_owned()));
            let named = (0..30).map(|n| (MapKey::I32(n), Value::Message(text(&n.to_string()))));
            let mut message = text("");
            message.set_field_by_name("named", Value::Map(named.collect()));
            message.set_field_by_name("numbers", Value::List(vec![Value::I64(-1), Value::I64(7)]));
            message.set_field_by_name("pair", Value::List(vec![Value::Message(pair); 2]));
            message.set_field_by_name("inner", Value::Message(message.clone()));
            let more =
                Value::List(vec![Value::Message(message.clone()), Value::Message(text("x"))]);
            message.set_extension(&pool.get_extension_by_name("a.more").unwrap(), more);
            message
        };
        let bytes = encoded(&whole());
        assert_eq!(DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).unwrap(), whole());
        for _ in 0..5 {
            assert_eq!(encoded(&whole()), bytes);
        }
    }
}
