//! Reads a message from a JSON text. Refuses unknown fields and types, names that an object has twice, fields under
//! both of their names, and nesting beyond what a message can hold: the server drops nothing in silence.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor,
};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment, Track};

use super::error::DURATION;
use super::{JsonError, canonical, descriptor, pool};
use crate::time_text::parse_duration;

/// The deepest nesting of objects and arrays that a document may have, itself included. A message may stand within
/// others up to 100 deep, and an object within a `google.protobuf.Value` is three of them; so `input.json`, which
/// is two deep in a submission, may be nested 32 deep by itself.
pub const MAX_DEPTH: usize = 34;

/// The message in a JSON text. Names are taken in camelCase and as in the proto; unknown ones are refused.
pub fn from_slice<M: Message + Name + Default>(text: &[u8]) -> Result<M, JsonError> {
    from_slice_of(pool()?, text)
}

/// The same, where the contents of an `Any` are of types in `types`.
pub(in crate::proto) fn from_slice_of<M: Message + Name + Default>(
    types: &DescriptorPool,
    text: &[u8],
) -> Result<M, JsonError> {
    must_not_be_empty(text)?;
    let descriptor = descriptor::<M>(types)?;
    read(text, Shape { depth: 0, message: Some(descriptor.clone()) }, Some(&descriptor))?;
    let mut dynamic = read_message(text, &descriptor)?;
    canonical::settle(&mut dynamic);
    dynamic.transcode_to().map_err(|_| JsonError::new("cannot be held by the message"))
}

/// The message with these fields, each by its path in the proto, such as `retry_policy.max_attempts`.
pub fn from_fields<'p, M>(
    fields: impl IntoIterator<Item = (&'p str, Value)>,
) -> Result<M, JsonError>
where
    M: Message + Name + Default,
{
    let mut document = Value::Object(Map::new());
    for (path, value) in fields {
        let place = path.split('.').fold(&mut document, |outer, name| &mut outer[name]);
        *place = value;
    }
    from_slice(document.to_string().as_bytes())
}

/// Refuses a text that is no JSON object, in the words in which a message is refused.
pub fn check_object(text: &[u8]) -> Result<(), JsonError> {
    must_not_be_empty(text)?;
    read(text, PhantomData::<HashMap<String, IgnoredAny>>, None).map(drop)
}

fn must_not_be_empty(text: &[u8]) -> Result<(), JsonError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(JsonError::new("must be a JSON object, and is empty"));
    }
    Ok(())
}

/// The seed's value of the whole text. `message` gives errors the proto's names of fields.
fn read<'t, S: DeserializeSeed<'t>>(
    text: &'t [u8],
    seed: S,
    message: Option<&MessageDescriptor>,
) -> Result<S::Value, JsonError> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut track = Track::new();
    let found = seed.deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let found = found
        .map_err(|error| JsonError::read(&error, in_proto(&track.path(), message.cloned())))?;
    json.end().map_err(|error| JsonError::read(&error, String::new()))?;
    Ok(found)
}

/// A path by the names of the proto. Other violations of a message have these, too.
fn in_proto(path: &Path, mut message: Option<MessageDescriptor>) -> String {
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                let within = Shape { depth: 0, message: message.take() };
                let (name, inner) = within.field(Cow::Borrowed(name));
                text.push_str(if text.is_empty() { "" } else { "." });
                text.push_str(&name);
                message = inner;
            }
            Segment::Unknown => {}
        }
    }
    text
}

/// Reads a message. The mapping knows durations in seconds only, `5400s`; where it refuses another, the text is read again
/// with durations as people write them, `1h30m`, in the mapping's form.
fn read_message(text: &[u8], descriptor: &MessageDescriptor) -> Result<DynamicMessage, JsonError> {
    let refused = match read(text, Fields(descriptor.clone()), Some(descriptor)) {
        Err(error) if error.message.starts_with(DURATION) => error,
        read => return read,
    };
    let Ok(mut document) = serde_json::from_slice(text) else { return Err(refused) };
    if !respell(&mut document, descriptor) {
        return Err(refused);
    }
    // Places in this text are not those of the client's.
    read(document.to_string().as_bytes(), Fields(descriptor.clone()), Some(descriptor))
        .map_err(|error| JsonError { position: None, ..error })
}

/// Writes the durations of a message in the mapping's form. Returns whether there were any to write so. The recursion is as
/// deep as the document, which [`MAX_DEPTH`] bounds.
fn respell(document: &mut Value, message: &MessageDescriptor) -> bool {
    let Value::Object(object) = document else { return false };
    let mut found = false;
    for (name, value) in object {
        let field = field(message, name);
        let Some(Kind::Message(kind)) = field.map(|field| field.kind()) else { continue };
        let values = match value {
            Value::Array(values) => values.iter_mut().collect(),
            value => vec![value],
        };
        for value in values {
            found |= match value {
                Value::String(text) if kind.full_name() == "google.protobuf.Duration" => {
                    respell_duration(text)
                }
                value => respell(value, &kind),
            };
        }
    }
    found
}

fn respell_duration(text: &mut String) -> bool {
    let Ok(duration) = parse_duration(text) else { return false };
    let written = format!("{}.{:09}s", duration.as_secs(), duration.subsec_nanos());
    let is_other = *text != written;
    *text = written;
    is_other
}

/// The field of either name.
fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))
}

/// Reads the fields of a message.
struct Fields(MessageDescriptor);

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = DynamicMessage;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<DynamicMessage, D::Error> {
        let options = DeserializeOptions::new().deny_unknown_fields(true);
        DynamicMessage::deserialize_with_options(self.0, json, &options)
    }
}

/// Reads any JSON and keeps none of it. Refuses JSON that is nested too deep, and an object that has a name twice, or a
/// field of a message under both of its names.
#[derive(Clone)]
struct Shape {
    /// The number of objects and arrays around it.
    depth: usize,
    /// The message or the map that an object here is; `None` where the names of objects mean nothing to this service.
    message: Option<MessageDescriptor>,
}

impl Shape {
    /// The depth of what this contains.
    fn inner_depth<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH {
            let rule = format!("must be nested at most {MAX_DEPTH} deep, objects and arrays");
            return Err(E::custom(rule));
        }
        Ok(self.depth + 1)
    }

    /// The one name of the field that has this name in this object, and the message that its value is.
    fn field<'n>(&self, name: Cow<'n, str>) -> (Cow<'n, str>, Option<MessageDescriptor>) {
        let (name, kind) = match &self.message {
            Some(map) if map.is_map_entry() => (name, Some(map.map_entry_value_field().kind())),
            Some(message) => match field(message, &name) {
                Some(field) => (field.name().to_owned().into(), Some(field.kind())),
                None => (name, None),
            },
            None => (name, None),
        };
        // Those of Google have forms of their own in JSON.
        let is_plain =
            |message: &MessageDescriptor| !message.full_name().starts_with("google.protobuf.");
        let message = kind.and_then(|kind| kind.as_message().cloned()).filter(is_plain);
        (name, message)
    }
}

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = Self { depth: self.inner_depth()?, ..self };
        while entries.next_element_seed(inner.clone())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let depth = self.inner_depth()?;
        let mut names = HashSet::new();
        while let Some(name) = entries.next_key_seed(Text)? {
            let (name, message) = self.field(name);
            if names.contains(&name) {
                let shown: String = name.chars().take(64).collect();
                return Err(A::Error::custom(format!("must give {shown:?} once")));
            }
            names.insert(name);
            entries.next_value_seed(Self { depth, message })?;
        }
        Ok(())
    }
}

/// Reads a name, from the text itself where it has no escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Cow<'de, str>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
