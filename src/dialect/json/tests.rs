//! Values keep their text.

use proptest::prelude::*;

use super::*;
use crate::dialect::template::{Form, Templates};

fn made(form: Form, source: &str, document: &str) -> String {
    let mut view = View::of(Map::from_iter([("result".to_owned(), serde_json::json!({}))]));
    view.insert_json("result", "json", document.as_bytes());
    let mut templates = Templates::default();
    let known = |name: &str| match name.starts_with("result") {
        true => Ok(()),
        false => Err(String::new()),
    };
    let template = templates.add(form, source, &known).unwrap();
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
    // A value with two texts is ambiguous by itself, but not within its container.
    let both = "{\"a\": 1.1, \"b\": 1.10}";
    assert_eq!(made(Form::Json, "{{ result.json.b }}", both), "1.1");
    assert_eq!(made(Form::Json, "{{ result.json }}", both), both.replace(' ', ""));
}

#[test]
fn templates_compute_with_numbers() {
    let document = "{\"a\": 1.50, \"b\": 7, \"c\": 18446744073709551616, \"d\": [{\"e\": 1e2}]}";
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
                let members = members
                    .iter()
                    .map(|(key, value)| format!("{}:{value}", serde_json::to_string(key).unwrap()));
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
