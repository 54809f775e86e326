//! JSON texts and `google.protobuf.Value`, both ways.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

/// The maximum nesting of a `Value`: protobuf decoders refuse about 100 levels, and each level of JSON takes two.
const MAX_DEPTH: usize = 32;

/// The JSON form of a value; the error names what JSON cannot express.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, &'static str> {
    Ok(match &value.kind {
        None => return Err("must have a value where it is json"),
        Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => (*value).into(),
        Some(Kind::NumberValue(number)) => number_to_json(*number)?,
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::ListValue(list)) => {
            list.values.iter().map(to_json).collect::<Result<Vec<_>, _>>()?.into()
        }
        Some(Kind::StructValue(fields)) => serde_json::Value::Object(
            fields
                .fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), to_json(value)?)))
                .collect::<Result<_, &'static str>>()?,
        ),
    })
}

/// Whole numbers are written without a fraction, if doubles hold them exactly.
fn number_to_json(number: f64) -> Result<serde_json::Value, &'static str> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
        return Ok((number as i64).into());
    }
    serde_json::Number::from_f64(number)
        .map(serde_json::Value::Number)
        .ok_or("must have finite numbers only where it is json")
}

/// The value of a JSON text, if every client can decode it.
pub(super) fn from_json(text: &[u8]) -> Option<Value> {
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    convert(value, MAX_DEPTH)
}

fn convert(value: serde_json::Value, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(value),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64()?),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(values) => {
            let values = values.into_iter().map(|value| convert(value, depth));
            Kind::ListValue(ListValue { values: values.collect::<Option<_>>()? })
        }
        serde_json::Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| Some((key, convert(value, depth)?)));
            Kind::StructValue(Struct { fields: fields.collect::<Option<_>>()? })
        }
    };
    Some(Value { kind: Some(kind) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_the_way_through_a_value() {
        let text = br#"{"a":[1,2.5,-3,true,null],"b":{"c":"d"},"big":9007199254740991}"#;
        let value = from_json(text).map(|value| to_json(&value)).transpose();
        assert_eq!(
            value.map(|json| json.map(|json| json.to_string())),
            Ok(Some(String::from_utf8_lossy(text).into_owned()))
        );
    }

    #[test]
    fn what_a_client_could_not_decode_is_not_given_as_a_value() {
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(from_json(deep.as_bytes()), None);
        assert_eq!(from_json(b"{"), None);
        let nan = Value { kind: Some(Kind::NumberValue(f64::NAN)) };
        assert!(to_json(&nan).is_err());
    }
}
