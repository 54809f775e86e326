//! The output of templates, and refused templates.

use minijinja::context;

use super::*;

fn only<'a>(names: &'a [&str]) -> impl Fn(&str) -> Result<(), String> + 'a {
    |name| if names.contains(&name) { Ok(()) } else { Err(String::new()) }
}

fn made(form: Form, source: &str, view: Value) -> Result<String, TemplateError> {
    let mut templates = Templates::default();
    let template = templates.add(form, source, &only(&["a", "b"]))?;
    templates.render(&template, &view)
}

#[test]
fn values_cannot_break_a_json_document() {
    let hostile = "\"}, \"admin\": true, \"x\": \"\u{2028}\\\n</script>";
    let view = context! { a => hostile };
    let text = made(Form::Json, "{\"a\": {{ a }}, \"b\": [{{ a ~ 'x' }}]}", view).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json, serde_json::json!({"a": hostile, "b": [format!("{hostile}x")]}));
    // A value between the author's quotes is refused rather than trusted.
    assert!(made(Form::Json, "{\"a\": \"{{ a }}\"}", context! { a => "x" }).is_err());
}

#[test]
fn what_is_unknown_is_refused_with_its_line() {
    for (source, line, reason) in [
        ("1\n{{ c }}", 1, "there is no variable c"),
        ("{{ a }}\n\n{% if b %}{{ a | nofilter }}{% endif %}", 2, "there is no filter nofilter"),
        ("{{ a is odd and a is nice }}", 0, "there is no test nice"),
        ("{{ a | safe }}", 0, "there is no filter safe"),
        ("1\n{% autoescape false %}{{ a }}{% endautoescape %}", 1, "escaping cannot be"),
        ("1\n{{ a", 1, "syntax error"),
        ("{{ a | time('%q') }}", 0, "may have"),
    ] {
        let view = context! { a => "2026-01-01T00:00:00Z", b => false };
        let error = made(Form::Text, source, view).unwrap_err();
        assert!(error.line == line && error.reason.contains(reason), "{source}: {error:?}");
    }
}

#[test]
fn macros_write_as_the_template_does_that_imports_them() {
    let mut templates = Templates::default();
    templates.add_macros("{% macro said(it) %}{{ it }}{% endmacro %}").unwrap();
    let source = "{% from \"macros\" import said %}{{ said(a) }}";
    for (form, expected) in
        [(Form::Json, "\"<\\\"\"\n"), (Form::Markup, "&lt;&quot;"), (Form::Text, "<\"")]
    {
        let template = templates.add(form, source, &only(&["a"])).unwrap();
        assert_eq!(templates.render(&template, &context! { a => "<\"" }).unwrap(), expected);
        assert!(templates.mentions(&template, "it") && !templates.mentions(&template, "that"));
    }
}

#[test]
fn macros_see_what_they_are_given_only() {
    let source = "{% macro said(it) %}{{ it }}\n{{ a }}{% endmacro %}";
    let error = Templates::default().add_macros(source).unwrap_err();
    assert!(error.line == 1 && error.reason.contains("there is no variable a"), "{error:?}");
}

#[test]
fn work_and_size_are_bounded() {
    let endless =
        "{% for x in range(90000) %}{% for y in range(90000) %}{{ y }}{% endfor %}{% endfor %}";
    assert!(made(Form::Text, endless, context! {}).is_err());
    let view = context! { a => "x".repeat(1 << 20) };
    assert!(made(Form::Text, "{% for x in range(9) %}{{ a }}{% endfor %}", view).is_err());
    let deep = "{% macro b() %}{{ b() }}{% endmacro %}{{ b() }}";
    assert!(made(Form::Text, deep, context! {}).is_err());
}
