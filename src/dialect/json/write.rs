//! Writes values: as JSON in JSON templates; numbers of documents keep their text everywhere.

use std::sync::Arc;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value, filters};

use super::read::{Container, Number};
use super::{MAX_DEPTH, Texts, View};

/// Makes the environment write values as for a view without documents.
pub(in crate::dialect) fn install(environment: &mut Environment<'static>) {
    install_with(environment, &Arc::default());
}

/// The environment for a view, if it needs one of its own.
pub(in crate::dialect) fn environment_for(
    environment: &Environment<'static>,
    view: &Value,
) -> Option<Environment<'static>> {
    let view = view.downcast_object_ref::<View>().filter(|view| !view.texts.is_empty())?;
    let mut environment = environment.clone();
    install_with(&mut environment, &view.texts);
    Some(environment)
}

fn install_with(environment: &mut Environment<'static>, texts: &Arc<Texts>) {
    let known = Arc::clone(texts);
    environment.set_formatter(move |out, state, value| format(out, state, value, &known));
    let known = Arc::clone(texts);
    let filter = move |value: &Value, indent: Option<Value>, arguments: Kwargs| {
        if indent.is_some() || arguments.args().next().is_some() {
            return filters::tojson(value, indent, arguments);
        }
        let json = written(value, &known)?;
        // Outside strings, JSON has none of these characters.
        let escapes = [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\'', "\\u0027")];
        let escape = |json: String, (from, to)| json.replace::<char>(from, to);
        Ok(Value::from_safe_string(escapes.into_iter().fold(json, escape)))
    };
    environment.add_filter("tojson", filter);
}

fn format(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
    texts: &Texts,
) -> Result<(), Error> {
    let is_json = matches!(state.auto_escape(), AutoEscape::Json) && !value.is_safe();
    if !is_json && (value.is_none() || value.is_undefined()) {
        return Ok(());
    }
    let text = if is_json { Some(written(value, texts)?) } else { number(value, texts) };
    match text {
        Some(text) => out.write_str(&text).map_err(Error::from),
        None => minijinja::escape_formatter(out, state, value),
    }
}

/// The text of a number in a document.
fn number(value: &Value, texts: &Texts) -> Option<String> {
    if value.is_number() && !value.is_integer() {
        let float = f64::try_from(value.clone()).ok()?;
        return texts.get(&float.to_bits())?.as_deref().map(str::to_owned);
    }
    value.downcast_object_ref::<Number>().map(|number| number.0.to_string())
}

/// The value as JSON.
fn written(value: &Value, texts: &Texts) -> Result<String, Error> {
    let mut json = String::new();
    write(&mut json, value, texts, MAX_DEPTH)?;
    Ok(json)
}

fn write(json: &mut String, value: &Value, texts: &Texts, depth: usize) -> Result<(), Error> {
    if let Some(text) = number(value, texts) {
        json.push_str(&text);
        return Ok(());
    }
    let object = value
        .as_object()
        .filter(|_| matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable));
    let Some(object) = object else {
        json.push_str(&plain(value)?);
        return Ok(());
    };
    if let Some(container) = object.downcast_ref::<Container>() {
        json.push_str(container.text());
        return Ok(());
    }
    let too_deep = || Error::new(ErrorKind::BadSerialization, "the value is nested too deeply");
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let is_map = value.kind() == ValueKind::Map;
    json.push(if is_map { '{' } else { '[' });
    for (at, (key, item)) in object.try_iter_pairs().into_iter().flatten().enumerate() {
        if at > 0 {
            json.push(',');
        }
        if is_map {
            json.push_str(&plain(&Value::from(key.to_string()))?);
            json.push(':');
        }
        write(json, &item, texts, depth)?;
    }
    json.push(if is_map { '}' } else { ']' });
    Ok(())
}

/// A value without members, as JSON.
fn plain(value: &Value) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(ErrorKind::BadSerialization, "cannot be written as JSON").with_source(error)
    })
}
