//! JSON in templates: what a worker or client has written comes out as it was written, numbers above all.
//!
//! A template computes with 64-bit floats and 128-bit integers, as which `1.10` is `1.1`, and `1e400` nothing. So the
//! objects and lists of a document keep their text, by which they are written; a number by itself is what a template
//! can compute with, and its text is found again by its value. What no float or integer holds is text alone.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use minijinja::value::{DynObject, Enumerator, Kwargs, Object, ObjectRepr, Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value, filters};
use serde::de::IgnoredAny;
use serde_json::{Map, Value as Json};

/// Deepest nesting of a document that templates read, and of what they write; as that of the library's parser.
const MAX_DEPTH: usize = 128;

/// The variables of a template.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    variables: BTreeMap<String, Value>,
    texts: Texts,
}

/// How the floats of a view's documents were written: by their bits, and none where one was written in several ways.
type Texts = HashMap<u64, Option<Box<str>>>;

impl View {
    /// The view of these variables.
    pub(super) fn of(variables: Map<String, Json>) -> Self {
        let variables = variables.into_iter();
        let variables = variables.map(|(name, value)| (name, Value::from(Serde(value)))).collect();
        Self { variables, texts: Texts::new() }
    }

    /// Adds a variable.
    pub(super) fn insert(&mut self, name: &str, value: impl Into<Value>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Makes a document the member of a variable that has members; nothing becomes of what is not JSON.
    pub(super) fn insert_json(&mut self, name: &str, member: &str, document: &[u8]) {
        let Some(variable) = self.variables.get_mut(name) else { return };
        let Some(members) = variable.as_object().and_then(DynObject::try_iter_pairs) else {
            return;
        };
        let Ok(Ok(text)) = std::str::from_utf8(document).map(compact) else { return };
        let Some(value) = Reader::read(&text, &mut self.texts) else { return };
        let others = members.filter(|(key, _)| key.as_str() != Some(member));
        *variable = Value::from_pairs(others.chain([(Value::from(member), value)]));
    }

    /// The view as templates take it.
    pub(super) fn value(self) -> Value {
        Value::from_object(self)
    }
}

impl Object for View {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.variables.get(key.as_str()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.variables.keys().map(Value::from).collect())
    }
}

/// An object or a list of a document.
#[derive(Debug)]
struct Container {
    /// The whole document.
    document: Arc<str>,
    /// Where this one stands in it.
    range: Range<usize>,
    members: DynObject,
}

impl Object for Container {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        self.members.repr()
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.members.get_value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.members.enumerate()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Container {
    fn text(&self) -> &str {
        self.document.get(self.range.clone()).unwrap_or_default()
    }
}

/// A number that no float and no integer holds.
#[derive(Debug)]
struct Number(Box<str>);

impl Object for Number {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A piece of a JSON text.
#[derive(Clone, Copy)]
enum Token<'a> {
    /// One of `{}[]:,`.
    Sign(u8),
    /// A string with its quotes.
    Text(&'a str),
    /// A number, or `true`, `false`, `null`.
    Word(&'a str),
}

/// The pieces of a text that is JSON.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        let from = self.at;
        let first = *bytes.get(from)?;
        self.at += 1;
        if b"{}[]:,".contains(&first) {
            return Some(Token::Sign(first));
        }
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"{}[]:,\"".contains(byte);
        while let Some(byte) = bytes.get(self.at) {
            match (first, byte) {
                (b'"', b'\\') => self.at += 2,
                (b'"', b'"') => {
                    self.at += 1;
                    break;
                }
                (b'"', _) => self.at += 1,
                (_, byte) if is_end(byte) => break,
                _ => self.at += 1,
            }
        }
        let piece = self.text.get(from..self.at).unwrap_or_default();
        Some(if first == b'"' { Token::Text(piece) } else { Token::Word(piece) })
    }
}

/// A JSON text without spaces, its strings as this program writes them and its numbers as they are. An error where it
/// is not JSON.
pub(super) fn compact(text: &str) -> Result<String, serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(text)?;
    let mut made = String::with_capacity(text.len());
    for token in (Tokens { text, at: 0 }) {
        match token {
            Token::Sign(sign) => made.push(char::from(sign)),
            Token::Text(string) if string.contains('\\') => {
                let string: String = serde_json::from_str(string)?;
                made.push_str(&serde_json::to_string(&string)?);
            }
            Token::Text(piece) | Token::Word(piece) => made.push_str(piece),
        }
    }
    Ok(made)
}

/// Reads a document.
struct Reader<'a> {
    document: Arc<str>,
    tokens: Tokens<'a>,
    texts: &'a mut Texts,
}

impl<'a> Reader<'a> {
    /// The value of a text that is JSON; none where it is nested too deeply.
    fn read(text: &'a str, texts: &'a mut Texts) -> Option<Value> {
        let mut reader = Self { document: text.into(), tokens: Tokens { text, at: 0 }, texts };
        let first = reader.tokens.next()?;
        reader.value(first, MAX_DEPTH)
    }

    fn value(&mut self, token: Token<'_>, depth: usize) -> Option<Value> {
        let from = self.tokens.at.saturating_sub(1);
        let members = match token {
            Token::Text(string) => return text_of(string).map(Value::from),
            Token::Word("null") => return Some(Value::from(())),
            Token::Word("true") => return Some(Value::from(true)),
            Token::Word("false") => return Some(Value::from(false)),
            Token::Word(number) => return Some(self.number(number)),
            Token::Sign(b'[') => self.list(depth.checked_sub(1)?)?,
            Token::Sign(_) => self.object(depth.checked_sub(1)?)?,
        };
        let members = members.as_object()?.clone();
        let range = from..self.tokens.at;
        Some(Value::from_object(Container { document: self.document.clone(), range, members }))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        loop {
            match self.tokens.next()? {
                Token::Sign(b']') => return Some(Value::from(items)),
                Token::Sign(b',') => {}
                token => items.push(self.value(token, depth)?),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut members = Vec::new();
        loop {
            match self.tokens.next()? {
                Token::Sign(b'}') => return Some(Value::from_pairs(members)),
                Token::Text(key) => {
                    let _colon = self.tokens.next()?;
                    let value = self.tokens.next()?;
                    members.push((text_of(key)?, self.value(value, depth)?));
                }
                _ => {}
            }
        }
    }

    fn number(&mut self, text: &str) -> Value {
        // A float can be -0.
        let is_integer = text != "-0" && text.bytes().all(|it| it.is_ascii_digit() || it == b'-');
        if is_integer {
            let small = text.parse::<i64>().map(Value::from);
            let small = small.or_else(|_| text.parse::<u64>().map(Value::from));
            let large = small.or_else(|_| text.parse::<i128>().map(Value::from));
            let large = large.or_else(|_| text.parse::<u128>().map(Value::from));
            return large.unwrap_or_else(|_| Value::from_object(Number(text.into())));
        }
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let is_zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() && (float == 0.0) == is_zero => {
                let known = self.texts.entry(float.to_bits());
                let known = known.or_insert_with(|| Some(text.into()));
                if known.as_deref() != Some(text) {
                    *known = None;
                }
                Value::from(float)
            }
            _ => Value::from_object(Number(text.into())),
        }
    }
}

fn text_of(string: &str) -> Option<String> {
    serde_json::from_str(string).ok()
}

/// Has the environment write values as those of a view without documents.
pub(super) fn install(environment: &mut Environment<'static>) {
    install_with(environment, &Arc::default());
}

/// The environment for a view, where it needs one of its own.
pub(super) fn environment_for(
    environment: &Environment<'static>,
    view: &Value,
) -> Option<Environment<'static>> {
    let view = view.downcast_object_ref::<View>().filter(|view| !view.texts.is_empty())?;
    let mut environment = environment.clone();
    install_with(&mut environment, &Arc::new(view.texts.clone()));
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
        // None of these stands outside strings.
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
    let text = if is_json { Some(written(value, texts)?) } else { number(value, texts) };
    match text {
        Some(text) => out.write_str(&text).map_err(Error::from),
        None => minijinja::escape_formatter(out, state, value),
    }
}

/// The text of a number of a document.
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

/// What has no members, as JSON.
fn plain(value: &Value) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(ErrorKind::BadSerialization, "cannot be written as JSON").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::template::{Form, Templates};
    use super::*;

    fn made(form: Form, source: &str, document: &str) -> String {
        let mut view = View::of(Map::from_iter([("result".to_owned(), serde_json::json!({}))]));
        view.insert_json("result", "json", document.as_bytes());
        let mut templates = Templates::default();
        let template = templates.add(form, source, &|name| name.starts_with("result")).unwrap();
        templates.render(&template, &view.value()).unwrap().trim_end_matches('\n').to_owned()
    }

    const NUMBERS: &str = "[123456789012345678901234567890, 1.10, 1e400, -0, 1E5, 0.30, \
                           340282366920938463463374607431768211456, 1e-400, 18446744073709551616]";

    #[test]
    fn numbers_come_through_as_they_were_written() {
        let written = NUMBERS.replace(' ', "");
        for (source, expected) in [
            ("{{ result.json }}", &*written),
            ("{{ result.json | tojson }}", &*written),
            ("{\"a\": {{ {\"b\": result.json} }} }", &*format!("{{\"a\":{{\"b\":{written}}}}}")),
            ("[{% for n in result.json %}{{ n }},{% endfor %}0]", &*written.replace(']', ",0]")),
            ("{{ result.json | list }}", &*written),
            ("{% macro m(n) %}{{ n }}{% endmacro %}[{{ m(result.json[1]) }}]", "[1.10]"),
        ] {
            assert_eq!(made(Form::Json, source, NUMBERS), expected, "{source}");
        }
        let text = "{{ result.json[1] }} {{ result.json[3] }} {{ result.json[2] }}";
        assert_eq!(made(Form::Text, text, NUMBERS), "1.10 -0 1e400");
        assert_eq!(made(Form::Markup, text, NUMBERS), "1.10 -0 1e400");
        // One value that is written in two ways is not told apart by itself, and is in what it stands in.
        let both = "{\"a\": 1.1, \"b\": 1.10}";
        assert_eq!(made(Form::Json, "{{ result.json.b }}", both), "1.1");
        assert_eq!(made(Form::Json, "{{ result.json }}", both), both.replace(' ', ""));
    }

    #[test]
    fn templates_compute_with_numbers() {
        let document =
            "{\"a\": 1.50, \"b\": 7, \"c\": 18446744073709551616, \"d\": [{\"e\": 1e2}]}";
        for (source, expected) in [
            ("{{ result.json.a * 2 }}", "3.0"),
            ("{{ result.json.a > 1 and result.json.a == 1.5 }}", "true"),
            ("{{ result.json.b + 1 }}", "8"),
            ("{{ result.json.c - 1 }}", "18446744073709551615"),
            ("{{ result.json.d[0].e | int }}", "100"),
            ("{{ [result.json.b, result.json.a] | min }}", "1.50"),
            ("{{ result.json.d | length }}", "1"),
            ("{{ result.json.missing is undefined }}", "true"),
            ("{{ result.json is mapping and result.json.d is sequence }}", "true"),
        ] {
            assert_eq!(made(Form::Json, source, document), expected, "{source}");
        }
    }

    #[test]
    fn what_is_no_document_is_none_and_strings_are_escaped_once() {
        for document in ["", "[1", "\"\\ud800\"", "1 2", &"[".repeat(200), "{\"a\":01}"] {
            assert_eq!(made(Form::Json, "{{ result.json is undefined }}", document), "true");
        }
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        assert_eq!(made(Form::Json, "{{ result.json is undefined }}", &deep), "true");
        let odd = "{\"\\u0041\\n\": \"\\/<'&>\\u00e9 }]\\\"\"}";
        let expected = "{\"A\\n\":\"/<'&>\u{e9} }]\\\"\"}";
        assert_eq!(made(Form::Json, "{{ result.json }}", odd), expected);
        assert_eq!(made(Form::Json, "{{ result.json | tojson }}", odd), expected);
        let safe = made(Form::Markup, "{{ result.json | tojson }}", odd);
        assert!(safe.contains("\\u003c\\u0027\\u0026\\u003e"), "{safe}");
    }

    /// A JSON text with numbers of every form.
    fn documents() -> impl Strategy<Value = String> {
        let number = "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?";
        let text = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
        let leaf = prop_oneof![4 => number, 1 => text, 1 => "true|false|null"];
        leaf.prop_recursive(6, 64, 8, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..8);
            let members = prop::collection::vec((any::<String>(), inner), 0..8);
            prop_oneof![
                list.prop_map(|items| format!("[{}]", items.join(","))),
                members.prop_map(|members| {
                    let members = members.iter().map(|(key, value)| {
                        format!("{}:{value}", serde_json::to_string(key).unwrap())
                    });
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_document_comes_through(document in documents()) {
            prop_assert_eq!(made(Form::Json, "{{ result.json }}", &document), document.clone());
            let within = format!("[1,{document}]");
            prop_assert_eq!(made(Form::Json, "[1, {{ result.json }}]", &document), within);
        }
    }
}
